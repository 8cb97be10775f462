"""server.json and the environment: defaults, what wins, what is wrong, and that the file is never written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hivemind_core.config import (
    CIPHERS,
    ENCODINGS,
    CertificateFiles,
    Config,
    ConfigError,
    HTTPConfig,
    WebSocketConfig,
    check_transports,
    config_dir,
    data_dir,
    default_path,
    load_config,
    warnings,
)
from hivemind_core.proxies import TrustedProxies, networks

WEBSOCKET = "hivemind-websocket-plugin"
HTTP = "hivemind-http-plugin"
OVOS = "hivemind-ovos-agent-plugin"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "server.json"


def write(file: Path, document: Any) -> Path:
    file.write_text(document if isinstance(document, str) else json.dumps(document), "utf-8")
    return file


def load(file: Path, document: Any, **environ: str) -> Config:
    return load_config(write(file, document), environ)


def wrong(file: Path, document: Any, **environ: str) -> str:
    """Return why a document is refused; the file must be left as it was."""
    with pytest.raises(ConfigError) as raised:
        load(file, document, **environ)
    assert file.read_text("utf-8") == (document if isinstance(document, str) else json.dumps(document))
    return str(raised.value)


# where


def test_folders_follow_the_environment_when_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "c"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "d"))
    assert (config_dir(), data_dir()) == (tmp_path / "c", tmp_path / "d")
    assert default_path() == tmp_path / "c/hivemind-core/server.json"


@pytest.mark.parametrize("value", ["", "relative/folder"])
def test_without_a_usable_variable_they_are_in_the_home(own_home: Path, value: str) -> None:
    environ = {"XDG_CONFIG_HOME": value, "XDG_DATA_HOME": value}
    assert (config_dir(environ), data_dir(environ)) == (own_home / ".config", own_home / ".local/share")


def test_a_file_that_was_named_must_be_there(file: Path) -> None:
    with pytest.raises(ConfigError, match="There is no configuration file"):
        load_config(file)


# defaults


def test_no_file_means_defaults_and_none_is_made(own_home: Path) -> None:
    config = load_config()
    assert config.path == default_path()
    assert list(own_home.iterdir()) == []
    assert config.websocket == WebSocketConfig("0.0.0.0", 5678, 30.0, 20.0)
    assert (config.agent_module, config.agent) == ("auto", {"host": "127.0.0.1", "port": 8181})
    assert config.database_module == "hivemind-sqlite-db-plugin"
    assert config.database == {"name": "clients", "subfolder": "hivemind-core"}
    assert config.database_is_open
    assert config.policy_chain == ({"module": "hivemind-ovos-agent-policy"},)
    assert (config.binarize, config.allowed_encodings, config.allowed_ciphers) == (False, ENCODINGS, CIPHERS)
    assert (config.min_password_bits, config.runtime_password_strength_check) == (40.0, True)
    assert config.last_seen_update_interval_s == 60.0
    assert (config.min_protocol_version, config.log_level) == (2, "INFO")


@pytest.mark.parametrize("document", ["{}", "\ufeff{}", '{"network_protocol": null, "policy": null, "database": null}'])
def test_an_empty_file_means_defaults_too(file: Path, document: str) -> None:
    assert load(file, document).raw == load_config(environ={"HOME": "/"}).raw


def test_loading_does_not_change_the_defaults(file: Path) -> None:
    load(file, {"policy": {"fail_open": True}, "agent_protocol": {"module": "x"}})
    load(file, {}, HIVEMIND_WEBSOCKET_PING_INTERVAL="1")
    assert load(file, {}).websocket.ping_interval_s == 30.0
    assert load(file, {}).agent_module == "auto"


def test_a_released_file_opens_and_what_it_says_counts(file: Path) -> None:
    document = {
        "binarize": True,
        "allowed_encodings": ["JSON-HEX"],
        "allowed_ciphers": [],
        "min_password_bits": 0,
        "agent_protocol": {"module": OVOS, OVOS: {"host": "10.0.0.1", "port": 9}},
        "network_protocol": {"module": "x", WEBSOCKET: {"host": "127.0.0.1", "port": 1, "cert_name": "hivemind"}},
        "database": {"module": "hivemind-sqlite-db-plugin", "hivemind-sqlite-db-plugin": {"name": "mine"}},
        "policy": {"chain": []},
        "last_seen_update_interval": 0,
        "something": {"else": 1},
    }
    config = load(file, document)
    assert (config.binarize, config.allowed_encodings, config.allowed_ciphers) == (True, ("JSON-HEX",), ("AES-GCM",))
    assert (config.websocket.host, config.websocket.port) == ("127.0.0.1", 1)
    assert (config.agent_module, config.agent) == (OVOS, {"host": "10.0.0.1", "port": 9})
    assert (config.database, config.policy_chain) == ({"name": "mine"}, ())
    assert not config.database_is_open
    assert (config.min_password_bits, config.last_seen_update_interval_s) == (0, 0)
    assert config.raw["something"] == {"else": 1}
    check_transports(config)


def test_blocks_with_a_module_are_filled_and_the_transports_are_not(file: Path) -> None:
    config = load(file, {"agent_protocol": {"module": "embedded"}, "network_protocol": {WEBSOCKET: {"port": 1}}})
    assert config.raw["agent_protocol"] == {"module": "embedded", OVOS: {"host": "127.0.0.1", "port": 8181}}
    assert config.raw["network_protocol"].keys() == {WEBSOCKET}
    assert load(file, {"network_protocol": {"hivemind-mqtt-plugin": {}}}).raw["network_protocol"] == {
        "hivemind-mqtt-plugin": {}
    }
    assert config.websocket == WebSocketConfig("0.0.0.0", 1)
    assert config.raw["presence"]["name"] == "HiveMind-Node"


def test_an_agent_without_settings_of_its_own_takes_those_of_the_bus(file: Path) -> None:
    block = {OVOS: {"port": 1}, "embedded": {"port": 2}}
    assert load(file, {"agent_protocol": {"module": "auto", **block}}).agent == {"port": 1}
    assert load(file, {"agent_protocol": {"module": "embedded", **block}}).agent == {"port": 2}


def test_a_policy_chain_keeps_its_entries(file: Path) -> None:
    chain = [{"module": "a", "config": {"x": 1}, "optional": True}]
    assert load(file, {"policy": {"chain": chain}}).policy_chain == tuple(chain)


def test_failing_open_is_not_to_be_had(file: Path) -> None:
    config = load(file, {"policy": {"fail_open": True}})
    assert config.policy_chain == ({"module": "hivemind-ovos-agent-policy"},)
    assert list(warnings(config)) == [f"{file}: `policy.fail_open` has no effect: a policy that fails refuses."]


def test_comment_lines_are_passed_over(file: Path) -> None:
    text = '// the hub\n{\n  # by hand\n  "binarize": true, "note": "// not one # here"\n  // end\n}\n'
    config = load(file, text)
    assert config.binarize
    assert config.raw["note"] == "// not one # here"


# the environment and the command line


def test_the_environment_sets_the_pings_where_the_file_does_not(file: Path) -> None:
    environ = {"HIVEMIND_WEBSOCKET_PING_INTERVAL": "7", "HIVEMIND_WEBSOCKET_PING_TIMEOUT": "2.5"}
    config = load(file, {}, **environ)
    assert (config.websocket.ping_interval_s, config.websocket.ping_timeout_s) == (7.0, 2.5)
    assert config.raw["network_protocol"][WEBSOCKET]["websocket_ping_interval"] == 7.0
    written = load(file, {"network_protocol": {WEBSOCKET: {"websocket_ping_interval": 0}}}, **environ)
    assert (written.websocket.ping_interval_s, written.websocket.ping_timeout_s) == (0.0, 2.5)


@pytest.mark.parametrize("value", ["soon", "-1", "nan", "inf"])
def test_an_unusable_variable_is_named(file: Path, value: str) -> None:
    reason = wrong(file, {}, HIVEMIND_WEBSOCKET_PING_TIMEOUT=value)
    assert "HIVEMIND_WEBSOCKET_PING_TIMEOUT must be a number of seconds" in reason


@pytest.mark.parametrize(("value", "checked"), [("1", False), ("Yes", False), ("0", True), ("", True)])
def test_the_environment_can_switch_the_strength_check_off(file: Path, value: str, checked: bool) -> None:
    config = load(file, {}, HIVEMIND_DISABLE_PASSWORD_STRENGTH_CHECK=value)
    assert config.runtime_password_strength_check is checked


def test_the_environment_wins_over_the_file_and_the_command_line_over_both(file: Path) -> None:
    write(file, {"network_protocol": {WEBSOCKET: {"host": "h", "port": 1}}, "min_protocol_version": 3})
    environ = {"HIVEMIND_PORT": "2", "HIVEMIND_MIN_PROTOCOL_VERSION": "0", "HIVEMIND_HOST": ""}
    config = load_config(file, environ)
    assert (config.websocket.host, config.websocket.port, config.min_protocol_version) == ("h", 2, 0)
    assert config.raw["network_protocol"][WEBSOCKET]["port"] == 2
    over = {"network_protocol": {WEBSOCKET: {"port": 3}}}
    assert load_config(file, environ, over).websocket.port == 3


def test_the_environment_names_the_bus_without_undoing_the_rest(file: Path) -> None:
    document = {"agent_protocol": {"module": OVOS, OVOS: {"host": "a", "port": 1}}}
    assert load(file, document, HIVEMIND_OVOS_HOST="ovos").agent == {"host": "ovos", "port": 1}
    assert load(file, {"agent_protocol": None}, HIVEMIND_AGENT="builtin").agent_module == "builtin"


def test_the_environment_can_name_the_file(file: Path, tmp_path: Path) -> None:
    write(file, {"binarize": True})
    assert load_config(environ={"HIVEMIND_CONFIG": str(file)}).binarize
    other = write(tmp_path / "other.json", {})
    assert not load_config(other, {"HIVEMIND_CONFIG": str(file)}).binarize
    with pytest.raises(ConfigError, match="There is no configuration file"):
        load_config(environ={"HIVEMIND_CONFIG": str(tmp_path / "none")})


def test_the_command_line_wins_over_the_file(file: Path) -> None:
    write(file, {"network_protocol": {WEBSOCKET: {"host": "h", "port": 1}}, "agent_protocol": {OVOS: {"port": 2}}})
    over = {"network_protocol": {WEBSOCKET: {"port": 3}}, "agent_protocol": {"module": "embedded"}}
    config = load_config(file, {}, over)
    assert (config.websocket.host, config.websocket.port) == ("h", 3)
    assert (config.agent_module, config.agent) == ("embedded", {"port": 2})
    assert config.overrides == over
    assert config.raw["network_protocol"][WEBSOCKET]["port"] == 3


# what is wrong


def test_a_broken_file_is_refused_with_its_line_and_left_alone(file: Path) -> None:
    """The released hub took it for an empty one and wrote its defaults over it."""
    reason = wrong(file, '// mine\n{\n  # a comment\n  "binarize": yes\n}\n')
    assert str(file) in reason
    assert "line 4: " in reason
    assert "It was left as it is; mend it, or move it away" in reason


@pytest.mark.parametrize("text", ["", "[]", '"x"', "[" * 100_000, '{"a": 1} x'])
def test_a_file_that_holds_no_object_is_refused(file: Path, text: str) -> None:
    assert str(file) in wrong(file, text)


def test_a_file_that_cannot_be_read_is_refused(file: Path) -> None:
    file.write_bytes(b'{"name": "\xff"}')
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(file)
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(file.parent)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("binarize", 1),
        ("binarize", "false"),
        ("runtime_password_strength_check", "no"),
        ("allowed_encodings", "JSON-HEX"),
        ("allowed_encodings", ["JSON-NOPE"]),
        ("allowed_encodings", [["JSON-HEX"]]),
        ("allowed_ciphers", ["ROT13"]),
        ("min_password_bits", "40"),
        ("min_password_bits", -1),
        ("min_protocol_version", 4),
        ("min_protocol_version", 2.5),
        ("last_seen_update_interval", True),
        ("agent_protocol", "auto"),
        ("agent_protocol.module", 3),
        ("agent_protocol.auto", []),
        (f"agent_protocol.{OVOS}", "here"),
        ("database", []),
        ("database.module", {}),
        ("database.hivemind-sqlite-db-plugin", "clients.db"),
        ("network_protocol", 5),
        (f"network_protocol.{WEBSOCKET}", True),
        (f"network_protocol.{WEBSOCKET}.host", 127),
        (f"network_protocol.{WEBSOCKET}.port", "5678"),
        (f"network_protocol.{WEBSOCKET}.port", 65536),
        (f"network_protocol.{WEBSOCKET}.websocket_ping_interval", "x"),
        (f"network_protocol.{WEBSOCKET}.ssl", "yes"),
        (f"network_protocol.{WEBSOCKET}.cert_dir", 1),
        (f"network_protocol.{WEBSOCKET}.cert_dir", "~nobody at all/certs"),
        (f"network_protocol.{WEBSOCKET}.cert_dir", "certs\0"),
        (f"network_protocol.{WEBSOCKET}.cert_name", "a\0b"),
        (f"network_protocol.{WEBSOCKET}.cert_name", "a/b"),
        (f"network_protocol.{WEBSOCKET}.trusted_proxy_cidrs", ["10.0.0.0/99"]),
        (f"network_protocol.{WEBSOCKET}.trusted_proxy_cidrs", 5),
        (f"network_protocol.{WEBSOCKET}.trusted_client_ip_headers", [1]),
        (f"network_protocol.{HTTP}.port", -1),
        (f"network_protocol.{HTTP}.max_undelivered", 7),
        (f"network_protocol.{HTTP}.max_undelivered", 100_001),
        (f"network_protocol.{HTTP}.queue_ttl_s", "x"),
        ("log_level", "LOUD"),
        ("policy", []),
        ("policy.chain", {}),
        ("policy.chain", ["hivemind-ovos-agent-policy"]),
        ("policy.chain", [{"module": "a", "config": 3}]),
    ],
)
def test_a_value_of_the_wrong_kind_is_named(file: Path, key: str, value: Any) -> None:
    document: Any = value
    for part in reversed(key.split(".")):
        document = {part: document}
    assert wrong(file, document).startswith(f"{file}: `{key}` must be ")


def test_secrets_are_not_shown(file: Path) -> None:
    block = {"hivemind-sqlite-db-plugin": {"password": "s3cret"}}
    assert "s3cret" not in repr(load(file, {"database": block, "upstream": {"password": "s3cret"}}))


# transports


@pytest.mark.parametrize("blocks", [{}, {"module": WEBSOCKET}, {"hivemind-mqtt-plugin": {}}])
def test_a_hub_without_a_transport_it_has_is_refused(file: Path, blocks: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="enables no transport"):
        check_transports(load(file, {"network_protocol": blocks}))


def test_http_is_served_where_it_is_named(file: Path, tmp_path: Path) -> None:
    assert load(file, {}).http is None
    bounds = {"max_undelivered": 9, "undelivered_ttl": 2.5, "queue_ttl_s": 3, "session_ttl_s": 0}
    block = {HTTP: {"port": 7, "ssl": True, **bounds}}
    config = load(file, {"network_protocol": block}, XDG_DATA_HOME=str(tmp_path))
    check_transports(config)
    tls = CertificateFiles(tmp_path / "hivemind")
    fields = {"undelivered_ttl_s": 2.5, "queue_ttl_s": 3.0, "session_ttl_s": 0.0}
    assert config.http == HTTPConfig("0.0.0.0", 7, tls, max_undelivered=9, **fields)
    assert (config.serves_websocket, config.front) == (False, config.http)
    assert config.front.dialled_as("host") == "https://host"
    both = load(file, {"network_protocol": {WEBSOCKET: {}, HTTP: {}}})
    assert both.http == HTTPConfig()
    assert both.front == both.websocket


ENVIRON = {"HIVEMIND_PORT": "7", "HIVEMIND_TRUSTED_PROXY_CIDRS": "10.0.0.0/8"}


def test_options_and_variables_are_of_http_where_it_is_alone(file: Path) -> None:
    alone = {"network_protocol": {HTTP: {"host": "h"}}}
    over = {"network_protocol": {WEBSOCKET: {"ssl": True}}}
    write(file, alone)
    config = load_config(file, ENVIRON, over)
    assert config.http is not None
    assert (config.serves_websocket, config.http.host, config.http.port) == (False, "h", 7)
    assert config.http.tls is not None
    assert load_config(file, ENVIRON).raw["network_protocol"].keys() == {HTTP}


def test_beside_the_websocket_http_shares_its_proxies_and_nothing_else(file: Path) -> None:
    write(file, {"network_protocol": {WEBSOCKET: {}, HTTP: None}})
    config = load_config(file, ENVIRON)
    assert config.http == HTTPConfig(proxies=config.websocket.proxies)
    assert config.websocket.port == 7
    assert config.http.proxies.networks


def test_tls_takes_a_certificate_where_the_released_hub_keeps_it(file: Path, tmp_path: Path) -> None:
    block = {WEBSOCKET: {"ssl": True}}
    tls = load(file, {"network_protocol": block}, XDG_DATA_HOME=str(tmp_path)).websocket.tls
    assert tls is not None
    assert (tls.certificate, tls.key) == (tmp_path / "hivemind/hivemind.crt", tmp_path / "hivemind/hivemind.key")


def test_a_certificate_can_be_given(file: Path, own_home: Path) -> None:
    block = {WEBSOCKET: {"ssl": True, "cert_dir": "~/certs", "cert_name": "hub.example"}}
    websocket = load(file, {"network_protocol": block}).websocket
    assert websocket.tls == CertificateFiles(own_home / "certs", "hub.example")
    assert websocket.tls.key == own_home / "certs/hub.example.key"
    assert (websocket.scheme, websocket.dialled_as("hub"), websocket.dialled_as("::1")) == (
        "wss",
        "wss://hub",
        "wss://[::1]",
    )
    plain = load(file, {}).websocket
    assert (plain.tls, plain.scheme, plain.dialled_as("hub")) == (None, "ws", "hub")


def test_proxies_are_lists_or_texts_with_commas(file: Path) -> None:
    block = {"trusted_proxy_cidrs": ["10.0.0.0/8", "::1"], "trusted_client_ip_headers": ["cf-connecting-ip"]}
    listed = load(file, {"network_protocol": {WEBSOCKET: block}}).websocket.proxies
    assert listed == TrustedProxies(networks("10.0.0.0/8,::1"), ("cf-connecting-ip",))
    written = {WEBSOCKET: {key: ", ".join(value) for key, value in block.items()}}
    assert load(file, {"network_protocol": written}).websocket.proxies == listed
    assert load(file, {}).websocket.proxies == TrustedProxies()


def test_what_is_not_served_is_said_once_it_is_wanted(file: Path) -> None:
    assert list(warnings(load(file, {}))) == []
    document = {
        "network_protocol": {WEBSOCKET: None, "hivemind-mqtt-plugin": {}},
        "bogus": 1,
    }
    said = list(warnings(load(file, document)))
    assert all(sentence.startswith(f"{file}: ") for sentence in said)
    assert [sentence.split("`")[1] for sentence in said] == [
        "bogus",
        "network_protocol.hivemind-mqtt-plugin",
    ]


def test_an_account_without_a_home_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(ConfigError, match="Set HOME, or XDG_CONFIG_HOME"):
        load_config(environ={})
