"""Real hosts over loopback, doing what the node needs of them."""

import random
from collections import Counter
from dataclasses import replace

import pytest
import trio

from genesis.errors import LocalError, PeerFault, WireError
from p2p.config import BLOCK_CHANNEL, CONSENSUS_CHANNEL, SYNC_PROTOCOL, TX_CHANNEL, HostConfig
from p2p.faults import ConnectionLost, RequestRefused
from p2p.frames import encode_frame
from p2p.host import Host
from p2p.identity import peer_id_of
from p2p.info import PeerInfo
from tests.unit.p2p.harness import TEST_LIMITS, RawPeer, make_host, mesh, run, running, seed, until


def test_four_hosts_broadcast_on_every_channel() -> None:
    async def main() -> None:
        hosts = [make_host(index) for index in range(4)]
        async with mesh(*hosts):
            payloads = {channel: channel.encode() * 500 for channel in (CONSENSUS_CHANNEL, BLOCK_CHANNEL, TX_CHANNEL)}
            for sender in hosts:
                for channel, payload in payloads.items():
                    sender.broadcast(channel, payload)
            for receiver in hosts:
                got = Counter()
                for _ in range(9):
                    message = await receiver.inbox.receive()
                    assert message.payload == payloads[message.channel]
                    got[message.peer_id, message.channel] += 1
                others = {host.peer_id for host in hosts} - {receiver.peer_id}
                assert got == Counter((peer, channel) for peer in others for channel in payloads)

    run(main)


def test_large_messages_keep_their_order_and_bytes() -> None:
    async def main() -> None:
        left, right = make_host(0), make_host(1)
        rng = random.Random(3)
        blocks = [rng.randbytes(rng.randint(1, 256 * 1024)) for _ in range(60)]
        async with mesh(left, right):
            for block in blocks:
                assert left.send(right.peer_id, BLOCK_CHANNEL, block)
            received = [(await right.inbox.receive()).payload for _ in blocks]
            assert received == blocks

    run(main)


def test_exclude_and_send_address_single_peers() -> None:
    async def main() -> None:
        first, second, third = (make_host(index) for index in range(3))
        async with mesh(first, second, third):
            first.broadcast(TX_CHANNEL, b"not for second", exclude=second.peer_id)
            assert first.send(second.peer_id, TX_CHANNEL, b"for second")
            assert not first.send(make_host(9).peer_id, TX_CHANNEL, b"nobody")
            assert (await third.inbox.receive()).payload == b"not for second"
            assert (await second.inbox.receive()).payload == b"for second"

    run(main)


def test_an_inbox_of_its_own_keeps_a_channel_apart() -> None:
    async def main() -> None:
        left, right = make_host(0), make_host(1)
        votes = right.open_inbox(CONSENSUS_CHANNEL)
        async with mesh(left, right):
            left.broadcast(TX_CHANNEL, b"tx")
            left.broadcast(CONSENSUS_CHANNEL, b"vote")
            assert (await votes.receive()).payload == b"vote"
            assert (await right.inbox.receive()).payload == b"tx"
        with pytest.raises(LocalError, match="no channel"):
            right.open_inbox("/other/1")
        assert [message async for message in votes] == []  # it ends with the host

    run(main)


def test_a_killed_host_comes_back_on_its_port_and_everybody_reconnects() -> None:
    async def main() -> None:
        hosts = [make_host(index) for index in range(3)]
        addresses = []
        async with running(*hosts) as nursery:
            lost = make_host(3)
            async with running(lost):
                addresses = [host.addresses[0] for host in (*hosts, lost)]
                for host in (*hosts, lost):
                    for address in addresses:
                        host.add_known_peer(address)
                await until(lambda: all(len(host.peers()) == 3 for host in (*hosts, lost)))
            await until(lambda: all(len(host.peers()) == 2 for host in hosts))
            await trio.sleep(0.5)  # the others dial in vain
            again = make_host(3, port=int(addresses[3].split("/")[4]), known=addresses)
            assert again.peer_id == lost.peer_id
            await nursery.start(again.run)
            await until(lambda: all(len(host.peers()) == 3 for host in (*hosts, again)))
            heard: set[str] = set()

            async def hear(host: Host) -> None:
                assert (await host.inbox.receive()).payload == b"back"
                heard.add(host.peer_id)

            for host in hosts:
                nursery.start_soon(hear, host)
            while len(heard) < 3:  # what was queued is lost where two dialed each other and one connection made way
                again.broadcast(CONSENSUS_CHANNEL, b"back")
                await trio.sleep(0.05)

    run(main)


