"""Which handler a hub has: by name, ours or a plugin's; one that cannot be is an error or an answer, never silence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hivemind_core.binary import BINARY_GROUP, HANDLERS, BinaryHandler, Declined, create_binary, own_method
from hivemind_core.binary.callbacks import CALLBACKS
from hivemind_core.binary.default import DefaultHandler
from hivemind_core.binary.files import FileHandler
from hivemind_core.binary.speech import SpeechHandler
from hivemind_core.config import load_config
from hivemind_core.config_values import ConfigError, Values
from hivemind_core.known_keys import unknown_keys

PLUGIN = """
class Plugin:
    def __init__(self, config=None):
        if config.get("broken"):
            raise RuntimeError("a fault")
        self.config = config
"""


def create(module: str | None, **block: Any) -> Any:
    document = {"binary_protocol": {"module": module, module: block}}
    return create_binary(module, Values("server.json", document))


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a handler that an installed package brings."""
    about = tmp_path / "site" / "a_plugin-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: a-plugin\nVersion: 1.0\n", "utf-8")
    (about / "entry_points.txt").write_text(f"[{BINARY_GROUP}]\na-plugin = a_plugin_for_binary_data:Plugin\n", "utf-8")
    (about.parent / "a_plugin_for_binary_data.py").write_text(PLUGIN, "utf-8")
    monkeypatch.syspath_prepend(about.parent)
    return "a-plugin"


@pytest.mark.parametrize("module", [None, ""])
def test_no_name_is_no_handler(module: str | None) -> None:
    handler = create_binary(module, Values("server.json", {}))
    assert isinstance(handler, DefaultHandler)
    assert handler.code == "no_binary_handler"


def test_ours_are_known_by_short_and_by_long_names(tmp_path: Path) -> None:
    for module in HANDLERS:
        kind = FileHandler if "files" in module else SpeechHandler
        assert isinstance(create(module, **({"folder": str(tmp_path)} if kind is FileHandler else {})), kind)


def test_a_handler_of_an_installed_package(plugin: str) -> None:
    assert create(plugin, wakeword="hey").config == {"wakeword": "hey"}


def test_one_that_nobody_has_is_an_error_that_names_the_others(plugin: str) -> None:
    with pytest.raises(
        ConfigError, match=r"named 'speach': install .* The known ones are: speech, .*files.*, a-plugin"
    ):
        create("speach")


def test_one_that_cannot_be_made_is_logged_and_answered(plugin: str, caplog: pytest.LogCaptureFixture) -> None:
    handler = create(plugin, broken=True)
    assert isinstance(handler, DefaultHandler)
    assert (handler.code, handler.detail) == ("binary_handler_failed", "it could not be started")
    assert [record.exc_info is not None for record in caplog.records] == [True]


def test_a_handler_takes_the_arguments_that_released_ones_take() -> None:
    handler = BinaryHandler(config={"a": 1}, hm_protocol=2, callbacks=3, agent_protocol=4)
    assert (handler.config, handler.hm_protocol, handler.callbacks, handler.agent_protocol) == ({"a": 1}, 2, 3, 4)
    assert BinaryHandler().config == {}


@pytest.mark.parametrize("callback", CALLBACKS.values(), ids=lambda callback: callback.method)
def test_what_is_not_overridden_is_declined(callback: Any) -> None:
    with pytest.raises(Declined, match="no_binary_handler"):
        getattr(BinaryHandler(), callback.method)(b"", *(None for _ in callback.fields), None)


def test_own_methods() -> None:
    class Mine(BinaryHandler):
        def stop(self) -> None:
            return None

    assert own_method(Mine(), "stop") is not None
    assert own_method(Mine(), "client_left") is None
    assert own_method(object(), "stop") is None


def test_server_json_names_it(tmp_path: Path) -> None:
    path = tmp_path / "server.json"
    for text, module in (
        ("{}", None),
        ('{"binary_protocol": {"module": "speech", "speech": {"lang": "de"}}}', "speech"),
    ):
        path.write_text(text, "utf-8")
        config = load_config(path, {})
        assert config.binary_module == module
        create_binary(config.binary_module, Values(str(path), config.raw))
        assert unknown_keys(config.raw) == []
    path.write_text('{"binary_protocol": {"module": 3}}', "utf-8")
    with pytest.raises(ConfigError, match=r"`binary_protocol\.module` must be a name or null, not 3"):
        load_config(path, {})
