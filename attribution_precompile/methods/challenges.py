"""Priority challenges: an earlier contribution takes the window places that it shows to be its own, and nothing else.

Who shows a text's passage shows it in one call, and the contract decides at once. A commit-only contribution has no text on
chain, only ids, which anybody could have copied: it can challenge only if a commitment to these ids put it where it stands in
the order, and it must know the text. So its challenge is announced, with a bond; the hash of the next block chooses three of
the passage's windows, and the contributor opens them (as in `reveal`). What isn't opened in time is dismissed, and the bond is
the other side's.

Places lost are nobody's from the next block on, unless the earlier contribution has them itself (rule 5).
"""

from collections.abc import Sequence
from typing import Final

from attribution_precompile import declarations as d
from attribution_precompile import gas
from attribution_precompile.declarations import DisputeKind, Opening, Status
from attribution_precompile.layout import (
    ANNOUNCED,
    CONTRIBUTIONS,
    SALTS,
    STANDINGS,
    UPLOADS,
    Announced,
    Contribution,
    Dispute,
)
from attribution_precompile.methods.base import check, places_of, require_contribution, require_datanet
from attribution_precompile.methods.hearings import Hearings, require_open
from attribution_precompile.methods.money import credit, cut_weight_now
from attribution_precompile.methods.passages import Place, lose, require_whole, same_passage
from attribution_precompile.methods.standing import Cut, lose_places
from evm_runtime.native import Frame, Slots, method
from genesis.primitives import Hash32, Wei, keccak256

OPENED_WINDOWS: Final = 3
"""Windows of a passage that are opened, chosen after it is announced.

Who knows nine tenths of it is found out three times in ten, for a bond each.
"""


def chosen_windows(block_hash: Hash32, dispute_id: int, windows: int) -> tuple[int, ...]:
    """Which windows of a passage are opened: distinct numbers below `windows`, in the order drawn."""
    left = list(range(windows))
    drawn = []
    for turn in range(min(OPENED_WINDOWS, windows)):
        seed = keccak256(block_hash + dispute_id.to_bytes(32, "big") + turn.to_bytes(32, "big"))
        drawn.append(left.pop(int.from_bytes(seed, "big") % len(left)))
    return tuple(drawn)


def _opening_gas(_dispute: int, openings: Sequence[Opening]) -> int:
    return sum(gas.opening_gas(len(each.opening), len(each.proof)) for each in openings)


