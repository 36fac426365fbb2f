"""A state test's transaction as it stands on the wire, signed with the test's key: for fixtures that leave `txbytes` out."""

from typing import Any

from evm_runtime.fields import int_bytes
from evm_runtime.transaction import ACCESS_LIST, BLOB, DYNAMIC_FEE, LEGACY, SET_CODE, signing_hash
from genesis.codec import encode_rlp
from genesis.crypto import sign
from tests.conformance.values import integer, octets


def signed_transaction(described: dict[str, Any], indexes: dict[str, int], chain_id: int) -> bytes:
    """The transaction with the data, gas limit and value that `indexes` name.

    A legacy one is signed with the chain id (EIP-155), as those of execution-spec-tests are. Raises KeyError, IndexError or
    ValueError for a description that is none.
    """
    which = indexes["data"]
    kind = kind_of(described, which)
    price = _uint(described, "gasPrice") if kind in (LEGACY, ACCESS_LIST) else None
    fields: list[Any] = [_uint(described, "nonce")]
    fields += [_uint(described, "maxPriorityFeePerGas"), _uint(described, "maxFeePerGas")] if price is None else [price]
    fields += [
        int_bytes(integer(described["gasLimit"][indexes["gas"]])),
        octets(described["to"] or ""),
        int_bytes(integer(described["value"][indexes["value"]])),
        octets(described["data"][which]),
    ]
    if kind != LEGACY:
        fields = [int_bytes(chain_id), *fields, _access_list(described, which) or []]
    if kind == BLOB:
        fields += [
            _uint(described, "maxFeePerBlobGas"),
            [octets(item, 32) for item in described["blobVersionedHashes"]],
        ]
    if kind == SET_CODE:
        fields.append([_authorization(item) for item in described["authorizationList"]])
    signed = [*fields, int_bytes(chain_id), b"", b""] if kind == LEGACY else fields
    signature = sign(octets(described["secretKey"], 32), signing_hash(kind, signed))
    v = signature[64] + (35 + 2 * chain_id if kind == LEGACY else 0)
    words = [int_bytes(int.from_bytes(word, "big")) for word in (signature[:32], signature[32:64])]
    payload = encode_rlp([*fields, int_bytes(v), *words])
    return payload if kind == LEGACY else bytes([kind]) + payload


def kind_of(described: dict[str, Any], which: int) -> int:
    """The transaction's kind; `which` is the index of its data, for tests may give only some of them an access list."""
    if "authorizationList" in described:
        return SET_CODE
    if "blobVersionedHashes" in described:
        return BLOB
    if "maxFeePerGas" in described:
        return DYNAMIC_FEE
    return LEGACY if _access_list(described, which) is None else ACCESS_LIST


def _uint(described: dict[str, Any], name: str) -> bytes:
    return int_bytes(integer(described[name]))


def _access_list(described: dict[str, Any], which: int) -> list[Any] | None:
    lists = described.get("accessLists")
    entries = lists[which] if lists else None
    if entries is None:
        return None
    return [[octets(entry["address"], 20), [octets(key, 32) for key in entry["storageKeys"]]] for entry in entries]


def _authorization(item: dict[str, Any]) -> list[bytes]:
    numbers = [_uint(item, name) for name in ("chainId", "nonce", "yParity", "r", "s")]
    return [numbers[0], octets(item["address"], 20), *numbers[1:]]
