"""Methods against a chain in memory: blocks, transactions, logs, filters, fees, txpool, net, web3, this node."""

from typing import Any

import pytest
import trio
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak
from trio.testing import MockClock, trio_test

from evm_runtime.receipt import Log
from genesis.primitives import Hash32
from node.interfaces import SyncStatus
from node.rpc.config import RpcLimits
from node.rpc.filters import BlockPoll, Filters
from node.rpc.reads.logs import LogQuery
from node.rpc.schema.errors import RpcError
from node.rpc.schema.params import LogFilter
from node.rpc.stopwatch import Stopwatch
from tests.unit.rpc.fakes import OTHER_TOPIC, SENDER, TARGET, TOKEN, TOPIC, FakeNode, running, signed

HEADER_FIELDS = {
    "number",
    "hash",
    "parentHash",
    "sha3Uncles",
    "miner",
    "stateRoot",
    "transactionsRoot",
    "receiptsRoot",
    "logsBloom",
    "difficulty",
    "gasLimit",
    "gasUsed",
    "timestamp",
    "extraData",
    "mixHash",
    "nonce",
    "baseFeePerGas",
    "withdrawalsRoot",
    "blobGasUsed",
    "excessBlobGas",
    "parentBeaconBlockRoot",
    "requestsHash",
}
BLOCK_FIELDS = HEADER_FIELDS | {"size", "uncles", "transactions", "withdrawals"}
RECEIPT_FIELDS = {
    "blockHash",
    "blockNumber",
    "transactionHash",
    "transactionIndex",
    "type",
    "from",
    "to",
    "contractAddress",
    "status",
    "gasUsed",
    "cumulativeGasUsed",
    "effectiveGasPrice",
    "logs",
    "logsBloom",
}
LOG_FIELDS = {
    "address",
    "topics",
    "data",
    "blockNumber",
    "blockHash",
    "blockTimestamp",
    "transactionHash",
    "transactionIndex",
    "logIndex",
    "removed",
}
TX_FIELDS = {
    "blockHash",
    "blockNumber",
    "blockTimestamp",
    "transactionIndex",
    "hash",
    "type",
    "from",
    "to",
    "nonce",
    "gas",
    "value",
    "input",
    "gasPrice",
    "v",
    "r",
    "s",
    "chainId",
}
FEES = {"maxFeePerGas", "maxPriorityFeePerGas"}
TX_FIELDS_BY_TYPE = {
    "0x0": TX_FIELDS,
    "0x1": TX_FIELDS | {"yParity", "accessList"},
    "0x2": TX_FIELDS | {"yParity", "accessList"} | FEES,
    "0x4": TX_FIELDS | {"yParity", "accessList", "authorizationList"} | FEES,
}
ABSENT = "0x" + "00" * 31 + "01"


def hexed(value: bytes) -> str:
    return "0x" + value.hex()


def busy_node() -> FakeNode:
    """Genesis, an empty block, and one of every kind of transaction, with logs."""
    node = FakeNode()
    node.chain.append()
    logs = (Log(TOKEN, (TOPIC, OTHER_TOPIC), b"\x01"), Log(TARGET, (OTHER_TOPIC,), b""))
    raws = [signed(0, kind=0), signed(1, kind=1), signed(2, kind=2), signed(3, kind=4), signed(4, to=None)]
    node.chain.append(raws, [logs, (), logs])
    return node


