"""What an operator can set about JSON-RPC, and every limit that protects the node from its callers."""

from dataclasses import dataclass, field

from genesis.limits import JSON_BODY_BYTES_MAX, KIB, MIB

NAMESPACES = ("eth", "net", "web3", "txpool", "open", "rpc")
GUARDED_NAMESPACES = ("debug", "admin")
"""Served where they are switched on, and to the operator only: see `RpcConfig.token`."""


@dataclass(frozen=True, slots=True)
class RpcLimits:
    """Caps and time-outs. Each answers with a proper error; none of them is a rule of the chain."""

    # -- one connection
    header_bytes_max: int = 16 * KIB
    """The size of a request line with all its headers (431 beyond)."""
    body_bytes_max: int = JSON_BODY_BYTES_MAX
    """The size of an HTTP body (413 beyond) and of a WebSocket message (close code 1009 beyond)."""
    connections_max: int = 1_024
    header_timeout_s: float = 10.0
    """From the first byte of a request to the end of its headers."""
    body_timeout_s: float = 30.0
    idle_timeout_s: float = 120.0
    """How long a kept-alive connection may be silent."""
    write_timeout_s: float = 30.0
    """How long one answer may take to go out to a slow reader."""

    # -- one request
    batch_items_max: int = 1_000
    """viem and geth agree on so many. What they may cost together is bounded by time and bytes, as for one call."""
    response_bytes_max: int = 25 * MIB
    request_timeout_s: float = 30.0
    """How long a call may wait for a worker thread, and after which the rest of a batch is not begun any more."""

    # -- work
    call_gas_max: int = 50_000_000
    call_timeout_s: float = 5.0
    brief_work_max: int = 1_000_000
    brief_s: float = 0.002
    """What the thread that reads for all connections may do for a call (`evm_runtime/work.py`: at most a nanosecond each), and
    the processor time that it may take there. What takes longer goes to a worker thread."""
    trace_timeout_s: float = 10.0
    calls_max: int = 3
    """`eth_call`s and the like that run at once; the rest wait."""
    reads_max: int = 8
    """Disk reads that run at once."""
    log_results_max: int = 10_000
    log_timeout_s: float = 10.0
    sync_wait_s: float = 20.0
    """The longest that `eth_sendRawTransactionSync` waits for finality."""

    # -- what is kept for callers
    answers_bytes_max: int = 32 * MIB
    """Bytes of results kept for the tip; as much again of those kept for a second, and of those that stay right for ever."""
    filters_max: int = 10_000
    filter_idle_s: float = 300.0
    filter_pending_max: int = 10_000
    """Hashes that a filter for pending transactions keeps between two polls; older ones are dropped."""
    websocket_calls_max: int = 16
    """Requests of one WebSocket that are worked on at once."""
    websocket_queue_max: int = 20_000
    websocket_queue_bytes_max: int = 16 * MIB
    """Notifications beyond either close the connection: its reader is too slow. (One block may bring thousands.)"""
    websocket_ping_s: float = 30.0
    """A silent peer is pinged after this, and dropped after twice as long."""
    subscriptions_max: int = 1_000
    """Per connection."""


@dataclass(frozen=True, slots=True)
class RpcConfig:
    """Where to listen, who may ask, and for what.

    `cors_origins` are web origins that a browser may call from, and WebSocket origins; `vhosts` the names under which the node
    may be addressed (it always answers to an IP address and, over HTTP/1.0, to no name at all). `*` allows any. An origin may
    leave out scheme or port, which then match any.
    """

    hosts: tuple[str, ...] = ("127.0.0.1",)
    port: int = 8545
    ws_port: int | None = None
    """A second port, for those who want WebSocket apart; every port speaks both."""
    namespaces: tuple[str, ...] = NAMESPACES
    cors_origins: tuple[str, ...] = ("localhost", "127.0.0.1", "[::1]")
    vhosts: tuple[str, ...] = ("localhost",)
    token: str | None = field(default=None, repr=False)
    """What `Authorization: Bearer …` must hold for the guarded namespaces. Without one, whoever connects from loopback may use
    them: set one where a proxy stands before the node."""
    account_keys: tuple[bytes, ...] = field(default=(), repr=False)
    """Keys of the accounts that the node signs for (`eth_sendTransaction`): a devnet's public ones, or none."""
    limits: RpcLimits = field(default_factory=RpcLimits)