def test_one_side_that_knows_the_other_is_enough() -> None:
    async def main() -> None:
        passive = make_host(0)
        async with running(passive):
            eager = make_host(1, known=passive.addresses)
            async with running(eager):
                for _ in range(3):
                    await until(lambda: passive.peers() and eager.peers())
                    passive.disconnect(eager.peer_id)
                    await until(lambda: not passive.peers())
                await until(passive.peers)

    run(main)


def test_hosts_that_dial_each_other_at_once_settle_on_one_connection() -> None:
    async def main() -> None:
        limits = replace(TEST_LIMITS, yield_s=0.0)
        for round_ in range(10):
            left, right = make_host(2 * round_, limits=limits), make_host(2 * round_ + 1, limits=limits)
            async with running(left, right):
                left.add_known_peer(right.addresses[0])
                right.add_known_peer(left.addresses[0])
                await until(lambda left=left, right=right: left.peers() and right.peers())
                await trio.sleep(0.2)
                [at_left], [at_right] = left.peers(), right.peers()
                assert {at_left.direction, at_right.direction} == {"inbound", "outbound"}
                left.broadcast(TX_CHANNEL, b"hello")
                assert (await right.inbox.receive()).payload == b"hello"

    run(main)


def test_a_peer_of_another_chain_is_refused_and_told_why(caplog: pytest.LogCaptureFixture) -> None:
    def only_chain_a(_peer_id: str, payload: bytes) -> bytes:
        if payload != b"chain A":
            raise PeerFault(f"wrong genesis {payload!r}")
        return payload

    async def main() -> None:
        ours = make_host(0, check_hello=only_chain_a)
        async with running(ours):
            stranger = make_host(1, known=ours.addresses, hello=lambda: b"chain B")
            friend = make_host(2, known=ours.addresses, check_hello=only_chain_a)
            async with running(stranger, friend):
                await until(ours.peers)
                await until(lambda: "refused by the peer: wrong genesis b'chain B'" in caplog.text)
                assert [(peer.peer_id, peer.identity) for peer in ours.peers()] == [(friend.peer_id, b"chain A")]
                assert not stranger.peers()

    with caplog.at_level("INFO"):
        run(main)


def test_the_node_learns_who_comes_and_who_goes() -> None:
    async def main() -> None:
        up: list[PeerInfo] = []
        down: list[str] = []
        watcher = make_host(0, on_peer_up=up.append, on_peer_down=down.append)
        async with running(watcher):
            other = make_host(1, known=watcher.addresses, hello=lambda: b"who I am")
            async with running(other):
                await until(lambda: up)
            await until(lambda: down)
        assert [peer.identity for peer in up] == [b"who I am"]
        assert down == [other.peer_id]

    run(main)


# ---------------------------------------------------------------- back-pressure


def test_a_flood_is_bounded_and_keeps_nobody_waiting() -> None:
    async def main() -> None:
        victim = make_host(0)
        async with running(victim):
            flooder, honest = make_host(1, known=victim.addresses), make_host(2, known=victim.addresses)
            async with running(flooder, honest) as nursery:
                await until(lambda: len(victim.peers()) == 2)

                async def flood() -> None:
                    while True:
                        for _ in range(50):
                            flooder.send(victim.peer_id, TX_CHANNEL, bytes(200 * 1024))
                        await trio.sleep(0.001)

                nursery.start_soon(flood)
                await trio.sleep(1)  # nobody reads: the flood piles up at the flooder alone
                [into] = [peer.bytes_in for peer in victim.peers() if peer.peer_id == flooder.peer_id]
                assert into < 2 * 1024 * 1024
                [away] = flooder.peers()
                assert away.dropped > 100
                waiting = flooder._switch.table.peers[victim.peer_id].queues[TX_CHANNEL]
                assert waiting.waiting_bytes <= 16 * 1024 * 1024

                honest.send(victim.peer_id, CONSENSUS_CHANNEL, b"a vote")
                await trio.sleep(0.1)
                turns = 0
                while (await victim.inbox.receive()).peer_id != honest.peer_id:
                    turns += 1
                assert turns <= 2

    run(main)


def test_drop_keys_and_priorities_are_honoured_end_to_end() -> None:
    async def main() -> None:
        sender, slow = make_host(0), make_host(1)
        async with mesh(sender, slow):
            filler = bytes(60_000)
            for _ in range(12):  # more than the windows hold, so that what follows waits in the queue
                sender.send(slow.peer_id, CONSENSUS_CHANNEL, filler, priority=9)
            await trio.sleep(0.2)
            for number in range(450):
                sender.send(slow.peer_id, CONSENSUS_CHANNEL, b"state %d" % number, drop_key="state")
                sender.send(slow.peer_id, CONSENSUS_CHANNEL, b"vote %d" % number, priority=number % 2)
            received = []
            while b"vote 448" not in received:
                received.append((await slow.inbox.receive()).payload)
            assert received[:12] == [filler] * 12
            assert received[12 : 12 + 225] == [b"vote %d" % number for number in range(1, 450, 2)]
            received.append((await slow.inbox.receive()).payload)
            rest = received[12 + 225 :]
            assert rest[-2:] == [b"vote 448", b"state 449"]
            assert sum(payload.startswith(b"state") for payload in rest) == 1
            assert 2 < len(rest) < 256 - 225

    run(main)