@trio_test
async def test_blocks_have_exactly_the_fields_of_the_specification() -> None:
    node = busy_node()
    async with running(node) as client:
        block = await client.call("eth_getBlockByNumber", "0x2", True)
        assert set(block) == BLOCK_FIELDS
        assert block["uncles"] == [] and block["difficulty"] == "0x0" and block["nonce"] == "0x" + "00" * 8
        assert block["withdrawals"] == [
            {"index": "0x2", "validatorIndex": "0x0", "address": "0x" + "aa" * 20, "amount": "0x5"}
        ]
        assert [tx["type"] for tx in block["transactions"]] == ["0x0", "0x1", "0x2", "0x4", "0x2"]
        for tx in block["transactions"]:
            assert set(tx) == TX_FIELDS_BY_TYPE[tx["type"]]
            assert tx["blockHash"] == block["hash"] and tx["from"] == hexed(SENDER)
        assert block["transactions"][4]["to"] is None
        assert block["transactions"][2]["gasPrice"] == hex(10**9 + 10**7)
        assert int(block["transactions"][0]["v"], 16) in (31337 * 2 + 35, 31337 * 2 + 36)
        short = await client.call("eth_getBlockByHash", block["hash"])
        assert short["transactions"] == [tx["hash"] for tx in block["transactions"]]
        header = await client.call("eth_getHeaderByNumber", "latest")
        assert set(header) == HEADER_FIELDS
        assert header == await client.call("eth_getHeaderByHash", block["hash"])


@trio_test
async def test_the_size_of_a_block_is_that_of_its_rlp() -> None:
    import rlp

    node = busy_node()
    async with running(node) as client:
        for stored in node.chain.blocks:
            txs = [rlp.decode(raw) if raw[0] >= 0xC0 else raw for raw in stored.block.transactions]
            withdrawals = [each.to_rlp() for each in stored.block.withdrawals]
            expected = len(rlp.encode([rlp.decode(stored.block.header), txs, [], withdrawals]))
            assert (await client.call("eth_getBlockByNumber", hex(stored.height)))["size"] == hex(expected)


@trio_test
async def test_tags_name_blocks() -> None:
    async with running(busy_node()) as client:
        for tag in ("latest", "safe", "finalized", "pending"):
            assert (await client.call("eth_getBlockByNumber", tag))["number"] == "0x2"
        assert (await client.call("eth_getBlockByNumber", "earliest"))["number"] == "0x0"
        assert await client.call("eth_getBlockByNumber", "0x3") is None
        assert await client.call("eth_getBlockByHash", ABSENT) is None
        assert await client.call("eth_blockNumber") == "0x2"


@trio_test
async def test_counts_and_uncles() -> None:
    node = busy_node()
    block_hash = hexed(node.chain.tip().hash)
    async with running(node) as client:
        assert await client.call("eth_getBlockTransactionCountByNumber", "0x2") == "0x5"
        assert await client.call("eth_getBlockTransactionCountByHash", block_hash) == "0x5"
        assert await client.call("eth_getBlockTransactionCountByNumber", "0x9") is None
        assert await client.call("eth_getUncleCountByBlockNumber", "latest") == "0x0"
        assert await client.call("eth_getUncleCountByBlockHash", block_hash) == "0x0"
        assert await client.call("eth_getUncleCountByBlockHash", ABSENT) is None
        assert await client.call("eth_getUncleByBlockNumberAndIndex", "latest", "0x0") is None
        assert await client.call("eth_getUncleByBlockHashAndIndex", block_hash, "0x0") is None


@trio_test
async def test_transactions_and_receipts_by_hash_and_place() -> None:
    node = busy_node()
    stored = node.chain.tip()
    async with running(node) as client:
        receipts = await client.call("eth_getBlockReceipts", hexed(stored.hash))
        assert receipts == await client.call("eth_getBlockReceipts", "latest")
        log_places = []
        for place, tx in enumerate(stored.transactions):
            whole = await client.call("eth_getTransactionByHash", hexed(tx.hash))
            for method, block in (("Number", "0x2"), ("Hash", hexed(stored.hash))):
                assert whole == await client.call(f"eth_getTransactionByBlock{method}AndIndex", block, hex(place))
                raw = await client.call(f"eth_getRawTransactionByBlock{method}AndIndex", block, hex(place))
                assert raw == hexed(tx.raw)
            assert await client.call("eth_getRawTransactionByHash", hexed(tx.hash)) == hexed(tx.raw)
            receipt = await client.call("eth_getTransactionReceipt", hexed(tx.hash))
            assert receipt == receipts[place]
            assert set(receipt) == RECEIPT_FIELDS
            assert receipt["cumulativeGasUsed"] == hex(21_000 * (place + 1)) and receipt["gasUsed"] == hex(21_000)
            assert all(set(log) == LOG_FIELDS for log in receipt["logs"])
            log_places += [int(log["logIndex"], 16) for log in receipt["logs"]]
        assert log_places == [0, 1, 2, 3]
        assert receipts[4]["contractAddress"] == hexed(TOKEN) and receipts[0]["contractAddress"] is None
        for method in ("eth_getTransactionByHash", "eth_getTransactionReceipt", "eth_getRawTransactionByHash"):
            assert await client.call(method, ABSENT) is None
        assert await client.call("eth_getTransactionByBlockNumberAndIndex", "0x2", "0x5") is None
        assert await client.call("eth_getBlockReceipts", "0x9") is None


