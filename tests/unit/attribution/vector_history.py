"""A random history of one datanet with vectors, kept twice: by the contract and in plain lists."""

import random
from dataclasses import dataclass, field

from attribution_precompile.declarations import DatanetParams, Method, Use
from attribution_precompile.rules.tokens import WORDS_V1
from genesis.primitives import Address
from tests.unit.attribution.direct import Direct
from tests.unit.attribution.walk import ZERO32
from tests.unit.attribution.world import OWNER, words
from tests.unit.native.harness import address

WHO = address(501)


@dataclass
class Given:
    id: int
    vectors: list[tuple[int, tuple[int, ...]]] = field(default_factory=list)
    """(order of the call that brought it, components)."""
    accepted_in: int | None = None
    left_after: int | None = None
    dead: bool = False


class VectorHistory:
    """Few components of few values, so that vectors repeat."""

    def __init__(self, rng: random.Random) -> None:
        self.rng, self.direct = rng, Direct()
        self.dim = rng.choice([1, 2, 3])
        self.given: list[Given] = []
        self.versions = 0
        self.clock = 0
        params = DatanetParams("", ZERO32, WORDS_V1, 8, False, True, 31, 0, 0, 10_000, 0, 10**6)
        self.direct.call(OWNER, "createDatanet", params)
        self._give()

    def vector(self) -> tuple[int, ...]:
        return tuple(self.rng.choice([-128, -5, 0, 1, 7, 127]) for _ in range(self.dim))

    def step(self) -> None:
        self.rng.choice(
            [
                self._give,
                self._give,
                self._more,
                self._accept,
                self._accept,
                self._leave,
                self.publish,
            ]
        )()
        self.direct.next_block()

    def _give(self) -> None:
        number = len(self.given)
        content = words(number * 50, 12).encode()
        given = Given(self.direct.call(WHO, "contribute", 1, content, ZERO32, WHO, ZERO32))
        self.given.append(given)
        self._commit(given)
        self.direct.next_block()

    def _more(self) -> None:
        waiting = [g for g in self.given if g.accepted_in is None and not g.dead and g.left_after is None]
        if waiting:
            self._commit(self.rng.choice(waiting))

    def _commit(self, given: Given) -> None:
        self.clock += 1
        vectors = [self.vector() for _ in range(self.rng.randint(1, 4))]
        given.vectors += [(self.clock, vector) for vector in vectors]
        data = bytes(component % 256 for vector in vectors for component in vector)
        self.direct.call(WHO, "commitVectors", given.id, self.dim, data)

    def _accept(self) -> None:
        waiting = [g for g in self.given if g.accepted_in is None and not g.dead and g.left_after is None]
        if waiting:
            given = self.rng.choice(waiting)
            self.direct.call(OWNER, "review", given.id, True, 1)
            given.accepted_in = self.versions + 1

    def _leave(self) -> None:
        staying = [g for g in self.given if not g.dead and g.left_after is None]
        if staying and self.rng.random() < 0.6:
            given = self.rng.choice(staying)
            erase = self.rng.random() < 0.5
            self.direct.call(WHO, *(("erase", given.id) if erase else ("withdrawConsent", given.id, 31)))
            included = given.accepted_in is not None and given.accepted_in <= self.versions
            given.dead = erase
            if not (erase and included):
                given.left_after = self.versions

    def publish(self) -> None:
        self.direct.call(OWNER, "publishVersion", 1)
        self.versions += 1
        self.direct.next_block()

    # ---------------------------------------------------------------- the two answers

    def scores(self, version: int, query: tuple[int, ...]) -> list[tuple[int, int]]:
        """Best first; at most 64 (there are fewer)."""
        members = [
            g
            for g in self.given
            if g.accepted_in is not None
            and g.accepted_in <= version
            and (g.left_after is None or version <= g.left_after)
            and not g.dead
        ]
        first: dict[tuple[int, ...], tuple[int, int]] = {}
        for given in members:
            for order, vector in given.vectors:
                if vector not in first or order < first[vector][0]:
                    first[vector] = order, given.id
        best: dict[int, int] = {}
        for vector, (_, owner) in first.items():
            product = sum(a * b for a, b in zip(vector, query, strict=True))
            if product > 0:
                best[owner] = max(best.get(owner, 0), product)
        return sorted(best.items(), key=lambda item: (-item[1], item[0]))[:64]

    def chain_scores(self, version: int, query: tuple[int, ...]) -> list[tuple[int, int]]:
        uses = (Use(1, version, 2, 10_000),)
        arguments = ("", ZERO32, Method.DOT, Address(bytes(20)), 0, 0, 0, (), uses)
        model = self.direct.call(OWNER, "registerModel", *arguments)
        return list(self.direct.call(WHO, "traceVector", model, bytes(c % 256 for c in query)))
