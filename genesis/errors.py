"""The one error tree of the node.

    OpenLedgerError
    ├── LocalError          this machine or its operator: a bad flag, a busy port, a locked directory
    │   └── ErasedContent   a question about old states that needs content which this node has dropped since, as it was asked to
    ├── PeerFault           a peer broke a rule; it is scored or banned, nothing else happens
    ├── InvalidTransaction  a transaction that can never, or cannot now, be part of a block
    ├── InvalidBlock        a block, proposal, vote or commit that breaks a rule of the chain
    ├── WireError           bytes from outside that are not the canonical encoding of what was expected
    ├── StorageCorrupt      FATAL: what the disk holds contradicts itself
    ├── StorageFailed       FATAL: the system refuses to read or write what must be kept, whatever that is
    └── InvariantError      FATAL: the node contradicts itself; it stops rather than go on

Only the fatal errors may stop a node. Everything else is answered, logged and survived.
"""


class OpenLedgerError(Exception):
    """Root of the tree. The message says what was wrong and, where there is something to do, what to do."""


class LocalError(OpenLedgerError):
    """Something on this machine or given by its operator is wrong."""


class ErasedContent(LocalError):
    """Content was erased, this node has dropped it, and what is asked, about a state before that, can't be told without it."""


class PeerFault(OpenLedgerError):
    """A peer broke a rule of the protocol."""


class InvalidTransaction(OpenLedgerError):
    """A transaction that may not be in a block (on top of the state it was checked against)."""


class InvalidBlock(OpenLedgerError):
    """A block, proposal, vote, commit or piece of evidence that breaks a rule of the chain."""


class WireError(OpenLedgerError):
    """Bytes from outside that are too long, malformed, or not canonical."""


class FatalError(OpenLedgerError):
    """The node must stop: going on could contradict what it said before."""


class StorageCorrupt(FatalError):
    """Stored data is missing, garbled, or contradicts other stored data."""


class StorageFailed(FatalError):
    """The operating system would not read, write or sync what this node must remember."""


class InvariantError(FatalError):
    """The node reached a state that its own rules exclude."""
