# pragma version ~=0.4.3
# pragma optimize gas
"""
@title Rules 6 to 12 of attribution as a contract: what `infer` of the native contract is measured against
@notice One datanet with k = 8 and one version, one model on it without ancestors; tokens are uint32, so that a window of
eight is one word and its own key. It is as frugal as Vyper allows: an owner is one slot, scores live in transient storage, runs
are swept by their ends and not token by token, the best 64 are kept in order while scores come in.
"""

struct Best:
    weight: uint256
    entry: uint256

event Inferred:
    receipt: indexed(uint256)
    payer: indexed(address)
    fee: uint256
    tokens: uint256
    unmatched: uint256

event Attributed:
    receipt: indexed(uint256)
    contribution: indexed(uint256)
    payout: indexed(address)
    weight: uint256
    amount: uint256

event Pooled:
    receipt: indexed(uint256)
    amount: uint256

TOKENS_MAX: constant(uint256) = 8192
BPS: constant(uint256) = 10_000
LOW: constant(uint256) = 2**64 - 1
ENTRY: constant(uint256) = 2**128 - 1

owner_of: HashMap[uint256, uint256]  # window -> version ‖ order ‖ contribution, 64 bits each
payout: HashMap[uint256, address]
claimable: HashMap[address, uint256]
receipts: HashMap[uint256, bytes32]
receipt_count: uint256
accumulator: uint256
remainder: uint256
weight: uint256
stakers: uint256
burned: uint256
owner: address
treasury: address
output_per_1k: uint256
version: uint256
score_of: transient(HashMap[uint256, uint256])


@deploy
def __init__(owner: address, treasury: address, output_per_1k: uint256, weight: uint256):
    self.owner = owner
    self.treasury = treasury
    self.output_per_1k = output_per_1k
    self.weight = weight
    self.version = 1


@external
def contribute(contributions: DynArray[uint256, 250], payouts: DynArray[address, 250], windows: DynArray[uint256, 250]):
    """Windows of contributions in version 1, whose ids are also their order; each line is one window."""
    for i: uint256 in range(len(windows), bound=250):
        self.owner_of[windows[i]] = (1 << 128) | (contributions[i] << 64) | contributions[i]
        self.payout[contributions[i]] = payouts[i]


@external
@payable
def infer(tokens: Bytes[32768]) -> uint256:
    n: uint256 = len(tokens) // 4
    assert n > 0 and n <= TOKENS_MAX and len(tokens) % 4 == 0
    fee: uint256 = (self.output_per_1k * n + 999) // 1000
    assert msg.value >= fee
    if msg.value > fee:
        self.claimable[msg.sender] += msg.value - fee

    # Rules 7 and 8: runs, as end ‖ first ‖ entry.
    runs: DynArray[uint256, 8192] = []
    current: uint256 = 0
    first: uint256 = 0
    version: uint256 = self.version
    if n >= 8:
        for i: uint256 in range(n - 7, bound=8185):
            entry: uint256 = self.owner_of[extract32(tokens, unsafe_mul(4, i), output_type=uint256)]
            if entry >> 128 > version:
                entry = 0
            entry = entry & ENTRY
            if entry != current:
                if current != 0:
                    runs.append((unsafe_add(i, 7) << 192) | (first << 128) | current)
                current = entry
                first = i
        if current != 0:
            runs.append((n << 192) | (first << 128) | current)

    # Rule 9: between two ends of runs the same runs cover every token; the longest gets them, then the earliest.
    owners: DynArray[uint256, 8192] = []
    count: uint256 = len(runs)
    low: uint256 = 0
    high: uint256 = 0
    at: uint256 = 0
    for _: uint256 in range(2 * count, bound=16384):
        if low == high:
            if high == count:
                break
            at = (runs[high] >> 128) & LOW
            high += 1
        best: uint256 = runs[low]
        if high > low + 1:
            for i: uint256 in range(low + 1, high, bound=8):
                run: uint256 = runs[i]
                length: uint256 = (run >> 192) - ((run >> 128) & LOW)
                longest: uint256 = (best >> 192) - ((best >> 128) & LOW)
                if length > longest or (length == longest and run & ENTRY < best & ENTRY):
                    best = run
        until: uint256 = runs[low] >> 192
        if high < count:
            until = min(until, (runs[high] >> 128) & LOW)
        entry: uint256 = best & ENTRY
        score: uint256 = self.score_of[entry]
        if score == 0:
            owners.append(entry)
        self.score_of[entry] = score + until - at
        at = until
        if runs[low] >> 192 <= at:
            low += 1
        if high < count:
            if (runs[high] >> 128) & LOW <= at:
                high += 1

    # Rule 11's order: the best 64, by (score descending, entry).
    top: uint256[65] = empty(uint256[65])  # score << 128 | (all ones less entry): greater is better
    kept: uint256 = 0
    matched: uint256 = 0
    for entry: uint256 in owners:
        score: uint256 = self.score_of[entry]
        self.score_of[entry] = 0
        matched += score
        key: uint256 = (score << 128) | (ENTRY - entry)
        if kept == 64:
            if key < top[63]:
                continue
        else:
            kept += 1
        place: uint256 = kept - 1
        for _: uint256 in range(64):
            if place == 0 or top[place - 1] > key:
                break
            top[place] = top[place - 1]
            place -= 1
        top[place] = key

    return self._settle(fee, n, matched, kept, top)


