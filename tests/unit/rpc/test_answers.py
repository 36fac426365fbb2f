"""What is remembered, and for how long; jobs in threads; heads that were seen before."""

import threading
import time
from typing import Any

import orjson
import pytest
import trio
import trio.lowlevel
from trio.testing import trio_test

from node.rpc.config import RpcLimits
from node.rpc.result_cache import Answers, Key
from node.rpc.schema.errors import RpcError
from node.rpc.workers import Pool
from tests.unit.rpc.fakes import CHAIN_ID, SENDER, FakeNode, FakeState, running, signed
from tests.unit.rpc.test_server import post, raw, read_answers

ACCOUNT = "0x" + SENDER.hex()


class Counted:
    """A computation that knows how often it ran."""

    def __init__(self, result: bytes = b'"0x1"') -> None:
        self.times = 0
        self.result = result
        self.gate = trio.Event()
        self.gate.set()

    async def __call__(self) -> bytes:
        self.times += 1
        await self.gate.wait()
        return self.result


def never(_result: bytes) -> bool:
    return False


def always(_result: bytes) -> bool:
    return True


def make(node: FakeNode, size: int = 1 << 20) -> Answers:
    return Answers(node.chain, RpcLimits(answers_bytes_max=size))


def key(answers: Answers, *params: Any) -> Key:
    made = answers.key("eth_getBalance", list(params))
    assert made is not None
    return made


@trio_test
async def test_an_answer_lives_as_long_as_the_tip() -> None:
    node = FakeNode()
    answers, compute = make(node), Counted()
    for _ in range(3):
        assert await answers.get(key(answers, ACCOUNT), compute, never) == compute.result
    assert compute.times == 1
    node.finalize()
    assert answers.find(key(answers, ACCOUNT)) is None
    await answers.get(key(answers, ACCOUNT), compute, never)
    assert compute.times == 2


@trio_test
async def test_a_final_answer_lives_on() -> None:
    node = FakeNode()
    answers, compute = make(node), Counted()
    await answers.get(key(answers, "0x1"), compute, always)
    node.finalize()
    assert await answers.get(key(answers, "0x1"), compute, always) == compute.result
    assert compute.times == 1


@trio_test
async def test_an_answer_of_a_tip_that_is_gone_is_not_kept() -> None:
    node = FakeNode()
    answers, compute = make(node), Counted()
    compute.gate = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(answers.get, key(answers, ACCOUNT), compute, never)
        await trio.testing.wait_all_tasks_blocked()
        node.finalize()
        compute.gate.set()
    assert answers.find(key(answers, ACCOUNT)) is None


@trio_test
async def test_the_same_question_at_once_is_answered_once() -> None:
    node = FakeNode()
    answers, compute = make(node), Counted()
    compute.gate = trio.Event()
    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(answers.get, key(answers, ACCOUNT), compute, never)
        await trio.testing.wait_all_tasks_blocked()
        compute.gate.set()
    assert compute.times == 1


@trio_test
async def test_an_error_is_not_kept_and_not_shared() -> None:
    node = FakeNode()
    answers = make(node)
    times = 0

    async def fails() -> bytes:
        nonlocal times
        times += 1
        await trio.lowlevel.checkpoint()
        raise RpcError(-32000, "no")

    async def ask() -> None:
        with pytest.raises(RpcError):
            await answers.get(key(answers, ACCOUNT), fails, never)

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(ask)
    assert times == 5


@trio_test
async def test_room_is_bounded() -> None:
    node = FakeNode()
    answers = make(node, 20_000)
    for is_final in (never, always):
        for place in range(100):
            await answers.get(key(answers, place), Counted(b"x" * 1_000), is_final)
        await answers.get(key(answers, "large"), Counted(b"x" * 10_000), is_final)
        assert answers.find(key(answers, "large")) is None
    assert 0 <= answers._of_tip._room < 1_500 and len(answers._of_tip.known) > 10
    assert sum(len(each) for each in answers._final.values()) <= answers._final_bytes <= 20_000
    assert answers.find(key(answers, 99)) is not None, "the newest final answers stay"
    assert answers.key("eth_call", ["x" * 5_000]) is None


@trio_test
async def test_numbers_and_booleans_are_different_questions() -> None:
    answers = make(FakeNode())
    assert len({answers.key("x", [value]) for value in (1, 1.0, True, "1")}) == 4