class ChallengeMethods(Hearings):
    """The part of the contract that decides who came first."""

    @method(
        "challengePriority(uint64 contributionId, uint64 segment, uint32 window, uint32 windows, uint64 earlierId, "
        "uint64 earlierSegment, uint32 earlierWindow) returns (uint64 disputeId)"
    )
    def challenge_priority(
        self,
        frame: Frame,
        contribution_id: int,
        segment: int,
        window: int,
        windows: int,
        earlier_id: int,
        earlier_segment: int,
        earlier_window: int,
    ) -> int:
        """Show that `windows` consecutive windows of a contribution of any datanet, 64 or more, stand in an earlier one of the
        caller, of any status but SLASHED: segments by their place in the datanet, windows by their number in the segment. The
        later one loses these places and that part of its bond, or the call reverts."""
        later, earlier = self._places(
            frame, (contribution_id, segment, window), (earlier_id, earlier_segment, earlier_window)
        )
        if self._is_commit_only(frame.storage, earlier):
            raise d.NOT_DECIDABLE("a commit-only contribution has to announce it: its windows must be opened")
        same_passage(frame, later, earlier, windows, self.params.challenge_windows)
        dispute = self._open(frame, DisputeKind.PRIORITY, _subject(later), Wei(0), frame.timestamp)
        if not self._uphold(frame, dispute, later, earlier, windows):
            raise d.NOT_DECIDABLE("these places are lost already, or the segment can lose no further range")
        return dispute

    @method(
        "announceChallenge(uint64 contributionId, uint64 segment, uint32 window, uint64 earlierId, "
        "uint64 earlierSegment, uint32 earlierWindow) returns (uint64 disputeId)",
        payable=True,
    )
    def announce_challenge(
        self,
        frame: Frame,
        contribution_id: int,
        segment: int,
        window: int,
        earlier_id: int,
        earlier_segment: int,
        earlier_window: int,
    ) -> int:
        """Announce the challenge of a commit-only contribution that was given with a commitment, for 64 windows (all, of one
        that is a shorter segment), with a bond. `openPassage` decides it from the block after the next on."""
        later, earlier = self._places(
            frame, (contribution_id, segment, window), (earlier_id, earlier_segment, earlier_window)
        )
        slots = frame.storage
        if not self._is_commit_only(slots, earlier):
            raise d.NOT_DECIDABLE("the earlier contribution isn't commit-only: challengePriority decides it at once")
        if not SALTS.get(slots, earlier_id):
            raise d.NOT_DECIDABLE("the earlier contribution was given without a commitment: its ids may be a copy")
        windows = min(self.params.challenge_windows, self._places_of(slots, later))
        same_passage(frame, later, earlier, windows, self.params.challenge_windows)
        bond, deadline = self._take_bond(frame), frame.timestamp + self.params.open_seconds
        dispute = self._open(frame, DisputeKind.PRIORITY, _subject(later), bond, deadline, window=window)
        announced = Announced(
            segment, earlier_id, earlier_segment, frame.block_number + 1, window, earlier_window, windows
        )
        ANNOUNCED.store(slots, announced, dispute)
        return dispute

    @method("openPassage(uint64 disputeId, Opening[] openings)", gas=_opening_gas)
    def open_passage(self, frame: Frame, dispute_id: int, openings: tuple[Opening, ...]) -> None:
        """Open the windows of `windowsToOpen`, in that order: each 32 bytes of salt and the window's text, with its proof under
        the earlier contribution's content root. By its contributor; then the later one loses what it still has of the passage,
        and the bond comes back."""
        slots = frame.storage
        dispute = require_open(slots, dispute_id)
        announced = self._require_announced(frame, dispute_id, dispute)
        if frame.timestamp > dispute.deadline:
            raise d.DISPUTE_OVER(dispute_id, dispute.deadline)
        later_id, earlier_id = int.from_bytes(dispute.subject, "big"), announced.earlier_id
        later = Place(later_id, require_contribution(slots, later_id), announced.segment, announced.window)
        first = self._require_challenger(frame, earlier_id)
        earlier = Place(earlier_id, first, announced.earlier_segment, announced.earlier_window)
        wanted = self._to_open(frame, dispute_id, announced)
        check(len(openings) == len(wanted), "openings", f"these windows: {', '.join(map(str, wanted))}")
        for window, each in zip(wanted, openings, strict=True):
            self._check_opening(frame, earlier_id, first, window, each)
        require_whole(frame.storage, earlier, announced.windows)
        self._uphold(frame, dispute_id, later, earlier, announced.windows)

    @method("windowsToOpen(uint64 disputeId) returns (uint32[] windows)", view=True)
    def windows_to_open(self, frame: Frame, dispute_id: int) -> tuple[int, ...]:
        """The windows of the earlier contribution that an announced challenge has to open, once they are chosen: in the second
        block after it."""
        dispute = require_open(frame.storage, dispute_id)
        return self._to_open(frame, dispute_id, self._require_announced(frame, dispute_id, dispute))

    # ---------------------------------------------------------------- the steps

    def _require_announced(self, frame: Frame, dispute_id: int, dispute: Dispute) -> Announced:
        check(dispute.kind == DisputeKind.PRIORITY, "disputeId", "no challenge was announced in this dispute")
        return ANNOUNCED.load(frame.storage, dispute_id)

    def _to_open(self, frame: Frame, dispute_id: int, announced: Announced) -> tuple[int, ...]:
        block_hash = frame.block_hash(announced.block_number)
        if block_hash is None:
            raise d.NOT_CHOSEN(dispute_id, announced.block_number)
        chosen = chosen_windows(block_hash, dispute_id, announced.windows)
        return tuple(announced.earlier_window + number for number in chosen)

    def _is_commit_only(self, slots: Slots, place: Place) -> bool:
        return require_datanet(slots, place.record.datanet_id).commit_only

    def _places_of(self, slots: Slots, later: Place) -> int:
        return places_of(later.record, require_datanet(slots, later.record.datanet_id).min_span)

    def _places(self, frame: Frame, later: tuple[int, int, int], earlier: tuple[int, int, int]) -> tuple[Place, Place]:
        """The two places, if the caller may challenge the later one with the earlier one."""
        slots = frame.storage
        record, first = self._require_exposed(slots, later[0]), self._require_challenger(frame, earlier[0])
        check(frame.sender != record.contributor, "contributionId", "it is the caller's own")
        growing = record.status == Status.PENDING and frame.timestamp < record.deadline
        if growing and not UPLOADS.load_field(slots, "complete", later[0]):
            raise d.NOT_COMPLETE(later[0], record.deadline)
        return Place(later[0], record, *later[1:]), Place(earlier[0], first, *earlier[1:])

    def _require_challenger(self, frame: Frame, earlier_id: int) -> Contribution:
        """A contribution of the caller that has lost no dispute; erased ones can still challenge."""
        first = require_contribution(frame.storage, earlier_id)
        if frame.sender != first.contributor:
            raise d.NOT_ALLOWED(frame.sender, "the contributor of the earlier contribution")
        if STANDINGS.load_field(frame.storage, "barred", earlier_id):
            raise d.NOT_ALLOWED(frame.sender, "a contribution that has lost no dispute")
        return first

    def _uphold(self, frame: Frame, dispute_id: int, later: Place, earlier: Place, windows: int) -> int:
        """The passage's places are lost; with them a part of bond and weight, unless they were the earlier one's anyway. How
        many are lost newly."""
        fresh = lose(frame.storage, later, windows, self.params.losses_max)
        cut = Cut(Wei(0), 0, 0, 0)
        if not _was_first_anyway(later.record, earlier.record):
            cut = lose_places(
                frame.storage, later.contribution_id, later.record, fresh, self._places_of(frame.storage, later)
            )
            self._cut_weight(frame, later, cut)
        credit(frame.storage, {frame.sender: cut.bond})
        lost = (later.contribution_id, dispute_id, later.segment, later.window, windows, cut.bond, cut.windows)
        frame.emit(d.WINDOWS_LOST, *lost)
        self._settle(frame, dispute_id, True)
        return fresh

    def _cut_weight(self, frame: Frame, later: Place, cut: Cut) -> None:
        """In proportion to the owned windows; to the places, where a recount has left none: earlier versions may weigh more."""
        record, most = later.record, self.params.pool_windows_max
        owned = record.owned_windows - cut.windows
        kept, of = min(owned, most), min(record.owned_windows, most)
        if of == 0:
            kept, of = cut.places_left, cut.places_before
        changed = cut_weight_now(frame, later.contribution_id, record, owned, kept=kept, of=of)
        if changed != record:
            CONTRIBUTIONS.store(frame.storage, changed, later.contribution_id)


def _subject(later: Place) -> Hash32:
    return Hash32(later.contribution_id.to_bytes(32, "big"))


def _was_first_anyway(later: Contribution, earlier: Contribution) -> bool:
    """Whether the earlier contribution claims its windows before the later one does."""
    return earlier.datanet_id == later.datanet_id and earlier.status in (Status.PENDING, Status.ACCEPTED)
