# One command per need. `make help` lists them.
SHELL := /bin/sh
PYTHON ?= $(shell for p in python3.11 python3.12 python3; do command -v $$p >/dev/null 2>&1 && { echo $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
STAMP := $(VENV)/.installed-from-lock

.PHONY: help setup devnet demo test test-hardhat test-exports check docs lint types imports format bench lock clean
.PHONY: conformance conformance-rpc fuzz fuzz-blocks fuzz-index fuzz-rpc fuzz-span money sim sim-campaign mutants mutation model chaos crash soak

help:
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | awk -F '\t' '{ printf "  make %-16s %s\n", $$1, $$2 }'

setup: $(STAMP) ## install everything into .venv from the hash-locked requirements.lock

$(STAMP): requirements.lock pyproject.toml requirements/runtime.in
	@$(PYTHON) requirements/check_platform.py
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (about a minute the first time)"
	@awk '/^(packaging|setuptools|wheel)==/ { take = 1 } take { print } !/\\$$/ { take = 0 }' requirements.lock > $(VENV)/build-tools.lock
	@$(PIP) --require-hashes --no-deps -r $(VENV)/build-tools.lock
	@$(PIP) --require-hashes --no-deps --no-build-isolation -r requirements.lock
	@$(PIP) --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m compileall -q genesis consensus evm_runtime attribution_precompile p2p openledger node
	@touch $(STAMP)

devnet: setup ## start a local network of four validators
	@exec $(BIN)/openledger devnet

demo: setup ## start a devnet, pay real contributors on it, stop it
	@exec $(BIN)/openledger demo --own-devnet

test: setup ## the tests (about ten minutes on two cores)
	@$(BIN)/python -m pytest

test-hardhat: setup ## Hardhat against a devnet (installs 330 MB from npm)
	@TEST_WITH_HARDHAT=1 $(BIN)/python -m pytest tests/e2e/clients/test_hardhat.py

test-exports: setup ## Croissant and SPDX exports read by their publishers' own libraries (installs 370 MB from PyPI)
	@TEST_WITH_EXPORTS=1 $(BIN)/python -m pytest tests/unit/attribution/test_public_schemas.py

check: lint types imports ## the static checks

lint: setup
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: setup
	@$(BIN)/mypy

imports: setup
	@$(BIN)/lint-imports --no-cache

format: setup ## let ruff format the code
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

docs: setup ## write docs/openrpc.json and the examples of docs/json-rpc.md anew
	@$(BIN)/python -m node.rpc.methods > docs/openrpc.json
	@$(BIN)/python -m tests.unit.rpc.examples

bench: setup ## measure admission, execution, blocks and the whole node on this machine
	@$(BIN)/python -m tests.bench

bench-%: setup
	@$(BIN)/python -m tests.bench $*

# -- campaigns: long runs of what `make test` runs for seconds. SEED, SECONDS, CYCLES, HEIGHTS say how long and from where.
conformance: setup ## run Ethereum's state tests: FIXTURES=DIR [FORK=Cancun|Prague|Osaka] [LIMIT=N] [TIER=…] [JOBS=N]
	@$(BIN)/python -m tests.conformance --fixtures "$(or $(FIXTURES),tests/conformance/fixtures)" \
		$(if $(FORK),--fork $(FORK)) $(if $(LIMIT),--limit $(LIMIT)) $(if $(TIER),--tier $(TIER)) $(if $(JOBS),--jobs $(JOBS)) \
		$(if $(FOLDERS),--folders)

conformance-rpc: setup ## compare JSON-RPC with the test vectors of execution-apis: FIXTURES=DIR
	@$(BIN)/python -m tests.conformance_rpc --fixtures "$(FIXTURES)"

fuzz: setup ## random programs on every tier of the EVM beside stock py-evm and EELS
	@$(BIN)/python -m tests.fuzz --seed $(or $(SEED),1) --seconds $(or $(SECONDS),600)

fuzz-blocks: setup ## random blocks beside EELS' state transition
	@$(BIN)/python -m tests.fuzz.blocks --seed $(or $(SEED),1) --seconds $(or $(SECONDS),600)

money: setup ## random walks over the attribution contract, its books balanced after every call: STEPS=…
	@$(BIN)/python -m tests.money --seed $(or $(SEED),1) --steps $(or $(STEPS),1000000)

fuzz-rpc: setup ## mutated JSON-RPC requests over real sockets: SEED=… SECONDS=… or REQUESTS=…
	@$(BIN)/python -m tests.fuzz_rpc --seed $(or $(SEED),1) $(if $(REQUESTS),--requests $(REQUESTS),--seconds $(or $(SECONDS),600))

fuzz-index: setup ## four nodes' indexes, asked different things, beside one built anew after every block: SEED=… BLOCKS=…
	@$(BIN)/python -m tests.index_fuzz --seed $(or $(SEED),1) --blocks $(or $(BLOCKS),100000)

fuzz-span: setup ## attribution beside its slow reference: SEED=… CASES=…
	@$(BIN)/python -m tests.reference --seed $(or $(SEED),1) --cases $(or $(CASES),100000)

sim: setup ## replay one seed of the consensus simulator: SEED=… [N=validators]
	@$(BIN)/python -m tests.sim --seed $(or $(SEED),1) $(if $(N),--n $(N))

sim-campaign: setup ## many seeds on all cores: HEIGHTS=… [N=validators]
	@$(BIN)/python -m tests.sim --campaign --heights $(or $(HEIGHTS),100000) --n $(or $(N),4)

mutants: setup ## broken protocols, each of which the simulator must catch
	@$(BIN)/python -m tests.sim.mutants

mutation: setup ## break lines, which a test must notice: SEED=… SAMPLES=a module MODULE=import path SECONDS=… REST=1
	@$(BIN)/python -m tests.mutation --seed $(or $(SEED),1) --samples $(or $(SAMPLES),25) --module '$(or $(MODULE),*)' \
		$(if $(SECONDS),--seconds $(SECONDS)) $(if $(REST),--rest)

model: setup ## check the Promela model of the protocol with Spin
	@$(BIN)/python -m tests.model

chaos: setup ## kill -9 validators of a real devnet under load: CYCLES=…
	@$(BIN)/python -m tests.chaos kill --seed $(or $(SEED),1) --cycles $(or $(CYCLES),100)

crash: setup ## die at any write, sync and batch; then cut and garble the files of a stopped node: POINTS=… CASES=…
	@$(BIN)/python -m tests.chaos points --seed $(or $(SEED),1) --points $(or $(POINTS),10000)
	@$(BIN)/python -m tests.chaos tails --seed $(or $(SEED),1) --cases $(or $(CASES),10000)

soak: setup ## a devnet under steady load: SECONDS=…
	@$(BIN)/python -m tests.chaos soak --seconds $(or $(SECONDS),600)

lock: setup ## resolve requirements/*.in anew into requirements.lock
	@$(BIN)/uv pip compile --quiet --upgrade --generate-hashes --no-emit-index-url --no-header --allow-unsafe \
		--override requirements/overrides.txt --python-version 3.11 requirements/dev.in -o requirements.lock

clean: ## remove what was installed and built
	@rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache .hypothesis
