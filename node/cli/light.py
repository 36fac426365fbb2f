"""`light`: follow a chain without believing any node, and prove what accounts hold and what was paid for an inference.

Exit codes, beside those of every command: 3 the leading node is wrong (it shows what does not follow from the trusted block),
4 a fork is proven (the evidence goes to standard output).
"""

import json
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from genesis.errors import InvalidBlock, LocalError, PeerFault

if TYPE_CHECKING:
    from attribution_precompile.reading.queries import ReceiptInfo
    from genesis.primitives import Hash32
    from openledger.light import LightClient
    from openledger.proofs import Account

EXIT_WRONG_NODE: Final = 3
EXIT_FORK: Final = 4
DAY_MS: Final = 24 * 60 * 60 * 1000


def register(group: click.Group) -> None:
    group.add_command(light)


@click.command()
@click.option(
    "--rpc", "urls", metavar="URL[,URL…]", required=True, help="nodes to ask; the first leads, the others check it"
)
@click.option("--trust", metavar="HEIGHT:HASH", help="a block that you know to be the chain's, from 1 on")
@click.option("--genesis", metavar="FILE", help="genesis file of the chain, to begin at block 1 or to name the chain")
@click.option("--balance", "balances", metavar="ADDRESS", multiple=True, help="prove this account; may be repeated")
@click.option(
    "--receipt", "receipts", metavar="ID", multiple=True, help="prove this inference's receipt; may be repeated"
)
@click.option("--height", type=click.IntRange(1), help="verify this height [default: the latest]")
@click.option("--follow", is_flag=True, help="go on until stopped, one line per verified block")
@click.option(
    "--interval-ms", type=click.IntRange(50), default=2_000, show_default=True, help="between looks, with --follow"
)
@click.option("--sequential", is_flag=True, help="verify every height, skip none")
@click.option(
    "--trusting-days", type=click.IntRange(1), default=7, show_default=True, help="how old a trusted block may be"
)
@click.option("--json", "as_json", is_flag=True, help="as JSON, one object per line")
def light(urls: str, **options: Any) -> None:
    """Verify the chain from a block you trust, ask several nodes for the same, and show proven balances and receipts."""
    from node.telemetry.logs import set_up_logging
    from openledger.light import ForkFound, conflict_json

    set_up_logging("warning", "text", "")
    try:
        _run(tuple(dict.fromkeys(url.strip() for url in urls.split(",") if url.strip())), options)
    except ForkFound as error:
        click.echo(json.dumps(conflict_json(error.conflict)))
        click.echo(f"openledger: {error}", err=True)
        raise SystemExit(EXIT_FORK) from None
    except (InvalidBlock, PeerFault) as error:
        click.echo(f"openledger: {error}", err=True)
        raise SystemExit(EXIT_WRONG_NODE) from None


def _run(urls: tuple[str, ...], options: dict[str, Any]) -> None:
    from genesis.primitives import Height
    from node.home.datadir import parse_address
    from openledger.provider import ProviderSilent

    _stop_on_signals()
    accounts = [parse_address(text) for text in options["balances"]]
    receipts = [_parse_hash(text, "--receipt") for text in options["receipts"]]
    client: LightClient | None = None
    shown = -1
    while True:
        try:
            client = client or _begin(urls, options)
            target = options["height"]
            confirmed = client.advance(None if target is None else Height(max(target, client.trusted.height)))
            if client.trusted.height != shown:
                shown = client.trusted.height
                proven = {address: client.account(address) for address in accounts}
                paid = {receipt: prove_receipt(client, receipt) for receipt in receipts}
                _show(client, confirmed, len(urls) - 1, proven, paid, options["as_json"])
        except ProviderSilent as error:
            if not options["follow"]:
                raise
            click.echo(f"openledger: {error}; trying again", err=True)
        else:
            if not options["follow"] or client.trusted.height == options["height"]:
                return
        time.sleep(options["interval_ms"] / 1000)


def _stop_on_signals() -> None:
    """SIGINT and SIGTERM end it, also where a shell has started it in the background with SIGINT ignored."""

    def stop(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)


