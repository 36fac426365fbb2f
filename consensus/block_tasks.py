"""The tasks of a height that wait for time, for transactions or for the EVM: entering it, building a block, judging one.

Each is given the height's driver, reads of it what does not change within the height, and never calls it: what it finds goes
into the engine's inbox, and the engine acts on it between two inputs.
"""

import logging
from collections.abc import Callable
from typing import Final

import trio

from consensus.application import Application, HeightContext, ProposalRequest, past_heights
from consensus.block_rules import check_block, check_time
from consensus.driver import HeightDriver
from consensus.evidence_desk import EvidenceDesk
from consensus.member import Node
from consensus.orders import Order
from consensus.ports import Clock, Transport
from consensus.timing import proposal_time_ms
from genesis.errors import FatalError, InvalidBlock, PeerFault
from genesis.primitives import Round
from genesis.types import Block, ChainIdentity

_log = logging.getLogger("openledger.consensus")


class BlockTasks:
    """They touch the application, the clock and the desk of evidence; of the network only to report a fault.

    `put` queues an input for the engine; `obey` carries out what the driver orders, and runs as such an input.
    """

    def __init__(
        self,
        chain: ChainIdentity,
        app: Application,
        node: Node,
        desk: EvidenceDesk,
        transport: Transport,
        clock: Clock,
        put: Callable[[Callable[[], None]], None],
        obey: Callable[[list[Order]], None],
    ) -> None:
        self._chain: Final = chain
        self._app = app
        self._node = node
        self._desk = desk
        self._transport = transport
        self._clock = clock
        self._put = put
        self._obey = obey

    async def build(self, driver: HeightDriver, round_: Round) -> None:
        """Build a block as soon as one may be built, and give it to the driver; log what goes wrong, and let the round pass."""
        context = driver.context
        data = context.block_params
        try:
            await self._sleep_until(context.parent_time_ms + data.interval_ms)
            if round_ == 0:
                await self._wait_for_work(context)
            block = await self._app.prepare_proposal(await self._request(driver, round_))
            try:
                check_time(context, block)
            except InvalidBlock:  # nothing of what waited could be packed: an empty block has to wait
                await self._sleep_until(context.parent_time_ms + data.empty_interval_ms)
                block = await self._app.prepare_proposal(await self._request(driver, round_))
            check_block(self._chain, context, block, await past_heights(self._app, block.evidence))
        except FatalError:
            raise
        except Exception:
            _log.exception("height %d round %d propose: no block could be built", context.height, round_)
        else:
            self._put(lambda: self._obey(driver.built(round_, block)))

    async def _request(self, driver: HeightDriver, round_: Round) -> ProposalRequest:
        context = driver.context
        interval_ms = context.block_params.interval_ms
        time_ms = proposal_time_ms(self._clock.now_ms(), context.parent_time_ms + interval_ms, interval_ms)
        return ProposalRequest(
            height=context.height,
            round=round_,
            time_ms=time_ms,
            proposer=driver.state.proposer(round_),
            last_commit=driver.last_commit.commit(),
            evidence=await self._desk.for_proposal(context, time_ms),
        )

    async def judge(self, driver: HeightDriver, block: Block, peer: str | None) -> None:
        """Is the block what its hash says, and valid on top of the finalized chain?"""
        try:
            await self._app.check_body(block)
        except InvalidBlock as error:
            if peer is not None:
                self._transport.report_fault(peer, PeerFault(f"the body of a block is not its own: {error}"))
            self._put(lambda: self._obey(driver.body_refused(block)))
            return
        except FatalError:
            raise
        except Exception:
            _log.exception("%s could not be checked", _words(block))
            self._put(lambda: self._obey(driver.body_refused(block)))
            return
        try:
            past = await past_heights(self._app, block.evidence)
            check_block(self._chain, driver.context, block, past)
            self._node.watch_commit(driver.context.last_validators, block.last_commit)
            await self._app.process_proposal(block)
        except InvalidBlock as error:
            _log.warning("%s is invalid: %s", _words(block), error)
            self._put(lambda: self._obey(driver.judged(block, valid=False)))
        except FatalError:
            raise
        except Exception:
            # A fault of this node, not a verdict: no prevote for the block, and no halt if others commit it meanwhile.
            _log.exception("%s could not be executed", _words(block))
        else:
            self._put(lambda: self._obey(driver.judged(block, valid=True)))

    async def enter_when_due(self, driver: HeightDriver) -> None:
        """Enter round 0 on an executable transaction, or when the empty timer runs out; never before the interval."""
        context = driver.context
        while (ahead_ms := context.parent_time_ms - self._clock.now_ms()) > self._node.params.precision_ms:
            self._node.observer.time_ahead(context.height, ahead_ms)
            await trio.sleep(min(ahead_ms, 1000) / 1000)
        await self._sleep_until(context.parent_time_ms + context.block_params.interval_ms)
        await self._wait_for_work(context)
        self._put(lambda: self._obey(driver.enter()))

    async def _wait_for_work(self, context: HeightContext) -> None:
        """Until a transaction waits, or an empty block is due."""
        due_ms = context.parent_time_ms + context.block_params.empty_interval_ms
        left_ms = due_ms - self._clock.now_ms()
        if left_ms > 0 and not self._app.has_transactions():
            with trio.move_on_after(left_ms / 1000):
                await self._app.wait_for_transactions()
                return
            await self._sleep_until(due_ms)

    async def _sleep_until(self, time_ms: int) -> None:
        """By the wall clock, looked at once a second at least: it may be set."""
        while (left_ms := time_ms - self._clock.now_ms()) > 0:  # noqa: ASYNC110  # time passes, no event tells
            await trio.sleep(min(left_ms, 1000) / 1000)


def _words(block: Block) -> str:
    return f"height {block.height} round {block.consensus.round} propose: block {block.hash.hex()}"
