"""`signer`: a validator's key in a process of its own."""

from typing import Any, Final

import click

from node.cli.options import datadir_option, expand

SOCKET_DEFAULT: Final = "signer/signer.sock"


def register(group: click.Group) -> None:
    group.add_command(signer)


@click.command()
@datadir_option
@click.option(
    "--socket", metavar="PATH", help=f"Unix socket to listen on [default: {SOCKET_DEFAULT} in the data directory]"
)
@click.option("--log.level", "log_level", default="info", show_default=True, help="least severe level logged")
@click.option("--log.format", "log_format", default="text", show_default=True, help="text or json")
def signer(datadir: str, socket: str | None, **options: Any) -> None:
    """Hold a validator's key and its sign record, and sign for a node that runs with --validator.signer-socket PATH.

    The data directory is the signer's own (`openledger init --genesis FILE --validator`): genesis.json, keystore/, and
    consensus/ADDRESS.signed. To move a key from a node, stop the node and move keystore and sign record together.
    """
    from pathlib import Path

    from node.home.config import resolve
    from node.signer.process import run_signer

    directory = expand(datadir)
    flags = {"log.level": options["log_level"], "log.format": options["log_format"]}
    path = directory / SOCKET_DEFAULT if socket is None else Path.cwd() / Path(socket).expanduser()
    raise SystemExit(run_signer(resolve(directory, flags), path))
