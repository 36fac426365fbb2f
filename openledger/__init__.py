"""What a client of the chain needs and a node doesn't: JSON-RPC, proofs, the light client.

It stands on `genesis` and `consensus` alone, so whoever trusts a proof need not trust, or install, the code that executes
blocks. Everything that reaches the chain from outside the node's process is built on it.
"""
