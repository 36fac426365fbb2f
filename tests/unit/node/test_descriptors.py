"""Descriptors and threads: who gets how many, and that nothing takes threads that are everybody's."""

import ast
import logging
import resource
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import trio

from genesis.errors import LocalError
from node import descriptors
from node.descriptors import CONNECTIONS_LEAST, KEPT, connections_for
from node.rpc.config import RpcLimits
from node.threads import Threads
from p2p.config import Limits

ROOT = Path(__file__).resolve().parents[3]


def test_json_rpc_gets_what_is_left(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    assert connections_for(descriptors.WANTED, 1_024) == 1_024
    assert not caplog.records
    assert connections_for(1_024, 1_024) == 1_024 - KEPT
    assert "1024" in caplog.text
    assert connections_for(KEPT + CONNECTIONS_LEAST, 1_024) == CONNECTIONS_LEAST
    with pytest.raises(LocalError, match="ulimit -n"):
        connections_for(KEPT + CONNECTIONS_LEAST - 1, 1_024)
    limits = Limits()
    assert limits.peers_max + limits.pending_max + 16 + 16 + 64 < KEPT, (
        "peers, metrics, refused callers, and some to spare"
    )
    assert RpcLimits().connections_max + KEPT < descriptors.WANTED


@pytest.mark.parametrize(("soft", "hard", "expected"), [(256, 2_048, 2_048), (512, 512, 512), (4_096, 20_000, 8_192)])
def test_the_limit_is_raised_as_far_as_it_may(soft: int, hard: int, expected: int) -> None:
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < hard:
        pytest.skip("this machine's own limit is lower")
    code = "from node.descriptors import limit, raise_limit; raise_limit(); print(limit())"
    command = ["bash", "-c", f'ulimit -Sn {soft}; ulimit -Hn {hard}; exec "$0" "$@"', sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == [str(expected)], done.stderr


def test_a_kind_of_threads_is_bounded_and_apart_from_the_others() -> None:
    async def main() -> None:
        held, other, release = Threads("held", 2), Threads("other", 1), threading.Event()
        begun: list[int] = []

        def hold() -> None:
            begun.append(threading.get_ident())
            release.wait(30)

        async with trio.open_nursery() as nursery:
            for _ in range(60):
                nursery.start_soon(held.run, hold)
            with trio.fail_after(30):
                while len(begun) < 2:  # noqa: ASYNC110  threads tell nobody
                    await trio.sleep(0.01)
                assert await other.run(lambda number: number + 1, 1) == 2
            assert len(begun) == 2
            release.set()

    for _ in range(2):  # in another run the threads of the first are no hindrance
        trio.run(main)


def calls(path: Path) -> list[ast.Call]:
    return [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]


def test_no_thread_of_trios_common_forty_is_used() -> None:
    """Peers, callers and name servers could hold them all, and consensus would wait."""
    wrong = []
    for path in [path for package in ("consensus", "node", "p2p") for path in (ROOT / package).rglob("*.py")]:
        for call in calls(path):
            name = ast.unparse(call.func)
            shared = name.endswith("to_thread.run_sync") and not any(word.arg == "limiter" for word in call.keywords)
            if shared or name.endswith(("serve_listeners", "serve_tcp")):
                wrong.append(f"{path.relative_to(ROOT)}:{call.lineno} {name}")
    assert not wrong, "use node.threads or p2p.accepting:\n" + "\n".join(wrong)
