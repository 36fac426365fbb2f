"""`init`, `start`, `config show`, `status`, `rollback`, `version`."""

import json
from pathlib import Path
from typing import Any

import click

from genesis.errors import LocalError
from node.cli.options import datadir_option, expand, read_password, resolve_options, setting_options
from node.home.config import CONFIG_FILE, SETTINGS, http_url, to_toml
from node.telemetry.version import VERSION, client_version


def register(group: click.Group) -> None:
    group.add_command(init)
    group.add_command(start)
    group.add_command(config)
    group.add_command(status)
    group.add_command(version)
    group.add_command(rollback)


@click.command()
@datadir_option
@click.option("--genesis", metavar="FILE", help="genesis file of the chain to join [default: a new chain of your own]")
@click.option("--validator", is_flag=True, help="make a consensus key too")
@click.option("--chain-id", type=int, default=31337, show_default=True, help="chain id of a new chain")
@click.option("--password-file", metavar="FILE", help="file with the password for the new key")
def init(datadir: str, genesis: str | None, validator: bool, chain_id: int, password_file: str | None) -> None:
    """Make a data directory, with --genesis for an existing chain, without for a new one with a single validator."""
    from node.home.datadir import initialise

    directory = expand(datadir)
    password = None
    if validator or genesis is None:
        password = read_password(password_file, confirm=True, what="the new consensus key")
    made = initialise(directory, Path(genesis) if genesis else None, chain_id, password, password_file)
    for line in made:
        click.echo(line)


@click.command()
@datadir_option
@click.option("--genesis", metavar="FILE", help="genesis file, for a data directory that has none yet")
@click.option("--peer", "peers", metavar="ADDR", multiple=True, help="a peer to connect to; may be repeated")
@setting_options
def start(datadir: str, genesis: str | None, peers: tuple[str, ...], **options: Any) -> None:
    """Run a node until it is stopped (Ctrl-C or SIGTERM)."""
    settings = resolve_options(datadir, options)
    if peers:
        settings = settings.with_values("flag --peer", p2p_peers=tuple(dict.fromkeys((*settings["p2p.peers"], *peers))))
    from node.process import run_node

    raise SystemExit(run_node(settings, Path(genesis) if genesis else None))


@click.group()
def config() -> None:
    """Settings and where they come from."""


@config.command("show")
@datadir_option
@setting_options
@click.option("--json", "as_json", is_flag=True, help="as JSON, with sources")
def config_show(datadir: str, as_json: bool, **options: Any) -> None:
    """Print every setting as `start` would see it: flag before environment before config.toml before default."""
    settings = resolve_options(datadir, options)
    if as_json:
        plain = {name: {"value": value.value, "source": value.source} for name, value in settings.values.items()}
        click.echo(json.dumps({"datadir": str(settings.datadir), "settings": plain}, indent=2))
        return
    click.echo(f"# data directory: {settings.datadir}\n# settings file: {settings.datadir / CONFIG_FILE}")
    for setting in SETTINGS:
        value = settings.values[setting.name]
        if value.source != "default":
            click.echo(f"# {setting.name}: from {value.source}")
    click.echo()
    click.echo(to_toml({setting.name: settings[setting.name] for setting in SETTINGS}).rstrip())


@click.command()
@datadir_option
@click.option("--rpc", metavar="URL", help="JSON-RPC of the node [default: as configured in the data directory]")
@click.option("--json", "as_json", is_flag=True, help="as JSON")
def status(datadir: str, rpc: str | None, as_json: bool) -> None:
    """Ask a running node how it is, over JSON-RPC."""
    from node.cli.status import node_status

    if rpc is None:
        settings = resolve_options(datadir, {})
        rpc = http_url(settings["http.addr"][0], settings["http.port"])
    found = node_status(rpc)
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for name, value in found.items():
        click.echo(f"{name:<12} {value}")


@click.command()
@datadir_option
def rollback(datadir: str) -> None:
    """Take the last block back, so that it is fetched and executed once more. The node must not run.

    For a node that stopped over a block that the others have executed otherwise: mend or update it, roll back, start again.
    The consensus log is set aside. A validator that has signed the block sits that height out, and signs from the next one on.
    """
    from node.chain.worker import prepare_threads
    from node.home.datadir import CHAIN_FOLDER, CONSENSUS_FOLDER, settle_spec
    from node.home.lock import DirectoryLock
    from node.node import open_store
    from node.os_errors import exists, told

    directory = expand(datadir)
    if not exists(directory / CHAIN_FOLDER):
        raise LocalError(f"{directory} holds no chain yet: there is nothing to take back")
    prepare_threads()
    with DirectoryLock(directory):
        store = open_store(directory, settle_spec(directory, None))
        try:
            gone = store.tip()
            tip = store.rollback()
        finally:
            store.close()
        log = directory / CONSENSUS_FOLDER / "wal"
        if exists(log):
            with told(f"set {log} aside"):
                log.replace(log.with_name(f"wal.before-rollback-of-{gone.height}"))
    click.echo(f"took back block {gone.height} ({gone.hash.hex()}); the tip is block {tip.height} ({tip.hash.hex()})")


@click.command()
def version() -> None:
    """Print the version of this node."""
    click.echo(f"openledger {VERSION} ({client_version()})")
