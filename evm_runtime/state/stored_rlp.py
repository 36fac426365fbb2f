"""Reading RLP that this node wrote itself: trie nodes, accounts, storage values.

What comes from outside is decoded by `genesis.codec`, strictly. Here everything is canonical already, and nearly all of it is a
list of a few short strings, or a branch with sixteen hashes. Taking those apart in Python costs a fraction of what rusty_rlp's
decoder takes to build the same lists (`python -m tests.bench evm`: `state_root_us`); it still reads all the rest.
"""

from struct import Struct
from typing import Any, Final

import rusty_rlp

_FULL_BRANCH: Final = Struct("3x" + "x32s" * 16 + "x")
_FULL_BRANCH_HEADER: Final = b"\xf9\x02\x11"
_FULL_BRANCH_PREFIXES: Final = b"\xa0" * 16 + b"\x80"


def decode_stored(data: bytes) -> Any:
    """Nested lists of bytes, as rusty_rlp decodes them. Raises rusty_rlp.DecodingError or ValueError for what is no RLP."""
    if len(data) == _FULL_BRANCH.size and data[3::33] == _FULL_BRANCH_PREFIXES and data[:3] == _FULL_BRANCH_HEADER:
        return [*_FULL_BRANCH.unpack(data), b""]
    strings = _split(data)
    return rusty_rlp.decode_raw(data, True, False)[0] if strings is None else strings


def _split(data: bytes) -> list[bytes] | None:
    """The items of a list of strings of up to 255 bytes each; None for anything else."""
    end = len(data)
    first = data[0] if data else 0
    if 0xC0 <= first < 0xF8:
        at, size = 1, first - 0xC0
    elif first == 0xF8 and end > 1:
        at, size = 2, data[1]
    elif first == 0xF9 and end > 2:
        at, size = 3, data[1] << 8 | data[2]
    else:
        return None
    if at + size != end:
        return None
    items = []
    while at < end:
        prefix = data[at]
        if prefix < 0x80:
            stop = at + 1
        elif prefix < 0xB8:
            at += 1
            stop = at + prefix - 0x80
        elif prefix == 0xB8 and at + 1 < end:
            at += 2
            stop = at + data[at - 1]
        else:
            return None
        items.append(data[at:stop])
        at = stop
    return items if at == end else None
