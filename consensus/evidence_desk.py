"""Where evidence comes in from peers and goes out into proposals: the pool, with the application to ask about the past."""

from typing import Final

from consensus.application import Application, HeightContext, past_heights
from consensus.evidence import EvidencePool, check_evidence, is_too_old
from consensus.observer import Observer
from consensus.ports import Transport
from genesis.errors import InvalidBlock, PeerFault
from genesis.primitives import Height
from genesis.types import ChainIdentity, Evidence, ValidatorSet

CHECKS_MAX: Final = 16
"""Evidence from peers being checked at once; what comes beyond that is told again later."""


class EvidenceDesk:
    """One node's. It changes the pool between awaits only, so it runs on the engine's event loop."""

    def __init__(
        self, chain: ChainIdentity, app: Application, pool: EvidencePool, transport: Transport, observer: Observer
    ) -> None:
        self._chain = chain
        self._app = app
        self._pool = pool
        self._transport = transport
        self._observer = observer
        self._checks = 0

    def wants(self, item: Evidence, height: Height) -> bool:
        """Is it worth a check at `height`? False for what is known, not there yet, or too much at once."""
        return item.height <= height and not self._pool.accuses(item.offender) and self._checks < CHECKS_MAX

    async def take(self, context: HeightContext, peer: str, item: Evidence) -> None:
        """Check what a peer says about somebody; if it is proven and of use still, keep it and tell it on."""
        self._checks += 1
        try:
            validators = await self._voters(context, item)
            if validators is None:
                return
            check_evidence(self._chain, validators, item)
            punishable = await self._app.is_punishable(item.offender)
        except InvalidBlock as error:
            self._transport.report_fault(peer, PeerFault(str(error)))
            return
        finally:
            self._checks -= 1
        if not punishable:
            self._pool.close(item.offender)
        elif self._pool.add(item):
            self._observer.equivocation(item)
            self._transport.broadcast(item)

    async def _voters(self, context: HeightContext, item: Evidence) -> ValidatorSet | None:
        """Who voted at its height; None if that can't lead to a punishment any more, or can't be told."""
        if item.height == context.height:
            return context.validators
        past = await self._app.past_height(item.height)
        return None if past is None or is_too_old(past, context.parent_time_ms, context) else past.validators

    async def for_proposal(self, context: HeightContext, time_ms: int) -> tuple[Evidence, ...]:
        """What a block of this height and time carries."""
        waiting = self._pool.items()
        past = await past_heights(self._app, [item for item in waiting if item.height < context.height])
        punishable = [item.offender for item in waiting if await self._app.is_punishable(item.offender)]
        return self._pool.choose(context, time_ms, past, punishable)

    def decided(self, evidence: tuple[Evidence, ...]) -> None:
        """A final block carries it."""
        for item in evidence:
            self._pool.close(item.offender)

    def tell(self) -> None:
        """Tell peers of one item, for who missed it."""
        item = self._pool.next_to_tell()
        if item is not None:
            self._transport.broadcast(item)
