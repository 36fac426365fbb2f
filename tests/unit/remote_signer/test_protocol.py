"""The words between node and signer: canonical, bounded, and nothing but WireError for anything else."""

import random
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from consensus.signer import Signer, SigningRefused
from genesis.crypto import sign
from genesis.errors import StorageCorrupt, WireError
from genesis.primitives import NO_ROUND, ZERO_HASH, Height, Round, keccak256
from genesis.types import VoteType
from node.signer.client import RemoteSigner
from node.signer.protocol import (
    Answer,
    AskLast,
    Introduce,
    Introduced,
    Last,
    Refused,
    Request,
    Signed,
    SignHello,
    SignProposal,
    SignVote,
    decode_answer,
    decode_request,
    encode_answer,
    encode_request,
)
from node.signer.server import SignerServer, listen
from tests.unit.consensus.support import MemoryRecord
from tests.unit.remote_signer.signer_process import ADDRESS, CHAIN, KEY

A, B, SET = keccak256(b"block A"), keccak256(b"block B"), keccak256(b"validators")
VOTE = SignVote(VoteType.PREVOTE, Height(7), Round(1), A, SET)
REQUESTS: list[Request] = [
    Introduce(1, CHAIN.chain_id, CHAIN.genesis_hash),
    VOTE,
    SignProposal(Height(7), Round(1), NO_ROUND, A, (), SET),
    SignHello("12D3KooW"),
    AskLast(),
]


def make_server(store: MemoryRecord) -> SignerServer:
    def sign_hash(digest: bytes) -> object:
        return sign(KEY, digest)  # type: ignore[arg-type]  # 32 bytes

    signer = Signer(CHAIN, ADDRESS, sign_hash, store)  # type: ignore[arg-type]  # as above
    return SignerServer(CHAIN, signer, sign_hash)  # type: ignore[arg-type]  # as above


def test_every_word_survives_the_wire() -> None:
    server = make_server(MemoryRecord())
    for request in REQUESTS:
        assert decode_request(encode_request(request)) == request
    for request in (
        REQUESTS[0],
        REQUESTS[2],
        VOTE,
        AskLast(),
        SignHello("x"),
        SignVote(*([VoteType.PREVOTE, 7, 1, B, SET])),
    ):  # type: ignore[arg-type]  # plain ints
        answer = server.answer(request)
        assert decode_answer(encode_answer(answer)) == answer


def test_mutations_raise_wire_error_alone() -> None:
    rng = random.Random(11)
    server = make_server(MemoryRecord())
    words = [encode_request(request) for request in REQUESTS]
    for number in range(20_000):
        data = bytearray(rng.choice(words))
        for _ in range(rng.randint(1, 3)):
            place = rng.randrange(len(data))
            data[place : place + rng.randint(0, 2)] = rng.randbytes(rng.randint(0, 2))
            data = data or bytearray(b"\x00")
        try:
            request = decode_request(bytes(data))
        except WireError:
            continue
        assert encode_request(request) == bytes(data), f"mutation {number}"
        server.answer(request)


@pytest.mark.parametrize(
    "make",
    [
        lambda: SignVote(VoteType.PROPOSAL, Height(1), Round(0), A, SET),
        lambda: SignVote(VoteType.PREVOTE, Height(-1), Round(0), A, SET),
        lambda: SignProposal(Height(1), Round(0), Round(0), A, (), SET),
        lambda: SignProposal(Height(1), Round(0), NO_ROUND, ZERO_HASH, (), SET),
        lambda: SignHello(""),
        lambda: SignHello("x" * 200),
    ],
)
def test_requests_that_no_node_would_send(make: object) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        make()  # type: ignore[operator]  # a lambda


