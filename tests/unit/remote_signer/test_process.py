"""The signer as a real process on a real socket: signs, refuses, forgets nothing, and is not impressed by garbage."""

import contextlib
import random
import signal
import socket
import stat
import subprocess
from collections.abc import Iterator

import pytest

from consensus.messages import Step
from consensus.signer import Signer, SigningRefused
from genesis.crypto import recover, sign
from genesis.errors import LocalError
from genesis.primitives import NO_ROUND, ZERO_HASH, Hash32, Height, Round, keccak256
from genesis.types import Proposal, Vote, VoteType
from node.home.lock import DirectoryLock
from node.home.sign_record import SignRecordFile
from node.net import hello
from node.signer.client import RemoteSigner, SignerAway
from node.signer.protocol import AskLast, Introduce, SignHello, encode_request
from node.signer.server import listen
from tests.unit.remote_signer.signer_process import ADDRESS, CHAIN, KEY, SignerProcess, signer_process

A, B, SET = keccak256(b"block A"), keccak256(b"block B"), keccak256(b"validators")
PREVOTE, PRECOMMIT = VoteType.PREVOTE, VoteType.PRECOMMIT


@pytest.fixture
def signer() -> Iterator[SignerProcess]:
    with signer_process() as process:
        yield process.start()


@pytest.fixture(scope="module")
def running() -> Iterator[SignerProcess]:
    with signer_process() as process:
        yield process.start()


@pytest.fixture
def shared(running: SignerProcess) -> Iterator[SignerProcess]:
    """For tests that take positions of their own and leave the process alive."""
    yield running
    running.close_clients()


def cast(
    client: RemoteSigner | Signer, height: int, block_hash: Hash32, kind: VoteType = PREVOTE, round_: int = 0
) -> Vote:
    return client.sign_vote(kind, Height(height), Round(round_), block_hash, SET)


def propose(client: RemoteSigner, height: int, block_hash: Hash32, round_: int = 0) -> Proposal:
    return client.sign_proposal(Height(height), Round(round_), NO_ROUND, block_hash, (), SET)


def frame(payload: bytes) -> bytes:
    return len(payload).to_bytes(4, "big") + payload


def test_it_signs_what_a_local_signer_would_and_remembers(signer: SignerProcess) -> None:
    client = signer.client()
    assert (client.address, client.last) == (ADDRESS, None)
    proposal = propose(client, 1, A)
    vote = cast(client, 1, A)
    nil = cast(client, 1, ZERO_HASH, PRECOMMIT)
    assert recover(proposal.digest(CHAIN, SET), proposal.signature) == ADDRESS
    assert recover(nil.digest(CHAIN, SET), nil.signature) == ADDRESS
    assert bytes(vote.signature) == bytes(sign(KEY, vote.digest(CHAIN, SET)))
    assert client.last is not None
    assert client.last.position == (1, 0, Step.PRECOMMIT)
    assert client.last.signed() == nil
    local = Signer(CHAIN, ADDRESS, lambda digest: sign(KEY, digest), SignRecordFile(signer.record))
    assert local.last == client.last, "the record on disk is what the node was told"


def test_it_refuses_what_conflicts_and_repeats_what_does_not(shared: SignerProcess) -> None:
    client = shared.client()
    first = cast(client, 10, A)
    assert cast(client, 10, A) == first
    for attempt in (lambda: cast(client, 10, B), lambda: cast(client, 10, ZERO_HASH), lambda: propose(client, 10, A)):
        with pytest.raises(SigningRefused):
            attempt()
    with pytest.raises(SigningRefused, match="asked to sign"):
        cast(client, 9, A, PRECOMMIT)
    assert cast(client, 10, B, round_=1).block_hash == B, "a later round may vote for another block"


def test_a_reproposal_comes_back_with_its_polka(shared: SignerProcess) -> None:
    client = shared.client()
    polka = tuple(Vote(PREVOTE, Height(20), Round(0), A, ADDRESS, sign(KEY, keccak256(bytes([n])))) for n in range(256))
    made = client.sign_proposal(Height(20), Round(1), Round(0), A, polka, SET)
    assert made.polka == polka
    assert shared.client().last == client.last, "the whole of it is in the record"


