"""What the demo prints at its end: the same steps by hand, with tools that everybody has."""

from node.demo.client import ATTRIBUTION
from node.demo.scenario import Scenario


def by_hand(url: str, scenario: Scenario) -> str:
    """Commands for cast and web3.py against the chain as the demo left it."""
    payer, model_id, datanet_id = scenario.payer, scenario.model_id, scenario.datanet_id
    key = payer.account.key.hex().removeprefix("0x")
    return f"""By hand, with Foundry's cast:

  export ETH_RPC_URL={url} ATTRIBUTION={ATTRIBUTION}
  cast call $ATTRIBUTION "getVersion(uint64,uint32)(bytes32,uint64,uint64)" {datanet_id} 1
  cast call $ATTRIBUTION "quote(uint64,uint32,uint32)(uint256)" {model_id} 120 1000
  SAID=$(cast from-utf8 "some text that the model said")
  cast call $ATTRIBUTION "trace(uint64,bytes)((uint64,uint128)[],uint256,uint256)" {model_id} $SAID
  cast send $ATTRIBUTION "infer((uint64,uint64,bytes32,uint32,bytes,(uint256,uint64,bytes)))" \\
      "({model_id},0,$(cast keccak prompt),120,$SAID,(0,0,0x))" \\
      --value 1ether --private-key 0x{key}
  cast call $ATTRIBUTION "claimable(address)(uint256,uint256)" {payer.address}
  cast send $ATTRIBUTION "claim(address)" {payer.address} --private-key 0x{key}

and with web3.py, where `IAttribution.json` is the contract's ABI (attribution_precompile/IAttribution.json):

  import json
  from web3 import Web3
  web3 = Web3(Web3.HTTPProvider("{url}"))
  contract = web3.eth.contract("{ATTRIBUTION}", abi=json.load(open("attribution_precompile/IAttribution.json")))
  print(contract.functions.trace({model_id}, b"some text that the model said").call())
  print(contract.functions.claimable("{payer.address}").call())
"""