@trio_test
async def test_sending_and_what_waits() -> None:
    node = busy_node()
    account, shown = hexed(SENDER), to_checksum_address(SENDER)
    async with running(node) as client:
        raw = signed(5)
        sent = await client.call("eth_sendRawTransaction", hexed(raw))
        assert sent == hexed(keccak(raw))
        waiting = await client.call("eth_getTransactionByHash", sent)
        assert [waiting[name] for name in ("blockHash", "blockNumber", "blockTimestamp", "transactionIndex")] == [
            None
        ] * 4
        assert waiting["gasPrice"] == waiting["maxFeePerGas"]
        assert await client.call("eth_getTransactionReceipt", sent) is None
        assert await client.call("eth_getRawTransactionByHash", sent) == hexed(raw)
        assert await client.call("eth_getTransactionCount", account, "pending") == "0x4"
        assert await client.call("eth_getTransactionCount", account) == "0x3"
        assert await client.call("txpool_status") == {"pending": "0x1", "queued": "0x0"}
        assert await client.call("txpool_content") == {"pending": {shown: {"5": waiting}}, "queued": {}}
        assert await client.call("txpool_contentFrom", account) == {"pending": {"5": waiting}, "queued": {}}
        inspected = await client.call("txpool_inspect")
        assert inspected["pending"][shown]["5"] == f"{hexed(TARGET)}: 7 wei + 100000 gas × 2000000000 wei"


@pytest.mark.parametrize(
    ("raw", "code", "message"),
    [
        (hexed(signed(1)), -32000, "nonce too low: next nonce 3, tx nonce 1"),
        ("0x", -32000, "transaction: no bytes"),
        ("0x02c0", -32000, "type 2 transaction"),
        ("0x03" + "c0", -32000, "blob transactions"),
        (hexed(signed(3, chainId=1)), -32000, "chain id"),
        ("0xabc", -32602, "invalid argument 0: hex string of odd length"),
        ("02f8", -32602, "invalid argument 0: hex string without 0x prefix"),
    ],
)
@trio_test
async def test_what_is_not_admitted(raw: str, code: int, message: str) -> None:
    async with running(FakeNode()) as client:
        for method in ("eth_sendRawTransaction", "eth_sendRawTransactionSync"):
            found = await client.error(method, raw)
            assert found[0] == code and message in found[1]


@trio_test
async def test_sending_and_waiting_for_the_receipt() -> None:
    node = busy_node()
    async with running(node) as client, trio.open_nursery() as nursery:
        raw = signed(6)

        async def finalize() -> None:
            async with node.feed.subscribe_pending() as pending:
                await pending.receive()
            node.finalize()
            node.finalize([raw])

        nursery.start_soon(finalize)
        receipt = await client.call("eth_sendRawTransactionSync", hexed(raw), 10_000)
        assert (receipt["blockNumber"], receipt["status"]) == ("0x4", "0x1")
        answer = await client.ask("eth_sendRawTransactionSync", hexed(signed(7)), 10)
        assert answer["error"]["code"] == 4
        assert answer["error"]["data"] == hexed(keccak(signed(7)))


