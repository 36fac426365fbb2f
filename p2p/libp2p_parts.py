"""The only module that imports libp2p. The import takes more than a second, so others import this one late.

Three habits of libp2p's import are undone here: it needs the stand-ins, it warns about a deprecated part of `websockets`
that nothing uses, and it detaches its loggers (their last resort would be stderr, where any outsider could write lines).
What matters of libp2p's messages reaches us as exceptions, so its loggers are turned down and report to the root logger.
"""

import logging
import os
import warnings

from p2p import standins

standins.install()

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from libp2p.abc import IRawConnection
    from libp2p.connection_types import ConnectionType
    from libp2p.crypto import ed25519, secp256k1, x25519
    from libp2p.crypto.keys import KeyPair
    from libp2p.io.abc import EncryptedMsgReadWriter
    from libp2p.peer.id import ID
    from libp2p.security.noise.exceptions import PeerIDMismatchesPubkey
    from libp2p.security.noise.transport import Transport as NoiseTransport
    from libp2p.security.secure_session import SecureSession

if not os.environ.get("LIBP2P_DEBUG"):  # libp2p's own switch: who sets it wants all of it
    logging.getLogger("libp2p").setLevel(logging.CRITICAL)
    logging.getLogger("libp2p").propagate = True

__all__ = [
    "ID",
    "ConnectionType",
    "EncryptedMsgReadWriter",
    "IRawConnection",
    "KeyPair",
    "NoiseTransport",
    "PeerIDMismatchesPubkey",
    "SecureSession",
    "ed25519",
    "secp256k1",
    "x25519",
]
