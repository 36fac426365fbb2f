"""The Merkle-Patricia trie (Yellow Paper, appendix D), updated by whole batches.

A trie here is a root hash over nodes in storage. `update` applies all changes of a block in one pass: it opens only the nodes
on the changed paths, builds each new node once, and returns the new nodes; old nodes stay, so old roots stay readable.

Nodes in memory are what RLP decodes to: a branch is a list of 17 items, a leaf or extension a list of 2 (path, value or
child). A child is embedded when its RLP is shorter than 32 bytes, else it is the keccak of that RLP. Paths are kept as bytes
with one nibble each. Keys must be prefix-free, which hashes and RLP integers are, so the value of a branch is always empty.
"""

from binascii import hexlify, unhexlify
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from evm_runtime.fields import int_bytes
from evm_runtime.state.node_cache import NodeCache
from evm_runtime.state.stored_rlp import decode_stored
from genesis.codec import encode_rlp
from genesis.errors import InvariantError, StorageCorrupt
from genesis.primitives import Hash32, keccak256

Node = list[Any]
NodeReader = Callable[[Hash32], bytes | None]
NewNodes = dict[Hash32, bytes]
_Item = tuple[bytes, bytes | None, bytes | None]
"""A key as nibbles, its new value (None deletes), and its old one if the caller knew it."""

EMPTY_ROOT: Final = keccak256(encode_rlp(b""))
_BLANK: Final = b""
_DIGITS: Final = b"0123456789abcdef"
_DIGIT_TO_NIBBLE: Final = bytes(max(0, _DIGITS.find(byte)) for byte in range(256))
_NIBBLE_TO_DIGIT: Final = _DIGITS + bytes(240)  # what is no nibble becomes no digit
_FLAGGED: Final = {is_leaf: (bytes([2 * is_leaf, 0]), bytes([2 * is_leaf + 1])) for is_leaf in (False, True)}


def update(
    read: NodeReader,
    root: Hash32,
    changes: Mapping[bytes, bytes | None],
    before: Mapping[bytes, bytes] | None = None,
    cache: NodeCache | None = None,
) -> tuple[Hash32, NewNodes]:
    """Set and delete keys; returns the new root and the nodes that may not have been stored before.

    A value of None deletes (a missing key is fine); values are never empty. Raises StorageCorrupt if a node is missing.

    Two ways around reading nodes: `cache` holds branches, and takes those that come up. `before` has values that keys are
    known to have now: where the hash of the leaf that would hold it stands in the parent, that is the leaf, and it is not read.
    (A value that is not in the trie does no harm, then: no hash fits it.)
    """
    writer = _Writer(read, cache)
    known = before or {}
    items = sorted((_nibbles(key), value, known.get(key)) for key, value in changes.items())
    top = writer.open(_BLANK if root == EMPTY_ROOT else root)
    changed = writer.update(top, items, 0) if items else top
    if changed is top:
        return root, {}
    if changed is None:
        return EMPTY_ROOT, {}
    encoded = encode_rlp(changed)
    new_root = keccak256(encoded)
    writer.new_nodes[new_root] = encoded
    if cache is not None:
        for node_hash, node in writer.new_nodes.items():
            cache.put(node_hash, node)
    return new_root, writer.new_nodes


def get(read: NodeReader, root: Hash32, key: bytes) -> bytes | None:
    """The value of `key` under `root`, or None."""
    node = _walk(read, root, key, None)
    return None if node is None else node[1]


def prove(read: NodeReader, root: Hash32, key: bytes) -> tuple[bytes, ...]:
    """The RLP of every node from the root towards `key` (a proof of presence or of absence, as in eth_getProof).

    Nodes shorter than 32 bytes stand inside their parents. The empty trie has an empty proof.
    """
    proof: list[bytes] = []
    _walk(read, root, key, proof)
    return tuple(proof)


def items(read: NodeReader, root: Hash32) -> Iterator[tuple[bytes, bytes]]:
    """Every (key, value) under `root`, in key order. Keys must have a whole number of bytes."""
    reader = _Writer(read)
    pending: list[tuple[bytes, Any]] = [(b"", _BLANK if root == EMPTY_ROOT else root)]
    while pending:
        path, reference = pending.pop()
        node = reader.open(reference)
        if node is None:
            continue
        if len(node) == 17:
            pending += [(path + bytes([nibble]), node[nibble]) for nibble in range(15, -1, -1)]
            continue
        tail, is_leaf = _read_path(node[0])
        if is_leaf:
            yield _pack(path + tail), node[1]
        else:
            pending.append((path + tail, node[1]))


