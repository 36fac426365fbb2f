"""What an operator can set, where it may be set, and what wins: flag before environment before config.toml before default.

The name of a setting is the same everywhere: `http.port` is `--http.port`, `OPENLEDGER_HTTP_PORT`, and `port` in the table
`[http]` of `<datadir>/config.toml`. What all nodes of a chain must agree on is never here; that is the chain spec.
"""

import dataclasses
import difflib
import os
import tomllib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from genesis.errors import LocalError
from node.os_errors import exists, read_text

CONFIG_FILE: Final = "config.toml"
ENVIRONMENT_PREFIX: Final = "OPENLEDGER_"
DATADIR_VARIABLE: Final = ENVIRONMENT_PREFIX + "DATADIR"
DEFAULT_DATADIR: Final = "~/.openledger"


@dataclass(frozen=True, slots=True)
class Setting:
    """One thing that can be set."""

    name: str
    default: Any
    parse: Callable[[Any], Any]
    """From a flag's or variable's text, or from a TOML value, to the value. Raises ValueError."""
    help: str
    metavar: str = "TEXT"
    is_list: bool = False

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def environment(self) -> str:
        return ENVIRONMENT_PREFIX + self.name.replace(".", "_").upper()


def _text(raw: Any) -> str:
    if not isinstance(raw, str):
        raise ValueError("expected text")
    return raw


def _whole(raw: Any) -> int:
    if isinstance(raw, bool) or not isinstance(raw, int | str):
        raise ValueError("expected a whole number")
    if isinstance(raw, str) and not raw.isdecimal():
        raise ValueError(f"expected a whole number, found {raw!r}")
    if int(raw) < 0:
        raise ValueError("expected a number that is not negative")
    return int(raw)


def _port(raw: Any) -> int:
    port = _whole(raw)
    if port > 65_535:
        raise ValueError(f"{port} is not a port (0 to 65535)")
    return port


def _items(raw: Any) -> tuple[str, ...]:
    if isinstance(raw, str):
        return tuple(item.strip() for item in raw.split(",") if item.strip())
    if isinstance(raw, list | tuple) and all(isinstance(item, str) for item in raw):
        return tuple(raw)
    raise ValueError("expected a list of texts")


def _addresses(raw: Any) -> tuple[str, ...]:
    """Addresses to listen on; IPv6 ones with or without brackets."""
    found = tuple(item.removeprefix("[").removesuffix("]") for item in _items(raw))
    if not found or len(set(found)) < len(found):
        raise ValueError(f"expected one address or several different ones, found {raw!r}")
    return found


def _one_of(*choices: str) -> Callable[[Any], str]:
    def parse(raw: Any) -> str:
        text = _text(raw).lower()
        if text not in choices:
            raise ValueError(f"expected one of {', '.join(choices)}, found {raw!r}")
        return text

    return parse


SETTINGS: Final = (
    Setting("name", "", _text, "name of this node in logs and metrics"),
    Setting("http.addr", ("127.0.0.1",), _addresses, "addresses that JSON-RPC listens on", "LIST", True),
    Setting("http.port", 8545, _port, "port of JSON-RPC (HTTP and WebSocket)", "PORT"),
    Setting("http.api", ("eth", "net", "web3", "txpool", "open", "rpc"), _items, "namespaces served", "LIST", True),
    Setting(
        "http.corsdomain", ("localhost", "127.0.0.1", "[::1]"), _items, "origins a browser may call from", "LIST", True
    ),
    Setting(
        "http.token_file",
        "",
        _text,
        "file with the bearer token of debug and admin (none: loopback may use them)",
        "FILE",
    ),
    Setting("http.vhosts", ("localhost",), _items, "host names that requests may be addressed to", "LIST", True),
    Setting("ws.port", 0, _port, "a port of its own for WebSocket (0: the HTTP port serves it)", "PORT"),
    Setting(
        "devnet.accounts",
        0,
        _whole,
        "accounts of the devnet's well-known mnemonic that this node signs for (refused on any other chain)",
    ),
    Setting("p2p.addr", ("0.0.0.0",), _addresses, "addresses that peers connect to", "LIST", True),  # noqa: S104 - they must reach it
    Setting("p2p.port", 30303, _port, "port that peers connect to", "PORT"),
    Setting("p2p.peers", (), _items, "peers to keep connected to: /ip4/…/tcp/…/p2p/…", "LIST", True),
    Setting("metrics.addr", ("127.0.0.1",), _addresses, "addresses of the Prometheus metrics", "LIST", True),
    Setting("metrics.port", 0, _port, "port of the Prometheus metrics (0: off)", "PORT"),
    Setting("log.level", "info", _one_of("debug", "info", "warning", "error"), "least severe level logged", "LEVEL"),
    Setting("log.format", "text", _one_of("text", "json"), "how log lines look", "FORMAT"),
    Setting("log.file", "", _text, "file that is logged to, opened anew on SIGHUP (none: standard error)", "FILE"),
    Setting("halt_height", 0, _whole, "stop once this height is final (0: never)", "HEIGHT"),
    Setting("validator.keystore", "", _text, "keystore of the consensus key (none: a full node)", "FILE"),
    Setting("validator.password_file", "", _text, "file with the keystore's password", "FILE"),
    Setting("validator.signer_socket", "", _text, "socket of an `openledger signer` that holds the key", "FILE"),
)
BY_NAME: Final = {setting.name: setting for setting in SETTINGS}


