"""Descriptors: how many files and sockets this process may have open, and who gets how many.

What consensus writes (log, sign record, database) must never find that callers hold them all. So the limit is raised as
far as the system lets it, all but JSON-RPC has a fixed part, and JSON-RPC gets what is left, up to its own limit.
"""

import logging
import resource
from typing import Final

from genesis.errors import LocalError

logger = logging.getLogger(__name__)

WANTED: Final = 8_192
KEPT: Final = 352
"""For all but JSON-RPC: peers and who wants to be one (144) and dials (64), database (32: its tables are mapped, not
held open), metrics (16), log, sign record, threads and look-ups of names (32), and 64 that nobody uses."""
CONNECTIONS_LEAST: Final = 16


def limit() -> int:
    """How many files this process may have open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return WANTED if soft == resource.RLIM_INFINITY else soft


def raise_limit() -> None:
    """Raise this process's limit of open files as far as it may and needs."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED if hard == resource.RLIM_INFINITY else min(WANTED, hard)
    if limit() < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def connections_for(files: int, wanted: int) -> int:
    """How many connections JSON-RPC may hold under a limit of open files. Raises LocalError if it leaves none."""
    left = files - KEPT
    if left < CONNECTIONS_LEAST:
        raise LocalError(
            f"this process may open {files} files and needs {KEPT + CONNECTIONS_LEAST}; raise the limit, such as with "
            f"`ulimit -n {WANTED}` or LimitNOFILE of systemd"
        )
    if left < wanted:
        logger.warning("the limit of open files (%d) leaves JSON-RPC %d connections, not %d", files, left, wanted)
    return min(left, wanted)
