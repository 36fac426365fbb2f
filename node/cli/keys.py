"""`keys new|list|import|prove`: consensus keys in Web3 keystores."""

import sys
from pathlib import Path
from typing import Final

import click

from genesis.errors import LocalError
from node.cli.options import datadir_option, expand, read_password
from node.os_errors import exists, read_text, told

NAME_DEFAULT: Final = "validator"


def register(group: click.Group) -> None:
    group.add_command(keys)


@click.group()
def keys() -> None:
    """Consensus keys (Web3 keystore version 3, scrypt; files that only you can read)."""


@keys.command("new")
@datadir_option
@click.option("--name", default=NAME_DEFAULT, show_default=True, help="name of the keystore file")
@click.option("--password-file", metavar="FILE", help="file with the password")
@click.option("--light", is_flag=True, help="weak scrypt (n=4096), for tests only")
def keys_new(datadir: str, name: str, password_file: str | None, light: bool) -> None:
    """Make a new key and print its address."""
    from node.home import keystore

    _store(datadir, name, keystore.new_key(), password_file, light)


@keys.command("import")
@click.argument("file", metavar="FILE")
@datadir_option
@click.option("--name", default=NAME_DEFAULT, show_default=True, help="name of the keystore file")
@click.option("--password-file", metavar="FILE", help="file with the password")
@click.option("--light", is_flag=True, help="weak scrypt (n=4096), for tests only")
def keys_import(file: str, datadir: str, name: str, password_file: str | None, light: bool) -> None:
    """Import a key: FILE is a keystore, or holds the key as 64 hex digits; - reads the digits from standard input.

    A key that validates elsewhere must be stopped there first, and its sign record (consensus/ADDRESS.signed) moved along.
    """
    from node.home import keystore

    if file == "-":
        _store(datadir, name, keystore.parse_private_key(sys.stdin.read(256)), password_file, light)
        return
    path = Path(file)
    with told(f"read {path}"):
        size = path.stat().st_size
    text = read_text(path) if size <= keystore.KEYSTORE_BYTES_MAX else ""
    if text.lstrip().startswith("{"):
        password = read_password(password_file, confirm=False, what=str(path))
        key = keystore.decrypt(path, password)
        _write(datadir, name, key, password, light)
    else:
        _store(datadir, name, keystore.parse_private_key(text), password_file, light)


@keys.command("list")
@datadir_option
def keys_list(datadir: str) -> None:
    """List the keys in the data directory."""
    from node.home import keystore

    found = keystore.list_keystores(expand(datadir) / keystore.KEYSTORE_FOLDER)
    for name, address in found:
        click.echo(f"0x{address.hex()}  {name}")
    if not found:
        click.echo(f"no keys in {expand(datadir) / keystore.KEYSTORE_FOLDER}", err=True)


@keys.command("prove")
@datadir_option
@click.option("--owner", required=True, metavar="ADDR", help="the account that will register the validator")
@click.option("--name", default=NAME_DEFAULT, show_default=True, help="name of the keystore file")
@click.option("--password-file", metavar="FILE", help="file with the password")
def keys_prove(datadir: str, owner: str, name: str, password_file: str | None) -> None:
    """Print the proof that lets --owner register this key as a validator on the data directory's chain.

    It is the last argument of `createValidator` in the staking contract (docs/staking.md), good for this owner and chain only.
    """
    from evm_runtime.staking.proof import possession_digest
    from genesis.crypto import address_of_private_key, sign
    from node.home import keystore
    from node.home.datadir import GENESIS_FILE, parse_address, read_spec

    directory = expand(datadir)
    spec = read_spec(directory / GENESIS_FILE)
    path = directory / keystore.KEYSTORE_FOLDER / f"{name}.json"
    key = keystore.decrypt(path, read_password(password_file, confirm=False, what=str(path)))
    validator = address_of_private_key(key)
    proof = sign(key, possession_digest(spec.chain_id, validator, parse_address(owner)))
    click.echo(f"0x{validator.hex()}  0x{proof.hex()}")


def _store(datadir: str, name: str, key: bytes, password_file: str | None, light: bool) -> None:
    _write(datadir, name, key, read_password(password_file, confirm=True, what=f"the key {name!r}"), light)


def _write(datadir: str, name: str, key: bytes, password: str, light: bool) -> None:
    from genesis.crypto import address_of_private_key
    from node.home import keystore

    if not name or not name.replace("-", "").replace("_", "").isalnum():
        raise LocalError(f"{name!r} is no name for a key: use letters, digits, - and _")
    path = expand(datadir) / keystore.KEYSTORE_FOLDER / f"{name}.json"
    if exists(path):
        raise LocalError(f"{path} exists already; choose another --name")
    scrypt_n = keystore.SCRYPT_N_LIGHT if light else keystore.SCRYPT_N
    keystore.write_private(path, keystore.encrypt(key, password, scrypt_n=scrypt_n))
    address = address_of_private_key(key)
    keystore.start_sign_record(expand(datadir), address)
    click.echo(f"0x{address.hex()}  {path}")
