"""Secrets on disk: consensus keys as Web3 keystores (version 3, scrypt), the p2p identity as hex. All files have mode 0600.

The keystore format is that of geth and every Ethereum wallet, so keys move in and out with the tools people have.
"""

import json
import os
import secrets
from pathlib import Path
from typing import Any, Final

from genesis.crypto import address_of_private_key
from genesis.errors import LocalError
from genesis.primitives import Address
from node.os_errors import exists, read_text, told

KEYSTORE_FOLDER: Final = "keystore"
NODE_KEY_FILE: Final = "keystore/node.key"
SCRYPT_N: Final = 1 << 18
SCRYPT_N_LIGHT: Final = 1 << 12
"""geth's light setting: 0.02 s instead of a second. For keys that everybody knows anyway."""
KEYSTORE_BYTES_MAX: Final = 64 * 1024


def write_private(path: Path, content: bytes) -> None:
    """Create `path` with mode 0600 in one step; it never exists half-written. Raises LocalError if it exists already."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    with told(f"write {path}"):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            with os.fdopen(file, "wb") as writer:
                writer.write(content)
                writer.flush()
                os.fsync(file)
            os.link(temporary, path)  # fails if the name is taken, unlike rename
        except FileExistsError:
            raise LocalError(f"{path} exists already; it was left as it is") from None
        finally:
            temporary.unlink(missing_ok=True)


def check_private(path: Path) -> None:
    """Refuse a secret that others on this machine can read. Raises LocalError."""
    with told(f"look at {path}"):
        mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        raise LocalError(f"{path} can be read by others (mode {mode:04o}); run: chmod 600 {path}")


def new_key() -> bytes:
    """32 random bytes in 1 .. n-1 (the chance of any others is below 2**-127)."""
    return secrets.token_bytes(32)


def parse_private_key(text: str) -> bytes:
    """A private key as 64 hex digits, with or without 0x. Raises LocalError, which never quotes the text."""
    try:
        return check_private_key(bytes.fromhex(text.strip().removeprefix("0x")))
    except ValueError:
        raise LocalError("a private key is 64 hex digits that make a number in 1 .. n-1") from None


def check_private_key(key: bytes) -> bytes:
    """`key` itself. Raises ValueError unless it is 32 bytes that make a number in 1 .. n-1."""
    if len(key) != 32:
        raise ValueError(f"a private key has 32 bytes, not {len(key)}")
    address_of_private_key(key)
    return key


def encrypt(private_key: bytes, password: str, *, scrypt_n: int = SCRYPT_N) -> bytes:
    """A version 3 keystore."""
    from eth_keyfile.keyfile import create_keyfile_json

    document = create_keyfile_json(private_key, password.encode(), kdf="scrypt", iterations=scrypt_n)
    return json.dumps(document, indent=2).encode() + b"\n"


def decrypt(path: Path, password: str) -> bytes:
    """The private key in a keystore. Raises LocalError for a file that is no keystore, or a wrong password."""
    from eth_keyfile.keyfile import decode_keyfile_json

    document = read_keystore(path)
    check_private(path)
    try:
        return check_private_key(bytes(decode_keyfile_json(document, password.encode())))
    except (ValueError, TypeError, KeyError, NotImplementedError, MemoryError) as error:
        if "MAC" in str(error):
            raise LocalError(f"wrong password for {path}") from None
        raise LocalError(f"{path} is not a keystore that this node can open: {error}") from None


def read_keystore(path: Path) -> dict[str, Any]:
    """The JSON of a keystore file, its shape checked. Raises LocalError."""
    if not exists(path):
        raise LocalError(f"there is no keystore {path}; make one with `openledger keys new`")
    return _parsed(path, _content(path))


def _content(path: Path) -> bytes:
    with told(f"read {path}"), path.open("rb") as file:
        return file.read(KEYSTORE_BYTES_MAX + 1)


def _parsed(path: Path, content: bytes) -> dict[str, Any]:
    if len(content) > KEYSTORE_BYTES_MAX:
        raise LocalError(f"{path} is too large for a keystore")
    try:
        document = json.loads(content.decode())
    except ValueError:
        raise LocalError(f"{path} is not a keystore: no JSON") from None
    if not isinstance(document, dict) or document.get("version") != 3 or "crypto" not in document:
        raise LocalError(f"{path} is not a Web3 keystore of version 3")
    parameters = document["crypto"].get("kdfparams", {}) if isinstance(document["crypto"], dict) else {}
    if isinstance(parameters.get("n"), int) and parameters["n"] > 1 << 20:
        raise LocalError(f"{path} asks for more scrypt work than this node does (n > 2**20)")
    return document


def address_in(path: Path) -> Address | None:
    """The address that a keystore says it holds, without opening it; None if the file is none or doesn't say.

    Raises LocalError for a file that can't be read.
    """
    content = _content(path)
    try:
        address = bytes.fromhex(str(_parsed(path, content).get("address", "")).removeprefix("0x"))
    except (LocalError, ValueError):
        return None
    return Address(address) if len(address) == 20 else None


def sign_record_path(datadir: Path, address: Address) -> Path:
    """Where the memory of a consensus key lies. One file per key, so that changing keys mixes nothing up."""
    return datadir / "consensus" / f"{address.hex()}.signed"


def start_sign_record(datadir: Path, address: Address) -> None:
    """Begin the memory of a key that has never signed. A key without one is refused at start."""
    from node.home.sign_record import SignRecordFile

    path = sign_record_path(datadir, address)
    with told(f"make {path.parent}"):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    SignRecordFile(path, create=True)


def list_keystores(folder: Path) -> list[tuple[str, Address]]:
    """(name, address) of every keystore in a folder, by name; none if there is no folder.

    Raises LocalError if the folder or a file in it can't be read.
    """
    if not exists(folder):
        return []
    with told(f"read the folder {folder}"):
        paths = sorted(path for path in folder.iterdir() if path.suffix == ".json" and path.name[0] != ".")
    found = [(path.stem, address_in(path)) for path in paths]
    return [(name, address) for name, address in found if address is not None]


def node_key(datadir: Path) -> bytes:
    """The 32 secret bytes of the p2p identity; made at first use. Losing them only changes the PeerId."""
    path = datadir / NODE_KEY_FILE
    if not exists(path):
        write_private(path, secrets.token_hex(32).encode() + b"\n")
    check_private(path)
    with told(f"read {path}"):
        content = path.read_bytes()
    try:
        key = bytes.fromhex(content.decode("ascii").strip())
    except ValueError:
        key = b""
    if len(key) != 32:
        raise LocalError(f"{path} is not 64 hex digits; delete it to get a new p2p identity")
    return key


def read_password(path: Path) -> str:
    """The first line of a password file. Raises LocalError."""
    if not exists(path):
        raise LocalError(f"there is no password file {path}")
    check_private(path)
    return read_text(path, "the password file").split("\n", 1)[0].rstrip("\r")
