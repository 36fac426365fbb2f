"""The call object of eth_call and its kin, and the overrides of state and block that may go with it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from genesis.chain_spec import ATTRIBUTION_ADDRESS, STAKING_ADDRESS
from genesis.primitives import Address, Hash32
from node.rpc.schema.params import (
    ADDRESS_SCHEMA,
    DATA_SCHEMA,
    HASH_SCHEMA,
    QUANTITY_SCHEMA,
    UINT64_SCHEMA,
    BadParam,
    Kind,
    Schema,
    address,
    array,
    data,
    hash32,
    json_type,
    members,
    obj,
    quantity,
    storage_key,
    uint64,
    within,
)

OVERRIDDEN_ACCOUNTS_MAX: Final = 1_000
OVERRIDDEN_SLOTS_MAX: Final = 10_000
OVERRIDDEN_HASHES_MAX: Final = 256
_NATIVE: Final = (ATTRIBUTION_ADDRESS, STAKING_ADDRESS)
_BLOB_FIELDS: Final = ("blobVersionedHashes", "blobs", "commitments", "proofs")


@dataclass(frozen=True, slots=True)
class AuthorizationArgs:
    """An EIP-7702 tuple."""

    chain_id: int
    address: Address
    nonce: int
    y_parity: int
    r: int
    s: int


@dataclass(frozen=True, slots=True)
class CallArgs:
    """A call as it was asked for; None is what was left out."""

    sender: Address | None = None
    to: Address | None = None
    gas: int | None = None
    gas_price: int | None = None
    max_fee_per_gas: int | None = None
    max_priority_fee_per_gas: int | None = None
    value: int = 0
    nonce: int | None = None
    data: bytes = b""
    chain_id: int | None = None
    access_list: tuple[tuple[Address, tuple[int, ...]], ...] = ()
    authorizations: tuple[AuthorizationArgs, ...] = ()


@dataclass(frozen=True, slots=True)
class AccountOverrideArgs:
    """What an account is taken to have. `state` replaces all storage, `state_diff` some of it."""

    balance: int | None = None
    nonce: int | None = None
    code: bytes | None = None
    state: dict[int, int] | None = None
    state_diff: dict[int, int] | None = None
    move_precompile_to: Address | None = None


@dataclass(frozen=True, slots=True)
class BlockOverrideArgs:
    """What the block around the call is taken to be."""

    number: int | None = None
    time: int | None = None
    gas_limit: int | None = None
    coinbase: Address | None = None
    prev_randao: Hash32 | None = None
    base_fee: int | None = None
    blob_base_fee: int | None = None
    block_hashes: dict[int, Hash32] | None = None


# ---------------------------------------------------------------- the call object


def call_args(value: Any) -> CallArgs:
    """Unknown fields are ignored, as in geth; known ones are parsed strictly."""
    entries = obj(value)
    _refuse_blobs(entries)
    gas_price, max_fee, max_tip = (
        _member(entries, name, quantity) for name in ("gasPrice", "maxFeePerGas", "maxPriorityFeePerGas")
    )
    if gas_price is not None and (max_fee is not None or max_tip is not None):
        raise BadParam("both gasPrice and (maxFeePerGas or maxPriorityFeePerGas) specified")
    if max_fee is not None and max_tip is not None and max_fee < max_tip:
        raise BadParam(f"maxFeePerGas ({max_fee:#x}) < maxPriorityFeePerGas ({max_tip:#x})")
    return CallArgs(
        sender=_member(entries, "from", address),
        to=_member(entries, "to", address),
        gas=_member(entries, "gas", uint64),
        gas_price=gas_price,
        max_fee_per_gas=max_fee,
        max_priority_fee_per_gas=max_tip,
        value=_member(entries, "value", quantity) or 0,
        nonce=_member(entries, "nonce", uint64),
        data=_input(entries),
        chain_id=_member(entries, "chainId", quantity),
        access_list=_member(entries, "accessList", _access_list) or (),
        authorizations=_member(entries, "authorizationList", _authorizations) or (),
    )


def _member(entries: dict[str, Any], name: str, parse: Callable[[Any], Any]) -> Any:
    value = entries.get(name)
    return None if value is None else within(name, parse, value)


def _refuse_blobs(entries: dict[str, Any]) -> None:
    if entries.get("type") == "0x3" or any(entries.get(name) for name in _BLOB_FIELDS):
        raise BadParam("blob transactions have no place on this chain")


def _input(entries: dict[str, Any]) -> bytes:
    """`input` is the newer name of `data`; both may be given if they are equal."""
    given = [_member(entries, name, data) for name in ("input", "data")]
    if None not in given and given[0] != given[1]:
        raise BadParam(
            'both "data" and "input" are set and not equal. Please use "input" to pass transaction call data'
        )
    return next((each for each in given if each is not None), b"")


def _access_list(value: Any) -> tuple[tuple[Address, tuple[int, ...]], ...]:
    entries = []
    for place, item in enumerate(array(value)):
        entry = obj(item)
        slots = array(entry.get("storageKeys") or [])
        keys = tuple(int.from_bytes(within(f"{place}.storageKeys", hash32, slot), "big") for slot in slots)
        entries.append((within(f"{place}.address", address, entry.get("address")), keys))
    return tuple(entries)


def _authorizations(value: Any) -> tuple[AuthorizationArgs, ...]:
    return tuple(within(str(place), _authorization, item) for place, item in enumerate(array(value)))


def _authorization(value: Any) -> AuthorizationArgs:
    entry = obj(value)
    return AuthorizationArgs(
        chain_id=within("chainId", quantity, entry.get("chainId")),
        address=within("address", address, entry.get("address")),
        nonce=within("nonce", uint64, entry.get("nonce")),
        y_parity=within("yParity", uint64, entry.get("yParity")),
        r=within("r", quantity, entry.get("r")),
        s=within("s", quantity, entry.get("s")),
    )


# ---------------------------------------------------------------- overrides


def state_overrides(value: Any) -> dict[Address, AccountOverrideArgs]:
    entries = obj(value)
    if len(entries) > OVERRIDDEN_ACCOUNTS_MAX:
        raise BadParam(f"at most {OVERRIDDEN_ACCOUNTS_MAX} accounts can be overridden")
    overrides = {}
    for key, item in entries.items():
        account = address(key)
        if account in overrides:
            raise BadParam(f"account 0x{account.hex()} is overridden twice")
        overrides[account] = within(key, _account_override, item)
        if account in _NATIVE and (overrides[account].state is not None or overrides[account].state_diff is not None):
            # Native code trusts its own storage: lengths that it never wrote would keep it busy without an opcode in between.
            raise BadParam(f"{key}: the storage of a native contract can't be overridden")
    slots = sum(len(each.state or {}) + len(each.state_diff or {}) for each in overrides.values())
    if slots > OVERRIDDEN_SLOTS_MAX:
        raise BadParam(f"at most {OVERRIDDEN_SLOTS_MAX} slots can be overridden")
    return overrides


def _account_override(value: Any) -> AccountOverrideArgs:
    entries = obj(value)
    if entries.get("state") is not None and entries.get("stateDiff") is not None:
        raise BadParam("account has both 'state' and 'stateDiff'")
    return AccountOverrideArgs(
        balance=_member(entries, "balance", quantity),
        nonce=_member(entries, "nonce", uint64),
        code=_member(entries, "code", data),
        state=_member(entries, "state", _storage),
        state_diff=_member(entries, "stateDiff", _storage),
        move_precompile_to=_member(entries, "movePrecompileToAddress", address),
    )


def _storage(value: Any) -> dict[int, int]:
    return {storage_key(key): int.from_bytes(within(key, hash32, item), "big") for key, item in obj(value).items()}


def block_overrides(value: Any) -> BlockOverrideArgs:
    """Field names of the execution-apis, and geth's older `coinbase`, `random`, `baseFee`, `timestamp`.

    `difficulty` is checked and means nothing, as in geth after the merge. `blockHash` maps heights to hashes, as in Erigon.
    """
    entries = obj(value)
    for name in ("withdrawals", "beaconRoot"):
        if entries.get(name) is not None:
            raise BadParam(f'block override "{name}" is not supported for this RPC method')
    _member(entries, "difficulty", quantity)
    return BlockOverrideArgs(
        number=_member(entries, "number", uint64),
        time=_either(entries, ("time", "timestamp"), uint64),
        gas_limit=_member(entries, "gasLimit", uint64),
        coinbase=_either(entries, ("feeRecipient", "coinbase"), address),
        prev_randao=_either(entries, ("prevRandao", "random"), _word),
        base_fee=_either(entries, ("baseFeePerGas", "baseFee"), quantity),
        blob_base_fee=_member(entries, "blobBaseFee", quantity),
        block_hashes=_member(entries, "blockHash", _hashes),
    )


def _hashes(value: Any) -> dict[int, Hash32]:
    entries = obj(value)
    if len(entries) > OVERRIDDEN_HASHES_MAX:
        raise BadParam(f"at most {OVERRIDDEN_HASHES_MAX} block hashes can be overridden")
    return {uint64(height): within(height, hash32, found) for height, found in entries.items()}


def _either(entries: dict[str, Any], names: tuple[str, ...], parse: Callable[[Any], Any]) -> Any:
    given = [name for name in names if entries.get(name) is not None]
    if len(given) > 1:
        raise BadParam(f"{given[0]} and {given[1]} are the same; give one")
    return _member(entries, given[0], parse) if given else None


def _word(value: Any) -> Hash32:
    if not isinstance(value, str):
        raise BadParam(f"expected a hex string, found {json_type(value)}")
    return Hash32(storage_key(value).to_bytes(32, "big"))


_LIST_SCHEMA: Final[Schema] = {
    "type": "array",
    "items": members(address=ADDRESS_SCHEMA, storageKeys={"type": "array", "items": HASH_SCHEMA}),
}
_AUTHORIZATIONS_SCHEMA: Final[Schema] = {
    "type": "array",
    "items": members(
        chainId=QUANTITY_SCHEMA,
        address=ADDRESS_SCHEMA,
        nonce=UINT64_SCHEMA,
        yParity=UINT64_SCHEMA,
        r=QUANTITY_SCHEMA,
        s=QUANTITY_SCHEMA,
    ),
}
_STORAGE_SCHEMA: Final[Schema] = {"type": "object", "additionalProperties": HASH_SCHEMA}

CALL_SCHEMA: Final = members(
    **{"from": ADDRESS_SCHEMA},
    to=ADDRESS_SCHEMA,
    gas=UINT64_SCHEMA,
    gasPrice=QUANTITY_SCHEMA,
    maxFeePerGas=QUANTITY_SCHEMA,
    maxPriorityFeePerGas=QUANTITY_SCHEMA,
    value=QUANTITY_SCHEMA,
    nonce=UINT64_SCHEMA,
    input=DATA_SCHEMA,
    data=DATA_SCHEMA,
    chainId=QUANTITY_SCHEMA,
    accessList=_LIST_SCHEMA,
    authorizationList=_AUTHORIZATIONS_SCHEMA,
)
STATE_SCHEMA: Final[Schema] = {
    "type": "object",
    "maxProperties": OVERRIDDEN_ACCOUNTS_MAX,
    "additionalProperties": members(
        balance=QUANTITY_SCHEMA,
        nonce=UINT64_SCHEMA,
        code=DATA_SCHEMA,
        state=_STORAGE_SCHEMA,
        stateDiff=_STORAGE_SCHEMA,
        movePrecompileToAddress=ADDRESS_SCHEMA,
    ),
}
BLOCK_SCHEMA: Final = members(
    number=UINT64_SCHEMA,
    time=UINT64_SCHEMA,
    gasLimit=UINT64_SCHEMA,
    feeRecipient=ADDRESS_SCHEMA,
    prevRandao=HASH_SCHEMA,
    baseFeePerGas=QUANTITY_SCHEMA,
    blobBaseFee=QUANTITY_SCHEMA,
    blockHash={"type": "object", "maxProperties": OVERRIDDEN_HASHES_MAX, "additionalProperties": HASH_SCHEMA},
)

CALL: Final = Kind("call object", call_args, CALL_SCHEMA)
STATE_OVERRIDES: Final = Kind("state overrides", state_overrides, STATE_SCHEMA)
BLOCK_OVERRIDES: Final = Kind("block overrides", block_overrides, BLOCK_SCHEMA)
