"""Nodes that were asked different things agree with an index that is built anew. `make fuzz-index SEED=… BLOCKS=…` goes on."""

import pytest

from tests.index_fuzz.campaign import run_history


@pytest.mark.parametrize("seed", range(6))
def test_indexes_know_nothing_but_final_blocks(seed: int) -> None:
    run_history(seed, blocks=25)
