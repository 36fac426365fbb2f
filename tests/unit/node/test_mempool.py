"""The mempool's rules, with real signed transactions."""

import contextlib
import random
from dataclasses import dataclass, field

import pytest

from evm_runtime.transaction import Transaction
from genesis.errors import InvalidTransaction
from genesis.primitives import Address
from node.mempool.pool import LIFETIME_S, QUEUED_PER_ACCOUNT_MAX, TransactionPool
from tests.unit.node.local_chain import ADDRESSES, GWEI, make_spec, transfer

OPEN = 10**18


@dataclass
class Accounts:
    """A finalized state that tests set by hand."""

    nonces: dict[Address, int] = field(default_factory=dict)
    balances: dict[Address, int] = field(default_factory=dict)
    codes: dict[Address, bytes] = field(default_factory=dict)

    def nonce(self, address: Address) -> int:
        return self.nonces.get(address, 0)

    def balance(self, address: Address) -> int:
        return self.balances.get(address, OPEN)

    def code(self, address: Address) -> bytes:
        return self.codes.get(address, b"")


def make_pool(accounts: Accounts | None = None, *, base_fee: int = GWEI, slots_max: int = 5_120) -> TransactionPool:
    return TransactionPool(make_spec(), accounts or Accounts(), base_fee, slots_max=slots_max)


def refused(pool: TransactionPool, transaction: Transaction) -> str:
    before = (pool.transactions(), pool.stats())
    with pytest.raises(InvalidTransaction) as caught:
        pool.add(transaction, 0)
    assert (pool.transactions(), pool.stats()) == before
    return str(caught.value)


def test_refusals_are_worded_as_geth_words_them() -> None:
    accounts = Accounts(nonces={ADDRESSES[1]: 5}, balances={ADDRESSES[2]: 1_000}, codes={ADDRESSES[3]: b"\x60\x00"})
    pool = make_pool(accounts)
    pool.add(transfer(0, 0), 0)
    assert refused(pool, transfer(0, 0)) == "already known"
    assert refused(pool, transfer(1, 4)) == "nonce too low: next nonce 5, tx nonce 4"
    assert refused(pool, transfer(2, 0)).startswith(
        "insufficient funds for gas * price + value: balance 1000, tx cost "
    )
    assert refused(pool, transfer(3, 0)).startswith("sender not an eoa: address 0x")
    assert refused(pool, transfer(0, 1, gas=30_000_001)).startswith("exceeds block gas limit")
    assert refused(pool, transfer(0, 1, gas=20_999)).startswith("intrinsic gas too low: have 20999, want 21000")
    assert refused(pool, transfer(0, 1, fee=1, tip=1)).startswith("transaction underpriced")
    assert refused(pool, transfer(0, 1, fee=GWEI, tip=2 * GWEI)).startswith(
        "max priority fee per gas higher than max fee per gas"
    )
    assert refused(pool, transfer(0, 0, value=2)) == "replacement transaction underpriced"


def test_what_an_account_spends_is_counted_over_all_its_transactions() -> None:
    cost = 21_000 * 10 * GWEI + 1
    pool = make_pool(Accounts(balances={ADDRESSES[0]: 2 * cost}))
    pool.add(transfer(0, 0), 0)
    pool.add(transfer(0, 1), 0)
    assert "queued cost" in refused(pool, transfer(0, 2))
    assert "insufficient funds" in refused(pool, transfer(0, 1, fee=20 * GWEI, tip=2 * GWEI))


def test_a_gap_queues_and_filling_it_makes_all_executable() -> None:
    pool = make_pool()
    for nonce in (0, 2, 3):
        pool.add(transfer(0, nonce), 0)
    assert pool.stats() == (1, 2)
    assert pool.pending_nonce(ADDRESSES[0]) == 1
    content = pool.content()
    assert [tx.nonce for tx in content.pending[ADDRESSES[0]]] == [0]
    assert [tx.nonce for tx in content.queued[ADDRESSES[0]]] == [2, 3]
    pool.add(transfer(0, 1), 0)
    assert pool.stats() == (4, 0)
    assert pool.pending_nonce(ADDRESSES[0]) == 4
    assert pool.pending_nonce(ADDRESSES[1]) == 0


