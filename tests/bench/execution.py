"""How fast blocks execute: transfers, ERC-20 transfers of a Vyper contract, state roots; beside stock py-evm and py-trie."""

import gc
import random
import statistics
from typing import Any

from trie import HexaryTrie

from evm_runtime.runtime import ExecutedBlock
from evm_runtime.state import trie
from evm_runtime.transaction import Transaction, decode_transaction
from genesis.codec import encode_rlp
from genesis.primitives import Hash32, keccak256
from tests.bench.erc20 import TOKEN, TOKEN_GAS, token, transfer
from tests.bench.harness import Report, paired_ratio, seconds
from tests.bench.workload import Sender, funded, receiver, senders
from tests.unit.evm_runtime.chain import CHAIN_ID, Chain, make_spec
from tests.unit.evm_runtime.stock import StockBlock

SENDERS = 250
TRANSFERS = 1_000
ERC20_TRANSFERS = 500
REPEATS = 5
TRIE_KEYS = 50_000
TRIE_CHANGES = 1_000


def run(report: Report) -> None:
    accounts = senders(SENDERS)
    chain = Chain(make_spec(*funded(accounts), token(account.address for account in accounts)))
    _compare(report, chain, "transfer", _transfers(accounts))
    _compare(report, chain, "erc20", _erc20_transfers(accounts))
    _state_roots(report)


def _transfers(accounts: list[Sender]) -> list[Transaction]:
    raws = [
        accounts[place % SENDERS].sign(CHAIN_ID, place // SENDERS, receiver(place % SENDERS), value=1)
        for place in range(TRANSFERS)
    ]
    return [decode_transaction(raw, chain_id=CHAIN_ID) for raw in raws]


def _erc20_transfers(accounts: list[Sender]) -> list[Transaction]:
    raws = [
        accounts[place % SENDERS].sign(
            CHAIN_ID,
            place // SENDERS,
            TOKEN,
            data=transfer(receiver(place % SENDERS)),
            gas=TOKEN_GAS,
        )
        for place in range(ERC20_TRANSFERS)
    ]
    return [decode_transaction(raw, chain_id=CHAIN_ID) for raw in raws]


def _compare(report: Report, chain: Chain, name: str, transactions: list[Transaction]) -> None:
    """Build a block of them, roots and all; then the same in stock py-evm: apply_transaction and persist, receipts unhashed."""
    ours_s, stock_s = [], []
    chain.build(transactions)  # warms up
    for _ in range(REPEATS):
        built: list[ExecutedBlock] = []
        gc.collect()
        ours_s.append(seconds(lambda built=built: built.append(chain.build(transactions))))
        executed = built[0]
        if executed.skipped or not all(receipt.status for receipt in executed.receipts):
            raise RuntimeError(f"{name}: not every transaction succeeded: {executed.skipped[:1]}")
        stock = StockBlock(chain.spec, chain.tip, executed.header)
        decoded = [stock.decode(tx.raw) for tx in executed.transactions]
        for transaction in decoded:
            transaction.sender  # noqa: B018 - recovers and keeps it, as ours are recovered already
        gc.collect()
        stock_s.append(seconds(lambda stock=stock, decoded=decoded: _stock_block(stock, decoded)))
        if stock.header.gas_used != executed.header.gas_used:
            raise RuntimeError(
                f"{name}: stock py-evm used {stock.header.gas_used} gas, ours {executed.header.gas_used}"
            )
    count = len(transactions)
    gas = executed.header.gas_used
    report.add(f"{name}_s", count / statistics.median(ours_s), "tx/s", f"Runtime.build_block of {count}")
    report.add(f"{name}_mgas_s", gas / statistics.median(ours_s) / 1e6, "Mgas/s")
    report.add(f"stock_{name}_s", count / statistics.median(stock_s), "tx/s", "py-evm: apply_transaction, persist")
    report.add(f"{name}_ratio", paired_ratio(ours_s, stock_s), "x", "ours over stock py-evm")


def _stock_block(stock: StockBlock, transactions: list[Any]) -> None:
    header = stock.header
    for transaction in transactions:
        receipt, _ = stock.vm.apply_transaction(header, transaction)
        header = stock.vm.add_receipt_to_header(header, receipt)
    stock.vm.state.persist()
    stock.header = header


def _state_roots(report: Report) -> None:
    """Change accounts in a trie that both know; the new roots must be equal."""
    rng = random.Random(1)
    base = {keccak256(place.to_bytes(8, "big")): _account(place) for place in range(TRIE_KEYS)}
    nodes: dict[Hash32, bytes] = {}
    root, nodes = trie.update(nodes.get, trie.EMPTY_ROOT, base)
    known = list(base)
    ours_s, theirs_s = [], []
    for _ in range(REPEATS):
        changed = {key: _account(rng.getrandbits(60)) for key in rng.sample(known, TRIE_CHANGES)}
        roots: list[bytes] = []
        ours_s.append(
            seconds(lambda changed=changed, roots=roots: roots.append(trie.update(nodes.get, root, changed)[0]))
        )
        theirs = HexaryTrie(dict(nodes), root)
        theirs_s.append(seconds(lambda changed=changed, theirs=theirs: _py_trie(theirs, changed)))
        roots.append(bytes(theirs.root_hash))
        if roots[0] != roots[1]:
            raise RuntimeError(f"the roots differ: {roots[0].hex()} and {roots[1].hex()}")
    note = f"{TRIE_CHANGES} of {TRIE_KEYS} accounts change"
    report.add("root_us_per_key", statistics.median(ours_s) / TRIE_CHANGES * 1e6, "us/key", note)
    report.add(
        "py_trie_root_us_per_key", statistics.median(theirs_s) / TRIE_CHANGES * 1e6, "us/key", "HexaryTrie, squashed"
    )
    report.add("root_ratio", paired_ratio(ours_s, theirs_s), "x", "ours over py-trie")


def _py_trie(theirs: HexaryTrie, changed: dict[Hash32, bytes]) -> None:
    with theirs.squash_changes() as batch:
        for key, value in changed.items():
            batch[key] = value


def _account(number: int) -> bytes:
    nonce = (number % 200 + 1).to_bytes(1, "big")
    return encode_rlp([nonce, (number + 1).to_bytes(8, "big").lstrip(b"\0"), trie.EMPTY_ROOT, keccak256(b"")])
