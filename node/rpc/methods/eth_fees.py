"""eth: what gas costs."""

from genesis.errors import StorageCorrupt
from genesis.primitives import Height
from node.rpc.context import Context
from node.rpc.reads.fees import rewards_at, suggested_tip
from node.rpc.schema.declare import Keeps, Param, Runs, method
from node.rpc.schema.errors import server_error
from node.rpc.schema.format import Json, quantity
from node.rpc.schema.params import BLOCK_NUMBER, COUNT, PERCENTILES, BlockRef

_HISTORY_BLOCKS_MAX = 1_024
_BLOB_BASE_FEE = 1
"""Wei per blob gas: the minimum of EIP-4844, for ever, as the chain has no blobs."""


@method("eth_gasPrice", result="quantity", runs=Runs.READ, keeps=Keeps.TIP)
def gas_price(context: Context) -> str:
    """A gas price for legacy transactions: the next block's base fee and the suggested tip."""
    chain = context.chain
    return quantity(chain.runtime.next_base_fee(chain.tip().header) + suggested_tip(chain))


@method("eth_maxPriorityFeePerGas", result="quantity", runs=Runs.READ, keeps=Keeps.TIP)
def max_priority_fee(context: Context) -> str:
    """The suggested tip."""
    return quantity(suggested_tip(context.chain))


@method("eth_baseFee", result="quantity", runs=Runs.READ, keeps=Keeps.TIP)
def base_fee(context: Context) -> str:
    """The base fee of the next block."""
    return quantity(context.chain.runtime.next_base_fee(context.chain.tip().header))


@method("eth_blobBaseFee", result="quantity")
def blob_base_fee(context: Context) -> str:
    """The minimum: this chain has no blobs."""
    return quantity(_BLOB_BASE_FEE)


@method(
    "eth_feeHistory",
    Param("blocks", COUNT),
    Param("newest", BLOCK_NUMBER),
    Param("percentiles", PERCENTILES, default=()),
    result="fee history",
    runs=Runs.READ,
    keeps=Keeps.TIP,
)
def fee_history(context: Context, count: int, newest: BlockRef, percentiles: tuple[float, ...]) -> Json:
    """Base fees, how full the blocks were, and tips at percentiles of gas, for up to 1,024 blocks."""
    chain = context.chain
    tip = chain.tip().height
    last = newest.height if newest.height is not None else 0 if newest.tag == "earliest" else tip
    if last > tip:
        raise server_error(f"request beyond head block: requested {last}, head {tip}")
    first = max(0, last + 1 - min(count, _HISTORY_BLOCKS_MAX))
    if count == 0:
        return {"oldestBlock": "0x0", "gasUsedRatio": None}
    fees, ratios, rewards, header = [], [], [], chain.tip().header
    for height in map(Height, range(first, last + 1)):
        found = chain.header(height)
        if found is None:
            raise StorageCorrupt(f"block {height} is missing below the tip")
        header = found
        fees.append(quantity(header.base_fee_per_gas))
        ratios.append(header.gas_used / header.gas_limit)
        if percentiles:
            stored = chain.block(height) if header.gas_used else None
            paid = rewards_at(stored, percentiles) if stored else [0] * len(percentiles)
            rewards.append([quantity(each) for each in paid])
    fees.append(quantity(chain.runtime.next_base_fee(header)))
    answer: Json = {
        "oldestBlock": quantity(first),
        "baseFeePerGas": fees,
        "gasUsedRatio": ratios,
        "baseFeePerBlobGas": [quantity(_BLOB_BASE_FEE)] * len(fees),
        "blobGasUsedRatio": [0] * len(ratios),
    }
    if percentiles:
        answer["reward"] = rewards
    return answer
