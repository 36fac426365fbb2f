"""eth: what needs an account's key. A devnet's node signs for the accounts of its mnemonic, any other node for nobody."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson

from genesis.errors import InvalidTransaction, WireError
from genesis.primitives import ZERO_ADDRESS, Address
from node.rpc.context import Context
from node.rpc.methods.eth_calls import call_request, estimate_gas
from node.rpc.reads.fees import suggested_tip
from node.rpc.schema.call_params import CALL, CallArgs
from node.rpc.schema.declare import Param, Runs, method
from node.rpc.schema.errors import invalid_params, server_error
from node.rpc.schema.format import Json, data, transaction_json
from node.rpc.schema.params import ADDRESS, DATA, PENDING, BadParam, Kind, json_type

if TYPE_CHECKING:
    from evm_runtime.transaction import Transaction

_TRANSACTION = Param("transaction", CALL)
_ADDRESS = Param("address", ADDRESS)


def typed_data(value: Any) -> Json:
    """EIP-712's object, or its JSON as a string (wallets send either)."""
    if isinstance(value, str):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError as error:
            raise BadParam(f"typed data is no JSON: {error}") from None
    if not isinstance(value, dict):
        raise BadParam(f"expected typed data, found {json_type(value)}")
    return value


TYPED_DATA = Kind("typed data", typed_data, {"anyOf": [{"type": "object"}, {"type": "string"}]})


@method("eth_accounts", result="addresses")
def accounts(context: Context) -> list[str]:
    """The accounts that this node signs for: a devnet's; none anywhere else."""
    return [data(address) for address in context.services.wallet.addresses]


@method("eth_coinbase", result="address", runs=Runs.READ)
def coinbase(context: Context) -> str:
    """Where this node's fees go when it proposes. A node that is no validator has none."""
    own = context.status.validator_address
    members = context.chain.runtime.state().validators().current
    place = None if own is None else members.index(own)
    if place is None:
        raise server_error("etherbase must be explicitly specified: this node is no validator")
    return data(members.members[place].payout)


@method("eth_sendTransaction", _TRANSACTION, result="hash")
async def send_transaction(context: Context, args: CallArgs) -> str:
    """Fill in what was left out, sign with an account of this node, and admit; answers the hash."""
    async with context.services.wallet.turn(_sender(args)):
        signed = context.services.wallet.sign_transaction(await _filled(context, args))
        try:
            return data(await context.mempool.add(signed.raw))
        except (InvalidTransaction, WireError) as error:
            raise server_error(str(error)) from None


@method("eth_signTransaction", _TRANSACTION, result="signed transaction")
async def sign_transaction(context: Context, args: CallArgs) -> Json:
    """Fill in what was left out and sign with an account of this node; sends nothing."""
    async with context.services.wallet.turn(_sender(args)):
        return _shown(context.services.wallet.sign_transaction(await _filled(context, args)))


@method("eth_fillTransaction", _TRANSACTION, result="signed transaction")
async def fill_transaction(context: Context, args: CallArgs) -> Json:
    """Nonce, gas and fees as `eth_sendTransaction` would choose them; the answer carries no signature."""
    from evm_runtime.signing import encoded

    return _shown(encoded(await _filled(context, args)))


@method("eth_sign", _ADDRESS, Param("message", DATA), result="signature", runs=Runs.READ)
def sign(context: Context, address: Address, message: bytes) -> str:
    """Sign a message with an account of this node (EIP-191, version 0x45)."""
    return data(context.services.wallet.sign_message(address, message))


@method("personal_sign", Param("message", DATA), _ADDRESS, result="signature", runs=Runs.READ)
def personal_sign(context: Context, message: bytes, address: Address) -> str:
    """`eth_sign` with its parameters the other way round, as wallets and signers of ethers and viem ask."""
    return sign(context, address, message)


@method("eth_signTypedData_v4", _ADDRESS, Param("typed data", TYPED_DATA), result="signature", runs=Runs.READ)
def sign_typed_data(context: Context, address: Address, content: Json) -> str:
    """Sign typed data with an account of this node (EIP-712)."""
    try:
        return data(context.services.wallet.sign_typed_data(address, content))
    except BadParam as error:
        raise invalid_params(f"invalid argument 1: {error}") from None


# ---------------------------------------------------------------- filling in


def _sender(args: CallArgs) -> Address:
    return args.sender or ZERO_ADDRESS


def _shown(tx: "Transaction") -> Json:
    """As geth: the transaction without its place, and the bytes."""
    shown = transaction_json(tx, None)
    for name in ("blockHash", "blockNumber", "blockTimestamp", "transactionIndex"):
        del shown[name]
    return {"raw": data(tx.raw), "tx": shown}


async def _filled(context: Context, args: CallArgs) -> "Transaction":
    """The whole transaction, unsigned. Raises RpcError where gas can't be estimated or the chain is another."""
    if args.to is None and not args.data:
        raise server_error("contract creation without any data provided")
    request = call_request(context, args)
    tip, max_fee = await context.read(_fees, context, args)
    if args.gas is None:
        priced = args if args.gas_price is not None else replace(args, max_fee_per_gas=max_fee)
        gas = int(await context.call(estimate_gas, context, priced, PENDING, None, None), 16)
    else:
        gas = args.gas
    return request.unsigned(
        request.kind,
        chain_id=context.chain.spec.chain_id,
        nonce=context.mempool.pending_nonce(request.sender) if args.nonce is None else args.nonce,
        gas_limit=gas,
        fees=(tip, max_fee),
    )


def _fees(context: Context, args: CallArgs) -> tuple[int, int]:
    """(tip, most) in wei per gas: what was asked for, else the suggested tip and twice the next base fee above it."""
    if args.gas_price is not None:
        return args.gas_price, args.gas_price
    chain = context.chain
    tip, max_fee = args.max_priority_fee_per_gas, args.max_fee_per_gas
    if tip is None:
        tip = suggested_tip(chain) if max_fee is None else min(suggested_tip(chain), max_fee)
    if max_fee is None:
        max_fee = 2 * chain.runtime.next_base_fee(chain.tip().header) + tip
    if max_fee >= 1 << 256:
        raise invalid_params("max fee per gas higher than 2^256-1")
    if max_fee < tip:
        raise invalid_params(f"maxFeePerGas ({max_fee:#x}) < maxPriorityFeePerGas ({tip:#x})")
    return tip, max_fee
