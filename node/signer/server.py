"""The signer process: one key, its sign record, and a Unix socket that nobody but its own user can open.

Several connections are served one request at a time, so two nodes that ask for one position get one signature between them.
What comes in garbled ends its connection and nothing else. A record that can't be written ends the process: a signer that can't
remember must not sign.
"""

import contextlib
import logging
import os
import signal
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

import trio

from consensus.signer import Signer, SigningRefused
from genesis.errors import FatalError, InvariantError, LocalError, PeerFault, WireError
from genesis.primitives import Hash32, Signature
from genesis.types import ChainIdentity
from node.net.hello import hello_digest
from node.os_errors import told
from node.signer.protocol import (
    REASON_CHARS_MAX,
    REQUEST_BYTES_MAX,
    SIGNER_PROTOCOL_VERSION,
    Answer,
    AskLast,
    Introduce,
    Introduced,
    Last,
    Refused,
    Request,
    Signed,
    SignedHello,
    SignHello,
    SignProposal,
    SignVote,
    decode_request,
    encode_answer,
)
from p2p.accepting import accept_forever
from p2p.frames import LENGTH_BYTES, FrameReader

logger = logging.getLogger(__name__)

CONNECTIONS_MAX: Final = 8
SEND_TIMEOUT_S: Final = 5.0


class SignerServer:
    """Answers requests with one signer. `sign_hash` is used for hellos alone; votes and proposals go through the signer."""

    def __init__(self, chain: ChainIdentity, signer: Signer, sign_hash: Callable[[Hash32], Signature]) -> None:
        self._chain = chain
        self._signer = signer
        self._sign_hash = sign_hash
        self._connections = 0
        self._fatal: FatalError | None = None

    async def serve(self, listener: trio.SocketListener) -> None:
        """Serve until cancelled. Raises FatalError."""
        with trio.CancelScope() as scope:

            async def take(stream: trio.SocketStream) -> None:
                await self._take(stream, scope)

            await accept_forever([listener], take, places=2 * CONNECTIONS_MAX, what="the signer")
        if self._fatal is not None:
            raise self._fatal

    async def _take(self, stream: trio.SocketStream, scope: trio.CancelScope) -> None:
        if self._connections >= CONNECTIONS_MAX:
            await self._turn_away(stream)
            return
        self._connections += 1
        try:
            await self._converse(stream)
        except (WireError, PeerFault) as error:
            logger.warning("a connection is closed: %s", error)
        except trio.BrokenResourceError:
            logger.info("a connection broke")
        except FatalError as error:
            self._fatal = error
            scope.cancel()
        except Exception as error:
            self._fatal = InvariantError(f"the signer failed: {error!r}")
            self._fatal.__cause__ = error
            scope.cancel()
        finally:
            self._connections -= 1
            await trio.aclose_forcefully(stream)

    async def _turn_away(self, stream: trio.SocketStream) -> None:
        logger.warning("a connection more than %d is not served", CONNECTIONS_MAX)
        content = encode_answer(Refused(f"the signer serves {CONNECTIONS_MAX} connections already"))
        with trio.move_on_after(SEND_TIMEOUT_S), contextlib.suppress(trio.BrokenResourceError):
            await stream.send_all(len(content).to_bytes(LENGTH_BYTES, "big") + content)
        await trio.aclose_forcefully(stream)

    async def _converse(self, stream: trio.SocketStream) -> None:
        reader = FrameReader(_Source(stream), REQUEST_BYTES_MAX)
        introduced = False
        while (payload := await reader.read()) is not None:
            request = decode_request(payload)
            if not introduced and not isinstance(request, Introduce):
                raise PeerFault("it did not introduce itself")
            answer = self.answer(request)
            introduced = introduced or isinstance(answer, Introduced)
            content = encode_answer(answer)
            with trio.move_on_after(SEND_TIMEOUT_S) as patience:
                await stream.send_all(len(content).to_bytes(LENGTH_BYTES, "big") + content)
            if patience.cancelled_caught:
                raise PeerFault("it does not read its answers")

    def answer(self, request: Request) -> Answer:
        """One request, one answer; the record is durable before a signature is in it. Raises FatalError."""
        try:
            return self._answer(request)
        except SigningRefused as error:
            logger.warning("refused: %s", error)
            return Refused(str(error)[:REASON_CHARS_MAX])

    def _answer(self, request: Request) -> Answer:
        signer = self._signer
        match request:
            case Introduce(version, chain_id, genesis_hash):
                self._check_chain(version, chain_id, genesis_hash)
                return Introduced(signer.address, signer.last)
            case SignVote(kind, height, round_, block_hash, validators_hash):
                signer.sign_vote(kind, height, round_, block_hash, validators_hash)
            case SignProposal(height, round_, valid_round, block_hash, polka, validators_hash):
                signer.sign_proposal(height, round_, valid_round, block_hash, polka, validators_hash)
            case SignHello(peer_id):
                return SignedHello(self._sign_hash(hello_digest(self._chain, peer_id)))
            case AskLast():
                return Last(signer.last)
        if signer.last is None:
            raise InvariantError("the signer signed and has no record of it")
        return Signed(signer.last)

    def _check_chain(self, version: int, chain_id: int, genesis_hash: Hash32) -> None:
        if version != SIGNER_PROTOCOL_VERSION:
            raise SigningRefused(f"the node speaks signer protocol {version}, this signer {SIGNER_PROTOCOL_VERSION}")
        if (chain_id, genesis_hash) != (self._chain.chain_id, self._chain.genesis_hash):
            raise SigningRefused(
                f"the node is on chain id {chain_id}, genesis {genesis_hash.hex()}; this signer is for chain id "
                f"{self._chain.chain_id}, genesis {self._chain.genesis_hash.hex()}"
            )


