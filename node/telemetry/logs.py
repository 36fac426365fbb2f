"""Log lines, for people or for machines, on standard error or in a file.

SIGHUP opens the file anew, so that it can be renamed and rotated; without a file it does nothing. It never ends a node.
"""

import json
import logging
import signal
import time
from pathlib import Path
from typing import Final

from node.os_errors import explain, told

_NOISY: Final = ("libp2p", "multiaddr", "web3", "urllib3", "eth")


class TextFormatter(logging.Formatter):
    """`2026-11-03 10:15:00.123 INFO  node.chain.application: block 5 …`"""

    def format(self, record: logging.LogRecord) -> str:
        stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created)) + f".{int(record.msecs):03d}"
        return f"{stamp} {record.levelname:<7} {record.name}: {record.getMessage()}{_trace(self, record)}"


class JsonFormatter(logging.Formatter):
    """One JSON object per line: time (RFC 3339, UTC), level, logger, message, and the trace of an exception."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def format(self, record: logging.LogRecord) -> str:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"
        line = {"time": stamp, "level": record.levelname.lower(), "logger": record.name, "message": record.getMessage()}
        if self._name:
            line["node"] = self._name
        trace = _trace(self, record)
        if trace:
            line["trace"] = trace.strip()
        return json.dumps(line, ensure_ascii=False)


class ReopenedFile(logging.FileHandler):
    """A log file that is opened anew before the next line once `reopen` was called, which a signal's handler may do."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, encoding="utf-8")
        self._is_stale = False

    def reopen(self) -> None:
        """Write the next line to what has the file's name then."""
        self._is_stale = True

    def emit(self, record: logging.LogRecord) -> None:
        if self._is_stale:
            self._is_stale = False
            self._replace_stream()
        super().emit(record)

    def _replace_stream(self) -> None:
        try:
            fresh = self._open()
        except OSError as error:
            # The old file is better than none, and than an exception in whoever has something to say.
            text = f"the log goes on in the old file: cannot open {self.baseFilename}: {explain(error)}"
            super().emit(logging.LogRecord(__name__, logging.WARNING, __file__, 0, text, (), None))
        else:
            old = self.setStream(fresh)
            if old is not None:
                old.close()


def set_up_logging(level: str, style: str, name: str = "", file: Path | None = None) -> None:
    """Send everything at `level` and above to `file`, else to standard error; libraries speak from warnings on.

    Raises LocalError if the file can't be written.
    """
    handler: logging.Handler = logging.StreamHandler()
    if file is not None:
        with told(f"write the log file {file}"):
            file.parent.mkdir(parents=True, exist_ok=True)
            handler = ReopenedFile(file)
    handler.setFormatter(JsonFormatter(name) if style == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for noisy in _NOISY:
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))


def outlive_hangups() -> None:
    """From now on SIGHUP opens the log file anew, if there is one, and does nothing else. To be called from the main thread."""

    def reopen(_number: int, _frame: object) -> None:
        for handler in logging.getLogger().handlers:
            if isinstance(handler, ReopenedFile):
                handler.reopen()

    signal.signal(signal.SIGHUP, reopen)


def _trace(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    return "\n" + formatter.formatException(record.exc_info) if record.exc_info and record.exc_info[0] else ""
