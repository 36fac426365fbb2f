"""How much memory a node takes over a chain state of a million accounts in LevelDB, while it executes full blocks over it.

A process of its own fills the chain, block by block through the runtime and the store: each block is full of transfers to new
accounts. Their signatures are made up, since nothing here checks them. Then this process opens that chain, as a node does when
it starts, executes and commits full blocks of signed transfers to accounts drawn at random, and reads balances and proofs of
others in between. After each block it looks at its own resident memory, in which LevelDB's mapped files are counted
(`files_mb`; the kernel takes those back when memory is short) beside what the process itself holds (`anonymous_mb`).

ACCOUNTS and BLOCKS in the environment change the size of it.
"""

import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from evm_runtime.fields import int_bytes
from evm_runtime.transaction import DYNAMIC_FEE, Transaction, decode_transaction
from genesis.chain_spec import ChainSpec
from genesis.codec import encode_rlp
from genesis.primitives import Address, keccak256
from tests.bench.harness import RESULTS, ROOT, Report, percentile
from tests.bench.workload import GWEI, Sender, senders
from tests.bench.workload import funded as funded_accounts
from tests.unit.node.local_chain import CHAIN_ID, LocalChain, make_spec

ACCOUNTS = int(os.environ.get("ACCOUNTS", "1000000"))
BLOCKS = int(os.environ.get("BLOCKS", "60"))
"""More full blocks than a node keeps decoded."""
BLOCK_TRANSFERS = 1_428
"""As many as fit into 30,000,000 gas."""
MAX_FEE = 100_000 * GWEI
"""A long row of full blocks lets the base fee grow."""
READS = 200
EACH_OPEN = 100_000
MIB = 1024 * 1024


def run(report: Report) -> None:
    RESULTS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=RESULTS) as folder:  # not /tmp, which may be memory
        path = Path(folder) / "chain"
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "tests.bench.memory", str(path)], cwd=ROOT, check=True)
        fill_s = time.perf_counter() - began
        chain = LocalChain(path, _spec())
        try:
            _measure(report, chain)
        finally:
            chain.close()
        report.add("fill_s", fill_s, "s", "to make those accounts, a process of its own")
        report.add("database_mb", sum(file.stat().st_size for file in path.iterdir()) / MIB, "MiB", "all of the chain")


def account(place: int) -> Address:
    return Address(keccak256(b"bench account %d" % place)[12:])


def fill(path: Path) -> None:
    """Make the chain with its accounts."""
    chain = LocalChain(path, _spec())
    sender = senders(1)[0]
    for first in range(0, ACCOUNTS, BLOCK_TRANSFERS):
        chain.extend(*(_unsigned(sender, place) for place in range(first, min(ACCOUNTS, first + BLOCK_TRANSFERS))))
    if chain.store.runtime.state().account(account(ACCOUNTS - 1)) is None:
        raise RuntimeError("the last account is not there")
    chain.close()


def _spec() -> ChainSpec:
    spec = make_spec()
    return replace(spec, alloc=(*spec.alloc, *funded_accounts(senders(BLOCK_TRANSFERS + 1), EACH_OPEN)))


def _unsigned(sender: Sender, place: int) -> Transaction:
    """The transfer that makes account `place`."""
    fields = (CHAIN_ID, place, 0, MAX_FEE, 21_000)
    raw = bytes([DYNAMIC_FEE]) + encode_rlp(
        [*map(int_bytes, fields), account(place), b"\x01", b"", [], b"", b"\x01", b"\x01"]
    )
    return Transaction(
        kind=DYNAMIC_FEE,
        chain_id=CHAIN_ID,
        nonce=place,
        max_priority_fee_per_gas=0,
        max_fee_per_gas=MAX_FEE,
        gas_limit=21_000,
        to=account(place),
        value=1,
        data=b"",
        access_list=(),
        authorizations=(),
        y_parity=0,
        v=0,
        r=1,
        s=1,
        sender=sender.address,
        hash=keccak256(raw),
        raw=raw,
    )


def _measure(report: Report, chain: LocalChain) -> None:
    rng = random.Random(1)
    opened = _resident()
    most, blocks_s = opened, []
    for number, transactions in enumerate(_signed_blocks(rng)):
        block = chain.build(*transactions).block
        commit = chain.commit_for(block)
        known = {transaction.hash: transaction for transaction in transactions}
        store, tip = chain.store, chain.store.tip()
        began = time.perf_counter()
        executed = store.live_runtime.execute_block(tip.header, tip.time_ms, block, known)
        store.append(executed, commit)
        blocks_s.append(time.perf_counter() - began)
        if len(executed.transactions) != BLOCK_TRANSFERS:
            raise RuntimeError(f"block {number} holds {len(executed.transactions)} transfers")
        _read(chain, rng)
        most = max(most, _resident())
    report.add("accounts", ACCOUNTS, "", "in the state, besides the senders")
    report.add("rss_mb", most[0] / MIB, "MiB", f"the most that was resident, {BLOCKS} blocks of {BLOCK_TRANSFERS}")
    report.add("anonymous_mb", most[1] / MIB, "MiB", "of it the process' own")
    report.add("files_mb", most[2] / MIB, "MiB", "of it mapped files: LevelDB's tables, libraries")
    report.add("opened_rss_mb", opened[0] / MIB, "MiB", "just after the chain was opened")
    report.add("block_ms", percentile(blocks_s, 50) * 1e3, "ms", "verify and commit one of those blocks")
    report.add("block_p95_ms", percentile(blocks_s, 95) * 1e3, "ms")


def _signed_blocks(rng: random.Random) -> Iterator[list[Transaction]]:
    """From every sender but the filler, to accounts at random."""
    signers = senders(BLOCK_TRANSFERS + 1)[1:]
    for number in range(BLOCKS):
        raws = [
            signer.sign(CHAIN_ID, number, account(rng.randrange(ACCOUNTS)), value=1, max_fee=MAX_FEE, tip=0)
            for signer in signers
        ]
        yield [decode_transaction(raw, chain_id=CHAIN_ID) for raw in raws]


def _read(chain: LocalChain, rng: random.Random) -> None:
    """Balances and proofs, as JSON-RPC asks for them."""
    state = chain.store.runtime.state()
    for _ in range(READS):
        address = account(rng.randrange(ACCOUNTS))
        if not state.balance(address) or not state.proof(address).account_proof:
            raise RuntimeError(f"account 0x{address.hex()} is not there")


def _resident() -> tuple[int, int, int]:
    """Bytes of resident memory: all, anonymous, of files."""
    found = {}
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name in ("VmRSS", "RssAnon", "RssFile"):
            found[name] = int(value.split()[0]) * 1024
    return found["VmRSS"], found["RssAnon"], found["RssFile"]


if __name__ == "__main__":
    fill(Path(sys.argv[1]))
