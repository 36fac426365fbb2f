"""Real hosts on loopback, and a raw peer that speaks every layer and may break the rules of any."""

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import trio

from p2p.address import parse_peer_address
from p2p.config import HELLO_PROTOCOL, HostConfig, Limits
from p2p.hello import exchange_hello
from p2p.host import Host
from p2p.identity import identity_of
from p2p.stream import Stream

TEST_LIMITS = replace(Limits(), yield_s=0.05, redial_s_first=0.05, redial_s_max=0.5)


def seed(index: int) -> bytes:
    return bytes([index + 1]) * 32


def make_host(
    index: int, *, port: int = 0, known: Sequence[str] = (), limits: Limits = TEST_LIMITS, **options: object
) -> Host:
    config = HostConfig(
        seed=seed(index), listen=(f"/ip4/127.0.0.1/tcp/{port}",), known_peers=tuple(known), limits=limits
    )
    callbacks: dict[str, object] = {
        "hello": lambda: b"chain A",
        "check_hello": lambda _peer_id, payload: payload,
        "rng": random.Random(index),
    }
    return Host(config, **(callbacks | options))  # type: ignore[arg-type]  # the tests override callbacks by name


async def until(condition: Callable[[], object], timeout_s: float = 15.0) -> None:
    """Wait for a condition; the bound only keeps a broken test from hanging."""
    with trio.fail_after(timeout_s):
        while not condition():  # noqa: ASYNC110  any condition at all, so nobody can signal it
            await trio.sleep(0.01)


@asynccontextmanager
async def running(*hosts: Host) -> AsyncIterator[trio.Nursery]:
    """Run hosts for the length of a block, then close them; every task that they started must end."""
    async with trio.open_nursery() as nursery:
        for host in hosts:
            await nursery.start(host.run)
        yield nursery
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def mesh(*hosts: Host) -> AsyncIterator[trio.Nursery]:
    """Run hosts that all know each other, once all are connected."""
    async with running(*hosts) as nursery:
        for host in hosts:
            for other in hosts:
                host.add_known_peer(other.addresses[0])
        await until(lambda: all(len(host.peers()) == len(hosts) - 1 for host in hosts))
        yield nursery


def run(main: Callable[[], Awaitable[None]]) -> None:
    """Run an async test; nothing in it may take a minute."""

    async def bounded() -> None:
        with trio.fail_after(50):
            await main()

    trio.run(bounded)


class RawPeer:
    """The dialer's side of a connection, layer by layer, without any of a host's restraint."""

    def __init__(self, target: Host, index: int = 90) -> None:
        self.address = parse_peer_address(target.addresses[0])
        self.identity = identity_of(seed(index))
        self.closed = trio.Event()

    async def tcp(self) -> trio.SocketStream:
        return await trio.open_tcp_stream(self.address.host, self.address.port)

    @asynccontextmanager
    async def connected(self) -> AsyncIterator["RawPeer"]:
        """An encrypted and multiplexed connection, before the hello. `closed` is set when the target ends it."""
        from p2p.connection import upgrade_outbound
        from p2p.muxer import Muxer
        from p2p.tcp import BufferedSocket

        self.socket = BufferedSocket(await self.tcp())
        assert self.address.peer_id is not None
        try:
            self.channel = await upgrade_outbound(self.socket, self.identity, self.address.peer_id, 5.0)
            self.muxer = Muxer(self.channel, is_dialer=True, on_stream=lambda _stream: None)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._carry)
                yield self
                nursery.cancel_scope.cancel()
        finally:
            self.socket.close()

    async def open(self, protocol: str) -> Stream:
        from p2p.multistream import propose

        stream = self.muxer.open()
        await propose(stream, protocol)
        return stream

    async def hello(self, payload: bytes = b"chain A") -> None:
        stream = await self.open(HELLO_PROTOCOL)
        await exchange_hello(stream, b"12345678", payload, lambda _instance, theirs: theirs)

    async def settle(self, host: Host) -> dict[str, Stream]:
        """Hello and all channels, as an honest peer would."""
        await self.hello()
        streams = {name: await self.open(name) for name in host._channels}
        await until(lambda: any(peer.peer_id == self.identity.peer_id for peer in host.peers()))
        return streams

    async def _carry(self) -> None:
        from genesis.errors import PeerFault

        try:
            await self.muxer.run()
        except* PeerFault:
            pass
        finally:
            self.closed.set()
