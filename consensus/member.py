"""What one node brings to every height: chain, parameters, key, log, evidence, and the watch over its key."""

from dataclasses import dataclass, field

from consensus.evidence import EvidencePool
from consensus.observer import Observer
from consensus.ports import MessageSigner
from consensus.signer import author, vote_in
from consensus.wal import Wal
from genesis.chain_spec import ConsensusParams
from genesis.types import ChainIdentity, Commit, Proposal, ValidatorSet, Vote


@dataclass(frozen=True, slots=True)
class Node:
    """What stays the same from height to height. `signer` None: a full node that follows."""

    chain: ChainIdentity
    params: ConsensusParams
    signer: MessageSigner | None
    wal: Wal
    evidence: EvidencePool
    observer: Observer
    stopped: list[str] = field(default_factory=list)
    """Why the signing was stopped; empty while it is not."""

    def is_used_elsewhere(self, *signed: Proposal | Vote | None) -> bool:
        """True if one of these, whose signatures were checked, is of this node's key but not by its signer.

        Then somebody else signs with the key, or an old sign record was restored, and the only safe thing to do is to
        sign nothing more. All that comes in signed passes here: live messages, commits, polkas, blocks that were
        synced.
        """
        signer = self.signer
        if signer is None:
            return False
        for message in signed:
            if message is None or author(message) != signer.address or signer.covers(message):
                continue
            if self.stopped:
                return True
            reason = (
                f"validator key 0x{signer.address.hex()} signed height {message.height}, round {message.round} elsewhere"
                ": it is in use on another machine, or an old sign record was restored. Stop the other node, then start "
                "this one again. Until then it signs nothing more"
            )
            self.stopped.append(reason)
            signer.stop(reason)
            self.observer.signing_refused(reason)
            self.observer.signing_stopped(reason)
            return True
        return False

    def watch_commit(self, validators: ValidatorSet | None, commit: Commit) -> None:
        """`is_used_elsewhere` for a commit that was checked; None for the set of block 1's empty one."""
        if self.signer is not None and validators is not None:
            self.is_used_elsewhere(vote_in(commit, validators, self.signer.address))