@trio_test
async def test_logs_by_range_address_topic_and_block() -> None:
    node = busy_node()
    async with running(node) as client:

        async def found(**wanted: Any) -> list[int]:
            logs = await client.call("eth_getLogs", {"fromBlock": "earliest", **wanted})
            assert all(set(log) == LOG_FIELDS for log in logs)
            return [int(log["logIndex"], 16) for log in logs]

        token, target, topic, other = hexed(TOKEN), hexed(TARGET), hexed(TOPIC), hexed(OTHER_TOPIC)
        assert await found() == [0, 1, 2, 3]
        assert await found(address=token) == [0, 2]
        assert await found(address=[token, target]) == [0, 1, 2, 3]
        assert await found(address=[]) == [0, 1, 2, 3]
        assert await found(address=hexed(SENDER)) == []
        assert await found(topics=[topic]) == [0, 2]
        assert await found(topics=[None, other]) == [0, 2]
        assert await found(topics=[[topic, other]]) == [0, 1, 2, 3]
        assert await found(topics=[other, topic]) == []
        assert await found(topics=[None, None, None]) == []
        assert await found(toBlock="0x1") == []
        block_hash = hexed(node.chain.tip().hash)
        logs = await client.call("eth_getLogs", {"blockHash": block_hash, "address": target})
        assert [log["logIndex"] for log in logs] == ["0x1", "0x3"]


@pytest.mark.parametrize(
    ("wanted", "code", "message"),
    [
        ({"fromBlock": "0x2", "toBlock": "0x1"}, -32602, "invalid block range params"),
        ({"fromBlock": "0x1", "toBlock": "0x9"}, -32602, "block range extends beyond current head block"),
        ({"fromBlock": "0x9"}, -32602, "invalid block range params"),
        ({"fromBlock": "pending"}, -32602, "pending logs are not supported"),
        ({"fromBlock": "0x1", "toBlock": "pending"}, -32602, "pending logs are not supported"),
        ({"blockHash": ABSENT}, -32000, "unknown block"),
        ({"blockHash": ABSENT, "fromBlock": "0x1"}, -32602, "cannot specify both BlockHash and FromBlock/ToBlock"),
        ({"fromBlock": "earliest"}, -32005, "query returned more than 3 results"),
    ],
)
@trio_test
async def test_logs_that_are_refused(wanted: Any, code: int, message: str) -> None:
    async with running(busy_node(), {"log_results_max": 3}) as client:
        found = await client.error("eth_getLogs", wanted)
        assert found[0] == code and message in found[1]


@trio_test
async def test_a_search_reads_only_the_blocks_that_the_index_names() -> None:
    node = FakeNode()
    for place in range(60):
        noise = Log(TARGET, (TOPIC,), b"")
        node.finalize(
            [signed(place)], [(noise, Log(TOKEN, (OTHER_TOPIC, TOPIC), b"")) if place % 20 == 7 else (noise,)]
        )
    read: list[int] = []
    header = node.chain.header
    node.chain.header = lambda height: read.append(height) or header(height)  # type: ignore[method-assign,func-returns-value]  # counts
    async with running(node) as client:
        for wanted in (
            {"address": hexed(TOKEN)},
            {"topics": [hexed(OTHER_TOPIC)]},
            {"topics": [None, hexed(TOPIC)]},
            {"address": [hexed(TOKEN), hexed(TARGET)], "topics": [hexed(OTHER_TOPIC), hexed(TOPIC)]},
        ):
            read.clear()
            logs = await client.call("eth_getLogs", {"fromBlock": "earliest", **wanted})
            assert [int(log["blockNumber"], 16) for log in logs] == read == [8, 28, 48], wanted


