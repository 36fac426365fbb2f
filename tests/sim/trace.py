"""What happened, line by line: a digest of all of it (the same seed must give the same), and the lines for who asks."""

import hashlib
from collections import deque

from consensus.messages import BlockRequest, RoundState
from genesis.types import Block, Commit, DuplicateProposal, DuplicateVote, Proposal, Vote

LINES_KEPT = 60


class Trace:
    """`show`: print every line as it comes."""

    def __init__(self, *, show: bool = False) -> None:
        self._hash = hashlib.blake2b(digest_size=16)
        self._show = show
        self.last: deque[str] = deque(maxlen=LINES_KEPT)
        self.count = 0

    def note(self, elapsed_ms: int, who: str, what: str) -> None:
        line = f"{elapsed_ms:8d} {who:<10} {what}"
        self._hash.update(line.encode())
        self.count += 1
        self.last.append(line)
        if self._show:
            print(line)

    def digest(self) -> str:
        return self._hash.hexdigest()


def words(message: object) -> str:
    """A message in a few words: what, height/round, value (nil: ----)."""
    match message:
        case Vote():
            value = "nil" if message.is_nil else message.block_hash.hex()[:6]
            name = message.validator.hex()[:4]
            return f"{message.kind.name.lower()} {message.height}/{message.round} {value} of {name}"
        case Proposal():
            again = "" if message.valid_round < 0 else f" again, polka of round {message.valid_round}"
            return f"proposal {message.height}/{message.round} {message.block_hash.hex()[:6]}{again}"
        case Commit():
            return f"commit {message.height}/{message.round} {message.block_hash.hex()[:6]}"
        case Block():
            return f"block {message.height} {message.hash.hex()[:6]}"
        case RoundState():
            return f"at {message.height}/{message.round} {message.step.name.lower()}"
        case DuplicateVote() | DuplicateProposal():
            return f"evidence of {message.height} against {message.offender.hex()[:4]}"
        case BlockRequest():
            return f"wants block {message.height} {message.block_hash.hex()[:6]}"
    return type(message).__name__
