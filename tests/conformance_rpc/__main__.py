"""`python -m tests.conformance_rpc --fixtures DIR`: Ethereum's JSON-RPC test vectors (the `tests` folder of execution-apis).

The vectors come from a chain of Ethereum's, with its accounts, hashes and fees, which no other chain can have. So each request
is sent to a real server over a chain of ours as high as theirs, and what is compared is what does not depend on that history:
whether there is a result or an error, the error's code, the names of the fields, and for eth_simulateV1, whose vectors bring
their own state, the outcome of every call: status, gas, output, logs.
"""

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import trio

from tests.unit.rpc.fakes import running
from tests.unit.rpc.real import RealNode, real_node

HEIGHT = 54
"""Of the vectors' chain."""
CHAIN_ID = "0xc72dd9d5e883e"
NAMESPACES = ("eth", "net", "web3", "txpool", "debug", "open", "rpc")


def exchanges(path: Path) -> Iterator[tuple[Any, Any]]:
    """(request, expected answer) pairs of a file."""
    request = None
    for line in path.read_text().splitlines():
        if line.startswith(">> "):
            request = json.loads(line[3:])
        elif line.startswith("<< "):
            yield request, json.loads(line[3:])


def fields(value: Any, at: str = "") -> set[str]:
    """The paths of all fields; items of lists are taken together. What is null or empty has none."""
    if isinstance(value, list):
        return set().union(*(fields(each, at + "[]") for each in value))
    if isinstance(value, dict):
        return set().union(*({f"{at}.{key}"} | fields(each, f"{at}.{key}") for key, each in value.items()))
    return set()


def outcomes(blocks: Any) -> list[Any]:
    """What eth_simulateV1's calls did, without what depends on the chain."""
    logs = ("address", "topics", "data", "logIndex", "transactionIndex")
    return [
        {
            **{name: call.get(name) for name in ("status", "gasUsed", "maxUsedGas", "returnData", "error")},
            "logs": [{name: log[name] for name in logs} for log in call.get("logs") or ()],
        }
        for block in blocks
        for call in block["calls"]
    ]


def difference(request: Any, expected: Any, answer: Any) -> str:
    """What is wrong with an answer; empty if nothing is."""
    if "error" in expected:
        have = answer.get("error", {"code": "a result"})["code"]
        want = expected["error"]["code"]
        return "" if have == want else f"error {have}, expected {want} ({expected['error']['message']})"
    if "error" in answer:
        return f"error {answer['error']}, expected a result"
    want, have = expected["result"], answer["result"]
    if request["method"] == "eth_simulateV1":
        pairs = zip(outcomes(have), outcomes(want), strict=False)
        wrong = [f"call {place}: {ours} != {theirs}" for place, (ours, theirs) in enumerate(pairs) if ours != theirs]
        if wrong or len(have) != len(want):
            return f"{len(have)} blocks for {len(want)}; {' '.join(wrong)}"
    if not want or not have or not isinstance(want, dict | list):
        return ""
    missing, more = fields(want) - fields(have), fields(have) - fields(want)
    return f"missing {sorted(missing)}, too many {sorted(more)}" if missing or more else ""


async def run(folder: Path, files: list[Path], node: RealNode) -> Counter[str]:
    count: Counter[str] = Counter()
    for _ in range(HEIGHT):
        await node.produce()
    async with running(node, {"call_timeout_s": 60}, namespaces=NAMESPACES) as client:
        for path in files:
            for request, expected in exchanges(path):
                body = json.dumps(request).replace(CHAIN_ID, hex(node.chain.spec.chain_id)).encode()
                answer = orjson.loads((await client.post(body)).content)
                wrong = difference(request, expected, answer)
                count["different" if wrong else "equal"] += 1
                if wrong:
                    print(f"{path.relative_to(folder)}: {wrong}"[:2_000])
    return count


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.conformance_rpc")
    parser.add_argument("--fixtures", type=Path, required=True, help="the `tests` folder of execution-apis")
    parser.add_argument("--only", default="", help="part of the path of the files to run")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, real_node(Path(folder)) as node:
        files = sorted(path for path in arguments.fixtures.rglob("*.io") if arguments.only in str(path))
        count = trio.run(run, arguments.fixtures, files, node)
    print(dict(count))
    return 0 if count["equal"] else 1


if __name__ == "__main__":
    sys.exit(main())
