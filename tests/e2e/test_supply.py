"""Minting on a real chain: withdrawals are the only source of new OPEN, and the supply is exact at every block."""

import pytest
from devnet_process import DevnetProcess, height, rpc
from eth_account import Account

from genesis.emission import emitted, validators_part

pytestmark = pytest.mark.e2e


def test_supply_is_genesis_plus_minted_minus_burned_at_every_block(devnet: DevnetProcess) -> None:
    web3 = devnet.web3()
    account = Account.from_key(devnet.key(3))
    first_nonce = web3.eth.get_transaction_count(account.address)
    for nonce in range(first_nonce, first_nonce + 5):
        transaction = {"chainId": web3.eth.chain_id, "nonce": nonce, "to": account.address, "value": 1, "gas": 21_000,
                       "maxFeePerGas": 3 * 10**9, "maxPriorityFeePerGas": 10**9}  # fmt: skip
        sent = web3.eth.send_raw_transaction(account.sign_transaction(transaction).raw_transaction)
        web3.eth.wait_for_transaction_receipt(sent, timeout=60)
    tip = devnet.wait_height(0, height(devnet.url()) + 2)
    start = rpc(devnet.url(), "open_supply", "0x0")
    genesis = int(start["genesis"], 16)
    assert int(start["total"], 16) == genesis
    paid, burned, index, matched = 0, 0, 0, 0
    attribution = devnet.info["contracts"]["attribution"].lower()
    for number in range(1, tip + 1):
        block = rpc(devnet.url(), "eth_getBlockByNumber", hex(number), False)
        supply = {key: int(value, 16) for key, value in rpc(devnet.url(), "open_supply", hex(number)).items()}
        assert len(block["withdrawals"]) <= 64
        for withdrawal in block["withdrawals"]:
            assert int(withdrawal["index"], 16) == index
            assert int(withdrawal["amount"], 16) > 0
            index += 1
            paid += int(withdrawal["amount"], 16) * 10**9
            if withdrawal["address"] == attribution:
                matched += int(withdrawal["amount"], 16) * 10**9
        burned += int(block["gasUsed"], 16) * int(block["baseFeePerGas"], 16)
        assert supply["burned"] >= burned  # attribution fees may have burned more
        assert supply["minted"] <= paid  # stakers' part of fees is paid by withdrawal too, but is not new
        assert supply["total"] == genesis + supply["minted"] - supply["burned"]
        emission = emitted(supply["emissionClockMs"])
        assert supply["minted"] <= validators_part(emission) + 1 + matched
        assert 0 <= supply["reserve"] + matched - (emission - validators_part(emission)) <= number, "roundings apart"
    assert paid > 0
    assert burned > 0
