"""Compiles the EVM's native tier in the background; until it is there, and where it can't be, code runs in the Python tier."""

import logging
import time

from evm_runtime.llvm import engine
from node.threads import UPKEEP

logger = logging.getLogger(__name__)


async def load_native_tier() -> None:
    """Takes about half a second of a processor, once per process; a devnet does it before it forks its nodes."""
    if engine.loaded() is not None:
        return
    start = time.monotonic()
    try:
        await UPKEEP.run(engine.load)
    except engine.NoEngine as error:
        logger.warning("contracts run in the Python tier of the EVM: %s", error)
    else:
        logger.info("the EVM's native tier is ready after %.1f s", time.monotonic() - start)