# ---------------------------------------------------------------- requests


def test_requests_of_any_size() -> None:
    async def main() -> None:
        server, client = make_host(0), make_host(1)

        async def zeros(peer_id: str, payload: bytes) -> bytes:
            assert peer_id == client.peer_id
            return bytes(int(payload))

        server.register_server(SYNC_PROTOCOL, zeros)
        async with mesh(server, client):
            for size in (0, 1, 65_536, 5_000_000):
                response = await client.request(
                    server.peer_id, SYNC_PROTOCOL, b"%d" % size, response_bytes_max=5_000_000, timeout_s=10
                )
                assert response == bytes(size)
            await until(lambda: all(len(p.connection.muxer.streams) == 3 for p in server._switch.table.peers.values()))

    run(main)


def test_what_can_go_wrong_with_a_request_is_a_peer_fault() -> None:
    async def main() -> None:
        server, client = make_host(0), make_host(1)

        async def handler(_peer_id: str, payload: bytes) -> bytes:
            if payload == b"slow":
                await trio.sleep_forever()
            if payload == b"pruned":
                raise LocalError("that height was pruned")
            if payload == b"bad":
                raise WireError("not a request that I know")
            return bytes(1000)

        server.register_server(SYNC_PROTOCOL, handler, response_bytes_max=2000)

        async def ask(payload: bytes, **options: object) -> bytes:
            options = {"response_bytes_max": 1000, "timeout_s": 5.0} | options
            return await client.request(server.peer_id, SYNC_PROTOCOL, payload, **options)  # type: ignore[arg-type]

        async with mesh(server, client):
            with pytest.raises(RequestRefused, match="that height was pruned"):
                await ask(b"pruned")
            with pytest.raises(PeerFault, match=r"within 0\.2 s"):
                await ask(b"slow", timeout_s=0.2)
            with pytest.raises(LocalError, match="at most 1024"):
                await ask(bytes(2000))
            with pytest.raises(ConnectionLost, match="does not speak"):
                await client.request(server.peer_id, "/other/1", b"x", response_bytes_max=9, timeout_s=5)
            with pytest.raises(ConnectionLost, match="not connected"):
                await client.request(peer_id_of(seed(9)), SYNC_PROTOCOL, b"x", response_bytes_max=9, timeout_s=5)
            assert server.peers()[0].score < 15
            with pytest.raises(RequestRefused, match="not a request that I know"):
                await ask(b"bad")
            await until(lambda: server.peers()[0].score > 40)
            assert client.peers()[0].score < 15
            with pytest.raises(PeerFault, match="at most 257"):
                await ask(b"fine", response_bytes_max=256)
            assert client.peers()[0].score > 40
            assert await ask(b"fine") == bytes(1000)

    run(main)


def test_one_peer_has_few_requests_served_at_a_time() -> None:
    async def main() -> None:
        server, client = make_host(0), make_host(1)
        at_once, most = 0, 0

        async def handler(_peer_id: str, payload: bytes) -> bytes:
            nonlocal at_once, most
            at_once += 1
            most = max(most, at_once)
            await trio.sleep(0.02)
            at_once -= 1
            return payload

        server.register_server(SYNC_PROTOCOL, handler)
        done = []
        async with mesh(server, client):

            async def ask(index: int) -> None:
                payload = b"%d" % index
                done.append(
                    await client.request(server.peer_id, SYNC_PROTOCOL, payload, response_bytes_max=9, timeout_s=9)
                )

            async with trio.open_nursery() as nursery:
                for index in range(12):
                    nursery.start_soon(ask, index)
        assert len(done) == 12 and most == TEST_LIMITS.requests_per_peer

    run(main)


# ---------------------------------------------------------------- scores, places, errors of the operator


def test_faults_lead_to_a_ban_that_ends() -> None:
    async def main() -> None:
        judge = make_host(0, limits=replace(TEST_LIMITS, ban_s_first=3.0))
        async with running(judge):
            culprit = make_host(1, known=judge.addresses)
            async with running(culprit):
                await until(judge.peers)
                judge.report_fault(culprit.peer_id, PeerFault("lied"), 60)
                assert judge.peers()
                judge.report_fault(culprit.peer_id, PeerFault("lied again"), 60)
                await until(lambda: not judge.peers())
                await trio.sleep(0.5)
                assert not judge.peers()
                await until(judge.peers, timeout_s=10)

    run(main)


