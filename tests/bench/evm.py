"""The EVM beside stock py-evm, each figure a ratio within one run: single transactions, loops, admission, tries, a whole block.

Stock py-evm gets decoded transactions and does with them what it does: it recovers the sender, checks the signature again,
applies, and makes the receipt. Ours gets decoded transactions too, which hold their sender since admission. The keys with
`known_sender` give stock the sender beforehand (it still checks the signature while applying). While stock runs, it has the
keccak that it is installed with, and ours has ours.

Figures without a prefix are those of the tier that compiles to Python; `native_` marks those of the native one.
"""

import contextlib
import gc
import statistics
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from coincurve._libsecp256k1 import ffi, lib
from coincurve.context import GLOBAL_CONTEXT
from eth.db.trie import _make_trie_root_and_nodes, make_trie_root_and_nodes
from eth.vm.forks.prague import PragueVM
from eth_hash.auto import keccak as stock_keccak
from eth_hash.backends import pycryptodome
from trie import HexaryTrie

from evm_runtime.block import BlockRun
from evm_runtime.fields import int_bytes
from evm_runtime.llvm import engine
from evm_runtime.runtime import ExecutedBlock
from evm_runtime.state import trie
from evm_runtime.state.account_db import AccountDB
from evm_runtime.state.source import FlatSource, encode_account, stored_root
from evm_runtime.state.trie import root_of_list
from evm_runtime.tiers import Tiers
from evm_runtime.transaction import (
    LEGACY,
    ParsedTransaction,
    Transaction,
    check_transaction,
    decode_transaction,
    parse_transaction,
    signing_hash,
)
from genesis.codec import encode_rlp
from genesis.crypto import sign
from genesis.primitives import Address, Hash32, keccak256
from node.mempool.decoding import BatchDecoder
from tests.bench.erc20 import TOKEN, TOKEN_GAS, token, transfer
from tests.bench.harness import RESULTS, Report, paired_ratio, seconds
from tests.bench.workload import GWEI, Sender, funded, receiver, senders
from tests.unit.evm_runtime.chain import CHAIN_ID, Chain, contract, make_spec
from tests.unit.evm_runtime.programs import asm
from tests.unit.evm_runtime.stock import StockBlock
from tests.unit.node.local_chain import LocalChain
from tests.unit.node.local_chain import make_spec as make_node_spec

REPEATS = 5
TRANSFERS = 200
ERC20_TRANSFERS = 150
ADMISSIONS = 500
LIST_ITEMS = 500
BLOCK_TRANSFERS = 1_000
TRIE_KEYS = 20_000
TRIE_CHANGES = 500
LOOP_GAS = 16_000_000
WARM_UPS = 4
ARITHMETIC, MEMORY = (Address(bytes([place]) * 20) for place in (0x71, 0x72))


def run(report: Report) -> None:
    accounts = senders(TRANSFERS)
    chain = Chain(make_spec(*funded(accounts), *_contracts(accounts)))
    transfers = [account.sign(CHAIN_ID, 0, receiver(place), value=1) for place, account in enumerate(accounts)]
    _use(chain, Tiers(native=False))
    _compare(report, chain, "transfer", transfers)
    tokens = [
        account.sign(CHAIN_ID, 0, TOKEN, data=transfer(receiver(place)), gas=TOKEN_GAS)
        for place, account in enumerate(accounts[:ERC20_TRANSFERS])
    ]
    arithmetic = [accounts[0].sign(CHAIN_ID, 0, ARITHMETIC, gas=LOOP_GAS)]
    hashing = [accounts[0].sign(CHAIN_ID, 0, MEMORY, gas=LOOP_GAS)]
    _compare(report, chain, "erc20", tokens)
    _compare(report, chain, "arith", arithmetic)
    _compare(report, chain, "keccak", hashing)
    engine.load()
    _use(chain, Tiers(native=True, jit=False))
    _compare(report, chain, "native_erc20", tokens)
    _compare(report, chain, "native_arith", arithmetic)
    _compare(report, chain, "native_keccak", hashing)
    _admission(report, chain, accounts)
    _state_root(report)
    _lists(report, chain, accounts)
    _block(report)