@internal
def _settle(fee: uint256, n: uint256, matched: uint256, kept: uint256, top: uint256[65]) -> uint256:
    self.receipt_count += 1
    receipt: uint256 = self.receipt_count
    self.receipts[receipt] = keccak256(abi_encode(msg.sender, fee, n, matched, block.number, top))
    log Inferred(receipt=receipt, payer=msg.sender, fee=fee, tokens=n, unmatched=n - matched)
    burn: uint256 = fee * 300 // BPS
    treasury: uint256 = fee * 200 // BPS
    stakers: uint256 = fee * 1000 // BPS
    owner: uint256 = fee * 3000 // BPS
    part: uint256 = fee - burn - treasury - stakers - owner
    self.burned += burn
    self.stakers += stakers
    self.claimable[self.treasury] += treasury
    self.claimable[self.owner] += owner

    # Rules 10 and 11: floors, and one wei more for the largest remainders.
    span: uint256 = part * matched // n
    best: uint256 = 0
    for i: uint256 in range(kept, bound=64):
        best += top[i] >> 128
    best_part: uint256 = 0
    paid: uint256 = 0
    if best > 0:
        best_part = span * best // matched
        shares: uint256[64] = empty(uint256[64])
        order: uint256[64] = empty(uint256[64])  # remainder << 8 | (63 less place), in descending order
        given: uint256 = 0
        for i: uint256 in range(kept, bound=64):
            exact: uint256 = best_part * (top[i] >> 128)
            shares[i] = exact // best
            given += shares[i]
            key: uint256 = ((exact % best) << 8) | (63 - i)
            place: uint256 = i
            for _: uint256 in range(64):
                if place == 0 or order[place - 1] > key:
                    break
                order[place] = order[place - 1]
                place -= 1
            order[place] = key
        for i: uint256 in range(best_part - given, bound=64):
            shares[63 - (order[i] & 255)] += 1
        for i: uint256 in range(kept, bound=64):
            contribution: uint256 = (ENTRY - (top[i] & ENTRY)) & LOW
            payout: address = self.payout[contribution]
            self.claimable[payout] += shares[i]
            paid += shares[i]
            log Attributed(
                receipt=receipt, contribution=contribution, payout=payout, weight=top[i] >> 128, amount=shares[i]
            )

    # Rule 12: the pool.
    pooled: uint256 = part - paid
    scaled: uint256 = (pooled << 128) + self.remainder
    self.accumulator += scaled // self.weight
    self.remainder = scaled % self.weight
    log Pooled(receipt=receipt, amount=pooled)
    return receipt


@view
@external
def credit_of(who: address) -> uint256:
    return self.claimable[who]
