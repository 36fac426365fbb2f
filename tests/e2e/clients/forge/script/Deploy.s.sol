// SPDX-License-Identifier: MIT
pragma solidity ^0.8.20;

import {Token} from "../src/Token.sol";

interface Vm {
    function startBroadcast() external;
    function stopBroadcast() external;
}

/// Deploys by CREATE and through the deterministic deployer (CREATE2), and sends.
contract Deploy {
    bool public constant IS_SCRIPT = true;
    Vm private constant VM = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

    function run() external returns (address token, address predictable) {
        VM.startBroadcast();
        Token made = new Token(1_000);
        made.transfer(address(0xbeef), 7);
        Token found = new Token{salt: bytes32(block.number)}(5);
        VM.stopBroadcast();
        return (address(made), address(found));
    }
}