def _use(chain: Chain, tiers: Tiers) -> None:
    chain.runtime = type(chain.runtime)(chain.spec, chain.identity, chain.store, tiers=tiers)


def arithmetic_loop(rounds: int) -> bytes:
    """x = (x * C + D) ^ (x >> 7), `rounds` times."""
    factor = 0x9E3779B97F4A7C15F39CC0605CEDC8341082276BF3A27251F86C6A11D0C18E95
    head = asm(0x1234567, 0)
    body = asm("JUMPDEST", "SWAP1", factor, "MUL", 0xABCDEF, "ADD", "DUP1", 7, "SHR", "XOR", "SWAP1")
    body += asm(1, "ADD", "DUP1", rounds, "GT", len(head), "JUMPI")
    return head + body + asm("POP", 0, "MSTORE", 32, 0, "RETURN")


def memory_loop(rounds: int) -> bytes:
    """memory[0] = i; memory[32] = keccak(memory[0..64]), `rounds` times."""
    head = asm(0)
    body = asm("JUMPDEST", "DUP1", 0, "MSTORE", 64, 0, "KECCAK256", 32, "MSTORE")
    body += asm(1, "ADD", "DUP1", rounds, "GT", len(head), "JUMPI")
    return head + body + asm(64, 0, "RETURN")


def _contracts(accounts: list[Sender]) -> list[Any]:
    return [
        token(account.address for account in accounts),
        contract(ARITHMETIC, arithmetic_loop(20_000)),
        contract(MEMORY, memory_loop(10_000)),
    ]


def _compare(report: Report, chain: Chain, name: str, raws: list[bytes]) -> None:
    """Transactions one by one, without roots: `BlockRun.apply` against `VM.apply_transaction`."""
    transactions = [decode_transaction(raw, chain_id=CHAIN_ID) for raw in raws]
    for _ in range(WARM_UPS):
        executed = chain.build(transactions)
    if executed.skipped or not all(receipt.status for receipt in executed.receipts):
        raise RuntimeError(f"{name}: not every transaction succeeded: {executed.skipped[:1]}")
    ours_s, stock_s, known_s = [], [], []
    for _ in range(REPEATS):
        ours_s.append(_ours(chain, executed, transactions))
        stock_s.append(_stock(chain, executed, raws, known=False))
        known_s.append(_stock(chain, executed, raws, known=True))
    gas = executed.header.gas_used
    if name.endswith(("arith", "keccak")):
        report.add(f"{name}_mgas_s", gas / statistics.median(ours_s) / 1e6, "Mgas/s")
        report.add(f"stock_{name}_mgas_s", gas / statistics.median(stock_s) / 1e6, "Mgas/s")
    else:
        report.add(f"{name}_s", len(raws) / statistics.median(ours_s), "tx/s", "decoded before, executed one by one")
        report.add(f"stock_{name}_s", len(raws) / statistics.median(stock_s), "tx/s", "py-evm: apply_transaction")
        report.add(f"{name}_known_sender_ratio", paired_ratio(ours_s, known_s), "x", "stock knew the senders too")
    report.add(f"{name}_ratio", paired_ratio(ours_s, stock_s), "x", "ours over stock py-evm")


def _ours(chain: Chain, executed: ExecutedBlock, transactions: list[Transaction]) -> float:
    db = AccountDB(FlatSource(chain.store), stored_root(chain.store))
    block = BlockRun(chain.spec, db, chain.runtime._executor.computation_at(executed.header.number), executed.header)
    block.begin()
    gc.collect()
    taken = seconds(lambda: _each(block.apply, transactions))
    if block.gas_used != executed.header.gas_used:
        raise RuntimeError(f"used {block.gas_used} gas, before {executed.header.gas_used}")
    return taken


