"""One transaction on one state: what is bought, run, refunded and paid, in Ethereum's order.

    check against the state → buy gas, raise the nonce → warm addresses → EIP-7702 authorizations → message or creation
    (both undone if they pass the limit of work) → refund (at most a fifth) → EIP-7623 floor → unused gas back, tip to the
    coinbase → destroyed and empty accounts go

Everything that makes a transaction invalid is checked before the state is touched. The base fee is burned: it is bought with
the gas and given to nobody.
"""

from dataclasses import dataclass
from typing import Any, Final, NamedTuple, cast

from eth.exceptions import ContractCreationCollision, VMError
from eth.vm.forks.cancun.transaction_context import CancunTransactionContext
from eth.vm.message import Message

from evm_runtime import blobs, transfer, work
from evm_runtime.computation import Computation, State
from evm_runtime.fields import UINT64_MAX, int_bytes
from evm_runtime.gas import AUTHORIZATION_REFUND, REFUND_QUOTIENT
from evm_runtime.receipt import Log
from evm_runtime.state.source import EMPTY_CODE_HASH
from evm_runtime.system_contracts import SYSTEM_ADDRESS, SYSTEM_CALL_GAS
from evm_runtime.transaction import Authorization, Transaction
from evm_runtime.vm_errors import OutOfWork
from genesis.codec import encode_rlp
from genesis.errors import FatalError, InvalidTransaction, InvariantError, LocalError
from genesis.primitives import ZERO_ADDRESS, Address, keccak256

DELEGATION_PREFIX: Final = b"\xef\x01\x00"
_DELEGATION_SIZE: Final = 23


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a transaction did. `gas_used` is what it pays for; `gas_peak` the gas it held before the refund."""

    succeeded: bool
    gas_used: int
    gas_peak: int
    output: bytes
    error: Exception | None
    logs: tuple[Log, ...]
    contract_address: Address | None
    burned: int
    """Wei that vanished with destroyed accounts or for blobs (the base fee is not in it)."""
    work: int
    """What it cost by `work.py`."""


def contract_address(sender: Address, nonce: int) -> Address:
    """Where CREATE, or a creating transaction, puts a contract."""
    return Address(keccak256(encode_rlp([sender, int_bytes(nonce)]))[12:])


def check_sender(state: State, tx: Transaction, base_fee: int) -> None:
    """What the state must offer: nonce, no code (EIP-3607), fee, balance. Raises InvalidTransaction in geth's words."""
    db = state.account_db
    who = f"address 0x{tx.sender.hex()}"
    nonce = db.get_nonce(tx.sender)
    if tx.nonce != nonce:
        order = "low" if tx.nonce < nonce else "high"
        raise InvalidTransaction(f"nonce too {order}: {who}, tx: {tx.nonce} state: {nonce}")
    code_hash = db.get_code_hash(tx.sender)
    if code_hash != EMPTY_CODE_HASH and delegation(db.get_code(tx.sender)) is None:
        raise InvalidTransaction(f"sender not an eoa: {who}, codehash: 0x{code_hash.hex()}")
    if tx.max_fee_per_gas < base_fee:
        raise InvalidTransaction(
            f"max fee per gas less than block base fee: {who}, maxFeePerGas: {tx.max_fee_per_gas}, baseFee: {base_fee}"
        )
    if isinstance(tx, blobs.BlobTransaction):
        blobs.check_blobs(tx, state.blob_schedule, state.blob_base_fee)
    check_balance(state, tx)


def check_balance(state: State, tx: Transaction) -> None:
    """Gas at the highest price and the value must be there. Raises InvalidTransaction."""
    want = tx.gas_limit * tx.max_fee_per_gas + tx.value + blobs.fee_max(tx)
    have = state.account_db.get_balance(tx.sender)
    if have < want:
        raise InvalidTransaction(
            f"insufficient funds for gas * price + value: address 0x{tx.sender.hex()} have {have} want {want}"
        )


