"""The devnet as its README describes it: banner, devnet.json, agreement, kill and restart, a clean stop, the same tip again."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from devnet_process import OPENLEDGER, DevnetProcess, free_port_base, height, rpc, wait_until

pytestmark = pytest.mark.e2e

FIRST_ANVIL_ACCOUNT = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
FIRST_ANVIL_KEY = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"


def test_devnet_json_says_all_there_is_to_know(devnet: DevnetProcess) -> None:
    info = devnet.info
    assert info["chain_id"] == int(rpc(devnet.url(), "eth_chainId"), 16)
    assert len(info["nodes"]) == 4
    for node in info["nodes"]:
        assert {"name", "rpc", "ws", "pid", "datadir", "validator"} <= node.keys()
        assert Path(node["datadir"]).is_dir()
        os.kill(node["pid"], 0)
        assert int(rpc(node["rpc"], "eth_chainId"), 16) == info["chain_id"]
    assert info["accounts"][0] == {"address": FIRST_ANVIL_ACCOUNT, "private_key": FIRST_ANVIL_KEY}
    assert len(info["accounts"]) == 10
    assert info["contracts"]["attribution"].lower() == "0x0000000000000000000000000000000000000a00"
    assert rpc(devnet.url(), "eth_getCode", info["contracts"]["attribution"], "latest") == "0xfe"


def test_banner_shows_urls_and_funded_accounts(devnet: DevnetProcess) -> None:
    banner = devnet.log()
    for text in [
        FIRST_ANVIL_ACCOUNT,
        FIRST_ANVIL_KEY,
        devnet.url(),
        devnet.info["nodes"][3]["ws"],
        str(devnet.info["chain_id"]),
    ]:
        assert text in banner
    for account in devnet.info["accounts"]:
        assert int(rpc(devnet.url(), "eth_getBalance", account["address"], "0x0"), 16) == 10_000 * 10**18


def test_all_nodes_agree_block_by_block(devnet: DevnetProcess) -> None:
    devnet.wait_height(0, 3)
    common = min(devnet.wait_height(node, 3) for node in range(4))
    for number in range(common + 1):
        hashes = {rpc(devnet.url(node), "eth_getBlockByNumber", hex(number), False)["hash"] for node in range(4)}
        assert len(hashes) == 1, f"fork at {number}"


def test_second_devnet_on_the_same_datadir_is_refused(devnet: DevnetProcess) -> None:
    command = [OPENLEDGER, "devnet", "--datadir", str(devnet.datadir), "--rpc-port", str(free_port_base(64))]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.returncode == 1
    assert "in use" in result.stderr or "lock" in result.stderr
    assert "Traceback" not in result.stderr


def test_kill_and_restart_one_of_four_then_two(own_devnet: DevnetProcess) -> None:
    net = own_devnet
    net.wait_height(0, 2)
    net.kill(3)
    net.wait_height(0, height(net.url(0)) + 3)  # three of four go on

    net.kill(2)
    time.sleep(2)
    stuck = height(net.url(0))
    time.sleep(8)  # longer than the empty-block interval and a round
    assert height(net.url(0)) <= stuck + 1, "blocks with half of the power gone"
    assert net.process is not None
    assert net.process.poll() is None, "the supervisor must outlive its nodes"

    net.restart(2)
    goal = net.wait_height(0, height(net.url(0)) + 2, timeout_s=90)  # one back: blocks again
    net.restart(3)
    net.wait_height(3, goal, timeout_s=90)  # it catches up from the others

    def signed_again() -> bool:
        latest = height(net.url(0))
        members = rpc(net.url(0), "open_validators", hex(latest - 2))["validators"]
        place = [member["address"] for member in members].index(net.info["nodes"][3]["validator"].lower())
        return rpc(net.url(0), "open_commit", hex(latest - 1))["signatures"][place] is not None

    wait_until("the restarted validator's signature in a commit", signed_again, timeout_s=90)
    tip = min(height(net.url(node)) for node in range(4))
    hashes = {rpc(net.url(node), "eth_getBlockByNumber", hex(tip), False)["hash"] for node in range(4)}
    assert len(hashes) == 1


def test_clean_stop_and_the_same_tip_again(tmp_path: Path) -> None:
    net = DevnetProcess(tmp_path / "devnet").start()
    net.wait_height(0, 3)
    block = rpc(net.url(), "eth_getBlockByNumber", "0x3", False)
    pids = [node["pid"] for node in net.info["nodes"]]
    assert net.stop() == 0, net.log()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    net.start()
    try:
        assert rpc(net.url(), "eth_getBlockByNumber", "0x3", False) == block
        net.wait_height(0, 5)
    finally:
        net.stop()

    refused = subprocess.run(
        [
            OPENLEDGER,
            "devnet",
            "--datadir",
            str(net.datadir),
            "--rpc-port",
            str(net.rpc_port),
            "--block-interval-ms",
            "777",
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert refused.returncode == 1
    assert "block.interval_ms" in refused.stderr
    assert "777" in refused.stderr


def test_interrupt_stops_it_as_ctrl_c_would(tmp_path: Path) -> None:
    net = DevnetProcess(tmp_path / "devnet", validators=1).start()
    assert net.process is not None
    net.process.send_signal(signal.SIGINT)
    assert net.process.wait(30) == 0, net.log()


def test_full_node_without_a_key_follows(devnet: DevnetProcess, tmp_path: Path) -> None:
    datadir = Path(devnet.info["nodes"][0]["datadir"])
    peer = rpc(devnet.url(), "open_status")["p2pAddress"]
    port = free_port_base(4)
    command = [OPENLEDGER, "start", "--datadir", str(tmp_path / "full"), "--genesis", str(datadir / "genesis.json")]
    command += ["--peer", peer, "--http.port", str(port), "--p2p.port", str(port + 1)]
    with (tmp_path / "full.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}"
        goal = height(devnet.url()) + 2
        wait_until("the full node to follow", lambda: height(url) >= goal, timeout_s=90)
        ours, theirs = (rpc(u, "eth_getBlockByNumber", hex(goal), True) for u in (url, devnet.url()))
        assert ours == theirs
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0, (tmp_path / "full.log").read_text()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def test_devnet_json_is_valid_while_it_runs(devnet: DevnetProcess) -> None:
    assert json.loads((devnet.datadir / "devnet.json").read_text())["chain_id"] == devnet.info["chain_id"]
