"""The guard around every task that touches a peer: whatever it raises ends that task, never the host.

Only `FatalError` passes: it says that the node contradicts itself, and no peer can cause it.
"""

import logging
from collections.abc import Awaitable, Callable

from genesis.errors import FatalError, OpenLedgerError
from p2p.faults import weight_of

logger = logging.getLogger(__name__)


async def guarded(work: Callable[[], Awaitable[None]], what: str) -> Exception | None:
    """Run `work`; log and return the exception that ended it, or None.

    Raises cancellation and FatalError (perhaps within a group) only; what was raised beside a cancellation is logged.
    """
    cause: Exception | None = None
    try:
        await work()
    except* Exception as group:  # a star, because a peer's fault and a cancellation may come together
        cause = simplest(group)
        if isinstance(cause, FatalError):
            raise cause from None
        if isinstance(cause, OpenLedgerError):
            logger.debug("%s: %s", what, cause)
        else:
            logger.warning("%s: unexpected %s", what, type(cause).__name__, exc_info=group)
    return cause


def simplest(error: Exception) -> Exception:
    """The one exception of a group that tells what happened.

    A fatal one if there is any, else one that nobody foresaw, else the gravest fault; of equals the first.
    """
    return max(_leaves(error), key=_rank)


def _rank(error: Exception) -> tuple[bool, bool, int]:
    return isinstance(error, FatalError), not isinstance(error, OpenLedgerError), weight_of(error)


def _leaves(error: Exception) -> list[Exception]:
    if not isinstance(error, ExceptionGroup):
        return [error]
    return [leaf for nested in error.exceptions for leaf in _leaves(nested)]