def _stock(chain: Chain, executed: ExecutedBlock, raws: list[bytes], *, known: bool) -> float:
    stock = StockBlock(chain.spec, chain.tip, executed.header)
    decoded = [stock.decode(raw) for raw in raws]
    if known:
        for transaction in decoded:
            transaction.sender  # noqa: B018  # recovers it and keeps it
    gc.collect()
    taken = _stock_seconds(lambda: _stock_apply(stock, decoded))
    if stock.header.gas_used != executed.header.gas_used:
        raise RuntimeError(f"stock py-evm used {stock.header.gas_used} gas, ours {executed.header.gas_used}")
    return taken


def _stock_apply(stock: StockBlock, transactions: list[Any]) -> None:
    for transaction in transactions:
        receipt, _ = stock.vm.apply_transaction(stock.header, transaction)
        stock.header = stock.vm.add_receipt_to_header(stock.header, receipt)


@contextlib.contextmanager
def _stock_hashing() -> Iterator[None]:
    """py-evm's default keccak in place of the one that our runtime gives it."""
    switch: Any = stock_keccak
    ours = switch.hasher, switch.preimage
    switch.hasher, switch.preimage = pycryptodome.backend.keccak256, pycryptodome.backend.preimage
    try:
        yield
    finally:
        switch.hasher, switch.preimage = ours


def _stock_seconds(function: Callable[[], Any]) -> float:
    with _stock_hashing():
        return seconds(function)


def _each(function: Callable[[Any], Any], items: list[Any]) -> None:
    for item in items:
        function(item)


def _paired(
    report: Report, name: str, items: int, what: str, ours: Callable[[], Any], stock: Callable[[], Any]
) -> None:
    times = [(seconds(ours), _stock_seconds(stock)) for _ in range(REPEATS)]
    ours_s, stock_s = [pair[0] for pair in times], [pair[1] for pair in times]
    report.add(f"{name}_us", statistics.median(ours_s) / items * 1e6, "us", f"per {what}")
    report.add(f"stock_{name}_us", statistics.median(stock_s) / items * 1e6, "us", f"per {what}")
    report.add(f"{name}_ratio", paired_ratio(ours_s, stock_s), "x", "ours over stock py-evm")


def _admission(report: Report, chain: Chain, accounts: list[Sender]) -> None:
    """From raw bytes to a checked transaction with sender and hash, in four ways, each beside stock py-evm on the same bytes.

    Stock does what py-evm does to a transaction before it executes it: `decode`, `validate` (as its transaction executor
    calls it) and `sender`, and it takes the hash, which any pool needs. Its eth_keys recovers through coincurve, as ours does
    (its pure-Python back end would be hundreds of times slower). What `validate` costs depends on the kind: of an EIP-1559
    transaction py-evm checks ranges there; of a legacy one it checks the signature too, and recovers it again for the sender.

    - `admission`: legacy transactions (EIP-155), one after the other in one thread: the kind whose signature stock checks.
    - `admission_1559`: EIP-1559 transactions, likewise.
    - `admission_batch`, `admission_batch_1559`: both kinds, many at once through the node's decoder, as gossip and proposals
      are, on as many threads as there are processors. Stock stays on one.

    `admission_bound_us` is the C call that no admission can do without, and `admission_bound_ratio` how much faster than stock
    an admission in one thread would be that did nothing else.
    """
    dynamic = [_nth(accounts, place).sign(CHAIN_ID, 0, receiver(place), value=1) for place in range(ADMISSIONS)]
    legacy = [_legacy(_nth(accounts, place), place) for place in range(ADMISSIONS)]
    builder = PragueVM.get_transaction_builder()
    decoder = BatchDecoder(CHAIN_ID)

    def stock(raws: list[bytes]) -> None:
        for raw in raws:
            transaction = builder.decode(raw)
            transaction.validate()
            transaction.sender, transaction.hash  # noqa: B018  # recovers and hashes

    def ours(raws: list[bytes]) -> None:
        for raw in raws:
            check_transaction(decode_transaction(raw, chain_id=CHAIN_ID), chain.spec)

    def batch(raws: list[bytes]) -> None:
        transactions = decoder.decode(raws)
        for transaction in transactions:
            check_transaction(transaction, chain.spec)
        if len(transactions) != len(raws):
            raise RuntimeError(f"{len(transactions)} of {len(raws)} transactions were decoded")

    what = "transaction"
    _paired(report, "admission", ADMISSIONS, what, lambda: ours(legacy), lambda: stock(legacy))
    _paired(report, "admission_1559", ADMISSIONS, what, lambda: ours(dynamic), lambda: stock(dynamic))
    _paired(report, "admission_batch", ADMISSIONS, what, lambda: batch(legacy), lambda: stock(legacy))
    _paired(report, "admission_batch_1559", ADMISSIONS, what, lambda: batch(dynamic), lambda: stock(dynamic))
    parsed = [parse_transaction(raw, chain_id=CHAIN_ID) for raw in dynamic]
    _paired(report, "admission_bound", ADMISSIONS, what, _bare_recoveries(parsed), lambda: stock(dynamic))