@trio_test
async def test_transactions_are_found_by_sender_and_nonce() -> None:
    node = FakeNode()
    node.finalize([signed(3), signed(4)])
    node.finalize([signed(5)])
    async with running(node) as client:
        sender = hexed(SENDER)
        found = await client.call("eth_getTransactionBySenderAndNonce", sender, "0x4")
        assert (found["hash"], found["transactionIndex"]) == (hexed(keccak(signed(4))), "0x1")
        assert await client.call("eth_getTransactionBySenderAndNonce", sender, "0x2") is None
        assert await client.call("eth_getTransactionBySenderAndNonce", sender, "0x6") is None
        page = await client.call("open_transactionsOf", sender, "0x0", 2)
        assert [each["nonce"] for each in page["items"]] == ["0x3", "0x4"]
        assert page["next"] == "0x5"
        page = await client.call("open_transactionsOf", sender, page["next"])
        assert ([each["nonce"] for each in page["items"]], page["next"]) == (["0x5"], None)
        assert await client.call("open_transactionsOf", hexed(TARGET)) == {"items": [], "next": None}


@trio_test
async def test_a_search_that_takes_too_long_is_ended() -> None:
    async with running(busy_node(), {"log_timeout_s": -1.0}) as client:
        assert await client.error("eth_getLogs", {"fromBlock": "0x0"}) == (-32000, "execution aborted (timeout = -1s)")


@trio_test
async def test_filters_tell_what_is_new() -> None:
    node = busy_node()
    async with running(node, {"log_results_max": 2}) as client:
        blocks = await client.call("eth_newBlockFilter")
        logs = await client.call("eth_newFilter", {"address": hexed(TOKEN), "fromBlock": "earliest"})
        until_four = await client.call("eth_newFilter", {"fromBlock": "0x3", "toBlock": "0x4"})
        pending = await client.call("eth_newPendingTransactionFilter")
        for each in (blocks, logs, pending):
            assert await client.call("eth_getFilterChanges", each) == []
        sent = await client.call("eth_sendRawTransaction", hexed(signed(5)))
        made = [node.finalize([signed(number)], [(Log(TOKEN, (TOPIC,), bytes([number])),)]) for number in (5, 6, 7)]
        assert await client.call("eth_getFilterChanges", blocks) == [hexed(block.hash) for block in made]
        assert await client.call("eth_getFilterChanges", blocks) == []
        assert await client.call("eth_getFilterChanges", pending) == [sent]
        assert await client.call("eth_getFilterChanges", pending) == []
        first = await client.call("eth_getFilterChanges", logs)
        assert [log["data"] for log in first] == ["0x05", "0x06"]  # as many as are allowed; the rest comes next
        assert [log["data"] for log in await client.call("eth_getFilterChanges", logs)] == ["0x07"]
        assert await client.call("eth_getFilterChanges", logs) == []
        assert [log["data"] for log in await client.call("eth_getFilterChanges", until_four)] == ["0x05", "0x06"]
        assert await client.call("eth_getFilterChanges", until_four) == []
        assert (await client.error("eth_getFilterLogs", logs))[0] == -32005
        assert len(await client.call("eth_getFilterLogs", until_four)) == 2
        assert await client.call("eth_uninstallFilter", logs) is True
        assert await client.call("eth_uninstallFilter", logs) is False
        for method in ("eth_getFilterChanges", "eth_getFilterLogs"):
            assert await client.error(method, logs) == (-32000, "filter not found")
        assert await client.error("eth_getFilterLogs", blocks) == (-32000, "filter not found")
        for wanted in ({"fromBlock": "0x5", "toBlock": "0x4"}, {"fromBlock": "pending"}):
            assert (await client.error("eth_newFilter", wanted))[0] == -32602


