"""A node's data directory: what is in it, how it is made, and what its parts are called.

LOCK                  held while a node runs
config.toml           settings (see node/home/config.py)
genesis.json          the chain spec
keystore/             consensus keys (Web3 keystores), node.key (p2p identity); mode 0600
chain/                LevelDB
consensus/            write-ahead log and last-sign record
"""

from pathlib import Path
from typing import Final

from genesis.chain_spec import BlockParams, ChainSpec, GenesisAccount
from genesis.crypto import address_of_private_key
from genesis.errors import LocalError
from genesis.primitives import WEI_PER_OPEN, Address, Power, Wei
from genesis.types import Validator
from node.home import keystore
from node.home.config import CONFIG_FILE, to_toml
from node.os_errors import exists, told

GENESIS_FILE: Final = "genesis.json"
CHAIN_FOLDER: Final = "chain"
CONSENSUS_FOLDER: Final = "consensus"
OWN_CHAIN_ALLOCATION: Final = 1_000_000
"""Whole OPEN for the one validator of a chain made by `openledger init`."""


def read_spec(path: Path) -> ChainSpec:
    """A genesis file. Raises LocalError that names the file and what is wrong."""
    if not exists(path):
        raise LocalError(f"there is no genesis file {path}")
    with told(f"read the genesis file {path}"):
        data = path.read_bytes()
    try:
        return ChainSpec.from_json(data)
    except LocalError as error:
        raise LocalError(f"{path}: {error}") from None


def settle_spec(datadir: Path, given: Path | None) -> ChainSpec:
    """The spec that a data directory is for: its own, which `given` must equal; or `given`, which becomes its own."""
    own = datadir / GENESIS_FILE
    spec = read_spec(given) if given is not None else None
    if not exists(own):
        if spec is None:
            raise LocalError(f"{datadir} has no {GENESIS_FILE}; give one with --genesis, or run `openledger init`")
        write_new(own, spec.to_json())
        return spec
    stored = read_spec(own)
    if spec is not None and spec != stored:
        lines = "\n  ".join(spec.differences(stored))
        raise LocalError(
            f"{datadir} is of another chain than {given}; genesis given (here), stored (there):\n  {lines}"
        )
    return stored


def write_new(path: Path, content: bytes) -> None:
    """Write a file that isn't there yet, or nothing. Raises LocalError."""
    with told(f"write {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            file = path.open("xb")
        except FileExistsError:
            raise LocalError(f"{path} exists already; it was left as it is") from None
        try:
            with file:
                file.write(content)
        except BaseException:
            path.unlink(missing_ok=True)  # half a file would be taken for the whole one
            raise


def initialise(
    datadir: Path, genesis: Path | None, chain_id: int, password: str | None, password_file: str | None
) -> list[str]:
    """Make a data directory; returns lines that say what was made. Raises LocalError if there is one already."""
    import time

    for name in (CONFIG_FILE, GENESIS_FILE):
        if exists(datadir / name):
            raise LocalError(f"{datadir} is a data directory already ({name} exists)")
    spec = read_spec(genesis) if genesis is not None else None
    made = []
    settings: dict[str, object] = {}
    if password is not None:
        key = keystore.new_key()
        address = address_of_private_key(key)
        path = datadir / keystore.KEYSTORE_FOLDER / "validator.json"
        keystore.write_private(path, keystore.encrypt(key, password))
        keystore.start_sign_record(datadir, address)
        settings["validator.keystore"] = str(path.relative_to(datadir))
        if password_file is not None:
            settings["validator.password_file"] = str(Path(password_file).resolve())
        made.append(f"consensus key 0x{address.hex()} in {path}")
        if spec is None:
            spec = ChainSpec(
                name="openledger-private",
                chain_id=chain_id,
                genesis_time_ms=time.time_ns() // 1_000_000,
                validators=(Validator(address, Power(1), address),),
                treasury=address,
                alloc=(GenesisAccount(address, Wei(OWN_CHAIN_ALLOCATION * WEI_PER_OPEN)),),
                block=BlockParams(),
            )
    if spec is None:
        raise LocalError("a genesis file is needed for a node without a consensus key")
    write_new(datadir / GENESIS_FILE, spec.to_json())
    write_new(
        datadir / CONFIG_FILE, to_toml(settings, "Settings of this node. `openledger config show` lists all.").encode()
    )
    keystore.node_key(datadir)
    made.append(f"data directory {datadir} for chain {spec.name!r} (chain id {spec.chain_id})")
    made.append(f"start it with: openledger start --datadir {datadir}")
    return made


# ---------------------------------------------------------------- arguments of `genesis build`


def parse_address(text: str) -> Address:
    """0x and 40 hex digits. Raises LocalError."""
    digits = text.removeprefix("0x")
    try:
        value = bytes.fromhex(digits)
    except ValueError:
        value = b""
    if len(value) != 20 or len(digits) != 40:
        raise LocalError(f"{text!r} is not an address (0x and 40 hex digits)")
    return Address(value)


def parse_validator(text: str) -> Validator:
    """`ADDR[:POWER[:PAYOUT]]`. Raises LocalError."""
    parts = text.split(":")
    address = parse_address(parts[0])
    power = parts[1] if len(parts) > 1 else "1"
    if len(parts) > 3 or not power.isdecimal():
        raise LocalError(f"{text!r}: a validator is ADDR[:POWER[:PAYOUT]]")
    try:
        return Validator(address, Power(int(power)), parse_address(parts[2]) if len(parts) == 3 else address)
    except ValueError as error:
        raise LocalError(f"{text!r}: {error}") from None


def parse_allocation(text: str) -> GenesisAccount:
    """`ADDR=OPEN`, whole OPEN. Raises LocalError."""
    address, equals, amount = text.partition("=")
    if not equals or not amount.isdecimal():
        raise LocalError(f"{text!r}: an allocation is ADDR=AMOUNT in whole OPEN")
    return GenesisAccount(parse_address(address), Wei(int(amount) * WEI_PER_OPEN))
