"""Who is in a version, and who has left (rule 5).

A contribution is in version v if its last segment is below v's watermark, it isn't rejected, v was published after its
acceptance by review or at or after its deadline, and it had not gone before. It goes when consent is withdrawn: versions
published later don't have it. It dies when it is erased or slashed: from the next block on it owns nothing, in every version
that had it and in all later ones; its windows are the next living member's. What dies before any version has it simply goes.
"""

from attribution_precompile.declarations import Status
from attribution_precompile.layout import DEPARTURES, VERSIONS, Contribution, Departure, Upload
from evm_runtime.native import Slots


def is_in(slots: Slots, version: int, record: Contribution, upload: Upload, departure: Departure) -> bool:
    """Whether a published version has the contribution."""
    if record.status == Status.REJECTED or upload.end == 0 or (departure.gone and version > departure.left):
        return False
    if 0 < record.accepted_version <= version:
        return True
    sealed = VERSIONS.load(slots, record.datanet_id, version)
    return sealed.segments >= upload.end and sealed.time >= record.deadline


def is_dead(slots: Slots, contribution_id: int, block_number: int) -> bool:
    """Whether a block's attribution finds the contribution dead."""
    died: int = DEPARTURES.load_field(slots, "died_block", contribution_id)
    return 0 < died < block_number
