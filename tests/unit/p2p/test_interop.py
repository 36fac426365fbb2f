"""Our host and a stock libp2p host, over loopback: the same wire protocols, layer by layer."""

import subprocess
import sys
from pathlib import Path

import trio

from p2p.config import BLOCK_CHANNEL
from tests.unit.p2p.harness import make_host, run, running

ROOT = Path(__file__).parents[3]


def test_a_stock_libp2p_host_can_be_a_peer() -> None:
    async def main() -> None:
        host = make_host(0, on_peer_up=lambda _info: [host.broadcast(BLOCK_CHANNEL, bytes(200_000)) for _ in range(10)])

        async def echo(_peer_id: str, payload: bytes) -> bytes:
            return payload

        host.register_server("/test/echo/1", echo, request_bytes_max=1_000_000)
        got: list[bytes] = []

        async def read_inbox() -> None:
            async for message in host.inbox:
                got.append(message.payload)

        async with running(host) as nursery:
            nursery.start_soon(read_inbox)
            done = await trio.run_process(
                [sys.executable, "-m", "tests.unit.p2p.stock_peer", host.addresses[0]],
                cwd=ROOT,
                capture_stdout=True,
                stderr=subprocess.DEVNULL,  # a stock host is chatty
                check=False,
            )
        lines = done.stdout.decode()
        assert [line.split()[0] for line in lines.splitlines()[:4]] == ["hello", "channels", "request", "unknown"], (
            lines
        )
        assert sorted(got, key=len) == [b"still here", b"vote from stock", *[bytes(200_000)] * 10]

    run(main)
