"""Settings: who wins, and what is said about mistakes."""

from pathlib import Path

import pytest

from genesis.errors import LocalError
from node.home.config import SETTINGS, resolve, to_toml


def test_flag_before_environment_before_file_before_default(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('halt_height = 3\n[http]\nport = 1\naddr = "file"\n[log]\nlevel = "debug"\n')
    environment = {"OPENLEDGER_HTTP_PORT": "2", "OPENLEDGER_HTTP_ADDR": "environment"}
    settings = resolve(tmp_path, {"http.port": "3"}, environment)
    assert (settings["http.port"], settings.values["http.port"].source) == (3, "flag --http.port")
    assert settings["http.addr"] == ("environment",)
    assert settings.values["http.addr"].source == "environment OPENLEDGER_HTTP_ADDR"
    assert (settings["log.level"], settings.values["log.level"].source) == ("debug", "config.toml")
    assert settings["halt_height"] == 3
    assert (settings["p2p.port"], settings.values["p2p.port"].source) == (30303, "default")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[http]\nprot = 1\n", r"unknown key 'http.prot'; did you mean 'http.port'\?"),
        ("halt_hight = 1\n", r"unknown key 'halt_hight'; did you mean 'halt_height'\?"),
        ("[zzz]\nqqq = 1\n", r"unknown key 'zzz.qqq'; known are"),
        ("[http]\nport = 70000\n", r"http.port \(config.toml\): 70000 is not a port"),
        ("[http]\nport = true\n", r"http.port \(config.toml\): expected a whole number"),
        ('[http]\nport = "x"\n', r"expected a whole number, found 'x'"),
        ("[http]\nport = -1\n", "not negative"),
        ("[http]\naddr = 1\n", r"http.addr \(config.toml\): expected a list"),
        ("[http]\napi = [1]\n", "expected a list of texts"),
        ('[log]\nformat = "xml"\n', "expected one of text, json"),
        ("[http\n", "cannot be read"),
    ],
)
def test_a_mistake_in_the_file_names_the_key(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "config.toml").write_text(text)
    with pytest.raises(LocalError, match=message):
        resolve(tmp_path, {}, {})


def test_lists_come_as_commas_or_as_toml_arrays(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('[p2p]\npeers = ["a", "b"]\n')
    settings = resolve(tmp_path, {"http.api": "eth, net"}, {})
    assert settings["http.api"] == ("eth", "net")
    assert settings["p2p.peers"] == ("a", "b")


def test_what_is_written_reads_back(tmp_path: Path) -> None:
    values = {setting.name: setting.default for setting in SETTINGS}
    (tmp_path / "config.toml").write_text(to_toml(values, "a comment\nof two lines"))
    settings = resolve(tmp_path, {}, {})
    assert {name: settings[name] for name in values} == values
    assert all(value.source == "config.toml" for value in settings.values.values())


def test_paths_are_relative_to_the_data_directory(tmp_path: Path) -> None:
    settings = resolve(tmp_path, {"validator.keystore": "keystore/v.json"}, {})
    assert settings.path("validator.keystore") == tmp_path / "keystore" / "v.json"
    assert settings.path("validator.password_file") is None
    absolute = resolve(tmp_path, {"validator.keystore": "/etc/v.json"}, {})
    assert absolute.path("validator.keystore") == Path("/etc/v.json")
