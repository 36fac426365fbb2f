"""`python -m tests.chaos.forker`: imports the node once and forks `openledger start` for each data directory it is told.

Importing takes a node seconds of processor time; a campaign of kills would do little else. A child runs the command itself,
from its arguments on. Lines in: `DATADIR<tab>LOGFILE`; lines out: the child's pid. When it ends, its children end, too.
"""

import os
import signal
import sys
import traceback
from typing import NoReturn

from node.devnet.supervisor import _die_with_parent, _import_everything


def main() -> None:
    _import_everything()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps
    print("ready", flush=True)
    parent = os.getpid()
    for line in sys.stdin:
        datadir, log = line.rstrip("\n").split("\t")
        pid = os.fork()
        if pid == 0:
            _be_node(parent, datadir, log)
        print(pid, flush=True)


def _be_node(parent: int, datadir: str, log: str) -> NoReturn:
    from node.cli import main as command

    code: object = 1
    try:
        _die_with_parent(parent)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        null = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((null, 0), (file, 1), (file, 2)):
            os.dup2(source, target)
        sys.argv = ["openledger", "start", "--datadir", datadir]
        command()
        code = 0
    except SystemExit as stop:
        code = stop.code
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)


if __name__ == "__main__":
    main()
