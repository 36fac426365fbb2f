"""libp2p without the libraries that the lock leaves out, and without its habits. Each test is a fresh interpreter."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_libp2p_imports_without_warnings_and_its_parts_work() -> None:
    out = python(
        """
from p2p import standins
standins.install()
standins.install()  # twice does no harm
import sys, trio
from p2p.identity import identity_of, peer_id_of
print(peer_id_of(bytes([1]) * 32), peer_id_of(bytes([1]) * 32, "secp256k1"))
import fastecdsa.curve, fastecdsa.encoding.sec1, trio_typing
assert fastecdsa.curve.P256 is standins.Absent, "the real fastecdsa is not expected in this environment"
assert trio_typing.TaskStatus is trio.TaskStatus
try:
    fastecdsa.curve.Curve()
except NotImplementedError as error:
    print(error)
"""
    )
    assert "12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5 16Uiu2HA" in out
    assert "needs fastecdsa" in out or "need fastecdsa" in out


def test_only_a_host_brings_libp2p_in() -> None:
    python(
        """
import sys
import p2p.frames, p2p.queue, p2p.config, p2p.host, p2p.address, p2p.yamux, p2p.muxer, p2p.multistream, p2p.hello, p2p.requests
assert "libp2p" not in sys.modules
p2p.host.Host(p2p.config.HostConfig(seed=bytes(32)), hello=lambda: b"", check_hello=lambda _id, b: b)
assert "libp2p" in sys.modules
"""
    )


def test_libp2p_writes_nothing_to_stderr_and_leaves_the_root_logger_alone() -> None:
    out = python(
        """
import logging
handler = logging.StreamHandler()
logging.getLogger().addHandler(handler)
import p2p.libp2p_parts
assert logging.getLogger().handlers == [handler]
logging.getLogger("libp2p.security.noise.patterns").error("chatter that an outsider can cause")
logging.getLogger("libp2p").critical("what matters")
"""
    )
    assert out.strip() == "what matters"