class _Source:
    """p2p.frames reads from this."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream

    async def read(self, count_max: int) -> bytes:
        return bytes(await self._stream.receive_some(count_max))


# ---------------------------------------------------------------- the socket and the process


def listen(path: Path) -> trio.SocketListener:
    """A socket with mode 0600 in a folder with mode 0700. Raises LocalError if somebody else could get at it."""
    _check_folder(path.parent)
    _clear_stale(path)
    with told(f"listen on {path}"):
        raw = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            before = os.umask(0o177)
            try:
                raw.bind(str(path))
            finally:
                os.umask(before)
            raw.listen(CONNECTIONS_MAX)
        except BaseException:
            raw.close()
            raise
    raw.setblocking(False)
    return trio.SocketListener(trio.socket.from_stdlib_socket(raw))


def _check_folder(folder: Path) -> None:
    with told(f"use {folder}"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
    if found.st_uid != os.getuid():
        raise LocalError(f"{folder} belongs to another user; the signer's socket needs a folder of its own")
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise LocalError(
            f"{folder} is open to others (mode {stat.S_IMODE(found.st_mode):04o}); run: chmod 700 {folder}"
        )


def _clear_stale(path: Path) -> None:
    """Remove the socket of a signer that died; never anything else, nor a living signer's."""
    with told(f"look who listens on {path}"):
        try:
            mode = path.lstat().st_mode
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(mode):
            raise LocalError(f"{path} exists and is no socket; it was left as it is")
        with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as probe:
            try:
                probe.connect(str(path))
            except ConnectionRefusedError:  # nobody does; any other error tells nothing about that
                path.unlink(missing_ok=True)
            else:
                raise LocalError(f"another signer listens on {path}; stop it first")


async def run_server(server: SignerServer, path: Path) -> None:
    """Serve until SIGTERM or SIGINT. Raises LocalError if the socket can't be had, FatalError if the record can't be kept."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        listener = listen(path)
        logger.info("listening on %s", path)
        fatal: list[FatalError] = []
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_serve, server, listener, fatal, nursery.cancel_scope)
                async for number in signals:
                    logger.info("stopping on %s", signal.Signals(number).name)
                    nursery.cancel_scope.cancel()
        finally:
            await trio.aclose_forcefully(listener)
            _clear_stale(path)
        if fatal:
            raise fatal[0]


async def _serve(
    server: SignerServer, listener: trio.SocketListener, fatal: list[FatalError], scope: trio.CancelScope
) -> None:
    """Nurseries wrap what their tasks raise into groups; the caller wants the error itself."""
    try:
        await server.serve(listener)
    except FatalError as error:
        fatal.append(error)
    scope.cancel()