@trio_test
async def test_a_filter_tells_whole_transactions_where_they_are_asked_for() -> None:
    node = busy_node()
    async with running(node) as client:
        whole, hashes = [await client.call("eth_newPendingTransactionFilter", full) for full in (True, False)]
        assert (await client.error("eth_newPendingTransactionFilter", "yes"))[0] == -32602
        sent = [await client.call("eth_sendRawTransaction", hexed(signed(nonce))) for nonce in (5, 6, 7)]
        node.finalize([signed(6)])  # final before anybody asked
        del node.mempool.waiting[Hash32(bytes.fromhex(sent[2][2:]))]  # and this one was replaced
        found = await client.call("eth_getFilterChanges", whole)
        assert [each["hash"] for each in found] == sent[:2]
        assert found[0] == await client.call("eth_getTransactionByHash", sent[0]), "as it is shown while it waits"
        assert found[1]["blockHash"] is None
        assert await client.call("eth_getFilterChanges", hashes) == sent
        assert await client.call("eth_getFilterChanges", whole) == []


@trio_test
async def test_whole_transactions_that_one_answer_can_not_hold_come_with_the_next() -> None:
    node = busy_node()
    async with running(node, {"response_bytes_max": 30_000}) as client:
        whole = await client.call("eth_newPendingTransactionFilter", True)
        sent = [
            await client.call("eth_sendRawTransaction", hexed(signed(nonce, data="0x" + "11" * 2_000, gas=200_000)))
            for nonce in range(5, 15)
        ]
        polls = []
        while found := await client.call("eth_getFilterChanges", whole):
            polls.append([each["hash"] for each in found])
        assert len(polls) > 2 and [each for poll in polls for each in poll] == sent


def test_a_filter_that_is_being_polled_does_not_expire() -> None:
    """A poll of many blocks may take longer than an idle filter lives."""

    async def main() -> None:
        filters = Filters(RpcLimits(filter_idle_s=100.0))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(filters.expire_forever)
            name = filters.add(BlockPoll(1))
            async with filters.get(name).lock:
                await trio.sleep(1_000)
                assert len(filters) == 1
            await trio.sleep(20)
            assert len(filters) == 0
            nursery.cancel_scope.cancel()

    trio.run(main, clock=MockClock(autojump_threshold=0))


def test_a_search_ends_within_what_the_index_has_named() -> None:
    """Blocks are read one by one after the index was: the time limit counts there too."""
    node = busy_node()
    for number in range(20):
        node.finalize([signed(number)], [(Log(TOKEN, (TOPIC,), b""),)])
    read: list[int] = []
    header = node.chain.header
    node.chain.header = lambda height: read.append(height) or header(height)  # type: ignore[method-assign,func-returns-value]  # counts
    stopwatch = Stopwatch(100.0, lambda: len(read) >= 5)
    query = LogQuery(LogFilter(addresses=frozenset((TOKEN,))))
    with pytest.raises(RpcError, match="execution aborted"):
        list(query.by_block(node.chain, range(22), stopwatch))
    assert len(read) == 5


def test_filters_expire_when_unused_and_are_bounded() -> None:
    async def main() -> None:
        filters = Filters(RpcLimits(filters_max=2, filter_idle_s=100.0))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(filters.expire_forever)
            used, unused = filters.add(BlockPoll(1)), filters.add(BlockPoll(1))
            with pytest.raises(RpcError, match="too many filters"):
                filters.add(BlockPoll(1))
            await trio.sleep(60)
            filters.get(used)
            await trio.sleep(60)
            filters.get(used)
            with pytest.raises(RpcError, match="filter not found"):
                filters.get(unused)
            filters.add(BlockPoll(1))
            await trio.sleep(200)
            assert len(filters) == 0
            nursery.cancel_scope.cancel()

    trio.run(main, clock=MockClock(autojump_threshold=0))