def test_answers_are_what_the_signer_says() -> None:
    store = MemoryRecord()
    server = make_server(store)
    assert server.answer(REQUESTS[0]) == Introduced(ADDRESS, None)
    assert server.answer(AskLast()) == Last(None)
    signed = server.answer(VOTE)
    assert isinstance(signed, Signed)
    assert server.answer(VOTE) == signed
    assert server.answer(AskLast()) == Last(signed.record)
    refused = server.answer(SignVote(VoteType.PREVOTE, Height(7), Round(1), B, SET))
    assert isinstance(refused, Refused) and "something else was signed" in refused.reason
    assert len(store.history) == 1
    assert isinstance(server.answer(Introduce(2, CHAIN.chain_id, CHAIN.genesis_hash)), Refused)


@contextmanager
def impostor(path: Path, answers: list[Answer | bytes]) -> Iterator[None]:
    """Something on the socket that answers what it likes, one connection after the other."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(8)
    queue = iter(answers)

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                while connection.recv(65_536):
                    answer = next(queue, None)
                    if answer is None:
                        break
                    data = answer if isinstance(answer, bytes) else encode_answer(answer)
                    connection.sendall(len(data).to_bytes(4, "big") + data)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


@pytest.fixture
def socket_path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    import tempfile

    with tempfile.TemporaryDirectory(prefix="ols-") as folder:
        yield Path(folder) / "s"


def test_the_client_checks_what_it_is_given(socket_path: Path) -> None:
    other = make_server(MemoryRecord())
    other.answer(SignVote(VoteType.PREVOTE, Height(7), Round(1), B, SET))
    for_b = other.answer(AskLast())
    assert isinstance(for_b, Last) and for_b.record is not None
    mine = make_server(MemoryRecord()).answer(VOTE)
    assert isinstance(mine, Signed)
    broken = bytearray(mine.record.message)
    broken[-1] ^= 1
    from dataclasses import replace

    introduced = Introduced(ADDRESS, None)
    wrong: list[Answer | bytes] = [
        Signed(for_b.record),
        Signed(replace(mine.record, message=bytes(broken))),
        Signed(replace(mine.record, message=b"\x00")),
        Last(None),
        introduced,
        b"\xff\xff",
    ]
    for answer in wrong:
        path = socket_path.with_name(f"s{wrong.index(answer)}")
        with impostor(path, [introduced, answer]):
            client = RemoteSigner(path, CHAIN, patience_s=5, answer_timeout_s=5)
            with pytest.raises(SigningRefused):
                client.sign_vote(VoteType.PREVOTE, Height(7), Round(1), A, SET)
            client.close()


def test_a_signer_with_another_key_is_not_used(socket_path: Path) -> None:
    stranger = Introduced(type(ADDRESS)(b"\x01" * 20), None)
    with impostor(socket_path, [Introduced(ADDRESS, None), stranger, stranger]):
        client = RemoteSigner(socket_path, CHAIN, patience_s=5, answer_timeout_s=5)
        client.close()
        with pytest.raises(SigningRefused, match="has the key of 0101"):
            client.sign_vote(VoteType.PREVOTE, Height(7), Round(1), A, SET)
        client.close()


def test_a_record_that_cannot_be_written_ends_the_signer(socket_path: Path) -> None:
    """Nothing is signed that is not remembered, and a signer that can't remember is none."""

    def full() -> None:
        raise StorageCorrupt("the disk is full")

    server = make_server(MemoryRecord(hazard=full))
    refusals: list[SigningRefused] = []

    def ask() -> None:
        client = RemoteSigner(socket_path, CHAIN, patience_s=10, answer_timeout_s=10)
        with pytest.raises(SigningRefused) as caught:
            client.sign_vote(VoteType.PREVOTE, Height(1), Round(0), A, SET)
        refusals.append(caught.value)
        client.close()

    async def main() -> None:
        listener = listen(socket_path)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, ask)
            with pytest.raises(StorageCorrupt, match="disk is full"):
                await server.serve(listener)
            await trio.aclose_forcefully(listener)

    trio.run(main)
    assert len(refusals) == 1
