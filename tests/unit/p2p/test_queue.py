"""The outgoing queue against its three rules, and against a slow model."""

import random

import trio

from p2p.queue import OutgoingQueue


def drain(queue: OutgoingQueue) -> list[bytes]:
    return queue.take_batch(1 << 30)


def test_higher_priority_leaves_first_and_equals_in_order() -> None:
    queue = OutgoingQueue()
    for payload, priority in [(b"a0", 0), (b"b5", 5), (b"c0", 0), (b"d5", 5)]:
        assert queue.put(payload, priority)
    assert drain(queue) == [b"b5", b"d5", b"a0", b"c0"]


def test_a_newer_message_replaces_the_one_with_its_key() -> None:
    queue = OutgoingQueue()
    queue.put(b"round 1", drop_key="state")
    queue.put(b"vote")
    queue.put(b"round 2", drop_key="state")
    assert len(queue) == 2
    assert drain(queue) == [b"vote", b"round 2"]
    queue.put(b"round 3", drop_key="state")  # the key is free again
    assert drain(queue) == [b"round 3"]
    assert queue.dropped == 0


def test_a_full_queue_drops_the_lowest_and_of_these_the_oldest() -> None:
    queue = OutgoingQueue(messages_max=3)
    queue.put(b"low old", 0)
    queue.put(b"high", 9)
    queue.put(b"low new", 0)
    assert queue.put(b"middle", 5)
    assert queue.put(b"middle 2", 5)
    assert not queue.put(b"lower than all", -1)
    assert queue.dropped == 3
    assert drain(queue) == [b"high", b"middle", b"middle 2"]


def test_bytes_are_bounded_too() -> None:
    queue = OutgoingQueue(bytes_max=100)
    queue.put(bytes(60))
    queue.put(bytes(60))
    assert len(queue) == 1 and queue.waiting_bytes == 60
    queue.put(bytes(200))  # alone it goes, whatever its size
    assert queue.waiting_bytes == 200


def test_batches_hold_small_messages_together() -> None:
    queue = OutgoingQueue()
    for _ in range(10):
        queue.put(bytes(10))
    queue.put(bytes(500))
    assert [len(queue.take_batch(48)) for _ in range(4)] == [4, 4, 2, 1]


def test_wait_returns_when_a_message_comes_and_at_once_if_one_is_there() -> None:
    async def main() -> None:
        queue = OutgoingQueue()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(queue.wait)
            await trio.testing.wait_all_tasks_blocked()
            queue.put(b"x")
        await queue.wait()

    trio.run(main)


def test_random_use_agrees_with_a_slow_model() -> None:
    for seed in range(150):
        rng = random.Random(seed)
        cap = rng.randint(1, 6)
        queue, model = OutgoingQueue(messages_max=cap), []  # model: (priority, serial, payload, key)
        for serial in range(60):
            if rng.random() < 0.25 and model:
                model.sort(key=lambda m: (-m[0], m[1]))
                assert queue.take_batch(1) == [model.pop(0)[2]], f"seed {seed}"
                continue
            priority, key = rng.randint(0, 3), rng.choice([None, None, "a", "b"])
            payload = b"%d" % serial
            if key is not None:
                model = [m for m in model if m[3] != key]
            taken = True
            if len(model) >= cap:
                worst = min(model, key=lambda m: (m[0], m[1]))
                taken = worst[0] <= priority
                if taken:
                    model.remove(worst)
            if taken:
                model.append((priority, serial, payload, key))
            assert queue.put(payload, priority, key) == taken, f"seed {seed}"
            assert len(queue) == len(model) <= cap, f"seed {seed}"