def execute(state: State, tx: Transaction, base_fee: int, allowance: int = work.UNLIMITED) -> Outcome:
    """Run a checked transaction. The static checks of `check_transaction` and `check_sender` come first.

    `allowance` is the work that it may do beyond what its gas stands for (`work.allowance`).

    Raises InvalidTransaction, with the state as it was, if py-evm fails in a way that is no outcome of an EVM; fatal errors
    pass through, and running out of this machine's memory or stack is one of them, for other nodes may not.
    """
    db = state.account_db
    db.begin_transaction()
    checkpoint = db.record()
    try:
        if allowance >= work.TRANSACTION_WORK and transfer.is_plain(state, tx):
            gas_used = transfer.apply(state, tx, base_fee)
            done = gas_used * work.GAS_WORK + work.TRANSACTION_WORK
            return Outcome(True, gas_used, gas_used, b"", None, (), None, 0, done)
        return _execute(state, tx, base_fee, allowance)
    except (MemoryError, RecursionError) as error:
        raise InvariantError(
            f"this machine can't execute transaction 0x{tx.hash.hex()}: {type(error).__name__}"
        ) from error
    except (FatalError, InvalidTransaction, LocalError):
        raise
    except Exception as error:
        db.discard(checkpoint)
        raise InvalidTransaction(f"execution failed: {type(error).__name__}: {error}") from error
    finally:
        db.work_left = work.UNLIMITED


def system_call(state: State, address: Address, data: bytes) -> None:
    """Call a system contract as EIP-4788 and EIP-2935 do: own gas, no fees, no effect if it fails or has no code."""
    db = state.account_db
    code = db.get_code(address)
    if not code:
        return
    db.begin_transaction()
    message = Message(SYSTEM_CALL_GAS, cast(Any, address), cast(Any, SYSTEM_ADDRESS), 0, data, code)
    state.computation_class.apply_message(state, message, CancunTransactionContext(0, cast(Any, SYSTEM_ADDRESS)))
    _sweep(state)


def delegation(code: bytes) -> Address | None:
    """The address that EIP-7702 code delegates to, or None for any other code."""
    if len(code) == _DELEGATION_SIZE and code.startswith(DELEGATION_PREFIX):
        return Address(code[3:])
    return None


# ---------------------------------------------------------------- the steps


class _Ran(NamedTuple):
    """How the message ended. `work` is what was done beside gas."""

    gas_left: int
    output: bytes
    error: VMError | None
    work: int


