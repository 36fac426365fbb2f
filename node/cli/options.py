"""Options that several commands share: the data directory, and every setting of `node.home.config` as a flag."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from genesis.errors import LocalError
from node.home.config import DATADIR_VARIABLE, DEFAULT_DATADIR, SETTINGS, NodeConfig, resolve

Command = TypeVar("Command", bound=Callable[..., Any])


def datadir_option(command: Command) -> Command:
    """`--datadir`, else OPENLEDGER_DATADIR, else the default."""
    return click.option(
        "--datadir",
        metavar="DIR",
        envvar=DATADIR_VARIABLE,
        default=DEFAULT_DATADIR,
        show_default=True,
        help="data directory",
    )(command)


def setting_options(command: Command) -> Command:
    """A flag for every setting."""
    for setting in reversed(SETTINGS):
        default = ",".join(setting.default) if setting.is_list else setting.default
        command = click.option(
            setting.flag,
            _parameter(setting.name),
            metavar=setting.metavar,
            default=None,
            help=f"{setting.help} [default: {default if default != '' else 'none'}]",
        )(command)
    return command


def resolve_options(datadir: str, options: dict[str, Any]) -> NodeConfig:
    """The settings that a command runs with."""
    flags = {setting.name: options.get(_parameter(setting.name)) for setting in SETTINGS}
    return resolve(expand(datadir), flags)


def expand(datadir: str) -> Path:
    """The data directory as an absolute path."""
    return Path(os.path.abspath(Path(datadir).expanduser()))  # noqa: PTH100 - `resolve` would follow symbolic links


def read_password(password_file: str | None, *, confirm: bool, what: str) -> str:
    """From a file, or asked at the terminal. Raises LocalError where there is neither."""
    from node.home import keystore

    if password_file is not None:
        return keystore.read_password(Path(password_file))
    if not os.isatty(0):
        raise LocalError(f"a password is needed for {what}; give it in a file with --password-file")
    return str(click.prompt(f"Password for {what}", hide_input=True, confirmation_prompt=confirm, err=True))


def _parameter(name: str) -> str:
    return name.replace(".", "_")