def root_of_list(values: Sequence[bytes]) -> Hash32:
    """The root of the trie of rlp(index) -> value: transactions, receipts, withdrawals."""
    changes: dict[bytes, bytes | None] = {encode_rlp(int_bytes(i)): value for i, value in enumerate(values)}
    return update(_no_nodes, EMPTY_ROOT, changes)[0]


def _no_nodes(_hash: Hash32) -> bytes | None:
    return None


class _Writer:
    """One batch over one trie. `update` returns the very node it was given when nothing under it changed."""

    def __init__(self, read: NodeReader, cache: NodeCache | None = None) -> None:
        self._read = read
        self._cache = cache
        self.new_nodes: NewNodes = {}

    def open(self, reference: Any) -> Node | None:
        """The node behind a child reference: nothing, an embedded node, or a hash."""
        if isinstance(reference, list):
            return reference
        if reference == _BLANK:
            return None
        data = self._held(reference)
        if data is None:
            data = self._read(reference)
            if data is not None and self._cache is not None:
                self._cache.put(reference, data)
        return _decode(reference, data)

    def _held(self, node_hash: Hash32) -> bytes | None:
        """The node, if it need not be read."""
        data = self.new_nodes.get(node_hash)
        return self._cache.get(node_hash) if data is None and self._cache is not None else data

    def _open_for(self, reference: Any, batch: list[_Item], depth: int) -> Node | None:
        """`open`, for a batch that goes there; a leaf that the batch knows is made up rather than read."""
        if len(batch) == 1 and batch[0][2] is not None and len(reference) == 32 and self._held(reference) is None:
            key, _, old = batch[0]
            leaf = [_write_path(key[depth:], True), old]
            if keccak256(encode_rlp(leaf)) == reference:
                return leaf
        return self.open(reference)

    def refer(self, node: Node | None) -> Any:
        """The reference that a parent holds for `node`; a node of 32 bytes and more is kept for storage."""
        if node is None:
            return _BLANK
        encoded = encode_rlp(node)
        if len(encoded) < 32:
            return node
        node_hash = keccak256(encoded)
        self.new_nodes[node_hash] = encoded
        return node_hash

    def update(self, node: Node | None, batch: list[_Item], depth: int) -> Node | None:
        """Apply `batch` (sorted, all keys sharing `depth` nibbles with `node`'s position) below `node`."""
        if node is None:
            return self._build([item for item in batch if item[1] is not None], depth)
        if len(node) == 17:
            return self._update_branch(node, batch, depth)
        path, is_leaf = _read_path(node[0])
        if is_leaf:
            return self._update_leaf(node, path, batch, depth)
        return self._update_extension(node, path, batch, depth)

    def _build(self, batch: list[_Item], depth: int) -> Node | None:
        """A fresh subtree of the given items."""
        if not batch:
            return None
        first, value, _ = batch[0]
        if len(batch) == 1:
            return [_write_path(first[depth:], True), value]
        fork = _fork(first, batch[-1][0], depth)
        branch: Node = [_BLANK] * 17
        for nibble, group in _groups(batch, fork):
            branch[nibble] = self.refer(self._build(group, fork + 1))
        return self._extend(first[depth:fork], branch)

    def _update_leaf(self, node: Node, path: bytes, batch: list[_Item], depth: int) -> Node | None:
        key, value, _ = batch[0]
        old: bytes = node[1]
        if len(batch) == 1 and key[depth:] == path:
            if value is None:
                return None
            return node if value == old else [node[0], value]
        own = key[:depth] + path
        kept = [] if any(item[0] == own for item in batch) else [(own, old, None)]
        added = [item for item in batch if item[1] is not None]
        if kept and not added:
            return node
        return self._build(sorted([*added, *kept]), depth)

    def _update_extension(self, node: Node, path: bytes, batch: list[_Item], depth: int) -> Node | None:
        whole = batch[0][0][:depth] + path
        fork = min(_fork(whole, batch[0][0], depth), _fork(whole, batch[-1][0], depth))
        if fork == depth + len(path):
            child = self.open(node[1])
            changed = self.update(child, batch, fork)
            return node if changed is child else self._extend(path, changed)
        branch: Node = [_BLANK] * 17
        below = whole[fork + 1 :]
        branch[whole[fork]] = self.refer([_write_path(below, False), node[1]]) if below else node[1]
        split = self._update_branch(branch, batch, fork, is_single=True)
        return node if split is branch else self._extend(whole[depth:fork], split)

    def _update_branch(self, node: Node, batch: list[_Item], depth: int, *, is_single: bool = False) -> Node | None:
        """`is_single`: the branch has one child only, as none in the trie has."""
        changed: Node | None = None
        may_collapse = is_single
        for nibble, group in _groups(batch, depth):
            child = self._open_for(node[nibble], group, depth + 1)
            new_child = self.update(child, group, depth + 1)
            if new_child is not child:
                changed = changed or list(node)
                changed[nibble] = self.refer(new_child)
                may_collapse = may_collapse or new_child is None
        if changed is None:
            return node
        if not may_collapse:
            return changed
        filled = [nibble for nibble in range(16) if changed[nibble] != _BLANK]
        if len(filled) > 1:
            return changed
        if not filled:
            return None
        return self._extend(bytes(filled), self.open(changed[filled[0]]))

    def _extend(self, path: bytes, node: Node | None) -> Node | None:
        """`node` moved down by `path`: what a branch with a single child, or an extension, turns into."""
        if node is None or not path:
            return node
        if len(node) == 17:
            return [_write_path(path, False), self.refer(node)]
        tail, is_leaf = _read_path(node[0])
        return [_write_path(path + tail, is_leaf), node[1]]


