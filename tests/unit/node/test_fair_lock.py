"""FairLock: one at a time, in the order of asking."""

import threading
import time

import pytest

from node.chain.fair_lock import FairLock


def test_one_at_a_time() -> None:
    lock, inside, most = FairLock(), [0], [0]

    def work() -> None:
        for _ in range(200):
            with lock:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                time.sleep(0)
                inside[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] and inside == [0]


def test_who_waits_goes_before_who_comes_back() -> None:
    lock, waits, got_it = FairLock(), threading.Event(), threading.Event()

    def wait_once() -> None:
        waits.set()
        with lock:
            got_it.set()

    with lock:
        thread = threading.Thread(target=wait_once)
        thread.start()
        waits.wait()
        while not lock._waiting:
            time.sleep(0.001)
    with lock:
        assert got_it.is_set()
    thread.join()


def test_an_error_inside_gives_it_back() -> None:
    lock = FairLock()
    with pytest.raises(ValueError, match="inside"), lock:
        raise ValueError("inside")
    with lock:
        pass
