"""The command line. Cheap to import: a command imports what it needs when it runs, so `openledger version` takes no second.

Exit codes: 0 done, 1 something is wrong (one line on stderr says what and what to do), 2 the command line itself is wrong.
"""

import logging
import os
import sys

import click

from genesis.errors import FatalError, LocalError, OpenLedgerError
from node.home.config import check_environment
from node.os_errors import explain


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
def cli() -> None:
    """OpenLedger: a blockchain node for payable AI."""
    check_environment(os.environ)


def main() -> None:
    """The entry point of the `openledger` command."""
    from node.cli import chain, commands, keys, light, network, signer

    for module in (commands, keys, chain, network, light, signer):
        module.register(cli)
    try:
        cli.main(standalone_mode=False)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except OpenLedgerError as error:
        fatal = isinstance(error, FatalError) and not isinstance(error, LocalError)
        click.echo(f"openledger: {'FATAL: ' if fatal else ''}{error}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of a pipe has gone; there is nobody to tell
        sys.exit(141)
    except OSError as error:
        logging.getLogger(__name__).debug("%s", error, exc_info=error)
        click.echo(f"openledger: {error.filename or 'the system'}: {explain(error)}", err=True)
        sys.exit(1)