def test_protected_peers_have_a_place_when_there_is_none() -> None:
    async def main() -> None:
        full = make_host(0, limits=replace(TEST_LIMITS, peers_max=3, peers_high=2))
        guests = [make_host(index) for index in range(1, 6)]
        for guest in guests[3:]:
            full.protect(guest.peer_id)

        def connected() -> set[str]:
            return {peer.peer_id for peer in full.peers()}

        async with running(full, *guests):
            for guest in guests[:2]:
                guest.add_known_peer(full.addresses[0])
            await until(lambda: len(connected()) == 2)
            guests[2].add_known_peer(full.addresses[0])
            await trio.sleep(0.3)
            assert connected() == {guest.peer_id for guest in guests[:2]}
            full.report_fault(guests[0].peer_id, PeerFault("a little"), 10)
            for guest in guests[3:]:
                guest.add_known_peer(full.addresses[0])
            await until(lambda: connected() == {guests[1].peer_id, guests[3].peer_id, guests[4].peer_id})

    run(main)


def test_a_port_in_use_is_named() -> None:
    async def main() -> None:
        first = make_host(0)
        async with running(first):
            port = int(first.addresses[0].split("/")[4])
            assert port > 0 and first.addresses[0].endswith(f"/p2p/{first.peer_id}")
            with pytest.raises(LocalError, match=f"/tcp/{port}: the port is in use"):
                await make_host(1, port=port).run()

    run(main)


def test_what_an_operator_may_get_wrong_is_a_local_error() -> None:
    def host(**options: object) -> Host:
        return Host(HostConfig(**options), hello=lambda: b"", check_hello=lambda _id, b: b)  # type: ignore[arg-type]

    with pytest.raises(LocalError, match="32 secret bytes"):
        host(seed=b"short")
    with pytest.raises(LocalError, match="no /p2p/<PeerId>"):
        host(seed=seed(0), known_peers=("/ip4/127.0.0.1/tcp/1",))
    with pytest.raises(LocalError, match="a message of 0 bytes"):
        host(seed=seed(0)).broadcast(TX_CHANNEL, b"")
    with pytest.raises(LocalError, match="1 to 65536"):
        host(seed=seed(0)).broadcast(CONSENSUS_CHANNEL, bytes(65_537))
    with pytest.raises(LocalError, match="no channel"):
        host(seed=seed(0)).send("x", "/other/1", b"x")


def test_the_hosts_own_address_is_not_dialed_and_its_key_elsewhere_is_refused() -> None:
    async def main() -> None:
        host, twin = make_host(0), make_host(0)
        async with running(host):
            host.add_known_peer(host.addresses[0])
            assert not host._switch.known
            async with running(twin):
                peer = RawPeer(host, index=0)
                async with peer.connected():
                    with pytest.raises(PeerFault, match="my own PeerId"):
                        await peer.hello()

    run(main)


def test_closing_is_quick_with_a_peer_that_reads_nothing() -> None:
    async def main() -> None:
        host = make_host(0)
        with trio.fail_after(10):
            async with running(host):
                peer = RawPeer(host)
                async with peer.connected():
                    await peer.settle(host)
                    for _ in range(100):
                        host.broadcast(BLOCK_CHANNEL, bytes(200_000))
                    await trio.sleep(0.2)

    run(main)


def test_an_unread_inbox_that_is_closed_does_not_hold_its_peers() -> None:
    async def main() -> None:
        host = make_host(0)
        host.inbox.close()
        async with running(host):
            peer = RawPeer(host)
            async with peer.connected():
                streams = await peer.settle(host)
                for _ in range(50):
                    await streams[TX_CHANNEL].write(encode_frame(bytes(100_000), size_max=100_000))
                assert not peer.closed.is_set()

    run(main)


def test_both_kinds_of_keys_talk_to_each_other() -> None:
    async def main() -> None:
        config = HostConfig(seed=seed(1), key_type="secp256k1", limits=TEST_LIMITS)
        other = Host(config, hello=lambda: b"chain A", check_hello=lambda _id, payload: payload)
        assert other.peer_id == peer_id_of(seed(1), "secp256k1")
        async with mesh(make_host(0), other):
            [peer] = other.peers()
            assert other.send(peer.peer_id, TX_CHANNEL, b"hello")

    run(main)


def test_a_callback_that_fails_costs_its_connection_and_nothing_else() -> None:
    async def main() -> None:
        calls: list[PeerInfo] = []

        def up(info: PeerInfo) -> None:
            calls.append(info)
            if len(calls) <= 2:
                raise RuntimeError("a bug in the node")

        host = make_host(0, on_peer_up=up)
        async with running(host):
            other = make_host(1, known=host.addresses)
            async with running(other):
                await until(lambda: len(calls) == 3 and host.peers() and other.peers())

    run(main)