def test_two_nodes_get_one_signature_between_them(shared: SignerProcess) -> None:
    first, second = shared.client(), shared.client()
    vote = cast(first, 30, A)
    assert cast(second, 30, A) == vote
    with pytest.raises(SigningRefused, match="something else was signed"):
        cast(second, 30, B)
    later = cast(second, 31, B)
    assert first.covers(later), "it asks before it believes that its key is used elsewhere"
    foreign = Vote(PREVOTE, Height(40), Round(0), A, ADDRESS, sign(KEY, A))
    assert not first.covers(foreign)
    with pytest.raises(SigningRefused, match="something else was signed"):
        cast(first, 31, A)


def test_a_stopped_client_signs_nothing_more(shared: SignerProcess) -> None:
    client, other = shared.client(), shared.client()
    client.stop("seen elsewhere")
    with pytest.raises(SigningRefused, match="seen elsewhere"):
        cast(client, 50, A)
    assert cast(other, 50, B).block_hash == B


def test_the_hello_binds_the_validator_to_one_peer(shared: SignerProcess) -> None:
    client = shared.client()
    data = hello.make_hello(CHAIN, "12D3KooWnode", client.address, client.hello_signer("12D3KooWnode"))
    assert hello.check_hello(CHAIN, "12D3KooWnode", data) == ADDRESS
    with pytest.raises(SigningRefused):  # its signature is no good for anything else
        hello.make_hello(CHAIN, "12D3KooWother", client.address, client.hello_signer("12D3KooWnode"))


def test_nodes_of_other_chains_are_sent_away(shared: SignerProcess) -> None:
    shared.client()
    from genesis.types import ChainIdentity

    for other in (ChainIdentity(CHAIN.chain_id + 1, CHAIN.genesis_hash), ChainIdentity(CHAIN.chain_id, A)):
        with pytest.raises(LocalError, match="this signer is for chain id 4545"):
            RemoteSigner(shared.socket, other, patience_s=0)


def test_garbage_ends_its_connection_and_nothing_else(shared: SignerProcess) -> None:
    client = shared.client()
    before = cast(client, 60, A)
    rng = random.Random(7)
    introduce = frame(encode_request(Introduce(1, CHAIN.chain_id, CHAIN.genesis_hash)))
    wrong = [
        rng.randbytes(50),
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        (1 << 31).to_bytes(4, "big"),
        bytes(4),
        frame(encode_request(AskLast())),
        frame(encode_request(SignHello("12D3KooW"))),
        frame(b"\x92\x63\x01"),
        introduce + frame(b"\xc1"),
        introduce + frame(encode_request(AskLast())[:-1] + b"\x00"),
        introduce[:-1],
        *(frame(rng.randbytes(rng.randint(1, 300))) for _ in range(40)),
    ]
    for sent in wrong:
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as raw:
            raw.settimeout(30)
            raw.connect(str(shared.socket))
            with contextlib.suppress(BrokenPipeError):
                raw.sendall(sent)
                raw.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionResetError):
                while raw.recv(4096):
                    pass
    assert cast(client, 60, A) == before
    with pytest.raises(SigningRefused):
        cast(client, 60, B)
    assert shared.process is not None and shared.process.poll() is None


def test_too_many_connections_leave_those_that_are_served(shared: SignerProcess) -> None:
    client = shared.client()
    vote = cast(client, 70, A)
    idle = [socket.socket(socket.AF_UNIX) for _ in range(20)]
    try:
        for raw in idle:
            with contextlib.suppress(BlockingIOError, ConnectionError):
                raw.setblocking(False)
                raw.connect(str(shared.socket))
        assert cast(client, 70, A) == vote
        with pytest.raises(LocalError, match=r"serves 8 connections already|no signer answers"):
            RemoteSigner(shared.socket, CHAIN, patience_s=0, answer_timeout_s=20)
    finally:
        for raw in idle:
            raw.close()
    assert cast(client, 71, A).height == 71


