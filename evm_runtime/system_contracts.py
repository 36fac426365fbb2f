"""The contracts that the protocol itself calls at the start of a block, and the code that the genesis state holds for them.

EIP-4788 keeps `parent_beacon_block_root` (our ConsensusData hash) by timestamp, EIP-2935 the hashes of the last 8191 blocks by
number. Their code is Ethereum's, at Ethereum's addresses.
"""

from typing import Final

from genesis.primitives import Address

SYSTEM_ADDRESS: Final = Address(b"\xff" * 19 + b"\xfe")
SYSTEM_CALL_GAS: Final = 30_000_000

BEACON_ROOTS_ADDRESS: Final = Address(bytes.fromhex("000f3df6d732807ef1319fb7b8bb8522d0beac02"))
BEACON_ROOTS_CODE: Final = bytes.fromhex(
    "3373fffffffffffffffffffffffffffffffffffffffe14604d57602036146024575f5ffd5b5f35801560495762001fff"
    "810690815414603c575f5ffd5b62001fff01545f5260205ff35b5f5ffd5b62001fff42064281555f359062001fff015500"
)

HISTORY_ADDRESS: Final = Address(bytes.fromhex("0000f90827f1c53a10cb7a02335b175320002935"))
HISTORY_WINDOW: Final = 8_191
HISTORY_CODE: Final = bytes.fromhex(
    "3373fffffffffffffffffffffffffffffffffffffffe14604657602036036042575f35600143038111604257611fff81"
    "430311604257611fff9006545f5260205ff35b5f5ffd5b5f35611fff60014303065500"
)
