# pragma version ^0.4.0
"""
@title Partners who share what a model or a dataset of theirs earns on OpenLedger
@notice Name this contract as the owner of a model or the payout of contributions. Anybody may `ask`: pay for an inference through
        it. `split` claims what has come in and divides it; each partner takes his part with `withdraw`.
"""

struct Signed:
    nonce: uint256
    deadline: uint64
    signature: Bytes[65]

struct Call:
    modelId: uint64
    agentId: uint64
    promptHash: bytes32
    inputTokens: uint32
    output: Bytes[8192]
    signed: Signed

interface Attribution:
    def quote(modelId: uint64, inputTokens: uint32, outputTokens: uint32) -> uint256: view
    def infer(call: Call) -> bytes32: payable
    def claim(to: address) -> uint256: nonpayable
    def registerModel(uri: String[100], weights: bytes32, method: uint8, signer: address, inputPer1k: uint128,
        outputPer1k: uint128, minRoyaltyBps: uint16, parents: DynArray[Parent, 4], uses: DynArray[Use, 4]) -> uint64: nonpayable

struct Parent:
    modelId: uint64
    bps: uint16

struct Use:
    datanetId: uint64
    version: uint32
    stage: uint8
    bps: uint16

event Split:
    amount: uint256

event Asked:
    receiptId: indexed(bytes32)
    payer: indexed(address)
    fee: uint256

ATTRIBUTION: constant(address) = 0x0000000000000000000000000000000000000A00
BPS: constant(uint256) = 10_000

partners: public(DynArray[address, 16])
shares: public(DynArray[uint256, 16])
owed: public(HashMap[address, uint256])


@deploy
def __init__(partners: DynArray[address, 16], shares: DynArray[uint256, 16]):
    assert len(partners) == len(shares) and len(partners) > 0, "a share for each partner"
    total: uint256 = 0
    for share: uint256 in shares:
        total += share
    assert total == BPS, "shares sum to 10000"
    self.partners = partners
    self.shares = shares


@external
def register(uri: String[100], weights: bytes32, outputPer1k: uint128, uses: DynArray[Use, 4]) -> uint64:
    """Register a model that this contract owns, so that its income is shared. By the first partner."""
    assert msg.sender == self.partners[0], "only the first partner"
    nobody: DynArray[Parent, 4] = []
    return extcall Attribution(ATTRIBUTION).registerModel(uri, weights, 0, empty(address), 0, outputPer1k, 0, nobody, uses)


@external
@payable
def ask(modelId: uint64, promptHash: bytes32, inputTokens: uint32, output: Bytes[8192]) -> bytes32:
    """Pay the exact price of an inference, of a model that names no signer; what was sent above it comes straight back."""
    fee: uint256 = staticcall Attribution(ATTRIBUTION).quote(modelId, inputTokens, self._tokens(modelId, output))
    assert msg.value >= fee, "not enough for the fee"
    signed: Signed = Signed(nonce=0, deadline=0, signature=b"")
    call: Call = Call(
        modelId=modelId, agentId=0, promptHash=promptHash, inputTokens=inputTokens, output=output, signed=signed
    )
    receipt: bytes32 = extcall Attribution(ATTRIBUTION).infer(call, value=fee)
    log Asked(receiptId=receipt, payer=msg.sender, fee=fee)
    send(msg.sender, msg.value - fee)
    return receipt


@external
def split() -> uint256:
    """Claim what this contract has earned, and divide it; what rounding leaves is the first partner's. Anybody may."""
    amount: uint256 = extcall Attribution(ATTRIBUTION).claim(self)
    rest: uint256 = amount
    for i: uint256 in range(1, len(self.partners), bound=16):
        part: uint256 = amount * self.shares[i] // BPS
        self.owed[self.partners[i]] += part
        rest -= part
    self.owed[self.partners[0]] += rest
    log Split(amount=amount)
    return amount


@external
def withdraw():
    """Take the caller's part."""
    amount: uint256 = self.owed[msg.sender]
    self.owed[msg.sender] = 0
    send(msg.sender, amount)


@internal
@view
def _tokens(modelId: uint64, output: Bytes[8192]) -> uint32:
    """How many tokens the chain counts in an output: `trace` says so."""
    answer: Bytes[4096] = raw_call(
        ATTRIBUTION,
        abi_encode(modelId, output, method_id=method_id("trace(uint64,bytes)")),
        max_outsize=4096,
        is_static_call=True,
    )
    return convert(extract32(answer, 32, output_type=uint256), uint32)
