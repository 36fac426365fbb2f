"""The node's side of a remote signer. Implements consensus.ports.MessageSigner.

A call blocks the event loop until the signer answers, like the fsync of a local sign record does; so it waits a second at most,
and after a time-out nobody is asked for a while. Without an answer there is no signature, and the validator is silent: that
costs a vote, never a fork. Connections are made anew as needed; each begins with the signer's last record.
"""

import contextlib
import logging
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from consensus.signer import SignedMessage, SigningDelayed, SigningRefused, SignRecord, covers
from genesis.crypto import recover
from genesis.errors import LocalError, StorageCorrupt, WireError
from genesis.primitives import Address, Hash32, Height, Round, Signature
from genesis.types import ChainIdentity, Proposal, Vote, VoteType
from node.os_errors import explain
from node.signer.protocol import (
    ANSWER_BYTES_MAX,
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
    decode_answer,
    encode_request,
)
from p2p.frames import LENGTH_BYTES, FrameDecoder

logger = logging.getLogger(__name__)

ANSWER_TIMEOUT_S: Final = 1.0
PAUSE_AFTER_TIMEOUT_S: Final = 2.0
START_PATIENCE_S: Final = 10.0
_RETRY_S: Final = 0.1
_READ_BYTES: Final = 64 * 1024


class SignerAway(SigningDelayed):
    """The signer can't be reached or does not answer in time."""


class _Broken(Exception):
    """The connection ended before the answer came; worth one more try over a new one."""