def _bare_recoveries(parsed: list[ParsedTransaction]) -> Callable[[], None]:
    """libsecp256k1's recovery of each signature, and nothing around it."""
    context, key = GLOBAL_CONTEXT.ctx, ffi.new("secp256k1_pubkey *")
    signatures = [ffi.new("secp256k1_ecdsa_recoverable_signature *") for _ in parsed]
    for one, signature in zip(parsed, signatures, strict=True):
        lib.secp256k1_ecdsa_recoverable_signature_parse_compact(context, signature, one.r_s, one.y_parity)

    def recover_all() -> None:
        for one, signature in zip(parsed, signatures, strict=True):
            lib.secp256k1_ecdsa_recover(context, key, signature, one.digest)

    return recover_all


def _nth(accounts: list[Sender], place: int) -> Sender:
    return accounts[place % len(accounts)]


def _legacy(sender: Sender, place: int) -> bytes:
    """A raw EIP-155 transfer."""
    fields: list[Any] = [b"", int_bytes(100 * GWEI), int_bytes(21_000), receiver(place), b"\x01", b""]
    signature = sign(sender.key, signing_hash(LEGACY, [*fields, int_bytes(CHAIN_ID), b"", b""]))
    r, s = (int_bytes(int.from_bytes(signature[at : at + 32], "big")) for at in (0, 32))
    return encode_rlp([*fields, int_bytes(35 + 2 * CHAIN_ID + signature[64]), r, s])


