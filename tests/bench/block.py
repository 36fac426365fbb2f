"""One whole block as a validator meets it: 500 transfers, decoded already, to a durable commit in LevelDB."""

import gc
import statistics
import tempfile
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import evm_runtime.block
from evm_runtime.state.account_db import AccountDB
from evm_runtime.transaction import decode_transaction
from tests.bench.harness import RESULTS, Report, Stopwatch
from tests.bench.workload import Sender, funded, receiver, senders
from tests.unit.node.local_chain import CHAIN_ID, LocalChain, make_spec

TRANSFERS = 500
BLOCKS = 9


def run(report: Report) -> None:
    accounts = senders(TRANSFERS)
    spec = make_spec()
    spec = replace(spec, alloc=(*spec.alloc, *funded(accounts)))
    RESULTS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=RESULTS) as folder:  # not /tmp, which may be memory
        chain = LocalChain(Path(folder) / "chain", spec)
        try:
            rows = [_block(chain, accounts, number) for number in range(BLOCKS)][1:]  # the first one warms up
        finally:
            chain.close()
    medians = {key: statistics.median(row[key] for row in rows) * 1e3 for key in rows[0]}
    whole = medians["whole"]
    report.add("block_ms", whole, "ms", f"verify and commit {TRANSFERS} transfers, median of {len(rows)} blocks")
    report.add("block_transfers_s", TRANSFERS / whole * 1e3, "tx/s")
    for key, note in (
        ("execute", "checks, transactions, rewards"),
        ("state_root", "state trie, and encoding what changed"),
        ("list_roots", "transactions, receipts, withdrawals"),
        ("commit", "encode and one synchronous LevelDB batch"),
    ):
        report.add(f"{key}_ms", medians[key], "ms", f"{note} ({medians[key] / whole:.0%})")
    report.add("build_ms", medians["build"], "ms", "what the proposer did before: select, execute, roots")


def _block(chain: LocalChain, accounts: list[Sender], number: int) -> dict[str, float]:
    transactions = [
        decode_transaction(account.sign(CHAIN_ID, number, receiver(place), value=1), chain_id=CHAIN_ID)
        for place, account in enumerate(accounts)
    ]
    known = {transaction.hash: transaction for transaction in transactions}
    store, tip = chain.store, chain.store.tip()
    gc.collect()
    began = time.perf_counter()
    block = chain.build(*transactions).block
    build_s = time.perf_counter() - began
    commit = chain.commit_for(block)
    watch = Stopwatch()
    with ExitStack() as stack:
        stack.enter_context(watch.around(AccountDB, "finalize", "state_root"))
        stack.enter_context(watch.around(evm_runtime.block, "root_of_list", "list_roots"))
        gc.collect()
        began = time.perf_counter()
        executed = store.live_runtime.execute_block(tip.header, tip.time_ms, block, known)
        done = time.perf_counter()
        store.append(executed, commit)
        committed = time.perf_counter()
    if len(executed.transactions) != TRANSFERS:
        raise RuntimeError(f"the block holds {len(executed.transactions)} of {TRANSFERS} transfers")
    roots = watch.total_s
    return {
        "whole": committed - began,
        "execute": done - began - roots["state_root"] - roots["list_roots"],
        "state_root": roots["state_root"],
        "list_roots": roots["list_roots"],
        "commit": committed - done,
        "build": build_s,
    }
