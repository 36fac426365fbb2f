// SPDX-License-Identifier: MIT
pragma solidity ^0.8.20;

/// A token with custom errors, made of what forge deploys: constructor arguments, events, storage.
contract Token {
    error NotEnough(uint256 have, uint256 want);

    event Transfer(address indexed from, address indexed to, uint256 value);

    mapping(address => uint256) public balanceOf;
    uint256 public immutable supply;

    constructor(uint256 amount) {
        supply = amount;
        balanceOf[msg.sender] = amount;
        emit Transfer(address(0), msg.sender, amount);
    }

    function transfer(address to, uint256 value) external returns (bool) {
        uint256 have = balanceOf[msg.sender];
        if (have < value) revert NotEnough(have, value);
        balanceOf[msg.sender] = have - value;
        balanceOf[to] += value;
        emit Transfer(msg.sender, to, value);
        return true;
    }
}
