"""What becomes of this node's validator: slashed, jailed, tombstoned, out of the set, stopped. Each is said once,
loudly.
"""

import logging
from typing import Final

from consensus.ports import MessageSigner
from evm_runtime.staking.layout import ValidatorRecord
from genesis.emission import BPS
from genesis.primitives import Address
from genesis.types import Evidence

logger = logging.getLogger(__name__)


class Duty:
    """Follows one validator. `trouble` says why its node should not be relied on; empty if there is nothing."""

    def __init__(self, signer: MessageSigner) -> None:
        self.address: Final[Address] = signer.address
        self.trouble = ""
        self._signer = signer
        self._known: dict[str, bool] = {}

    def look(self, record: ValidatorRecord, *, is_member: bool) -> None:
        """What the chain says of it after a block."""
        slashed = record.exists and record.kept_bps < BPS
        self._tell("slashed", bad=slashed, words="has been SLASHED: part of its stake is gone")
        self._tell(
            "tombstoned", bad=record.tombstoned, words="is TOMBSTONED: it signed twice, and never validates again"
        )
        self._tell("jailed", bad=record.jailed, words="is JAILED: it earns nothing until it is unjailed")
        words = "is OUT OF THE VALIDATOR SET: it signs nothing"
        self._tell(
            "out of the set", bad=not is_member, words=words if record.exists else f"{words}, and is not registered"
        )
        if record.tombstoned and not self.trouble:
            self.trouble = f"validator 0x{self.address.hex()} is tombstoned"

    def accused(self, evidence: Evidence) -> None:
        """Somebody is proven to have signed two different things. If it is this validator, it signs nothing more."""
        if evidence.offender == self.address:
            reason = (
                f"validator key 0x{self.address.hex()} signed two different things at height {evidence.height}: it is "
                "in use on another machine, or an old sign record was restored. It signs nothing more here, and will be "
                "slashed"
            )
            self._signer.stop(reason)
            self.stopped(reason)

    def stopped(self, reason: str) -> None:
        """It signs nothing more until the node is started anew."""
        if not self.trouble:
            self.trouble = reason
            logger.critical("SIGNING STOPPED: %s", reason)

    def _tell(self, what: str, *, bad: bool, words: str) -> None:
        """Once when it begins, and once when it ends."""
        if bad and not self._known.get(what):
            logger.error("validator 0x%s %s", self.address.hex(), words)
        elif not bad and self._known.get(what):
            logger.warning("validator 0x%s is no longer %s", self.address.hex(), what)
        self._known[what] = bad
