"""Metrics over HTTP, log lines, and what is kept of a fatal error."""

import contextlib
import json
import logging
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio

from consensus.messages import Step
from consensus.observer import VoteIgnored
from genesis.errors import InvariantError, LocalError, StorageCorrupt
from genesis.primitives import Address, Hash32, Height, Power, Round, Signature
from genesis.types import Commit, DuplicateVote, Validator, ValidatorSet, Vote, VoteType
from node.feed import Feed
from node.interfaces import NodeStatus, PeerStatus, SyncStatus
from node.mempool.pool import TransactionPool
from node.mempool.service import MempoolService
from node.process import _first_cause, _keep_evidence
from node.telemetry.logs import JsonFormatter, TextFormatter
from node.telemetry.metrics import NodeMetrics, serve_metrics
from tests.unit.node.local_chain import CHAIN_ID, GWEI, LocalChain, make_spec, transfer
from tests.unit.node.test_mempool import Accounts


@dataclass
class Status:
    """A node with two peers."""

    is_validator: bool = True
    validator_address: Address | None = None
    progress: SyncStatus | None = None

    def add_peer(self, address: str) -> None:
        raise LocalError("not here")

    def peer_count(self) -> int:
        return 2

    def peers(self) -> list[PeerStatus]:
        return []

    def syncing(self) -> SyncStatus | None:
        return self.progress

    def client_version(self) -> str:
        return "test"

    def p2p_address(self) -> str | None:
        return None

    def listening(self) -> bool:
        return True


def made(path: Path) -> NodeMetrics:
    metrics = NodeMetrics()
    mempool = MempoolService(TransactionPool(make_spec(), Accounts(), GWEI), Feed(), CHAIN_ID, lambda: 0.0)
    mempool.pool.add(transfer(0, 1), 0)
    status: NodeStatus = Status()
    metrics.watch(status, mempool)
    chain = LocalChain(path / "chain", make_spec())
    metrics.block(chain.store.tip())
    chain.extend(transfer(0, 0), transfer(1, 0))
    metrics.block(chain.store.tip())
    chain.close()
    return metrics


async def ask(port: int, request: bytes) -> bytes:
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    async with stream:
        await stream.send_all(request)
        answer = b""
        with contextlib.suppress(trio.BrokenResourceError):  # a reset, where not all of the request was read
            while data := await stream.receive_some(65_536):
                answer += data
    return answer


