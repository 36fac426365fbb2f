"""`genesis build|validate`: chain specs."""

import dataclasses
import time
from pathlib import Path

import click


def register(group: click.Group) -> None:
    group.add_command(genesis)


@click.group()
def genesis() -> None:
    """Genesis files."""


@genesis.command("build")
@click.option("--name", default="openledger-private", show_default=True, help="name of the chain")
@click.option("--chain-id", type=int, required=True, help="EIP-155 chain id")
@click.option(
    "--validator",
    "validators",
    metavar="ADDR[:POWER[:PAYOUT]]",
    multiple=True,
    required=True,
    help="a validator's consensus address; power 1 and payout to itself unless said otherwise; may be repeated",
)
@click.option("--alloc", "allocs", metavar="ADDR=OPEN", multiple=True, help="whole OPEN in genesis; may be repeated")
@click.option("--treasury", metavar="ADDR", help="treasury [default: the first validator's payout]")
@click.option("--block-interval-ms", type=int, help="least time between blocks")
@click.option("--empty-block-interval-ms", type=int, help="least time before an empty block")
@click.option("--genesis-time-ms", type=int, help="milliseconds since 1970 [default: now]")
@click.option("--out", metavar="FILE", help="write to a file that does not exist yet [default: standard output]")
def genesis_build(
    name: str,
    chain_id: int,
    validators: tuple[str, ...],
    allocs: tuple[str, ...],
    treasury: str | None,
    block_interval_ms: int | None,
    empty_block_interval_ms: int | None,
    genesis_time_ms: int | None,
    out: str | None,
) -> None:
    """Build a genesis file. Everybody who is to join the chain needs exactly this file."""
    from genesis.chain_spec import BlockParams, ChainSpec
    from node.home.datadir import parse_address, parse_allocation, parse_validator, write_new

    members = tuple(parse_validator(text) for text in validators)
    block = BlockParams()
    if block_interval_ms is not None:
        block = block.paced(block_interval_ms)
    if empty_block_interval_ms is not None:
        block = dataclasses.replace(block, empty_interval_ms=empty_block_interval_ms)
    spec = ChainSpec(
        name=name,
        chain_id=chain_id,
        genesis_time_ms=genesis_time_ms or time.time_ns() // 1_000_000,
        validators=members,
        treasury=parse_address(treasury) if treasury else members[0].payout,
        alloc=tuple(parse_allocation(text) for text in allocs),
        block=block,
    )
    if out is None:
        click.echo(spec.to_json().decode(), nl=False)
        return
    write_new(Path(out), spec.to_json())


@genesis.command("validate")
@click.argument("file", metavar="FILE")
def genesis_validate(file: str) -> None:
    """Check a genesis file and print the hash of its genesis block."""
    from evm_runtime.genesis_block import build_genesis
    from node.home.datadir import read_spec

    spec = read_spec(Path(file))
    header = build_genesis(spec).header
    click.echo(f"chain        {spec.name} (chain id {spec.chain_id})")
    click.echo(f"genesis hash 0x{header.hash.hex()}")
    click.echo(f"state root   0x{header.state_root.hex()}")
    click.echo(f"spec hash    0x{spec.hash().hex()}")
    click.echo(f"validators   {len(spec.validators)}, total power {spec.validator_set.total_power}")
