"""Keys: the well-known mnemonic, keystores that other tools read, files that nobody else does."""

import json
from pathlib import Path

import pytest
from eth_account import Account

from genesis.crypto import address_of_private_key
from genesis.errors import LocalError
from node.home import keystore
from node.home.hdwallet import DEVNET_MNEMONIC, derive, ethereum_keys, seed_of

KEY = b"\x11" * 32
N = keystore.SCRYPT_N_LIGHT


def test_the_devnet_accounts_are_those_that_every_tool_knows() -> None:
    keys = ethereum_keys(DEVNET_MNEMONIC, 10)
    assert keys[0].hex() == "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"
    assert address_of_private_key(keys[9]).hex() == "a0ee7a142d267c1f36714e4a8f75612f20a79720"


def test_derivation_follows_bip_32() -> None:
    seed = bytes.fromhex("000102030405060708090a0b0c0d0e0f")  # BIP-32, test vector 1
    assert derive(seed, "m").hex() == "e8f32e723decf4051aefac8e2c93c9c5b214313817cdb01a1494b917c8436b35"
    assert derive(seed, "m/0'").hex() == "edb2e14f9ee77d26dd93b4ecede8d16ed408ce149b6cd80b0715a2d911a0afea"
    assert derive(seed, "m/0'/1").hex() == "3c6cb8d0f6a264c91ea8b5030fadaa8e538b020f0a387421a12de9319dc93368"
    with pytest.raises(ValueError, match="starts with m"):
        derive(seed_of(DEVNET_MNEMONIC), "44'/60'")


def test_a_keystore_is_one_that_eth_account_opens_and_the_other_way_round(tmp_path: Path) -> None:
    ours = tmp_path / "ours.json"
    keystore.write_private(ours, keystore.encrypt(KEY, "secret", scrypt_n=N))
    assert bytes(Account.decrypt(json.loads(ours.read_text()), "secret")) == KEY
    theirs = tmp_path / "theirs.json"
    keystore.write_private(theirs, json.dumps(Account.encrypt(KEY, "other", kdf="scrypt", iterations=N)).encode())
    assert keystore.decrypt(theirs, "other") == KEY
    assert keystore.list_keystores(tmp_path) == [
        ("ours", address_of_private_key(KEY)),
        ("theirs", address_of_private_key(KEY)),
    ]


def test_secrets_are_for_their_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "keystore" / "v.json"
    keystore.write_private(path, keystore.encrypt(KEY, "secret", scrypt_n=N))
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    path.chmod(0o640)
    with pytest.raises(LocalError, match="chmod 600"):
        keystore.decrypt(path, "secret")
    with pytest.raises(LocalError, match="exists already"):
        keystore.write_private(path, b"")
    assert [entry.name for entry in path.parent.iterdir()] == ["v.json"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no JSON"),
        (b"\xff\xfe", "no JSON"),
        (b"[]", "version 3"),
        (b'{"version": 1, "crypto": {}}', "version 3"),
        (b'{"version": 3, "crypto": {}}', "not a keystore that this node can open"),
        (b'{"version": 3, "crypto": []}', "not a keystore that this node can open"),
        (b'{"version": 3, "crypto": {"kdf": "scrypt", "kdfparams": {"n": 1073741824}}}', "more scrypt work"),
        (b" " * 70_000, "too large"),
    ],
)
def test_a_bad_keystore_is_told(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "v.json"
    keystore.write_private(path, content)
    with pytest.raises(LocalError, match=message):
        keystore.decrypt(path, "secret")


def test_a_wrong_password_is_told(tmp_path: Path) -> None:
    path = tmp_path / "v.json"
    keystore.write_private(path, keystore.encrypt(KEY, "secret", scrypt_n=N))
    with pytest.raises(LocalError, match="wrong password"):
        keystore.decrypt(path, "Secret")
    with pytest.raises(LocalError, match="there is no keystore"):
        keystore.decrypt(tmp_path / "w.json", "secret")


@pytest.mark.parametrize("text", ["", "0x", "11", "zz" * 32, "00" * 32, "ff" * 32, "é" * 64])
def test_a_private_key_that_is_none_is_refused_without_being_quoted(text: str) -> None:
    with pytest.raises(LocalError) as caught:
        keystore.parse_private_key(text)
    assert not text or text not in str(caught.value)


def test_the_p2p_identity_is_made_once(tmp_path: Path) -> None:
    first = keystore.node_key(tmp_path)
    assert keystore.node_key(tmp_path) == first
    assert len(first) == 32
    (tmp_path / keystore.NODE_KEY_FILE).write_text("nonsense")
    with pytest.raises(LocalError, match="delete it"):
        keystore.node_key(tmp_path)
