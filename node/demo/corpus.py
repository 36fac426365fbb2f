"""Real text that every machine has: the documentation of Python's own standard library, read from its sources at run time.

Nothing is imported or executed; the sources are parsed and their docstrings taken in a fixed order, so two runs on one Python
give the same text.
"""

import ast
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from genesis.errors import LocalError

BODY_BYTES_MAX: Final = 64 * 1024
BODY_BYTES_MIN: Final = 50 * 1024

NETWORKING: Final = (
    "asyncio/streams.py asyncio/transports.py asyncio/protocols.py asyncio/sslproto.py asyncio/base_events.py ftplib.py "
    "http imaplib.py ipaddress.py poplib.py smtplib.py socket.py socketserver.py ssl.py urllib wsgiref xmlrpc email"
)
DATA_FORMATS: Final = (
    "json csv.py configparser.py plistlib.py pickle.py zipfile.py tarfile.py gzip.py bz2.py lzma.py base64.py quopri.py "
    "struct.py tomllib shelve.py dbm mailbox.py mimetypes.py codecs.py xml html _pydecimal.py"
)
CONCURRENCY: Final = (
    "threading.py multiprocessing concurrent queue.py sched.py subprocess.py selectors.py signal.py contextlib.py weakref.py "
    "asyncio/tasks.py asyncio/locks.py asyncio/queues.py asyncio/events.py asyncio/futures.py asyncio/runners.py "
    "asyncio/taskgroups.py asyncio/timeouts.py asyncio/subprocess.py asyncio/threads.py asyncio/unix_events.py"
)
UNRELATED: Final = "turtle.py tkinter/__init__.py difflib.py"


@dataclass(frozen=True, slots=True)
class Body:
    """One contributor's text: docstrings joined by blank lines, cut at a docstring's end."""

    topic: str
    text: str

    @property
    def size_bytes(self) -> int:
        return len(self.text.encode())


def read_bodies() -> tuple[Body, ...]:
    """Networking, data formats and concurrency, about 50 to 64 KiB each. Raises LocalError if the sources are not there."""
    bodies = tuple(
        Body(topic, _join(_docstrings(sources.split()), BODY_BYTES_MAX))
        for topic, sources in [("networking", NETWORKING), ("data formats", DATA_FORMATS), ("concurrency", CONCURRENCY)]
    )
    for body in bodies:
        if body.size_bytes < BODY_BYTES_MIN:
            raise LocalError(
                f"the demo reads Python's standard library, but found only {body.size_bytes} bytes on {body.topic} in "
                f"{_library()}; install Python with its library sources"
            )
    return bodies


def read_unrelated() -> str:
    """Text of the same kind that nobody contributes."""
    return _join(_docstrings(UNRELATED.split()), BODY_BYTES_MAX)


def _library() -> Path:
    return Path(sysconfig.get_path("stdlib"))


def _docstrings(sources: list[str]) -> Iterator[str]:
    seen = set()
    for source in sources:
        path = _library() / source
        files = sorted(path.rglob("*.py")) if path.is_dir() else [path] if path.exists() else []
        for file in files:
            if "test" in file.parts or "tests" in file.parts:
                continue
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                    text = ast.get_docstring(node)
                    if text and text not in seen:
                        seen.add(text)
                        yield text


def _join(texts: Iterator[str], bytes_max: int) -> str:
    parts, size = [], 0
    for text in texts:
        size += len(text.encode()) + 2
        if size > bytes_max:
            break
        parts.append(text)
    return "\n\n".join(parts)