async def test_metrics_are_served_and_a_bad_client_harms_nobody(tmp_path: Path) -> None:
    metrics = made(tmp_path)
    metrics.step_entered(Height(2), Round(0), Step.PROPOSE)
    metrics.step_entered(Height(2), Round(1), Step.PREVOTE)
    members = ValidatorSet((Validator(Address(bytes([1]) * 20), Power(7), Address(bytes(20))),))
    metrics.decided(
        Commit(Height(2), Round(0), Hash32(b"\x01" * 32), (bytes(65),)), members
    )  # says nothing of who is missing
    metrics.last_commit(
        Commit(Height(1), Round(0), b"\x01" * 32, (b"",)),  # type: ignore[arg-type]  # a hash
        ValidatorSet((Validator(Address(bytes([1]) * 20), 7, Address(bytes(20))),)),  # type: ignore[arg-type]  # a power
    )
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    await listeners[0].aclose()
    async with trio.open_nursery() as nursery:
        await nursery.start(serve_metrics, metrics, ("127.0.0.1",), port)
        with pytest.raises(LocalError, match=str(port)):
            await serve_metrics(metrics, ("127.0.0.1",), port)
        await ask(port, b"x" * 20_000)
        silent = await trio.open_tcp_stream("127.0.0.1", port)
        await silent.aclose()
        answer = (await ask(port, b"GET /metrics HTTP/1.1\r\n\r\n")).decode()
        assert (await ask(port, b"GET /health HTTP/1.1\r\n\r\n")).endswith(b"\r\n\r\nok\n")
        assert (await ask(port, b"HEAD /ready HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 200 OK\r\n")
        for request, status in ((b"POST /health HTTP/1.1", 405), (b"GET /x HTTP/1.1", 404), (b"nonsense", 400)):
            assert (await ask(port, request + b"\r\n\r\n")).startswith(b"HTTP/1.1 %d " % status)
        metrics._status = Status(progress=SyncStatus(Height(1), Height(2), Height(9)))
        answer_unready = await ask(port, b"GET /ready HTTP/1.1\r\n\r\n")
        assert answer_unready.startswith(b"HTTP/1.1 503 ") and b"not ready: at block 2 of 9" in answer_unready
        nursery.cancel_scope.cancel()
    head, _, body = answer.partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 200 OK")
    lines = body.splitlines()
    for line in (
        "openledger_consensus_height 1.0",
        "openledger_consensus_round 1.0",
        "openledger_consensus_missing_validators_power 7.0",
        "openledger_transactions_total 2.0",
        "openledger_gas_used_total 42000.0",
        "openledger_p2p_peers 2.0",
        "openledger_mempool_pending 0.0",
        "openledger_mempool_queued 1.0",
        "openledger_syncing 0.0",
        "openledger_consensus_block_interval_seconds_count 1.0",
    ):
        assert line in lines, line


def test_consensus_is_measured_and_its_log_lines_say_where(caplog: pytest.LogCaptureFixture) -> None:
    metrics = NodeMetrics()
    members = ValidatorSet((Validator(Address(bytes([1]) * 20), Power(7), Address(bytes(20))),))
    commit = Commit(Height(3), Round(1), Hash32(b"\x01" * 32), (bytes(65),))
    caplog.set_level(logging.DEBUG, "node.telemetry.metrics")
    metrics.polka_seen(Height(3), Round(0))  # of a proposal that never came: nothing to measure from
    metrics.proposal_taken(Height(3), Round(1), own=True)
    metrics.polka_seen(Height(3), Round(1))
    metrics.decided(commit, members)
    metrics.timed_out(Height(3), Round(0), Step.PROPOSE)
    metrics.step_entered(Height(3), Round(1), Step.PREVOTE)
    metrics.signing_refused("no")
    for why in VoteIgnored:
        metrics.vote_ignored(why)
    lines = metrics.page().decode().splitlines()
    for line in (
        "openledger_consensus_quorum_prevote_delay_seconds_count 1.0",
        "openledger_consensus_quorum_precommit_delay_seconds_count 1.0",
        'openledger_consensus_timeouts_total{step="propose"} 1.0',
        'openledger_consensus_votes_ignored_total{why="duplicate"} 1.0',
        'openledger_consensus_votes_ignored_total{why="late"} 1.0',
    ):
        assert line in lines, line
    first, second = (
        Vote(VoteType.PREVOTE, Height(2), Round(0), Hash32(bytes([i]) * 32), Address(bytes(20)), Signature(bytes(65)))
        for i in (1, 2)
    )
    metrics.equivocation(DuplicateVote(first, second))
    assert len(caplog.records) >= 5
    for message in (each.getMessage() for each in caplog.records):
        assert re.match(r"height \d+ round \d+ (propose|prevote|precommit): ", message), message


def record(message: str, error: Exception | None = None) -> logging.LogRecord:
    info = (type(error), error, None) if error else None
    return logging.LogRecord("node.test", logging.WARNING, "file", 1, message, (), info)


def test_log_lines_for_people_and_for_machines() -> None:
    text = TextFormatter().format(record("something happened"))
    assert text.endswith("WARNING node.test: something happened")
    line = json.loads(JsonFormatter("n1").format(record("two\nlines", ValueError("é"))))
    assert (line["level"], line["logger"], line["message"], line["node"]) == (
        "warning",
        "node.test",
        "two\nlines",
        "n1",
    )
    assert "ValueError: é" in line["trace"]
    assert line["time"].endswith("Z")


def test_the_fatal_error_is_found_in_a_group_and_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fatal = StorageCorrupt("a hole")
    group = BaseExceptionGroup(
        "tasks", [ValueError("x"), ExceptionGroup("inner", [LocalError("port"), fatal]), KeyboardInterrupt()]
    )
    assert _first_cause(group) is fatal
    assert str(_first_cause(ExceptionGroup("g", [ValueError("x"), LocalError("port")]))) == "port"
    _keep_evidence(tmp_path, InvariantError("it contradicts itself"))
    assert "InvariantError: it contradicts itself" in (tmp_path / "fatal.log").read_text()
    assert "it contradicts itself" in caplog.text
