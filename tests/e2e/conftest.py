"""One shared devnet for the tests that only use the chain; those that hurt it start their own."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from devnet_process import DevnetProcess


@pytest.fixture(scope="session")
def devnet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevnetProcess]:
    net = DevnetProcess(tmp_path_factory.mktemp("shared") / "devnet").start()
    yield net
    assert net.stop() == 0, net.log()


@pytest.fixture
def own_devnet(tmp_path: Path) -> Iterator[DevnetProcess]:
    net = DevnetProcess(tmp_path / "devnet").start()
    yield net
    net.stop()