def _state_root(report: Report) -> None:
    """Accounts of a trie of accounts change; both must come to the same root."""
    base = {keccak256(place.to_bytes(8, "big")): _account(place) for place in range(TRIE_KEYS)}
    root, nodes = trie.update(_nothing, trie.EMPTY_ROOT, base)
    changed = {key: _account(7 * place + 1) for place, key in enumerate(list(base)[:: TRIE_KEYS // TRIE_CHANGES])}
    roots: dict[str, bytes] = {}

    def ours() -> None:
        roots["ours"] = trie.update(nodes.get, root, changed)[0]

    def stock() -> None:
        theirs = HexaryTrie(dict(nodes), root)
        with theirs.squash_changes() as batch:
            _each(lambda item: batch.set(*item), list(changed.items()))
        roots["stock"] = bytes(theirs.root_hash)

    _paired(report, "state_root", len(changed), "changed account", ours, stock)
    if roots["ours"] != roots["stock"]:
        raise RuntimeError(f"the state roots differ: {roots}")


def _lists(report: Report, chain: Chain, accounts: list[Sender]) -> None:
    """Transaction and receipt tries of one block."""
    raws = [
        accounts[place % len(accounts)].sign(CHAIN_ID, place // len(accounts), receiver(place), value=1)
        for place in range(LIST_ITEMS)
    ]
    executed = chain.build([decode_transaction(raw, chain_id=CHAIN_ID) for raw in raws])
    stock_block = StockBlock(chain.spec, chain.tip, executed.header)
    decoded = [stock_block.decode(raw) for raw in raws]
    receipts = [stock_block.vm.get_receipt_builder().decode(receipt.encode()) for receipt in executed.receipts]
    roots: dict[str, tuple[bytes, bytes]] = {}

    def ours() -> None:
        transactions = root_of_list([tx.raw for tx in executed.transactions])
        roots["ours"] = (transactions, root_of_list([receipt.encode() for receipt in executed.receipts]))

    def stock() -> None:
        _make_trie_root_and_nodes.cache_clear()  # or the second time would cost nothing
        roots["stock"] = (make_trie_root_and_nodes(decoded)[0], make_trie_root_and_nodes(receipts)[0])

    _paired(report, "trie", 2 * LIST_ITEMS, "item", ours, stock)
    if roots["ours"] != roots["stock"]:
        raise RuntimeError(f"the roots differ: {roots}")


def _block(report: Report) -> None:
    """Verify a block of transfers and commit it in LevelDB, against stock's transactions, roots and persist in memory."""
    accounts = senders(BLOCK_TRANSFERS)
    spec = make_node_spec()
    spec = replace(spec, alloc=(*spec.alloc, *funded(accounts)))
    ours_s, stock_s = [], []
    RESULTS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=RESULTS) as folder:  # not /tmp, which may be memory
        chain = LocalChain(Path(folder) / "chain", spec)
        try:
            genesis = chain.store.tip().header
            for number in range(REPEATS):
                raws = [
                    account.sign(spec.chain_id, number, receiver(place), value=1)
                    for place, account in enumerate(accounts)
                ]
                taken, executed = _our_block(chain, raws)
                if number == 0:
                    stock_s += [_stock_block(spec, genesis, executed, raws) for _ in range(REPEATS - 1)]
                    continue  # the first one warms up
                ours_s.append(taken)
        finally:
            chain.close()
    report.add("block_ms", statistics.median(ours_s) * 1e3, "ms", f"{BLOCK_TRANSFERS} transfers, verified and durable")
    report.add(
        "stock_block_ms", statistics.median(stock_s) * 1e3, "ms", "py-evm: transactions, roots, persist in memory"
    )
    report.add("block_ratio", statistics.median(stock_s) / statistics.median(ours_s), "x", "ours over stock py-evm")


def _our_block(chain: LocalChain, raws: list[bytes]) -> tuple[float, ExecutedBlock]:
    transactions = [decode_transaction(raw, chain_id=chain.spec.chain_id) for raw in raws]
    known = {transaction.hash: transaction for transaction in transactions}
    store, tip = chain.store, chain.store.tip()
    block = chain.build(*transactions).block
    commit = chain.commit_for(block)
    done: list[ExecutedBlock] = []

    def verify_and_commit() -> None:
        executed = store.live_runtime.execute_block(tip.header, tip.time_ms, block, known)
        store.append(executed, commit)
        done.append(executed)

    gc.collect()
    taken = seconds(verify_and_commit)
    if len(done[0].transactions) != len(raws):
        raise RuntimeError(f"the block holds {len(done[0].transactions)} of {len(raws)} transfers")
    return taken, done[0]


def _stock_block(spec: Any, genesis: Any, executed: ExecutedBlock, raws: list[bytes]) -> float:
    stock = StockBlock(spec, genesis, executed.header)
    decoded = [stock.decode(raw) for raw in raws]

    def whole() -> None:
        receipts = []
        for transaction in decoded:
            receipt, _ = stock.vm.apply_transaction(stock.header, transaction)
            stock.header = stock.vm.add_receipt_to_header(stock.header, receipt)
            receipts.append(receipt)
        _make_trie_root_and_nodes.cache_clear()
        make_trie_root_and_nodes(decoded)
        make_trie_root_and_nodes(receipts)
        stock.vm.state.persist()

    gc.collect()
    taken = _stock_seconds(whole)
    if stock.header.gas_used != executed.header.gas_used:
        raise RuntimeError(f"stock py-evm used {stock.header.gas_used} gas, ours {executed.header.gas_used}")
    return taken


def _account(number: int) -> bytes:
    return encode_account((number % 200 + 1, number + 1, trie.EMPTY_ROOT, keccak256(b"")))


def _nothing(_hash: Hash32) -> bytes | None:
    return None
