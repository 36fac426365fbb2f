"""The compiled tier: hot contract code as Python functions, one per reachable piece of it.

`analysis.py` cuts code into blocks and segments, `opcodes.py` has the Python for each opcode, `codegen.py` writes units,
`runtime.py` is what they call, `cache.py` decides what is compiled and when, `tier.py` runs a frame.
"""
