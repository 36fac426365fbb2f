"""A stock libp2p host (0.8.1, defaults) that talks to ours; run as a script with our host's address.

Prints one line per step, so that the test can see how far it got.
"""

import sys

from p2p import standins

standins.install()

import multiaddr  # noqa: E402
import trio  # noqa: E402
from libp2p import new_host  # noqa: E402
from libp2p.custom_types import TProtocol  # noqa: E402
from libp2p.peer.peerinfo import info_from_p2p_addr  # noqa: E402

from p2p.frames import FrameDecoder, encode_frame  # noqa: E402


class StockStream:
    def __init__(self, stream: object) -> None:
        self.stream = stream
        self.decoder = FrameDecoder(1 << 22)

    async def send(self, payload: bytes) -> None:
        await self.stream.write(encode_frame(payload, size_max=1 << 22))

    async def receive(self) -> bytes:
        while (payload := self.decoder.pop()) is None:
            self.decoder.feed(await self.stream.read(65_536))
        return payload


async def main() -> None:
    host = new_host()
    info = info_from_p2p_addr(multiaddr.Multiaddr(sys.argv[1]))

    async def open_stream(protocol: str) -> StockStream:
        return StockStream(await host.new_stream(info.peer_id, [TProtocol(protocol)]))

    async with host.run([]):
        await host.connect(info)
        hello = await open_stream("/openledger/hello/1")
        await hello.send(b"instance" + b"chain A")
        await hello.receive()
        await hello.send(b"\x01")
        assert await hello.receive() == b"\x01"
        print("hello", flush=True)
        channels = [await open_stream(f"/openledger/{name}/1") for name in ("cons", "block", "tx")]
        await channels[0].send(b"vote from stock")
        for _ in range(10):
            await channels[1].send(bytes(200_000))
        for _ in range(10):
            assert await channels[1].receive() == bytes(200_000)
        print("channels", flush=True)
        echo = await open_stream("/test/echo/1")
        await echo.send(b"\x00" + bytes(700_000))
        assert await echo.receive() == b"\x00" + bytes(700_000)
        print("request", flush=True)
        try:
            await open_stream("/other/1")
        except Exception as error:
            print("unknown protocol", type(error).__name__, flush=True)
        await trio.sleep(4)  # past a ping of either side
        await channels[0].send(b"still here")
        await trio.sleep(1)


trio.run(main)
