"""The guard around every task that touches a peer: whatever it raises ends that task, never the host.

Only `FatalError` passes: it says that the node contradicts itself, and no peer can cause it.
"""

import logging
from collections.abc import Awaitable, Callable

from genesis.errors import FatalError, OpenLedgerError

logger = logging.getLogger(__name__)


async def guarded(work: Callable[[], Awaitable[None]], what: str) -> Exception | None:
    """Run `work`; log and return the exception that ended it, or None. Raises FatalError and cancellation only."""
    try:
        await work()
    except Exception as error:
        cause = simplest(error)
        if isinstance(cause, FatalError):
            raise cause from None
        if isinstance(cause, OpenLedgerError):
            logger.debug("%s: %s", what, cause)
        else:
            logger.warning("%s: unexpected %s", what, type(cause).__name__, exc_info=error)
        return cause
    return None


def simplest(error: Exception) -> Exception:
    """The one exception that tells what happened: a fatal one if there is any, else the first that is not a group."""
    if not isinstance(error, ExceptionGroup):
        return error
    fatal = error.subgroup(FatalError)
    nested = (fatal or error).exceptions[0]
    return simplest(nested)