class RemoteSigner:
    """A signer behind a Unix socket."""

    def __init__(
        self,
        path: Path,
        chain: ChainIdentity,
        *,
        patience_s: float = START_PATIENCE_S,
        answer_timeout_s: float = ANSWER_TIMEOUT_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Connects, waiting up to `patience_s` for the signer to come up. Raises LocalError if it can't or won't serve."""
        self._path = path
        self._chain = chain
        self._answer_timeout_s = answer_timeout_s
        self._clock = clock
        self._socket: socket.socket | None = None
        self._frames = FrameDecoder(ANSWER_BYTES_MAX)
        self._ask_again_at = 0.0
        self._stopped = ""
        self._last: SignRecord | None = None
        self._address: Address | None = None
        give_up_at = clock() + patience_s
        while self._socket is None:
            try:
                self._connect()
            except (SignerAway, _Broken) as error:
                self._ask_again_at = 0.0
                if clock() >= give_up_at:
                    raise LocalError(
                        f"no signer answers at {path} ({error}); start it with: openledger signer --socket {path}"
                    ) from None
                time.sleep(_RETRY_S)
            except SigningRefused as error:
                raise LocalError(f"the signer at {path} will not serve this node: {error}") from None

    @property
    def address(self) -> Address:
        if self._address is None:
            raise LocalError(f"the signer at {self._path} has not been reached")
        return self._address

    @property
    def last(self) -> SignRecord | None:
        """The signer's last record, asked for again if the connection was lost since."""
        if self._socket is None:
            with contextlib.suppress(SigningRefused, _Broken):
                self._connect()
        return self._last

    def sign_vote(
        self, kind: VoteType, height: Height, round_: Round, block_hash: Hash32, validators_hash: Hash32
    ) -> Vote:
        message = self._sign(SignVote(kind, height, round_, block_hash, validators_hash))
        wanted = (kind, height, round_, block_hash, self._address)
        if not isinstance(message, Vote) or wanted != (
            message.kind,
            message.height,
            message.round,
            message.block_hash,
            message.validator,
        ):
            raise SigningRefused("the signer signed something else than was asked for")
        self._check_signature(message.digest(self._chain, validators_hash), message.signature)
        return message

    def sign_proposal(
        self,
        height: Height,
        round_: Round,
        valid_round: Round,
        block_hash: Hash32,
        polka: tuple[Vote, ...],
        validators_hash: Hash32,
    ) -> Proposal:
        message = self._sign(SignProposal(height, round_, valid_round, block_hash, polka, validators_hash))
        wanted = (height, round_, valid_round, block_hash, self._address)
        if not isinstance(message, Proposal) or wanted != (
            message.height,
            message.round,
            message.valid_round,
            message.block_hash,
            message.proposer,
        ):
            raise SigningRefused("the signer signed something else than was asked for")
        self._check_signature(message.digest(self._chain, validators_hash), message.signature)
        return message

    def covers(self, message: SignedMessage) -> bool:
        """Asks the signer before it says no: another node may use it, or an answer was lost."""
        with contextlib.suppress(StorageCorrupt):  # a garbled copy: ask
            if covers(self._last, message):
                return True
        with contextlib.suppress(SigningRefused):
            answer = self._ask(AskLast())
            if isinstance(answer, Last):
                self._last = answer.record
        try:
            return covers(self._last, message)
        except StorageCorrupt:
            return False

    def stop(self, reason: str) -> None:
        self._stopped = reason

    def hello_signer(self, peer_id: str) -> Callable[[Hash32], Signature]:
        """What signs this node's hellos; the signature is always the same, and fetched now. Raises LocalError."""
        answer = self._ask(SignHello(peer_id))
        if not isinstance(answer, SignedHello):
            raise LocalError(f"the signer at {self._path} does not sign hellos")

        def sign_hash(digest: Hash32) -> Signature:
            self._check_signature(digest, answer.signature)
            return answer.signature

        return sign_hash

    def close(self) -> None:
        """End the connection; the next request makes another."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._frames = FrameDecoder(ANSWER_BYTES_MAX)

    # ------------------------------------------------------------ inside

    def _sign(self, request: SignVote | SignProposal) -> SignedMessage:
        if self._stopped:
            raise SigningRefused(self._stopped)
        answer = self._ask(request)
        if not isinstance(answer, Signed):
            raise SigningRefused("the signer answered something else than was asked for")
        self._last = answer.record
        try:
            return answer.record.signed()
        except StorageCorrupt as error:
            raise SigningRefused(f"the signer's answer is garbled: {error}") from None

    def _ask(self, request: Request) -> Answer:
        """One answer. Raises SigningRefused: with the signer's words, or SignerAway."""
        try:
            if self._socket is None:
                self._connect()
            try:
                return self._exchange(request)
            except _Broken:
                self._connect()
                return self._exchange(request)
        except _Broken as error:
            raise SignerAway(f"the signer at {self._path} closes its connections: {error}") from None

    def _connect(self) -> None:
        """A fresh connection, introduced. Raises SigningRefused, SignerAway or _Broken."""
        self.close()
        if self._clock() < self._ask_again_at:
            raise SignerAway(f"the signer at {self._path} did not answer a moment ago")
        try:
            connection = _connected(self._path, self._answer_timeout_s)
        except OSError as error:
            raise SignerAway(f"cannot connect to {self._path}: {explain(error)}") from None
        self._socket = connection
        try:
            answer = self._exchange(Introduce(SIGNER_PROTOCOL_VERSION, self._chain.chain_id, self._chain.genesis_hash))
            self._take_introduction(answer)
        except SigningRefused:
            self.close()
            raise

    def _take_introduction(self, answer: Answer) -> None:
        if not isinstance(answer, Introduced):
            raise SigningRefused("the signer did not introduce itself")
        if self._address is not None and answer.address != self._address:
            raise SigningRefused(
                f"the signer at {self._path} has the key of {answer.address.hex()} now, not {self._address.hex()}; start the "
                "node anew to use it"
            )
        if self._last is not None and (answer.last is None or answer.last.position < self._last.position):
            raise SigningRefused(
                f"the signer at {self._path} has forgotten what it signed: an old sign record was put back. Put the latest one "
                "back, and start signer and node anew"
            )
        self._address, self._last = answer.address, answer.last

    def _exchange(self, request: Request) -> Answer:
        """Send and wait. Raises SigningRefused, SignerAway after a time-out, _Broken if the connection ends."""
        connection = self._socket
        if connection is None:
            raise _Broken("there is no connection")
        deadline = self._clock() + self._answer_timeout_s
        payload = encode_request(request)
        try:
            connection.settimeout(self._answer_timeout_s)
            connection.sendall(len(payload).to_bytes(LENGTH_BYTES, "big") + payload)
            while (content := self._frames.pop()) is None:
                left_s = deadline - self._clock()
                if left_s <= 0:
                    raise TimeoutError
                connection.settimeout(left_s)
                data = connection.recv(_READ_BYTES)
                if not data:
                    raise ConnectionError("it was closed")
                self._frames.feed(data)
            answer = decode_answer(content)
        except TimeoutError:
            self.close()
            self._ask_again_at = self._clock() + PAUSE_AFTER_TIMEOUT_S
            raise SignerAway(
                f"the signer at {self._path} does not answer within {self._answer_timeout_s:g} s"
            ) from None
        except OSError as error:
            self.close()
            raise _Broken(explain(error)) from None
        except WireError as error:
            self.close()
            raise SigningRefused(f"what answers at {self._path} is no signer: {error}") from None
        if isinstance(answer, Refused):
            raise SigningRefused(answer.reason)
        return answer

    def _check_signature(self, digest: Hash32, signature: Signature) -> None:
        try:
            signer = recover(digest, signature)
        except WireError as error:
            raise SigningRefused(f"the signer's signature is bad: {error}") from None
        if signer != self._address:
            raise SigningRefused("the signer's signature is not that of its own key")


def _connected(path: Path, timeout_s: float) -> socket.socket:
    """Raises OSError."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(timeout_s)
        connection.connect(str(path))
    except BaseException:
        connection.close()
        raise
    return connection
