// SPDX-License-Identifier: MIT
pragma solidity ^0.8.20;

import "IAttribution.sol";

/// @title Partners who share what a model or a dataset of theirs earns on OpenLedger
/// @notice Name this contract as the owner of a model or the payout of contributions. Anybody may `ask`: pay for an inference
/// through it. `split` claims what has come in and divides it; each partner takes his part with `withdraw`.
contract RevenueSplit {
    event Split(uint256 amount);
    event Asked(bytes32 indexed receiptId, address indexed payer, uint256 fee);

    IAttribution public constant ATTRIBUTION = IAttribution(0x0000000000000000000000000000000000000A00);
    uint256 public constant BPS = 10_000;

    address[] public partners;
    uint256[] public shares;
    mapping(address => uint256) public owed;

    constructor(address[] memory partners_, uint256[] memory shares_) {
        require(partners_.length == shares_.length && partners_.length > 0, "a share for each partner");
        uint256 total;
        for (uint256 i = 0; i < shares_.length; i++) total += shares_[i];
        require(total == BPS, "shares sum to 10000");
        partners = partners_;
        shares = shares_;
    }

    /// @notice Register a model that this contract owns, so that its income is shared. By the first partner.
    function register(string calldata uri, bytes32 weights, uint128 outputPer1k, IAttribution.Use[] calldata uses)
        external
        returns (uint64)
    {
        require(msg.sender == partners[0], "only the first partner");
        IAttribution.Parent[] memory none;
        return ATTRIBUTION.registerModel(uri, weights, IAttribution.Method.SPAN, address(0), 0, outputPer1k, 0, none, uses);
    }

    /// @notice Pay the exact price of an inference, of a model that names no signer; what was sent above it comes straight back.
    function ask(uint64 modelId, bytes32 promptHash, uint32 inputTokens, bytes calldata output)
        external
        payable
        returns (bytes32 receiptId)
    {
        (, uint256 tokens,) = ATTRIBUTION.trace(modelId, output);
        uint256 fee = ATTRIBUTION.quote(modelId, inputTokens, uint32(tokens));
        require(msg.value >= fee, "not enough for the fee");
        IAttribution.Signed memory unsigned;
        receiptId = ATTRIBUTION.infer{value: fee}(
            IAttribution.Call(modelId, 0, promptHash, inputTokens, output, unsigned)
        );
        emit Asked(receiptId, msg.sender, fee);
        _send(msg.sender, msg.value - fee);
    }

    /// @notice Claim what this contract has earned, and divide it; what rounding leaves is the first partner's. Anybody may.
    function split() external returns (uint256 amount) {
        amount = ATTRIBUTION.claim(address(this));
        uint256 rest = amount;
        for (uint256 i = 1; i < partners.length; i++) {
            uint256 part = amount * shares[i] / BPS;
            owed[partners[i]] += part;
            rest -= part;
        }
        owed[partners[0]] += rest;
        emit Split(amount);
    }

    /// @notice Take the caller's part.
    function withdraw() external {
        uint256 amount = owed[msg.sender];
        owed[msg.sender] = 0;
        _send(msg.sender, amount);
    }

    function _send(address to, uint256 amount) private {
        (bool sent,) = to.call{value: amount}("");
        require(sent, "the receiver refused");
    }
}
