"""The chain spec as data: it reads back, it refuses what no chain could run under, and it names differences."""

import dataclasses

import orjson
import pytest

from genesis.chain_spec import (
    ATTRIBUTION_ADDRESS,
    AttributionParams,
    BlockParams,
    ChainSpec,
    ConsensusParams,
    GenesisAccount,
)
from genesis.emission import GENESIS_SUPPLY_MAX
from genesis.errors import LocalError
from genesis.primitives import Address, Power, Wei
from genesis.types import Validator

ALICE, BOB = Address(b"\x0a" * 20), Address(b"\x0b" * 20)


def spec() -> ChainSpec:
    return ChainSpec(
        name="test",
        chain_id=31_337,
        genesis_time_ms=1_700_000_000_000,
        validators=(Validator(ALICE, Power(10), BOB),),
        treasury=BOB,
        alloc=(
            GenesisAccount(ALICE, Wei(10**24)),
            GenesisAccount(BOB, code=b"\x60\x00", storage=((1, 1 << 200), (2, 3))),
        ),
    )


def test_json_reads_back_and_is_canonical() -> None:
    assert ChainSpec.from_json(spec().to_json()) == spec()
    shuffled = orjson.dumps(dict(reversed(orjson.loads(spec().to_json()).items())))
    assert ChainSpec.from_json(shuffled).hash() == spec().hash()


def test_every_parameter_changes_the_hash() -> None:
    base = spec()
    assert base.hash() != dataclasses.replace(base, chain_id=2).hash()
    for name, params in [("block", BlockParams(interval_ms=250)), ("consensus", ConsensusParams(precision_ms=7))]:
        assert base.hash() != dataclasses.replace(base, **{name: params}).hash()


def test_differences_are_named() -> None:
    other = dataclasses.replace(spec(), block=BlockParams(interval_ms=250), chain_id=2)
    assert spec().differences(other) == ["block.interval_ms: 500 here, 250 there", "chain_id: 31337 here, 2 there"]
    assert spec().differences(spec()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"chain_id": 0}, "chain_id"),
        ({"name": ""}, "name"),
        ({"format": 3}, "format 3 is unknown"),
        ({"validators": ()}, "a validator set has"),
        ({"treasury": Address(bytes(20))}, "treasury"),
        ({"treasury": ATTRIBUTION_ADDRESS}, "treasury"),
        ({"alloc": (GenesisAccount(ATTRIBUTION_ADDRESS, Wei(1)),)}, "attribution contract"),
        ({"alloc": (GenesisAccount(ALICE), GenesisAccount(ALICE))}, "twice"),
        ({"alloc": (GenesisAccount(ALICE, Wei(GENESIS_SUPPLY_MAX + 1)),)}, "600,000,000"),
        ({"attribution": AttributionParams(burn_bps=301)}, "sum to 10001"),
        ({"attribution": AttributionParams(vector_dim_max=65_536)}, "vector_dim_max"),
        ({"attribution": AttributionParams(dispute_bond=Wei(0))}, "dispute_bond"),
        ({"attribution": AttributionParams(challenge_windows=0)}, "challenge_windows"),
        ({"attribution": AttributionParams(soft_cap_bps_min=0)}, "soft_cap_bps_min"),
        ({"attribution": AttributionParams(versions_max=(1 << 20) + 1)}, "versions_max"),
        ({"attribution": AttributionParams(pool_steps_max=1)}, "pool_steps_max"),
        ({"block": BlockParams(interval_ms=0)}, "interval_ms"),
        ({"block": BlockParams(base_fee_initial=Wei(1))}, "floor"),
        ({"block": BlockParams(transaction_bytes_max=65_535)}, "transaction_bytes_max must be 65536 .. 261120"),
        ({"block": BlockParams(transaction_bytes_max=261_121)}, "transaction_bytes_max"),
        ({"block": BlockParams(access_list_entries_max=0)}, "access_list_entries_max must be 1 .. 16384"),
        ({"consensus": ConsensusParams(propose_timeout_ms=999)}, "four worst blocks"),
    ],
)
def test_impossible_chains_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(LocalError, match=message):
        dataclasses.replace(spec(), **change)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("chain_id",), "x", r"genesis\.chain_id: expected int, found str"),
        (("surprise",), 1, "unknown key 'surprise'"),
        (("validators", 0, "address"), "0x00", r"validators\[0\]\.address: expected 20 bytes"),
        (("validators", 0, "power"), 0, "power must be positive"),
        (("alloc", 0, "balance"), 1.5, "balance: expected int"),
        (("treasury",), "00", "0x-hex"),
        (("treasury",), "0xzz", "treasury"),
        (("block",), None, r"genesis\.block: expected dict"),
    ],
)
def test_errors_name_the_field(path: tuple[str | int, ...], value: object, message: str) -> None:
    raw = orjson.loads(spec().to_json())
    place = raw
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(LocalError, match=message):
        ChainSpec.from_json(orjson.dumps(raw))


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff", b'{"name": "x"}'])
def test_garbage_is_a_local_error(data: bytes) -> None:
    with pytest.raises(LocalError):
        ChainSpec.from_json(data)


def test_a_genesis_file_of_version_1_is_refused_by_name_whatever_else_is_in_it() -> None:
    document = orjson.loads(spec().to_json())
    document["attribution"]["a_parameter_of_version_1"] = 7
    with pytest.raises(LocalError, match="version 1 of the chain spec"):
        ChainSpec.from_json(orjson.dumps({**document, "format": 1}))
    with pytest.raises(LocalError, match="format 3 is unknown"):
        ChainSpec.from_json(orjson.dumps({**document, "format": 3}))
    with pytest.raises(LocalError, match="unknown key 'a_parameter_of_version_1'"):
        ChainSpec.from_json(orjson.dumps(document))