def test_candidates_go_by_tip_across_accounts_and_by_nonce_inside_one() -> None:
    pool = make_pool()
    pool.add(transfer(0, 0, tip=1), 0)
    pool.add(transfer(0, 1, tip=9 * GWEI), 0)
    pool.add(transfer(1, 0, tip=3), 0)
    pool.add(transfer(2, 0, tip=3), 0)
    pool.add(transfer(1, 1, tip=2), 0)
    pool.add(transfer(3, 1, tip=9 * GWEI), 0)  # behind a gap
    order = [(ADDRESSES.index(tx.sender), tx.nonce) for tx in pool.candidates()]
    assert order == [(1, 0), (2, 0), (1, 1), (0, 0), (0, 1)]


def test_effective_tip_is_what_is_left_above_the_base_fee() -> None:
    pool = make_pool(base_fee=9 * GWEI)
    pool.add(transfer(0, 0, fee=10 * GWEI, tip=10 * GWEI), 0)  # effective tip 1 gwei
    pool.add(transfer(1, 0, fee=100 * GWEI, tip=2 * GWEI), 0)
    pool.add(transfer(2, 0, fee=8 * GWEI, tip=8 * GWEI), 0)  # cannot pay the base fee now
    assert [ADDRESSES.index(tx.sender) for tx in pool.candidates()] == [1, 0]
    assert pool.has_executable()
    pool.update(Accounts(), 200 * GWEI, (), 0)
    assert not pool.has_executable()
    assert list(pool.candidates()) == []
    assert len(pool) == 3