@trio_test
async def test_fees() -> None:
    node = busy_node()
    async with running(node) as client:
        tip = 10**7
        assert await client.call("eth_maxPriorityFeePerGas") == hex(tip)
        assert await client.call("eth_gasPrice") == hex(10**9 + 1 + tip)
        assert await client.call("eth_baseFee") == hex(10**9 + 1)
        assert await client.call("eth_blobBaseFee") == "0x1"
        history = await client.call("eth_feeHistory", "0x2", "latest", [0, 50, 100])
        assert history["oldestBlock"] == "0x1"
        assert history["baseFeePerGas"] == [hex(10**9), hex(10**9), hex(10**9 + 1)]
        assert history["gasUsedRatio"] == [0.0, 105_000 / 30_000_000]
        assert history["reward"] == [["0x0"] * 3, [hex(tip), hex(tip), hex(10**9)]]
        assert history["baseFeePerBlobGas"] == ["0x1"] * 3 and history["blobGasUsedRatio"] == [0, 0]
        assert len((await client.call("eth_feeHistory", 5_000, "latest"))["gasUsedRatio"]) == 3
        assert "reward" not in await client.call("eth_feeHistory", "1", "latest")
        assert (await client.call("eth_feeHistory", "0x1", "earliest"))["oldestBlock"] == "0x0"
        assert await client.call("eth_feeHistory", 0, "latest") == {"oldestBlock": "0x0", "gasUsedRatio": None}
        assert await client.error("eth_feeHistory", 1, "0x9") == (
            -32000,
            "request beyond head block: requested 9, head 2",
        )
        assert (await client.error("eth_feeHistory", 1, "latest", [50, 20]))[0] == -32602


@trio_test
async def test_a_quiet_chain_suggests_the_floor() -> None:
    async with running(FakeNode()) as client:
        assert await client.call("eth_maxPriorityFeePerGas") == hex(10**6)


@trio_test
async def test_state_methods_and_blocks_that_are_not_there() -> None:
    async with running(busy_node()) as client:
        token = hexed(TOKEN)
        assert await client.call("eth_getBalance", hexed(SENDER), "latest") == hex(10**18)
        assert await client.call("eth_getCode", token) == "0x6000"
        assert await client.call("eth_getCode", hexed(SENDER)) == "0x"
        assert await client.call("eth_getStorageAt", token, "0x0", "latest") == "0x" + "00" * 31 + "01"
        assert await client.call("eth_accounts") == []
        for block in ("0x9", {"blockNumber": "0x9"}, {"blockHash": ABSENT}, ABSENT):
            assert await client.error("eth_getTransactionCount", token, block) == (-32000, "header not found")


@trio_test
async def test_the_node_itself() -> None:
    node = busy_node()
    async with running(node) as client:
        assert await client.call("eth_chainId") == "0x7a69"
        assert await client.call("net_version") == "31337"
        assert await client.call("net_listening") is True
        assert await client.call("net_peerCount") == "0x1"
        assert await client.call("web3_clientVersion") == "openledger/test"
        assert await client.call("web3_sha3", "0x68656c6c6f") == hexed(keccak(b"hello"))
        assert await client.call("eth_syncing") is False
        status = await client.call("open_status")
        assert (status["height"], status["catchingUp"], status["validator"]) == ("0x2", False, "0x" + "aa" * 20)
        assert status["peers"][0]["direction"] == "outbound"
        node.status.progress = SyncStatus(1, 2, 300)  # type: ignore[arg-type]  # heights
        assert await client.call("eth_syncing") == {
            "startingBlock": "0x1",
            "currentBlock": "0x2",
            "highestBlock": "0x12c",
        }
        assert (await client.call("open_status"))["highest"] == "0x12c"


@trio_test
async def test_commits_and_consensus_data() -> None:
    node = busy_node()
    async with running(node) as client:
        commit = await client.call("open_commit", "0x2")
        assert commit["blockHash"] == hexed(node.chain.tip().hash) and commit["signatures"] == ["0x" + "09" * 65]
        assert await client.call("open_commit", "0x0") is None
        assert await client.call("open_commit", "0x9") is None
        found = await client.call("open_consensusData")
        assert found["hash"] == hexed(node.chain.tip().header.parent_beacon_block_root)
        assert found["lastCommit"]["height"] == "0x1"
        assert await client.call("open_consensusData", "earliest") is None
        spec = await client.call("open_chainSpec")
        assert spec["hash"] == hexed(keccak(spec["json"].encode()))
