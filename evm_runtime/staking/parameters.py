"""The parameters in force: the spec's, with what validators have voted instead. They act from the block after the change on."""

from typing import Final

from evm_runtime.native.storage import Slots
from evm_runtime.staking.layout import CHANGES, VALUES
from genesis.chain_spec import ChainSpec, Parameters
from genesis.errors import InvariantError, LocalError
from genesis.governance import GOVERNED, with_values
from genesis.primitives import keccak256

_KEPT_MAX: Final = 16


class InForce:
    """Reads the parameters of a state. Remembers what sets of values come to, so that reading them costs slots alone."""

    def __init__(self, spec: ChainSpec) -> None:
        self._base: Final = spec.parameters
        self._known: dict[tuple[int, ...], Parameters] = {}

    def at(self, slots: Slots) -> Parameters:
        """One slot where nothing was ever changed, else one for each that can be."""
        if not CHANGES.get(slots):
            return self._base
        stored = tuple(VALUES.get(slots, parameter_key(name)) for name in GOVERNED)
        known = self._known.get(stored)
        if known is None:
            if len(self._known) >= _KEPT_MAX:
                self._known.clear()
            known = self._known[stored] = self._compute(stored)
        return known

    def _compute(self, stored: tuple[int, ...]) -> Parameters:
        values = {name: value - 1 for name, value in zip(GOVERNED, stored, strict=True) if value}
        try:
            return with_values(self._base, values)
        except LocalError as error:
            raise InvariantError(f"the parameters in state can't be: {error}") from None

    def changed(self, slots: Slots, name: str, value: int) -> Parameters | str:
        """What would be in force with one more change, or why that can't be.

        Only what is computed may refuse: a state that can't be read is no answer about a change.
        """
        values = {each: word - 1 for each in GOVERNED if (word := VALUES.get(slots, parameter_key(each)))}
        try:
            return with_values(self._base, {**values, name: value})
        except LocalError as error:
            return str(error)


def set_value(slots: Slots, name: str, value: int) -> None:
    """Put a voted value in force; `InForce.changed` has accepted it."""
    VALUES.set(slots, value + 1, parameter_key(name))
    CHANGES.add(slots, 1)


def parameter_key(name: str) -> bytes:
    return keccak256(name.encode())
