"""The compiled tier: hot contract code as Python functions, one per reachable piece of it.

`analysis.py` cuts code into blocks and segments, `opcodes.py` has the Python for each opcode, `writer.py` makes lines of it
and `codegen.py` units, `runtime.py` is what they call, `cache.py` decides what is compiled and when, `tier.py` runs a frame.
"""
