"""Random transactions of every type that the chain takes, but for blobs."""

import random
from collections.abc import Sequence
from typing import Any

from eth_account import Account as Signer

from evm_runtime.hardforks import OSAKA, Fork
from evm_runtime.transaction import Transaction
from tests.fuzz.messages import NATIVE, native_input, random_input
from tests.fuzz.programs import random_program
from tests.unit.evm_runtime.chain import ADDRESSES, CHAIN_ID, KEYS, signed
from tests.unit.evm_runtime.programs import deployer

CONTRACTS = [bytes([0xE0 + i]) * 20 for i in range(5)]
EMPTY = b"\x99" * 20
SENDERS = 3
"""Keys that send; the others only sign authorizations, but where `senders_delegate`."""


class TransactionWriter:
    """Writes transactions of a few senders, each with its nonces in order."""

    def __init__(
        self,
        rng: random.Random,
        targets: Sequence[bytes],
        fork: Fork,
        has_native: bool = False,
        senders_delegate: bool = False,
    ) -> None:
        self._rng, self._targets, self._fork, self._has_native = rng, targets, fork, has_native
        self._first_authority = 0 if senders_delegate else SENDERS
        self.nonces = [0] * len(KEYS)
        """By key: the nonce of the next transaction or authorization."""
        self.written: list[tuple[int, dict[str, Any]]] = []

    def write(self) -> Transaction:
        rng = self._rng
        key = rng.randrange(SENDERS)
        fields: dict[str, Any] = {
            "nonce": self.nonces[key],
            "gas": rng.choice([600_000, 600_000, 1_500_000]) if rng.random() < 0.9 else rng.randrange(22_000, 120_000),
            "value": rng.choice([0, 0, 1, 10**15]),
            "data": rng.randbytes(rng.randrange(70)),
            "to": rng.choice([*CONTRACTS, *CONTRACTS, *CONTRACTS, rng.choice(self._targets)]),
        }
        self.nonces[key] += 1
        kind = rng.randrange(9)
        if kind == 0:
            program = random_program(rng, self._targets, 10)
            fields |= {"gas": 800_000, "data": deployer(program) if rng.random() < 0.5 else program}
            del fields["to"]
        elif kind == 1:
            slots = ["0x" + slot.to_bytes(32, "big").hex() for slot in range(rng.randrange(3))]
            fields["accessList"] = [{"address": "0x" + rng.choice(CONTRACTS).hex(), "storageKeys": slots}]
        elif kind == 2:
            fields |= {
                "gas": 800_000,
                "authorizationList": [self._authorization() for _ in range(rng.choice([1, 1, 3]))],
            }
            fields["to"] = rng.choice([*CONTRACTS, *map(bytes, ADDRESSES[self._first_authority :])])
        elif kind == 3 and self._has_native:
            fields |= {"to": NATIVE, "data": native_input(rng, self._targets), "value": rng.choice([0, 0, 0, 9])}
        elif kind == 3 and rng.random() < 0.3:
            number, data, _ = random_input(rng, osaka=self._fork is OSAKA)
            fields |= {"to": number.to_bytes(20, "big"), "data": data, "value": rng.choice([0, 0, 1])}
        elif kind == 4:
            fields["gasPrice"] = 10**9
        return self._sign(key, fields)

    def with_less_gas(self, used: Sequence[int | None]) -> tuple[Transaction, ...]:
        """The same transactions, each with a random part of the gas that it used beyond its intrinsic gas."""
        before, self.written = self.written, []
        starved = []
        for (key, fields), gas in zip(before, used, strict=True):
            tx = self._sign(key, fields)
            least = max(tx.intrinsic_gas, tx.floor_gas)
            if gas is not None and gas > least:
                tx = self._sign(key, fields | {"gas": self._rng.randrange(least, gas)})
            starved.append(tx)
        return tuple(starved)

    def _sign(self, key: int, fields: dict[str, Any]) -> Transaction:
        self.written.append((key, fields))
        return signed(key, **fields)

    def _authorization(self) -> Any:
        rng = self._rng
        authority = rng.randrange(self._first_authority, len(KEYS))
        # Whoever has delegated to a native contract does nothing; stock py-evm knows of natives as precompiles alone, and
        # would run the code that stands in their accounts.
        others = self._targets if self._first_authority == 0 else [each for each in self._targets if each != NATIVE]
        target = rng.choice([*CONTRACTS, *CONTRACTS, EMPTY, bytes(20), *others])
        nonce = self.nonces[authority] + (rng.random() < 0.1)
        authorization = {"chainId": rng.choice([CHAIN_ID, 0]), "address": "0x" + target.hex(), "nonce": nonce}
        if nonce == self.nonces[authority]:
            self.nonces[authority] += 1
        return Signer.sign_authorization(authorization, KEYS[authority])
