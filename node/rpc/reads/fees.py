"""Fee advice from recent blocks: what tips were paid, and how full the blocks were."""

from typing import Final

from genesis.primitives import Height
from node.interfaces import ChainReader, StoredBlock
from node.rpc.reads.lookup import stored_at

SAMPLE_BLOCKS: Final = 20
SAMPLE_PERCENTILE: Final = 60
"""As geth: the tip that 60 % of what recent blocks paid is at or below."""


def suggested_tip(chain: ChainReader) -> int:
    """Wei per gas that should get a transaction in soon; at least the chain's floor for base fees, whatever blocks paid."""
    tip = chain.tip()
    tips = []
    for height in range(max(1, tip.height - SAMPLE_BLOCKS + 1), tip.height + 1):
        header = chain.header(Height(height))
        if header is not None and header.gas_used:
            tips += paid_tips(stored_at(chain, Height(height)))
    tips.sort()
    sampled = tips[(len(tips) - 1) * SAMPLE_PERCENTILE // 100] if tips else 0
    return max(sampled, chain.spec.block.base_fee_floor)


def paid_tips(stored: StoredBlock) -> list[int]:
    """Wei per gas above the base fee, of each transaction."""
    base_fee = stored.header.base_fee_per_gas
    return [result.effective_gas_price - base_fee for result in stored.results]


def rewards_at(stored: StoredBlock, percentiles: tuple[float, ...]) -> list[int]:
    """The tips at `percentiles` of the block's gas, cheapest first, as in eth_feeHistory."""
    by_tip = sorted((tip, result.gas_used) for tip, result in zip(paid_tips(stored), stored.results, strict=True))
    if not by_tip:
        return [0] * len(percentiles)
    rewards, place, gas = [], 0, by_tip[0][1]
    for percentile in percentiles:
        threshold = int(stored.header.gas_used * percentile / 100)
        while gas < threshold and place < len(by_tip) - 1:
            place += 1
            gas += by_tip[place][1]
        rewards.append(by_tip[place][0])
    return rewards