def _begin(urls: tuple[str, ...], options: dict[str, Any]) -> "LightClient":
    from consensus.light import LightParams
    from genesis.types import ChainIdentity
    from openledger.light import LightClient, begin_from_genesis, begin_from_hash
    from openledger.provider import RpcProvider

    if not urls:
        raise LocalError("--rpc names no node")
    leader, *witnesses = [RpcProvider(url) for url in urls]
    chain = None
    if options["genesis"] is not None:
        from evm_runtime.genesis_block import build_genesis
        from node.home.datadir import read_spec

        spec = read_spec(Path(options["genesis"]))
        chain = ChainIdentity(spec.chain_id, build_genesis(spec).header.hash)
    if options["trust"] is not None:
        chain, trusted = begin_from_hash(leader, _parse_trust(options["trust"]), chain)
    elif chain is not None:
        trusted = begin_from_genesis(leader, chain, spec.validator_set)
    else:
        raise LocalError(
            "what is to be trusted? Give --trust HEIGHT:HASH (from an explorer, a friend), or --genesis FILE"
        )
    if options["height"] is not None and options["height"] < trusted.height:
        raise LocalError(f"--height {options['height']} is below the trusted block {trusted.height}; blocks go upwards")
    params = LightParams(trusting_period_ms=options["trusting_days"] * DAY_MS)
    return LightClient(
        chain,
        params,
        trusted,
        leader,
        witnesses,
        lambda: time.time_ns() // 1_000_000,
        skipping=not options["sequential"],
    )


def prove_receipt(client: "LightClient", receipt_id: "Hash32") -> "ReceiptInfo | None":
    """The receipt of an inference after the trusted block, proven; None if it is proven that there is none.
    Raises InvalidBlock."""
    from attribution_precompile.reading.audit import receipt_slots
    from attribution_precompile.reading.queries import Queries
    from genesis.chain_spec import ATTRIBUTION_ADDRESS

    proven = client.storage(ATTRIBUTION_ADDRESS, receipt_slots(receipt_id))
    return Queries(proven, client.chain.chain_id).receipt(receipt_id)


def _parse_trust(text: str) -> Any:
    from genesis.primitives import Hash32, Height
    from openledger.light import TrustedHash

    height, _, digits = text.partition(":")
    value = _hash_of(digits)
    if not height.isdecimal() or value is None:
        raise LocalError(f"--trust {text!r} is not HEIGHT:HASH, such as 1000:0x… with 64 hex digits")
    if int(height) == 0:
        raise LocalError(
            "the genesis block was signed by nobody; to begin there, give --genesis FILE instead of --trust"
        )
    return TrustedHash(Height(int(height)), Hash32(value))


def _parse_hash(text: str, option: str) -> Any:
    from genesis.primitives import Hash32

    value = _hash_of(text)
    if value is None:
        raise LocalError(f"{option} {text!r} is not a hash: 0x… with 64 hex digits")
    return Hash32(value)


def _hash_of(text: str) -> bytes | None:
    try:
        value = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        return None
    return value if len(value) == 32 else None


def _show(
    client: "LightClient",
    confirmed: int,
    witnesses: int,
    proven: "dict[Any, Account]",
    paid: "dict[Any, ReceiptInfo | None]",
    as_json: bool,
) -> None:
    block = client.trusted
    if as_json:
        found = {
            "height": block.height,
            "hash": "0x" + block.hash.hex(),
            "stateRoot": "0x" + block.state_root.hex(),
            "timeMs": block.time_ms,
            "confirmedBy": confirmed,
            "witnesses": witnesses,
            "accounts": {
                "0x" + address.hex(): {"nonce": account.nonce, "balance": str(account.balance)}
                for address, account in proven.items()
            },
            "receipts": {
                "0x" + receipt_id.hex(): None if receipt is None else _receipt_json(receipt)
                for receipt_id, receipt in paid.items()
            },
        }
        click.echo(json.dumps(found))
        return
    click.echo(f"block {block.height} 0x{block.hash.hex()} verified; confirmed by {confirmed} of {witnesses} witnesses")
    for address, account in proven.items():
        click.echo(f"  0x{address.hex()}  {_open(account.balance)} OPEN  nonce {account.nonce}")
    for receipt_id, receipt in paid.items():
        told = (
            ", ".join(f"{name} {value}" for name, value in _receipt_json(receipt).items())
            if receipt
            else "no such receipt"
        )
        click.echo(f"  receipt 0x{receipt_id.hex()}: {told}")


def _receipt_json(receipt: "ReceiptInfo") -> dict[str, Any]:
    return {
        "model": receipt.model_id,
        "agent": receipt.agent_id,
        "payer": "0x" + receipt.payer.hex(),
        "fee": str(receipt.fee),
        "blockNumber": receipt.block_number,
        "tokens": receipt.tokens,
        "unmatched": receipt.unmatched,
        "scoresHash": "0x" + receipt.scores_hash.hex(),
    }


def _open(wei: int) -> str:
    whole, rest = divmod(wei, 10**18)
    return f"{whole}.{rest:018d}".rstrip("0").rstrip(".") if rest else str(whole)
