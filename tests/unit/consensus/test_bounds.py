"""Queues, buffers and the memory of peers: bounded per peer, and one peer's flood is its own loss."""

from consensus.inbox import HEAVY_MAX, HEAVY_PER_PEER_MAX, PER_PEER_MAX, FutureBuffer, Inbox
from consensus.peers import PEERS_MAX, STUCK_MS, PeerBook
from genesis.primitives import Hash32, Height


def nothing() -> None:
    """An action."""


def test_the_inbox_serves_own_results_first_and_gives_shares_back() -> None:
    woken: list[int] = []
    inbox = Inbox(lambda: woken.append(1))
    order: list[str] = []
    inbox.put_from("a", lambda: order.append("peer"))
    inbox.put(lambda: order.append("own"))
    while (action := inbox.pop()) is not None:
        action()
    assert order == ["own", "peer"] and len(woken) == 2
    for _ in range(3):
        assert sum(inbox.put_from("a", nothing) for _ in range(PER_PEER_MAX + 10)) == PER_PEER_MAX
        assert inbox.put_from("b", nothing)
        while inbox.pop() is not None:
            pass
    assert inbox.dropped == 30


def test_blocks_have_a_tighter_share() -> None:
    inbox = Inbox(nothing)
    assert sum(inbox.put_from("a", nothing, heavy=True) for _ in range(10)) == HEAVY_PER_PEER_MAX
    assert sum(inbox.put_from(f"p{i}", nothing, heavy=True) for i in range(50)) == HEAVY_MAX - HEAVY_PER_PEER_MAX
    assert inbox.put_from("a", nothing)


def test_the_future_buffer_holds_one_height_within_bounds() -> None:
    buffer = FutureBuffer()
    assert sum(buffer.put(Height(5), "a", nothing) for _ in range(1000)) == PER_PEER_MAX
    assert sum(buffer.put(Height(5), "b", nothing, heavy=True) for _ in range(9)) == 1
    assert len(buffer.take(Height(5))) == PER_PEER_MAX + 1
    assert buffer.take(Height(5)) == []
    buffer.put(Height(6), "a", nothing)
    buffer.put(Height(7), "a", nothing)
    assert buffer.take(Height(6)) == []


def test_sync_is_asked_for_when_far_behind_or_stuck_and_not_too_often() -> None:
    book = PeerBook()
    book.saw("a", Height(11))
    assert not book.is_out_of_reach("a", Height(10), 1_000_000)
    assert book.is_out_of_reach("a", Height(10), 1_000_000 + STUCK_MS)
    assert not book.is_out_of_reach("a", Height(10), 1_000_001 + STUCK_MS)
    assert not book.is_out_of_reach("a", Height(11), 2_000_000)
    book.saw("a", Height(12))
    assert book.is_out_of_reach("a", Height(10), 2_000_000)
    book.saw("a", Height(3))
    assert not book.is_out_of_reach("a", Height(10), 3_000_000), "a peer may lower its claim"


def test_answers_and_blocks_are_rate_limited_per_peer() -> None:
    book = PeerBook()
    assert book.may_answer("a", 1000, 100)
    assert not book.may_answer("a", 1099, 100)
    assert book.may_answer("b", 1099, 100) and book.may_answer("a", 1100, 100)
    block = Hash32(bytes(32))
    assert book.may_send_block("a", block, 1000)
    assert not book.may_send_block("a", block, 1001)
    assert book.may_send_block("a", block, 1250)


def test_peers_are_forgotten_and_sources_rotate() -> None:
    book = PeerBook()
    for i in range(2 * PEERS_MAX):
        book.saw(f"p{i}", Height(i))
    assert len(book._peers) == PEERS_MAX
    last = Height(2 * PEERS_MAX - 2)
    assert {book.next_source(last) for _ in range(4)} == {f"p{2 * PEERS_MAX - 2}", f"p{2 * PEERS_MAX - 1}"}
    assert book.next_source(Height(10**6)) is None