def _walk(read: NodeReader, root: Hash32, key: bytes, proof: list[bytes] | None) -> Node | None:
    """Follow `key` down to its leaf, or None; collects the RLP of the nodes that have a hash."""
    reference: Any = _BLANK if root == EMPTY_ROOT else root
    path = _nibbles(key)
    depth = 0
    while reference != _BLANK:
        if isinstance(reference, list):
            node = reference
        else:
            data = read(reference)
            node = _decode(reference, data)
            if proof is not None and data is not None:
                proof.append(data)
        if len(node) == 17:
            reference = node[path[depth]]
            depth += 1
            continue
        tail, is_leaf = _read_path(node[0])
        if is_leaf:
            return node if path[depth:] == tail else None
        if path[depth : depth + len(tail)] != tail:
            return None
        depth += len(tail)
        reference = node[1]
    return None


def _decode(node_hash: Any, data: bytes | None) -> Node:
    if data is None:
        raise StorageCorrupt(f"trie node {bytes(node_hash).hex()} is missing")
    node = decode_stored(data)
    if not isinstance(node, list) or len(node) not in (2, 17):
        raise StorageCorrupt(f"trie node {bytes(node_hash).hex()} is garbled")
    return node


def _groups(batch: list[_Item], depth: int) -> Iterator[tuple[int, list[_Item]]]:
    """Split a sorted batch by the nibble at `depth`."""
    if len(batch) == 1:
        yield batch[0][0][depth], batch
        return
    start = 0
    while start < len(batch):
        nibble = batch[start][0][depth]
        end = start + 1
        while end < len(batch) and batch[end][0][depth] == nibble:
            end += 1
        yield nibble, batch[start:end]
        start = end


def _fork(a: bytes, b: bytes, start: int) -> int:
    """The first place from `start` on where two paths part."""
    end = min(len(a), len(b))
    place = start
    while place < end and a[place] == b[place]:
        place += 1
    return place


def _nibbles(key: bytes) -> bytes:
    return hexlify(key).translate(_DIGIT_TO_NIBBLE)


def _pack(nibbles: bytes) -> bytes:
    try:
        return unhexlify(nibbles.translate(_NIBBLE_TO_DIGIT))
    except ValueError:
        raise InvariantError("a key of the trie has half a byte") from None


def _write_path(nibbles: bytes, is_leaf: bool) -> bytes:
    """Hex-prefix encoding (Yellow Paper, appendix C)."""
    return _pack(_FLAGGED[is_leaf][len(nibbles) % 2] + nibbles)


def _read_path(encoded: bytes) -> tuple[bytes, bool]:
    nibbles = _nibbles(encoded)
    flag = nibbles[0]
    return nibbles[1 if flag & 1 else 2 :], flag >= 2
