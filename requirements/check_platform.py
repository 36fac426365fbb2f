"""Says before anything is installed whether this machine can run the node. Standard library of any Python 3 only."""

import platform
import sys


def problem() -> "str | None":
    if not ((3, 11) <= sys.version_info[:2] <= (3, 12)) or platform.python_implementation() != "CPython":
        return "this is %s %s; the node needs CPython 3.11 or 3.12 (try: make setup PYTHON=python3.11)" % (
            platform.python_implementation(),
            platform.python_version(),
        )
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return f"this is {sys.platform} on {platform.machine()}; all dependencies have wheels for Linux x86-64 only"
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        return "this Python has no venv module (on Debian and Ubuntu: apt-get install python3-venv)"
    return None


if __name__ == "__main__":
    text = problem()
    if text:
        sys.exit("openledger: cannot set up here: " + text)
