"""Blocks, transactions, state and execution: Ethereum's rules through py-evm, over a key-value port. Pure: no clock, no IO."""