@dataclass(frozen=True, slots=True)
class Value:
    """A setting's value and where it came from."""

    value: Any
    source: str


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """Every setting of a node, resolved. Paths in it are relative to the data directory."""

    datadir: Path
    values: Mapping[str, Value]

    def __getitem__(self, name: str) -> Any:
        return self.values[name].value

    def path(self, name: str) -> Path | None:
        """The file that a setting names, or None if it is unset."""
        text = self[name]
        return self.datadir / Path(text).expanduser() if text else None

    def with_values(self, source: str, **values: Any) -> "NodeConfig":
        """The same settings with some replaced (`http_port=1` sets `http.port`)."""
        replaced = {
            name.replace("_", ".", 1) if "." not in name else name: Value(v, source) for name, v in values.items()
        }
        return dataclasses.replace(self, values={**self.values, **replaced})


def resolve(
    datadir: Path,
    flags: Mapping[str, Any],
    environment: Mapping[str, str] | None = None,
) -> NodeConfig:
    """Settle every setting. `flags` maps names to what the command line gave; None means not given.

    Raises LocalError that names the key, where it stands, and what is wrong with it.
    """
    environment = os.environ if environment is None else environment
    check_environment(environment)
    file = read_config_file(datadir / CONFIG_FILE)
    values: dict[str, Value] = {}
    for setting in SETTINGS:
        if flags.get(setting.name) is not None:
            values[setting.name] = _parsed(setting, flags[setting.name], f"flag {setting.flag}")
        elif setting.environment in environment:
            values[setting.name] = _parsed(
                setting, environment[setting.environment], f"environment {setting.environment}"
            )
        elif setting.name in file:
            values[setting.name] = _parsed(setting, file[setting.name], CONFIG_FILE)
        else:
            values[setting.name] = Value(setting.default, "default")
    return NodeConfig(datadir, values)


def check_environment(environment: Mapping[str, str]) -> None:
    """Raises LocalError for a variable that begins like a setting's and is none: it would do nothing."""
    known = [DATADIR_VARIABLE, *(setting.environment for setting in SETTINGS)]
    for name in environment:
        if name.startswith(ENVIRONMENT_PREFIX) and name not in known:
            raise LocalError(f"unknown environment variable {name}{_nearest(name, known)}")


def _nearest(name: str, known: Collection[str]) -> str:
    nearest = difflib.get_close_matches(name, known, 1, 0.5)
    return f"; did you mean {nearest[0]!r}?" if nearest else f"; known are {', '.join(known)}"


def _parsed(setting: Setting, raw: Any, source: str) -> Value:
    try:
        return Value(setting.parse(raw), source)
    except ValueError as error:
        raise LocalError(f"{setting.name} ({source}): {error}") from None


def read_config_file(path: Path) -> dict[str, Any]:
    """The settings of a config.toml by name; empty if there is no file. An unknown key is an error: it would do nothing."""
    if not exists(path):
        return {}
    try:
        tables = tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise LocalError(f"{path} cannot be read as TOML: {error}") from None
    found: dict[str, Any] = {}
    for key, value in tables.items():
        if isinstance(value, dict):
            found.update({f"{key}.{inner}": item for inner, item in value.items()})
        else:
            found[key] = value
    for name in found:
        if name not in BY_NAME:
            raise LocalError(f"{path}: unknown key {name!r}{_nearest(name, BY_NAME)}")
    return found


def http_url(host: str, port: int) -> str:
    """The URL of what listens there: an IPv6 address in brackets, and loopback for one that stands for all addresses."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - nothing is bound
    return f"http://{host_port(host, port)}"


def host_port(host: str, port: int) -> str:
    """Both as one text, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def to_toml(values: Mapping[str, Any], comment: str = "") -> str:
    """A config.toml with these settings, by name."""
    import tomlkit

    document = tomlkit.document()
    for line in comment.splitlines():
        document.add(tomlkit.comment(line))
    for name, value in values.items():
        plain = list(value) if isinstance(value, tuple) else value
        table_name, dot, key = name.partition(".")
        if not dot:
            document.add(name, plain)
            continue
        if table_name not in document:
            document.add(table_name, tomlkit.table())
        table = document[table_name]
        table[key] = plain
    return tomlkit.dumps(document)
