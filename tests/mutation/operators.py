"""Mutants of one module: small changes of its syntax tree, each of which some test should notice.

Every operator is a function from a node to its replacements, written as source text. Not mutated, because no test can or should
tell: annotations, docstrings and other strings, decorators, f-strings, the arguments of `raise`, calls that log, and `strict=`.
"""

import ast
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

Change = tuple[ast.AST, str]
"""A node and the text that takes its place."""
Operator = Callable[[ast.AST], Iterator[Change]]

_COMPARED: Final[dict[type[ast.cmpop], ast.cmpop]] = {
    ast.Lt: ast.LtE(),
    ast.LtE: ast.Lt(),
    ast.Gt: ast.GtE(),
    ast.GtE: ast.Gt(),
    ast.Eq: ast.NotEq(),
    ast.NotEq: ast.Eq(),
    ast.Is: ast.IsNot(),
    ast.IsNot: ast.Is(),
    ast.In: ast.NotIn(),
    ast.NotIn: ast.In(),
}
_OPPOSITE: Final[dict[type[ast.operator], ast.operator]] = {
    ast.Add: ast.Sub(),
    ast.Sub: ast.Add(),
    ast.Mult: ast.FloorDiv(),
    ast.FloorDiv: ast.Mult(),
    ast.Div: ast.Mult(),
    ast.Mod: ast.FloorDiv(),
    ast.Pow: ast.Mult(),
    ast.LShift: ast.RShift(),
    ast.RShift: ast.LShift(),
    ast.BitAnd: ast.BitOr(),
    ast.BitOr: ast.BitAnd(),
    ast.BitXor: ast.BitOr(),
}
_FUNCTION_FOR: Final = {"min": "max", "max": "min", "all": "any", "any": "all", "sorted": "list"}
_LOGS: Final = {"log", "_log", "logger", "LOG", "warnings"}
_FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Mutant:
    """One change of one module: the text from `start` to `end` becomes `after`."""

    module: str
    function: str
    """Qualified name of the function or class around it; empty at the top of the module."""
    operator: str
    line: str
    """The stripped source line on which the change begins."""
    before: str
    after: str
    first_line: int
    last_line: int
    start: int
    end: int
    copy: int = 0
    """0, or how many mutants with the same words stand before this one."""

    @property
    def key(self) -> tuple[str, ...]:
        """What it is, in words that outlive a change of line numbers."""
        return self.module, self.function, self.operator, self.line, self.before, self.after

    def rank(self, seed: int) -> bytes:
        """Its place in the random order of `seed`. It depends on nothing but itself, so other code may change."""
        return hashlib.sha256("\0".join((str(seed), *self.key, str(self.copy))).encode()).digest()

    def applied_to(self, source: str) -> str:
        """The module with the change. ValueError: the result is no Python, a fault of the operator."""
        data = source.encode()
        changed = (data[: self.start] + self.after.encode() + data[self.end :]).decode()
        try:
            compile(changed, self.module, "exec")
        except SyntaxError as error:
            raise ValueError(f"{self}: {error}") from None
        return changed

    def __str__(self) -> str:
        where = f"{self.module}:{self.first_line}" + (f" {self.function}" if self.function else "")
        return f"{where} ({self.operator}) `{self.before}` -> `{self.after}` in `{self.line}`"


def _text(node: ast.AST) -> str:
    return ast.unparse(node)


def _compare(node: ast.AST) -> Iterator[Change]:
    if isinstance(node, ast.Compare):
        for place, op in enumerate(node.ops):
            ops = [*node.ops[:place], _COMPARED[type(op)], *node.ops[place + 1 :]]
            yield node, _text(ast.Compare(node.left, ops, node.comparators))


def _arithmetic(node: ast.AST) -> Iterator[Change]:
    if isinstance(node, ast.BinOp) and type(node.op) in _OPPOSITE:
        yield node, _text(ast.BinOp(node.left, _OPPOSITE[type(node.op)], node.right))
    if isinstance(node, ast.AugAssign) and type(node.op) in _OPPOSITE:
        yield node, _text(ast.AugAssign(node.target, _OPPOSITE[type(node.op)], node.value))


def _constant(node: ast.AST) -> Iterator[Change]:
    if isinstance(node, ast.Constant) and type(node.value) is int:
        yield node, str(node.value + 1)


def _constant_bool(node: ast.AST) -> Iterator[Change]:
    if isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield node, str(not node.value)


def _bool(node: ast.AST) -> Iterator[Change]:
    if isinstance(node, ast.BoolOp):
        yield node, _text(ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values))


def _bool_drop(node: ast.AST) -> Iterator[Change]:
    if isinstance(node, ast.BoolOp):
        neutral = str(isinstance(node.op, ast.And))
        yield from ((value, neutral) for value in node.values)


def _not(node: ast.AST) -> Iterator[Change]:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield node, _text(node.operand)


def _if(value: str) -> Operator:
    def forced(node: ast.AST) -> Iterator[Change]:
        if isinstance(node, ast.If) and not isinstance(node.test, ast.Constant):
            yield node.test, value

    return forced


def _if_expression(node: ast.AST) -> Iterator[Change]:
    if isinstance(node, ast.IfExp):
        yield node.test, f"not ({_text(node.test)})"


def _filter(node: ast.AST) -> Iterator[Change]:
    if isinstance(node, ast.comprehension):
        yield from ((test, "True") for test in node.ifs)


def _min_max(node: ast.AST) -> Iterator[Change]:
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
        return
    if node.func.id in _FUNCTION_FOR and not (node.func.id == "sorted" and node.keywords):
        yield node.func, _FUNCTION_FOR[node.func.id]


