"""`devnet` and `demo`."""

from pathlib import Path

import click

from node.cli.options import expand

DEVNET_DATADIR = "devnet-data"


def register(group: click.Group) -> None:
    group.add_command(devnet)
    group.add_command(demo)


@click.command()
@click.option("--validators", type=int, default=4, show_default=True, help="validator processes")
@click.option("--datadir", metavar="DIR", default=DEVNET_DATADIR, show_default=True, help="kept between runs")
@click.option(
    "--rpc-port", type=int, default=8545, show_default=True, help="JSON-RPC of the first node; node i uses +i"
)
@click.option("--accounts", type=int, default=10, show_default=True, help="funded accounts")
@click.option("--block-interval-ms", type=int, default=250, show_default=True, help="least time between blocks")
@click.option("--log.level", "log_level", default="info", show_default=True, help="of the nodes' log files")
def devnet(validators: int, datadir: str, rpc_port: int, accounts: int, block_interval_ms: int, log_level: str) -> None:
    """Start a local network of validators with funded accounts; Ctrl-C stops it, starting again goes on."""
    from node.devnet.plan import DevnetOptions
    from node.devnet.supervisor import run_devnet

    options = DevnetOptions(
        directory=expand(datadir),
        validators=validators,
        accounts=accounts,
        rpc_port=rpc_port,
        block_interval_ms=block_interval_ms,
        log_level=log_level,
    )
    raise SystemExit(run_devnet(options, click.echo))


@click.command()
@click.option(
    "--rpc", metavar="URL", default="http://127.0.0.1:8545", show_default=True, help="JSON-RPC of a devnet's node"
)
@click.option("--own-devnet", is_flag=True, help="start a devnet for the demo and stop it afterwards")
@click.option("--rpc-port", type=int, default=18545, show_default=True, help="first port of an own devnet")
def demo(rpc: str, own_devnet: bool, rpc_port: int) -> None:
    """Pay real contributors for real text, every figure checked against a reference."""
    from node.demo.run import run_demo

    if not own_devnet:
        raise SystemExit(0 if run_demo(rpc, click.echo) else 1)
    import tempfile

    from node.devnet.plan import DevnetOptions
    from node.devnet.supervisor import run_devnet

    with tempfile.TemporaryDirectory(prefix="openledger-demo-") as directory:
        options = DevnetOptions(directory=Path(directory), rpc_port=rpc_port)
        code = run_devnet(
            options,
            click.echo,
            when_ready=lambda network: 0 if run_demo(network.nodes[0].rpc, click.echo, stays=False) else 1,
        )
    raise SystemExit(code)