def test_replacing_needs_ten_percent_more_of_both_fees() -> None:
    pool = make_pool()
    pool.add(transfer(0, 0, fee=10 * GWEI, tip=GWEI), 0)
    for fee, tip in ((11 * GWEI - 1, 2 * GWEI), (20 * GWEI, GWEI + GWEI // 10 - 1), (10 * GWEI, GWEI)):
        assert refused(pool, transfer(0, 0, fee=fee, tip=tip, value=7)) == "replacement transaction underpriced"
    better = transfer(0, 0, fee=11 * GWEI, tip=GWEI + GWEI // 10)
    pool.add(better, 0)
    assert pool.transactions() == [better]
    assert pool.stats() == (1, 0)


@pytest.mark.parametrize(
    ("before", "enough"),
    [(1_000_000_007, 1_100_000_007), (1_000_000_010, 1_100_000_011), (1_000_000_019, 1_100_000_020)],
)
def test_ten_percent_are_rounded_down_to_a_wei(before: int, enough: int) -> None:
    """As geth rounds: 1000000007 is replaced by 1100000007, though that is 0.7 wei less than ten percent more."""
    pool = make_pool()
    pool.add(transfer(0, 1, fee=before, tip=before), 0)  # behind a gap, where wallets replace most
    for fee, tip in ((enough - 1, enough - 1), (enough, enough - 1)):
        assert refused(pool, transfer(0, 1, fee=fee, tip=tip)) == "replacement transaction underpriced"
    pool.add(transfer(0, 1, fee=enough, tip=enough), 0)


def test_a_replacement_of_next_to_nothing_pays_more_at_least() -> None:
    """Ten percent of a tip of a few wei round down to nothing."""
    pool = make_pool()
    pool.add(transfer(0, 0, fee=10 * GWEI, tip=3), 0)
    assert refused(pool, transfer(0, 0, fee=20 * GWEI, tip=3)) == "replacement transaction underpriced"
    pool.add(transfer(0, 0, fee=20 * GWEI, tip=4), 0)


def test_a_block_removes_what_it_included_and_what_it_made_impossible() -> None:
    accounts = Accounts()
    pool = make_pool(accounts)
    first, second, third = transfer(0, 0), transfer(0, 1), transfer(0, 2)
    for tx in (first, second, third, transfer(1, 0)):
        pool.add(tx, 0)
    accounts.nonces[ADDRESSES[0]] = 2  # another transaction with nonce 1 was included
    accounts.balances[ADDRESSES[1]] = 0
    pool.update(accounts, GWEI, (first, transfer(1, 9)), 0)
    assert pool.transactions() == [third]
    assert pool.stats() == (1, 0)
    assert second.hash not in pool


def test_transactions_expire() -> None:
    pool = make_pool()
    pool.add(transfer(0, 0), 0)
    pool.add(transfer(1, 0), 100)
    pool.update(Accounts(), GWEI, (), LIFETIME_S + 50)
    assert [tx.sender for tx in pool.transactions()] == [ADDRESSES[1]]


def test_queued_transactions_of_one_account_are_bounded() -> None:
    pool = make_pool()
    for nonce in range(1, QUEUED_PER_ACCOUNT_MAX + 1):
        pool.add(transfer(0, nonce), 0)
    assert "account limit exceeded" in refused(pool, transfer(0, 500))
    pool.add(transfer(0, 0), 0)  # closes the gap: always welcome
    assert pool.stats() == (QUEUED_PER_ACCOUNT_MAX + 1, 0)


def test_a_delegated_account_has_one_transaction_in_flight() -> None:
    pool = make_pool(Accounts(codes={ADDRESSES[0]: bytes.fromhex("ef0100") + bytes(20)}))
    pool.add(transfer(0, 0), 0)
    assert "in-flight transaction limit" in refused(pool, transfer(0, 1))
    pool.add(transfer(0, 0, fee=20 * GWEI, tip=2 * GWEI), 0)


DELEGATED = bytes.fromhex("ef0100") + bytes(20)


def test_a_gapped_transaction_does_not_lock_a_delegated_account() -> None:
    pool = make_pool(Accounts(codes={ADDRESSES[0]: DELEGATED}))
    assert refused(pool, transfer(0, 1)) == "gapped-nonce tx from delegated accounts"
    pool.add(transfer(0, 0), 0)
    assert refused(pool, transfer(0, 2)) == "gapped-nonce tx from delegated accounts"
    assert refused(pool, transfer(0, 1)) == "in-flight transaction limit reached for delegated accounts"


def test_what_waited_behind_a_gap_does_not_lock_an_account_that_is_delegated_meanwhile() -> None:
    accounts = Accounts()
    pool = make_pool(accounts)
    for nonce in (3, 5):
        pool.add(transfer(0, nonce), 0)
    accounts.codes[ADDRESSES[0]] = DELEGATED  # by a sponsor's transaction: ADDRESSES[0] is only its authority
    pool.recheck([ADDRESSES[0]])
    for nonce in range(5):
        pool.add(transfer(0, nonce), 0)
        assert pool.stats() == (1, 0), "never two in flight, whatever waited before"
        assert "in-flight" in refused(pool, transfer(0, nonce + 1))
        accounts.nonces[ADDRESSES[0]] = nonce + 1
        pool.update(accounts, GWEI, [transfer(0, nonce)], 0)


def test_what_was_in_order_before_a_delegation_stays() -> None:
    accounts = Accounts()
    pool = make_pool(accounts)
    for nonce in range(3):
        pool.add(transfer(0, nonce), 0)
    accounts.codes[ADDRESSES[0]] = DELEGATED
    pool.recheck([ADDRESSES[0]])
    assert pool.stats() == (3, 0)
    pool.drop(next(iter(pool.candidates())).hash)
    pool.recheck([ADDRESSES[0]])
    assert pool.stats() == (0, 0), "the first is gone, so the others wait behind a gap"


def test_a_full_pool_keeps_the_guaranteed_and_the_better_paid() -> None:
    pool = make_pool(slots_max=20)
    for nonce in range(20):  # 16 guaranteed, 4 beyond
        pool.add(transfer(0, nonce, tip=5 * GWEI), 0)
    assert refused(pool, transfer(1, 3, tip=9 * GWEI)) == "txpool is full"
    for key in range(1, 5):  # a guaranteed place beats one beyond the guarantee at any price
        pool.add(transfer(key, 0, tip=1), 0)
    assert pool.stats() == (20, 0)
    assert pool.pending_nonce(ADDRESSES[0]) == 16
    assert refused(pool, transfer(5, 0, tip=1)) == "transaction underpriced"
    pool.add(transfer(5, 0, tip=2), 0)
    assert len(pool) == 20


def test_large_transactions_take_several_slots() -> None:
    pool = make_pool(slots_max=4)
    pool.add(transfer(0, 0, data=bytes(100_000), gas=5_000_000, fee=GWEI, tip=1), 0)
    assert refused(pool, transfer(1, 0, tip=0)) == "transaction underpriced"
    pool.add(transfer(1, 0, tip=2), 0)
    assert [tx.sender for tx in pool.transactions()] == [ADDRESSES[1]]


@pytest.mark.parametrize(("surplus", "fits"), [(0, True), (1, False)])
def test_a_second_slot_begins_behind_32_kib(surplus: int, fits: bool) -> None:
    wanted = 32 * 1_024 + surplus
    sizes = range(wanted - 140, wanted - 100)  # a signature is a byte shorter now and then
    large = next(tx for size in sizes if len((tx := transfer(0, 0, data=bytes(size), gas=5_000_000)).raw) == wanted)
    pool = make_pool(slots_max=1)
    if fits:
        pool.add(large, 0)
    else:
        refused(pool, large)


@pytest.mark.parametrize("seed", range(5))
def test_random_traffic_keeps_the_books(seed: int) -> None:
    generator = random.Random(seed)
    accounts = Accounts()
    pool = make_pool(accounts, slots_max=30)
    for step in range(250):
        key = generator.randrange(4)
        nonce = accounts.nonce(ADDRESSES[key]) + generator.randrange(6)
        tx = transfer(key, nonce, fee=generator.randrange(2, 30) * GWEI, tip=generator.randrange(2 * GWEI))
        with contextlib.suppress(InvalidTransaction):
            pool.add(tx, step)
        if generator.random() < 0.1:
            included = list(pool.candidates())[: generator.randrange(4)]
            for done in included:
                accounts.nonces[done.sender] = done.nonce + 1
            pool.update(accounts, generator.randrange(1, 12) * GWEI, included, step)
        pending, queued = pool.stats()
        assert pending + queued == len(pool) == len(pool.transactions()) <= 30, seed
        by_account: dict[Address, int] = {}
        for candidate in pool.candidates():
            expected = by_account.get(candidate.sender, accounts.nonce(candidate.sender))
            assert candidate.nonce == expected, seed
            by_account[candidate.sender] = expected + 1


def check_books(pool: TransactionPool) -> None:
    """The running totals against counting anew."""
    for account in pool._accounts.values():
        assert account.entries
        assert account.cost == sum(entry.cost for entry in account.entries.values())
        ready = 0
        while account.nonce + ready in account.entries:
            ready += 1
        assert account.ready == ready


@pytest.mark.parametrize("seed", range(6))
def test_running_totals_are_what_counting_gives(seed: int) -> None:
    generator = random.Random(f"totals {seed}")
    accounts = Accounts()
    pool = make_pool(accounts, slots_max=24)
    for step in range(200):
        key = generator.randrange(3)
        address = ADDRESSES[key]
        nonce = max(0, accounts.nonce(address) + generator.randrange(-1, 12))
        fee, tip = generator.randrange(2, 60) * GWEI, generator.randrange(2 * GWEI)
        with contextlib.suppress(InvalidTransaction):
            pool.add(transfer(key, nonce, fee=fee, tip=tip), step)
        check_books(pool)
        event = generator.random()
        if event < 0.1 and pool.transactions():
            pool.drop(generator.choice(pool.transactions()).hash)
        elif event < 0.2:
            accounts.nonces[address] = max(0, accounts.nonce(address) + generator.randrange(-1, 8))
            accounts.balances[address] = generator.choice((10**15, OPEN))
            pool.recheck([address])
        elif event < 0.25:
            pool.update(accounts, generator.randrange(1, 12) * GWEI, list(pool.candidates())[:3], step)
        check_books(pool)