@trio_test
async def test_an_answer_that_depends_on_the_clock_lives_for_a_second() -> None:
    node = FakeNode()
    answers, compute = make(node, 20_000), Counted(b"x" * 1_000)

    def asked(second: int) -> Key:
        made = answers.key("eth_estimateGas", [], second)
        assert made is not None
        return made

    for second in (7, 7, 8):
        assert await answers.get(asked(second), compute, never) == compute.result
    assert compute.times == 2
    for second in range(9, 60):
        await answers.get(asked(second), compute, never)
    assert answers.find(asked(59)) is not None, "what is over takes no room"
    assert answers.find(asked(58)) is None
    await answers.get(key(answers, ACCOUNT), Counted(), never)
    assert answers.find(key(answers, ACCOUNT)) is not None, "what does not depend on it is kept beside"
    node.finalize()
    assert answers.find(asked(59)) is None


# ---------------------------------------------------------------- through the server


@trio_test
async def test_a_new_block_changes_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    node = FakeNode()
    balance = 5
    monkeypatch.setattr(FakeState, "balance", lambda self, address: balance)
    async with running(node) as client:
        assert await client.call("eth_getBalance", ACCOUNT, "latest") == "0x5"
        balance = 6
        assert await client.call("eth_getBalance", ACCOUNT, "latest") == "0x5"
        node.finalize()
        assert await client.call("eth_getBalance", ACCOUNT, "latest") == "0x6"


@trio_test
async def test_a_receipt_that_is_not_there_yet_is_asked_for_again() -> None:
    node = FakeNode()
    async with running(node) as client:
        sent = await client.call("eth_sendRawTransaction", "0x" + signed(3).hex())
        assert await client.call("eth_getTransactionReceipt", sent) is None
        node.finalize([signed(3)])
        assert (await client.call("eth_getTransactionReceipt", sent))["status"] == "0x1"
        found = await client.call("eth_getBlockByNumber", "0x1", False)
        node.finalize()
        node.chain.bug = AssertionError("read again")
        assert await client.call("eth_getBlockByNumber", "0x1", False) == found


@trio_test
async def test_a_bad_argument_never_finds_a_good_ones_answer() -> None:
    """Kept answers are looked up before arguments are checked."""
    async with running(FakeNode()) as client:
        assert await client.call("eth_getBlockByNumber", "0x0", False)
        for bad in (0, 1, "false", [], {}):
            assert (await client.error("eth_getBlockByNumber", "0x0", bad))[0] == -32602


# ---------------------------------------------------------------- heads


CHAIN_ID_CALL = b'{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}'


@trio_test
async def test_a_known_head_answers_as_an_unknown_one() -> None:
    async with running(FakeNode()) as client, await raw(client) as stream:
        answers = []
        for body in (CHAIN_ID_CALL, CHAIN_ID_CALL, b'{"jsonrpc":"2.0","id":2,"method":"eth_chainId"}', b"x" * 47):
            await stream.send_all(post(body))
            answers += await read_answers(stream, 1)
        assert answers[0] == answers[1] == b'{"jsonrpc":"2.0","id":1,"result":"0x%x"}' % CHAIN_ID
        assert orjson.loads(answers[2])["id"] == 2
        assert orjson.loads(answers[3])["error"]["code"] == -32700


@trio_test
async def test_a_known_head_in_pieces_and_pipelined() -> None:
    async with running(FakeNode()) as client, await raw(client) as stream:
        whole = post(CHAIN_ID_CALL)
        await stream.send_all(whole)
        assert len(await read_answers(stream, 1)) == 1
        for cut in (10, len(whole) - 5):
            await stream.send_all(whole[:cut])
            await trio.sleep(0.02)
            await stream.send_all(whole[cut:])
            assert len(await read_answers(stream, 1)) == 1
        await stream.send_all(whole * 3 + whole[:20])
        assert len(await read_answers(stream, 3)) == 3
        await stream.send_all(whole[20:])
        assert len(await read_answers(stream, 1)) == 1


@trio_test
async def test_a_recalled_answer_is_the_one_that_would_be_given() -> None:
    """Every odd form of a call whose result is kept is answered as it was before the result was kept."""
    params = f'["{ACCOUNT}","latest"]'
    forms = [
        f'{{"jsonrpc":"2.0","id":{shown},"method":"eth_getBalance","params":{params}}}'
        for shown in ("1", '"x"', "null", "true", "1.5", "[]", "1" * 30, '"' + "y" * 5_000 + '"', '"\\ud800"')
    ]
    forms += [
        f'{{"jsonrpc":"2.0","method":"eth_getBalance","params":{params}}}',
        f'{{"id":1,"method":"eth_getBalance","params":{params}}}',
        f'{{"jsonrpc":"1.0","id":1,"method":"eth_getBalance","params":{params}}}',
        f'{{"jsonrpc":"2.0","id":1,"method":["eth_getBalance"],"params":{params}}}',
        f'[{{"jsonrpc":"2.0","id":1,"method":"eth_getBalance","params":{params}}}]',
        f'{{"jsonrpc":"2.0","id":1,"method":"eth_getBalance","params":{params},"params":[]}}',
        '{"jsonrpc":"2.0","id":1,"method":"eth_getBalance"}',
        '"x"', "5", "null", "[]", "{}", "{",
    ]  # fmt: skip
    async with running(FakeNode()) as client, await raw(client) as stream:

        async def ask(form: str) -> tuple[int, bytes]:
            response = await client.post(form.encode())
            return response.status_code, response.content

        before = [await ask(form) for form in forms]
        for _ in range(2):  # the first teaches the server the head, the second goes the short way
            for form, (status, content) in zip(forms, before, strict=True):
                if status == 200:
                    await stream.send_all(post(form.encode()))
                    assert await read_answers(stream, 1) == [content], form


