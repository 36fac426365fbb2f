"""The node's fast path equals the reference implementation of the twelve rules, on random histories of datanets.

`make fuzz-span SEED=… CASES=…` does the same for longer.
"""

import pytest

from tests.reference.equality import check_history

HISTORIES = 400


@pytest.mark.parametrize("block", range(5))
def test_the_fast_path_equals_the_reference(block: int) -> None:
    for seed in range(block * HISTORIES // 5, (block + 1) * HISTORIES // 5):
        check_history(seed)
