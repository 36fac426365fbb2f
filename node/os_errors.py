"""Words for what the operating system refuses: what happened, and what an operator can do about it. The only place for them.

LevelDB's errors go through here too: plyvel's IOError is an OSError without a number, whose text ends with the system's words.
That something is damaged is never said here: an error of the system says nothing about content, for none was read.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from genesis.errors import LocalError, StorageUnavailable

_ADVICE: Final = {
    errno.EACCES: "the user that this process runs as may not do that: check owner and mode (ls -l)",
    errno.EPERM: "the user that this process runs as may not do that: check owner, mode and attributes (ls -l, lsattr)",
    errno.ENOSPC: "the disk is full: make room",
    errno.EDQUOT: "the disk quota is used up: make room, or have it raised",
    errno.EROFS: "the file system is mounted read-only: remount it, and look why in the system's log (dmesg)",
    errno.EIO: "the disk has failed to do it: look into the system's log (dmesg), and check the disk",
    errno.EMFILE: "this process has too many files and connections open: raise its limit (ulimit -n)",
    errno.ENFILE: "this machine has too many files open: raise fs.file-max",
    errno.ENOMEM: "this machine has too little memory left",
    errno.ENOLCK: "its file system can't lock files: use a local one",
}
_NUMBERS: Final = {os.strerror(number): number for number in errno.errorcode}


def number_of(error: Exception) -> int | None:
    """The errno of an OSError or of a LevelDB error; None where it has none."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    return _NUMBERS.get(_raw_text(error).rpartition(": ")[2])


def explain(error: Exception) -> str:
    """What the system says, and what to do about it where that is known."""
    number = number_of(error)
    if isinstance(error, OSError) and error.strerror:
        text = error.strerror
    else:
        text = _raw_text(error) or type(error).__name__
    advice = None if number is None else _ADVICE.get(number)
    return f"{text} ({advice})" if advice else text


@contextmanager
def told(doing: str) -> Iterator[None]:
    """Around work on files: what the system refuses becomes a LocalError, `cannot <doing>: …`."""
    try:
        yield
    except OSError as error:
        raise LocalError(_sentence(doing, error)) from None


@contextmanager
def needed(doing: str) -> Iterator[None]:
    """As `told`, around work that the node can't go on without: raises StorageUnavailable."""
    try:
        yield
    except OSError as error:
        raise StorageUnavailable(_sentence(doing, error)) from error


def exists(path: Path) -> bool:
    """True if there is something under this name, False if there is nothing. Raises LocalError if that can't be told.

    `Path.exists` can't be relied on for it: an unreadable folder is a raw error or a "no", by the version of Python.
    """
    with told(f"look for {path}"):
        try:
            path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return False
    return True


def read_text(path: Path, what: str = "") -> str:
    """A file of UTF-8 text. Raises LocalError: for one that can't be read, or for one that isn't text."""
    name = f"{what} {path}".strip()
    with told(f"read {name}"):
        content = path.read_bytes()
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise LocalError(f"{name} is not UTF-8 text: {error}") from None


def _sentence(doing: str, error: OSError) -> str:
    file = "" if error.filename is None or str(error.filename) in doing else f"{error.filename}: "
    return f"cannot {doing}: {file}{explain(error)}"


def _raw_text(error: Exception) -> str:
    raw = error.args[0] if error.args else ""
    return raw.decode("utf-8", "replace") if isinstance(raw, bytes) else str(raw)
