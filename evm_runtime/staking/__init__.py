"""The staking account 0x…0A01: validators and their stake, validator sets, rewards, supply (rules: `docs/staking.md`).

`layout.py` says what stands where; `sets.py` who votes when; `candidates.py` who could; `delegators.py` and `unbonding.py` what
delegated stake earns, loses and takes to leave; `slashing.py` and `downtime.py` what misbehaviour costs; `payouts.py` how money
leaves; `supply.py` the books. `contract.py` puts the contract together that people call.
"""