def _execute(state: State, tx: Transaction, base_fee: int, allowance: int) -> Outcome:
    db = state.account_db
    price = tx.effective_gas_price(base_fee)
    blob_hashes = blobs.hashes_of(tx)
    blob_fee = blobs.fee(tx, state.blob_base_fee) if blob_hashes else 0
    db.set_balance(tx.sender, db.get_balance(tx.sender) - tx.gas_limit * price - blob_fee)
    db.increment_nonce(tx.sender)
    created = contract_address(tx.sender, tx.nonce) if tx.to is None else None
    _warm(state, tx, created)
    context = CancunTransactionContext(price, cast(Any, tx.sender), cast(Any, blob_hashes))
    ran = _run_within(allowance, state, tx, created, context)
    spent = tx.gas_limit - ran.gas_left
    gas_used = max(spent - min(db.refund, spent // REFUND_QUOTIENT), tx.floor_gas)
    db.set_balance(tx.sender, db.get_balance(tx.sender) + (tx.gas_limit - gas_used) * price)
    coinbase = state.coinbase
    db.set_balance(coinbase, db.get_balance(coinbase) + gas_used * (price - base_fee))
    logs = db.events()
    burned = _destroy(state) + blob_fee
    _sweep(state)
    return Outcome(
        succeeded=ran.error is None,
        gas_used=gas_used,
        gas_peak=max(spent, tx.floor_gas),
        output=ran.output,
        error=ran.error,
        logs=logs,
        contract_address=created,
        burned=burned,
        work=max(spent, tx.floor_gas) * work.GAS_WORK + ran.work,
    )


def _warm(state: State, tx: Transaction, created: Address | None) -> None:
    """EIP-2929, EIP-2930, EIP-3651: sender, receiver or new contract, coinbase, access list."""
    db = state.account_db
    for address in (tx.sender, tx.to or created, state.coinbase):
        db.mark_address_warm(address)
    for address, slots in tx.access_list:
        db.mark_address_warm(address)
        for slot in slots:
            db.mark_storage_warm(address, slot)


def _authorize(state: State, authorization: Authorization) -> None:
    """EIP-7702: set or clear the delegation of one authority, or skip it. The refund stays even if the message fails."""
    db = state.account_db
    db.do_work(work.AUTHORIZATION_WORK)
    if authorization.chain_id not in (0, state.execution_context.chain_id) or authorization.nonce >= UINT64_MAX:
        return
    authority = authorization.authority()
    if authority is None:
        return
    db.mark_address_warm(authority)
    code = db.get_code(authority)
    if (code and delegation(code) is None) or db.get_nonce(authority) != authorization.nonce:
        return
    if db.account_exists(authority):
        db.add_refund(AUTHORIZATION_REFUND)
    clears = authorization.address == ZERO_ADDRESS
    db.set_code(authority, b"" if clears else DELEGATION_PREFIX + authorization.address)
    db.increment_nonce(authority)


def _run_within(
    allowance: int, state: State, tx: Transaction, created: Address | None, context: CancunTransactionContext
) -> _Ran:
    """Authorizations and message. If they are more work than allowed, both are undone and all gas is taken."""
    db = state.account_db
    checkpoint = db.record()
    db.work_left = allowance
    try:
        db.do_work(work.TRANSACTION_WORK)
        for authorization in tx.authorizations:
            _authorize(state, authorization)
        computation = _run(state, tx, created, context)
    except work.WorkExceeded:
        db.discard(checkpoint)
        reason = f"out of gas: the transaction does more work than its gas limit and the chain allow ({allowance})"
        return _Ran(0, b"", OutOfWork(reason), allowance)
    error = computation.error if computation.is_error else None
    return _Ran(computation.get_gas_remaining(), computation.output, error, allowance - db.work_left)


def _run(state: State, tx: Transaction, created: Address | None, context: CancunTransactionContext) -> Computation:
    """The message itself. Everything it did is undone if it fails; what was bought and authorized before stays."""
    computation_class = state.computation_class
    gas = tx.gas_limit - tx.intrinsic_gas
    sender: Any = tx.sender
    if created is not None:
        message = Message(gas, b"", sender, tx.value, b"", tx.data, create_address=cast(Any, created))  # type: ignore[arg-type]  # py-evm's CREATE_CONTRACT_ADDRESS
        if state.account_db.account_has_code_or_nonce(created):
            collision = cast(Computation, computation_class(state, message, context))
            collision.error = ContractCreationCollision(f"0x{created.hex()} already holds a contract")
            return collision
        return cast(Computation, computation_class.apply_create_message(state, message, context))
    code, delegate = _code_at(state, cast(Address, tx.to))
    message = Message(gas, cast(Any, tx.to), sender, tx.value, tx.data, code, is_delegation=delegate is not None)
    return cast(Computation, computation_class.apply_message(state, message, context))


def _code_at(state: State, address: Address) -> tuple[bytes, Address | None]:
    """The code that a call to `address` runs, and whom it is delegated to. Precompiles and natives have none to lend."""
    db = state.account_db
    code = db.get_code(address)
    delegate = delegation(code)
    if delegate is None:
        return code, None
    db.mark_address_warm(delegate)
    if cast(Any, delegate) in state.computation_class.get_precompiles():
        return b"", delegate
    return db.get_code(delegate), delegate


def _destroy(state: State) -> int:
    """Remove the contracts that were created and destroyed in this transaction; their balances are burned."""
    db = state.account_db
    burned = 0
    for address in db.destroyed_accounts():
        burned += db.get_balance(address)
        db.delete_account(address)
    return burned


def _sweep(state: State) -> None:
    """EIP-161: accounts that were touched and are empty don't exist."""
    db = state.account_db
    for address in db.touched_accounts():
        if db.account_exists(address) and db.account_is_empty(address):
            db.delete_account(address)