def _slice(node: ast.AST) -> Iterator[Change]:
    if isinstance(node, ast.Slice):
        yield from ((bound, f"({_text(bound)}) + 1") for bound in (node.lower, node.upper) if bound is not None)


def _drop_call(node: ast.AST) -> Iterator[Change]:
    if isinstance(node, ast.Expr) and _is_call(node.value):
        yield node, "pass"


def _drop_assign(node: ast.AST) -> Iterator[Change]:
    if isinstance(node, ast.AugAssign):
        yield node, "pass"
    if isinstance(node, ast.Assign) and any(isinstance(each, ast.Subscript | ast.Attribute) for each in node.targets):
        yield node, "pass"


def _drop_return(node: ast.AST) -> Iterator[Change]:
    if isinstance(node, ast.If | ast.For | ast.While | ast.With):
        for each in ast.iter_child_nodes(node):
            if isinstance(each, ast.Return):
                yield each, "pass"


def _drop(kind: type[ast.stmt]) -> Operator:
    def dropped(node: ast.AST) -> Iterator[Change]:
        if isinstance(node, kind):
            yield node, "pass"

    return dropped


def _break_continue(node: ast.AST) -> Iterator[Change]:
    if isinstance(node, ast.Break):
        yield node, "continue"


def _early_return(node: ast.AST) -> Iterator[Change]:
    if isinstance(node, _FunctionNode) and not any(
        isinstance(each, ast.Return) and each.value for each in ast.walk(node)
    ):
        yield from ((each, "return") for each in node.body if isinstance(each, ast.Expr) and _is_call(each.value))


OPERATORS: Final[dict[str, Operator]] = {
    "cmp": _compare,
    "arith": _arithmetic,
    "const": _constant,
    "const-bool": _constant_bool,
    "bool": _bool,
    "bool-drop": _bool_drop,
    "not": _not,
    "if-false": _if("False"),
    "if-true": _if("True"),
    "ifexp": _if_expression,
    "drop-filter": _filter,
    "minmax": _min_max,
    "slice": _slice,
    "drop-call": _drop_call,
    "drop-assign": _drop_assign,
    "drop-return": _drop_return,
    "drop-raise": _drop(ast.Raise),
    "drop-del": _drop(ast.Delete),
    "drop-continue": _drop(ast.Continue),
    "break-continue": _break_continue,
    "early-return": _early_return,
}


def _is_call(node: ast.AST) -> bool:
    """Whether it is a call, awaited or not, that does more than write to the log."""
    call = node.value if isinstance(node, ast.Await) else node
    if not isinstance(call, ast.Call):
        return False
    owner = call.func.value if isinstance(call.func, ast.Attribute) else None
    name = owner.id if isinstance(owner, ast.Name) else owner.attr if isinstance(owner, ast.Attribute) else ""
    return name not in _LOGS


def _is_left_alone(node: ast.AST) -> bool:
    """Whether nothing below the node is mutated."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Call | ast.Await) and not _is_call(node.value)
    if isinstance(node, ast.keyword):
        return node.arg == "strict"
    return isinstance(node, ast.Raise | ast.JoinedStr | ast.Import | ast.ImportFrom)


def _inner(node: ast.AST) -> Iterator[ast.AST]:
    """The children that may be mutated."""
    if _is_left_alone(node):
        return
    left_out: list[ast.AST | None] = []
    if isinstance(node, _FunctionNode):
        left_out = [*node.decorator_list, node.returns]
    elif isinstance(node, ast.ClassDef):
        left_out = [*node.decorator_list]
    elif isinstance(node, ast.AnnAssign | ast.arg):
        left_out = [node.annotation]
    yield from (each for each in ast.iter_child_nodes(node) if each not in left_out)


def _walk(node: ast.AST, names: tuple[str, ...]) -> Iterator[tuple[ast.AST, str]]:
    yield node, ".".join(names)
    named = isinstance(node, _FunctionNode | ast.ClassDef)
    for each in _inner(node):
        yield from _walk(each, (*names, node.name) if named else names)


def mutants(module: str, source: str) -> list[Mutant]:
    """All mutants of a module, in the order of its lines."""
    data = source.encode()
    lines = data.split(b"\n")
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line) + 1)
    found: list[Mutant] = []
    seen: dict[tuple[str, ...], int] = {}
    for node, function in _walk(ast.parse(source), ()):
        for operator, changes in OPERATORS.items():
            for at, after in changes(node):
                mutant = Mutant(
                    module=module,
                    function=_name_of(node, function),
                    operator=operator,
                    line=lines[at.lineno - 1].decode().strip(),
                    before=_text(at),
                    after=f"({after})" if isinstance(at, ast.expr) and not isinstance(at, ast.Name) else after,
                    first_line=at.lineno,
                    last_line=at.end_lineno or at.lineno,
                    start=starts[at.lineno - 1] + at.col_offset,
                    end=starts[(at.end_lineno or at.lineno) - 1] + (at.end_col_offset or 0),
                )
                seen[mutant.key] = seen.get(mutant.key, -1) + 1
                found.append(replace(mutant, copy=seen[mutant.key]))
    return sorted(found, key=lambda mutant: (mutant.start, mutant.operator, mutant.after))


def _name_of(node: ast.AST, function: str) -> str:
    """`early-return` looks at a function from outside; its changes are inside."""
    return f"{function}.{node.name}".lstrip(".") if isinstance(node, _FunctionNode) else function
