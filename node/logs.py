"""Log lines, for people or for machines, on standard error."""

import json
import logging
import time
from typing import Final

_NOISY: Final = ("libp2p", "multiaddr", "web3", "urllib3", "eth")


class TextFormatter(logging.Formatter):
    """`2026-11-03 10:15:00.123 INFO  node.application: block 5 …`"""

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


def set_up_logging(level: str, style: str, name: str = "") -> None:
    """Send everything at `level` and above to standard error; libraries speak from warnings on."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter(name) if style == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for noisy in _NOISY:
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))


def _trace(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    return "\n" + formatter.formatException(record.exc_info) if record.exc_info and record.exc_info[0] else ""
