"""The native tier: an interpreter of machine code, emitted once as LLVM IR and compiled once per process (record 11).

Emitted: `emit.py` is the ground that handlers are written on, `words.py`, `memory.py` and `control.py` are the handlers,
`limbs.py`, `division.py`, `functions.py` and `keccak.py` what they call, `interpreter.py` puts the module together. `blake2.py`
is a module beside it: the window ids of attribution (record 14).
Running: `layout.py` is a frame's buffer, which both sides know; `engine.py` compiles and holds the machine code, `frame.py`
is the buffer as Python sees it, `exits.py` has the opcodes that Python runs, `tier.py` runs a frame.

Only the emitting files import llvmlite, and only when the engine is compiled.
"""
