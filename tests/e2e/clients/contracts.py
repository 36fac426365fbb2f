"""The contracts that the clients deploy and call, in Vyper: a token with permits, and an aggregator as wallets expect it."""

from functools import cache
from typing import Any

import vyper

TOKEN = """
# pragma version ^0.4.0
event Transfer:
    sender: indexed(address)
    receiver: indexed(address)
    value: uint256

event Approval:
    owner: indexed(address)
    spender: indexed(address)
    value: uint256

name: public(constant(String[8])) = "Test"
symbol: public(constant(String[4])) = "TST"
decimals: public(constant(uint8)) = 18
balanceOf: public(HashMap[address, uint256])
allowance: public(HashMap[address, HashMap[address, uint256]])
nonces: public(HashMap[address, uint256])
totalSupply: public(uint256)

@deploy
def __init__(supply: uint256):
    self.balanceOf[msg.sender] = supply
    self.totalSupply = supply
    log Transfer(sender=empty(address), receiver=msg.sender, value=supply)

@internal
def _move(sender: address, receiver: address, amount: uint256):
    assert self.balanceOf[sender] >= amount, "not enough"
    self.balanceOf[sender] -= amount
    self.balanceOf[receiver] += amount
    log Transfer(sender=sender, receiver=receiver, value=amount)

@external
def transfer(receiver: address, amount: uint256) -> bool:
    self._move(msg.sender, receiver, amount)
    return True

@external
def transferFrom(sender: address, receiver: address, amount: uint256) -> bool:
    self.allowance[sender][msg.sender] -= amount
    self._move(sender, receiver, amount)
    return True

@external
def approve(spender: address, amount: uint256) -> bool:
    self.allowance[msg.sender][spender] = amount
    log Approval(owner=msg.sender, spender=spender, value=amount)
    return True

@view
@internal
def _domain() -> bytes32:
    return keccak256(abi_encode(
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
        keccak256("Test"), keccak256("1"), chain.id, self))

@external
def permit(owner: address, spender: address, amount: uint256, deadline: uint256, v: uint8, r: bytes32, s: bytes32):
    assert block.timestamp <= deadline, "expired"
    message: bytes32 = keccak256(abi_encode(
        keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)"),
        owner, spender, amount, self.nonces[owner], deadline))
    signer: address = ecrecover(keccak256(concat(x"1901", self._domain(), message)), v, r, s)
    assert signer == owner, "bad signature"
    self.nonces[owner] += 1
    self.allowance[owner][spender] = amount
    log Approval(owner=owner, spender=spender, value=amount)
"""

AGGREGATOR = """
# pragma version ^0.4.0
struct Call3:
    target: address
    allowFailure: bool
    callData: Bytes[1024]

struct Result:
    success: bool
    returnData: Bytes[1024]

@payable
@external
def aggregate3(calls: DynArray[Call3, 32]) -> DynArray[Result, 32]:
    results: DynArray[Result, 32] = []
    for each: Call3 in calls:
        success: bool = False
        answer: Bytes[1024] = b""
        success, answer = raw_call(each.target, each.callData, max_outsize=1024, revert_on_failure=False)
        assert success or each.allowFailure, "Multicall3: call failed"
        results.append(Result(success=success, returnData=answer))
    return results

@external
@view
def getEthBalance(account: address) -> uint256:
    return account.balance
"""


@cache
def compiled() -> dict[str, Any]:
    """{name: {abi, bytecode}} for the scripts."""
    sources = {"token": TOKEN, "aggregator": AGGREGATOR}
    return {name: vyper.compile_code(source, output_formats=["abi", "bytecode"]) for name, source in sources.items()}