def test_it_survives_being_killed(signer: SignerProcess) -> None:
    client = signer.client(answer_timeout_s=60.0)
    votes = [cast(client, 1, A)]
    for height in (2, 3):
        signer.kill()
        with pytest.raises(SignerAway, match="cannot connect"):
            cast(client, height, A)
        last = client.last
        assert last is not None and last.height == height - 1, "what is known stays known while the signer is away"
        signer.socket.unlink()  # so that its coming back can be seen; it would replace a stale one itself
        signer.start().wait_until_listening()
        with pytest.raises(SigningRefused, match="something else was signed"):
            cast(client, height - 1, B)
        assert cast(client, height - 1, A) == votes[-1]
        votes.append(cast(client, height, A))


def test_a_stale_socket_is_replaced_and_a_clean_stop_leaves_none(signer: SignerProcess) -> None:
    signer.client()
    signer.kill()
    assert signer.socket.exists()
    signer.start().client()
    signer.send(signal.SIGTERM)
    assert signer.wait() == 0, signer.log
    assert not signer.socket.exists()


def test_only_its_own_user_gets_at_the_socket(shared: SignerProcess) -> None:
    shared.client()
    assert stat.S_IMODE(shared.socket.stat().st_mode) == 0o600
    assert stat.S_IMODE(shared.socket.parent.stat().st_mode) == 0o700


def test_it_will_not_listen_where_it_would_be_unsafe() -> None:
    with signer_process() as process:
        process.socket.parent.mkdir(mode=0o755)
        with pytest.raises(LocalError, match="chmod 700"):
            listen(process.socket)
        process.socket.parent.chmod(0o700)
        process.socket.write_text("precious")
        with pytest.raises(LocalError, match="is no socket"):
            listen(process.socket)
        assert process.socket.read_text() == "precious"
        with pytest.raises(LocalError, match="cannot listen on"):
            listen(process.socket.with_name("x" * 120))


def test_a_key_without_its_record_is_not_used() -> None:
    with signer_process() as process:
        process.record.unlink()
        done = subprocess.run(process.command(), capture_output=True, text=True, timeout=120)
        assert done.returncode == 1
        assert "sign record" in done.stderr and "Traceback" not in done.stderr


def test_one_signer_per_key_and_per_socket(shared: SignerProcess) -> None:
    client = shared.client()
    with pytest.raises(LocalError, match="in use"):
        DirectoryLock(shared.datadir)
    with pytest.raises(LocalError, match="another signer listens"):
        listen(shared.socket)
    assert cast(client, 80, A).height == 80


def test_a_hung_signer_costs_one_time_out_then_nobody_waits(signer: SignerProcess) -> None:
    now = 1_000.0
    client = signer.client(clock=lambda: now)
    vote = cast(client, 1, A)
    client.close()
    impatient = RemoteSigner(signer.socket, CHAIN, patience_s=60, answer_timeout_s=0.3, clock=lambda: now)
    try:
        signer.send(signal.SIGSTOP)
        with pytest.raises(SignerAway, match="does not answer within"):
            cast(impatient, 2, A)
        with pytest.raises(SignerAway, match="a moment ago"):
            cast(impatient, 2, A)
        assert impatient.last is not None and impatient.last.height == 1
        signer.send(signal.SIGCONT)
        now += 60.0
        patient = signer.client()
        assert patient.covers(vote)
        again = cast(patient, 2, A)
        assert again.height == 2
    finally:
        impatient.close()


def test_an_old_record_is_noticed(signer: SignerProcess) -> None:
    """The client saw height 2 signed; a signer that now ends at height 1 must not be believed."""
    client = signer.client()
    cast(client, 1, A)
    old = signer.record.read_bytes()
    cast(client, 2, A)
    signer.kill()
    signer.record.write_bytes(old)
    signer.socket.unlink()
    signer.start().wait_until_listening()
    with pytest.raises(SigningRefused, match="has forgotten what it signed"):
        cast(client, 3, A)


def test_no_signer_is_a_clear_error() -> None:
    with signer_process() as process, pytest.raises(LocalError, match="start it with: openledger signer"):
        RemoteSigner(process.socket, CHAIN, patience_s=0)