@trio_test
async def test_parameters_nested_deeper_than_they_can_be_encoded() -> None:
    async with running(FakeNode()) as client:
        deep = "[" * 400 + "]" * 400
        body = f'{{"jsonrpc":"2.0","id":1,"method":"eth_getBalance","params":[{deep}]}}'.encode()
        for _ in range(3):
            assert orjson.loads((await client.post(body)).content)["error"]["code"] == -32602


@trio_test
async def test_a_kept_answer_goes_out_whole_to_a_reader_that_is_slow() -> None:
    node = FakeNode()
    node.finalize([signed(number) for number in range(4_000)])
    call = b'{"jsonrpc":"2.0","id":1,"method":"eth_getBlockByNumber","params":["0x1",true]}'
    async with running(node) as client, await raw(client) as stream:
        whole = (await client.post(call)).content
        assert len(whole) > 3_000_000
        for _ in range(3):
            await stream.send_all(post(call))
            await trio.sleep(0.05)  # the kernel's buffers are full by now
            assert await read_answers(stream, 1) == [whole]
        await stream.send_all(post(call))
    assert node.chain.tip().height == 1


@trio_test
async def test_connections_that_vanish_and_a_loop_that_rests() -> None:
    async with running(FakeNode()) as client:
        for _ in range(30):
            stream = await raw(client)
            await stream.send_all(post(CHAIN_ID_CALL))
            await read_answers(stream, 1)
            await stream.send_all(post(CHAIN_ID_CALL)[:20])
            stream.socket.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, bytes((1, 0, 0, 0, 0, 0, 0, 0)))
            await trio.aclose_forcefully(stream)
        assert await client.call("eth_chainId") == hex(CHAIN_ID)
        used = time.process_time()
        await trio.sleep(0.5)
        assert time.process_time() - used < 0.4, "nothing is looked at over and over"


@trio_test
async def test_another_head_is_another_client() -> None:
    async with running(FakeNode(), namespaces=("eth", "admin"), token="x" * 16, vhosts=("localhost",)) as client:
        body = b'{"jsonrpc":"2.0","id":1,"method":"admin_peers"}'
        async with await raw(client) as stream:
            for header, code in (("Authorization: Bearer " + "x" * 16, None), ("X: y", -32001)) * 2:
                await stream.send_all(post(body, header))
                (found,) = await read_answers(stream, 1)
                assert orjson.loads(found).get("error", {}).get("code") == code


# ---------------------------------------------------------------- threads


@trio_test
async def test_a_pool_runs_raises_and_ends() -> None:
    pool = Pool("ending", 2, 5.0)
    assert await pool.run(lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        await pool.run(lambda: 1 // 0)
    async with trio.open_nursery() as nursery:
        for _ in range(200):
            nursery.start_soon(pool.run, threading.get_ident)
    assert not pool._waiting, "what is done is not held"
    own = [thread for thread in threading.enumerate() if thread.name.startswith("ending-")]
    assert len(own) == 2
    pool.close()
    for thread in own:
        await trio.to_thread.run_sync(thread.join, 5.0)
    assert not any(thread.is_alive() for thread in own)


@trio_test
async def test_who_waits_can_leave_and_who_runs_can_not() -> None:
    pool, release, ran = Pool("test", 1, 5.0), threading.Event(), []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pool.run, lambda: release.wait(10))
        await trio.testing.wait_all_tasks_blocked()
        with trio.move_on_after(0.05) as scope:
            await pool.run(lambda: ran.append("waiter"))
        assert scope.cancelled_caught
        nursery.cancel_scope.cancel()
        release.set()
    await pool.run(lambda: ran.append("next"))
    pool.close()
    assert ran == ["next"]


@trio_test
async def test_who_waits_too_long_is_answered() -> None:
    pool, release = Pool("test", 1, 0.01), threading.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pool.run, lambda: release.wait(10))
        await trio.testing.wait_all_tasks_blocked()

        async def refused() -> None:
            with pytest.raises(RpcError, match="too many calls are waiting"):
                await pool.run(lambda: None)

        nursery.start_soon(refused)
        await trio.sleep(0.05)
        pool.expire()
        release.set()
    pool.close()
