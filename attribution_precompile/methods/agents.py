"""Agents: programs that pay for inferences by themselves, out of a deposit, within a daily cap, on models they may use.

The owner sets wallet, cap and list; anybody may add to the deposit. `infer` with an agent's id, called by its wallet, takes the
fee from the deposit. A day is `timestamp // 86400`; what was spent starts at zero with each.
"""

from dataclasses import replace
from typing import Final

from attribution_precompile import declarations as d
from attribution_precompile.layout import AGENT_COUNT, AGENT_MODELS, AGENT_URIS, AGENTS, Agent
from attribution_precompile.methods.base import AttributionBase, check, require_model
from attribution_precompile.methods.money import credit
from evm_runtime.native import Frame, Slots, method
from genesis.primitives import ZERO_ADDRESS, Address, Wei

DAY_SECONDS: Final = 86_400
DEPOSIT_BITS: Final = 96
"""The bits of an agent's deposit: 79 times the greatest supply. Only calls on made-up balances can exceed it."""


def require_agent(slots: Slots, agent_id: int) -> Agent:
    record = AGENTS.load(slots, agent_id)
    if record.owner == ZERO_ADDRESS:
        raise d.UNKNOWN_AGENT(agent_id)
    return record


def agent_people(frame: Frame, agent_id: int) -> tuple[Address, Address]:
    """Who stands behind an agent: its owner and its wallet."""
    agent = require_agent(frame.storage, agent_id)
    return agent.owner, agent.wallet


def spent_today(agent: Agent, timestamp: int) -> int:
    return agent.spent if agent.day == timestamp // DAY_SECONDS else 0


def require_usable(frame: Frame, agent_id: int, model_id: int) -> None:
    """The caller must be the agent's wallet, and the model on its list."""
    agent = require_agent(frame.storage, agent_id)
    if frame.sender != agent.wallet:
        raise d.NOT_ALLOWED(frame.sender, "the agent's wallet")
    if not AGENT_MODELS.get(frame.storage, agent_id, agent.generation, model_id):
        raise d.AGENT_MODEL_NOT_ALLOWED(agent_id, model_id)


def spend(frame: Frame, agent_id: int, fee: Wei) -> None:
    """Take a fee from the agent's deposit, within its cap of the day."""
    agent = require_agent(frame.storage, agent_id)
    if fee > agent.deposit:
        raise d.DEPOSIT_TOO_LOW(agent_id, fee, agent.deposit)
    spent = spent_today(agent, frame.timestamp) + fee
    if spent > agent.daily_cap:
        raise d.DAILY_CAP_EXCEEDED(agent_id, spent, agent.daily_cap)
    changed = replace(agent, deposit=agent.deposit - fee, spent=spent, day=frame.timestamp // DAY_SECONDS)
    AGENTS.store(frame.storage, changed, agent_id)


class AgentMethods(AttributionBase):
    """The part of the contract that keeps agents."""

    @method(
        "registerAgent(string uri, address wallet, uint128 dailyCap, uint64[] models) returns (uint64 agentId)",
    )
    def register_agent(self, frame: Frame, uri: str, wallet: Address, daily_cap: int, models: tuple[int, ...]) -> int:
        """Register an agent, owned by the caller, that may use the models named, for up to dailyCap wei a day."""
        if len(uri.encode()) > self.params.uri_bytes_max:
            raise d.TOO_LONG("uri", len(uri.encode()), self.params.uri_bytes_max)
        agent_id = AGENT_COUNT.add(frame.storage, 1)
        blank = Agent(frame.sender, 0, 0, ZERO_ADDRESS, Wei(0), 0, 0)
        AGENT_URIS.set_once(frame.storage, uri.encode(), agent_id)
        self._set(frame, agent_id, blank, wallet, daily_cap, models)
        frame.emit(d.AGENT_REGISTERED, agent_id, wallet)
        return agent_id

    @method("setAgent(uint64 agentId, address wallet, uint128 dailyCap, uint64[] models)")
    def set_agent(self, frame: Frame, agent_id: int, wallet: Address, daily_cap: int, models: tuple[int, ...]) -> None:
        """Change an agent's wallet, cap and list of models, by its owner. What was spent today stays spent."""
        agent = self._require_owned(frame, agent_id)
        self._set(frame, agent_id, agent, wallet, daily_cap, models)
        frame.emit(d.AGENT_CHANGED, agent_id, wallet, daily_cap)

    def _set(
        self, frame: Frame, agent_id: int, agent: Agent, wallet: Address, daily_cap: int, models: tuple[int, ...]
    ) -> None:
        """Lists are kept by generation, so that a new one is empty without clearing the old."""
        check(wallet != ZERO_ADDRESS, "wallet", "nobody holds the zero address")
        if len(models) > self.params.agent_models_max:
            raise d.TOO_LONG("models", len(models), self.params.agent_models_max)
        generation = agent.generation + 1
        for model_id in models:
            require_model(frame.storage, model_id)
            AGENT_MODELS.set(frame.storage, 1, agent_id, generation, model_id)
        changed = replace(agent, wallet=wallet, daily_cap=daily_cap, generation=generation)
        AGENTS.store(frame.storage, changed, agent_id)

    @method("depositAgent(uint64 agentId)", payable=True)
    def deposit_agent(self, frame: Frame, agent_id: int) -> None:
        """Add the wei sent to an agent's deposit. Anybody may."""
        agent = require_agent(frame.storage, agent_id)
        deposit = agent.deposit + frame.value
        check(deposit < 1 << DEPOSIT_BITS, "value", "more wei than there are")
        AGENTS.store(frame.storage, replace(agent, deposit=deposit), agent_id)
        frame.emit(d.AGENT_DEPOSITED, agent_id, frame.sender, frame.value)

    @method("withdrawAgent(uint64 agentId, uint256 amount)")
    def withdraw_agent(self, frame: Frame, agent_id: int, amount: int) -> None:
        """Move a part of an agent's deposit to its owner's balance, who calls this."""
        agent = self._require_owned(frame, agent_id)
        if amount > agent.deposit:
            raise d.DEPOSIT_TOO_LOW(agent_id, amount, agent.deposit)
        AGENTS.store(frame.storage, replace(agent, deposit=agent.deposit - amount), agent_id)
        credit(frame.storage, {frame.sender: amount})
        frame.emit(d.AGENT_WITHDRAWN, agent_id, amount)

    def _require_owned(self, frame: Frame, agent_id: int) -> Agent:
        agent = require_agent(frame.storage, agent_id)
        if frame.sender != agent.owner:
            raise d.NOT_ALLOWED(frame.sender, "the agent's owner")
        return agent

    @method(
        "getAgent(uint64 agentId) returns (address owner, address wallet, uint256 deposit, uint128 dailyCap, "
        "uint128 spentToday)",
        view=True,
    )
    def get_agent(self, frame: Frame, agent_id: int) -> tuple[object, ...]:
        """An agent as it stands."""
        agent = require_agent(frame.storage, agent_id)
        return agent.owner, agent.wallet, agent.deposit, agent.daily_cap, spent_today(agent, frame.timestamp)
