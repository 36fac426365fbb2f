"""A node as a process: logging, the lock, the consensus key, the run, and an exit code that says how it ended."""

import contextlib
import gc
import logging
import sys
import time
from pathlib import Path
from typing import Final

from genesis.chain_spec import ChainSpec
from genesis.errors import FatalError, LocalError
from node.descriptors import raise_limit
from node.home.config import NodeConfig
from node.home.consensus_key import ConsensusKey, open_consensus_key
from node.home.datadir import settle_spec
from node.home.lock import DirectoryLock
from node.telemetry.logs import outlive_hangups, set_up_logging

logger = logging.getLogger(__name__)

SWITCH_INTERVAL_S: Final = 0.0005
"""Executing threads give the event loop its turn after this: trio woke up 5.5 ms late at the default of 5 ms, 0.9 ms here."""
FATAL_FILE: Final = "fatal.log"


def run_node(settings: NodeConfig, genesis: Path | None = None) -> int:
    """Run a node until it is stopped; returns the exit code. Raises LocalError for what the operator can put right."""
    set_up_logging(settings["log.level"], settings["log.format"], settings["name"], settings.path("log.file"))
    outlive_hangups()
    raise_limit()
    with DirectoryLock(settings.datadir):
        spec = settle_spec(settings.datadir, genesis)
        try:
            return _run_locked(settings, spec, open_consensus_key(settings))
        except FatalError as error:
            _keep_evidence(settings.datadir, error)
            raise


def _run_locked(settings: NodeConfig, spec: ChainSpec, key: ConsensusKey | None) -> int:
    import trio

    from node.chain.worker import prepare_threads
    from node.node import Node  # takes seconds; what the operator got wrong is told before

    sys.setswitchinterval(SWITCH_INTERVAL_S)
    prepare_threads()
    node = Node(settings, spec, key)
    gc.collect()
    gc.freeze()  # what was imported and opened stays: the collector need not look at it again
    try:
        trio.run(node.run, restrict_keyboard_interrupt_to_checkpoints=True)
    except BaseExceptionGroup as group:
        raise _first_cause(group) from group
    logger.info("stopped at block %d", node.store.tip().height)
    return 0


def _first_cause(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What a nursery's group is really about: a fatal error before a local one before anything else."""
    leaves = list(_leaves(group))
    for kind in (FatalError, LocalError):
        for leaf in leaves:
            if isinstance(leaf, kind):
                return leaf
    return leaves[0]


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
    return [error]


def _keep_evidence(datadir: Path, error: FatalError) -> None:
    """Log what stopped the node, and keep it beside the data: it will be asked for."""
    logger.critical("%s: %s", type(error).__name__, error, exc_info=None if isinstance(error, LocalError) else error)
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    with contextlib.suppress(OSError), (datadir / FATAL_FILE).open("a") as file:
        file.write(f"{stamp} {type(error).__name__}: {error}\n")
