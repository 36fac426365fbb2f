// SPDX-License-Identifier: MIT
pragma solidity ^0.8.20;

import {Token} from "../src/Token.sol";

interface Vm {
    function envAddress(string calldata name) external view returns (address);
    function envUint(string calldata name) external view returns (uint256);
    function expectRevert(bytes calldata data) external;
    function prank(address sender) external;
}

/// Runs in forge's own EVM on the state of the node, read through JSON-RPC.
contract ForkTest {
    Vm private constant VM = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));
    address private constant FRESH = address(uint160(uint256(keccak256("nobody"))));

    function testStateOfTheNode() external view {
        Token token = Token(VM.envAddress("TOKEN"));
        address owner = VM.envAddress("OWNER");
        require(token.supply() == 1_000, "code and immutables");
        require(token.balanceOf(owner) + token.balanceOf(address(0xbeef)) == 1_000, "storage");
        require(owner.balance > 0 && block.number >= VM.envUint("DEPLOYED"), "balance and block");
        require(block.chainid == VM.envUint("CHAIN"), "chain");
    }

    function testCallsOnTopOfIt() external {
        Token token = Token(VM.envAddress("TOKEN"));
        VM.prank(VM.envAddress("OWNER"));
        token.transfer(FRESH, 3);
        require(token.balanceOf(FRESH) == 3, "moved");
        VM.prank(FRESH);
        VM.expectRevert(abi.encodeWithSelector(Token.NotEnough.selector, 3, 4));
        token.transfer(address(1), 4);
    }
}
