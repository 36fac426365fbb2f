"""How fast transactions come in: decode, recover the sender, static checks, admission to the mempool; beside stock py-evm."""

import gc
import time

from eth.vm.forks.prague import PragueVM

from evm_runtime.transaction import Transaction, check_transaction, decode_transaction
from genesis.chain_spec import ChainSpec
from node.mempool.pool import TransactionPool
from tests.bench.harness import Report, paired_ratio, percentile, seconds
from tests.bench.workload import funded, receiver, senders
from tests.unit.evm_runtime.chain import CHAIN_ID, Chain, make_spec

TRANSACTIONS = 2_000
SENDERS = 200
LONG_CHAIN = 1_000
REPEATS = 5


def run(report: Report) -> None:
    accounts = senders(SENDERS)
    chain = Chain(make_spec(*funded(accounts)))
    raws = [
        accounts[place % SENDERS].sign(CHAIN_ID, place // SENDERS, receiver(place), value=1)
        for place in range(TRANSACTIONS)
    ]
    _decoding(report, raws, chain.spec)
    transactions = [decode_transaction(raw, chain_id=CHAIN_ID) for raw in raws]
    many_s = percentile([_fill(chain, transactions) for _ in range(REPEATS)], 50)
    report.add("mempool_add_s", TRANSACTIONS / many_s, "tx/s", f"{SENDERS} senders, {TRANSACTIONS // SENDERS} each")
    one = [
        decode_transaction(accounts[0].sign(CHAIN_ID, nonce, receiver(0)), chain_id=CHAIN_ID)
        for nonce in range(LONG_CHAIN)
    ]
    one_s = percentile([_fill(chain, one) for _ in range(REPEATS)], 50)
    report.add("mempool_add_one_sender_s", LONG_CHAIN / one_s, "tx/s", f"one sender, {LONG_CHAIN} in nonce order")
    all_s = percentile([_admit(chain, raws) for _ in range(REPEATS)], 50)
    report.add("admission_s", TRANSACTIONS / all_s, "tx/s", "raw bytes to mempool")


def _decoding(report: Report, raws: list[bytes], spec: ChainSpec) -> None:
    builder = PragueVM.get_transaction_builder()

    def ours() -> None:
        for raw in raws:
            check_transaction(decode_transaction(raw, chain_id=CHAIN_ID), spec)

    def stock() -> None:
        for raw in raws:
            transaction = builder.decode(raw)
            transaction.validate()
            transaction.sender  # noqa: B018 - recovers it

    times = [(seconds(ours), seconds(stock)) for _ in range(REPEATS)]
    ours_s, stock_s = [pair[0] for pair in times], [pair[1] for pair in times]
    report.add("decode_recover_s", len(raws) / percentile(ours_s, 50), "tx/s", "decode, recover, static checks")
    report.add(
        "stock_decode_recover_s", len(raws) / percentile(stock_s, 50), "tx/s", "py-evm: decode, validate, sender"
    )
    report.add("decode_recover_ratio", paired_ratio(ours_s, stock_s), "x", "ours over stock py-evm")


def _pool(chain: Chain) -> TransactionPool:
    return TransactionPool(chain.spec, chain.runtime.state(), chain.runtime.next_base_fee(chain.tip))


def _fill(chain: Chain, transactions: list[Transaction]) -> float:
    pool = _pool(chain)
    gc.collect()
    began = time.perf_counter()
    for transaction in transactions:
        pool.add(transaction, 0.0)
    return time.perf_counter() - began


def _admit(chain: Chain, raws: list[bytes]) -> float:
    pool = _pool(chain)
    began = time.perf_counter()
    for raw in raws:
        pool.add(decode_transaction(raw, chain_id=CHAIN_ID), 0.0)
    return time.perf_counter() - began
