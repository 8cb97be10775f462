"""``server.json`` and the environment: read, or refused in one sentence; the parts are made of what was read."""

from __future__ import annotations

import json
from collections.abc import Iterator

from fuzz.inputs import HOSTILE_JSON, Choices
from fuzz.place import folder, write
from fuzz.sayings import check_sentence
from hivemind_bus_client.log_lines import printable
from hivemind_core import binary, known_keys
from hivemind_core.agents import create_agent
from hivemind_core.config import DEFAULTS, Config, ConfigError, check_transports, load_config, warnings
from hivemind_core.config_values import Values
from hivemind_core.database_places import FILES, file_place
from hivemind_core.environment import VARIABLES
from hivemind_core.live_config import LiveConfig
from hivemind_core.plugins import load_policies
from hivemind_core.serving import SECRETS, masked


def _paths(document: object) -> Iterator[str]:
    if isinstance(document, dict):
        for key, below in document.items():
            yield json.dumps(key)
            yield from _paths(below)


WORDS: tuple[str, ...] = (
    *sorted({*_paths(DEFAULTS), *_paths(known_keys.KNOWN)}),
    *(f"{variable.name}=" for variable in VARIABLES),
)


def seeds() -> Iterator[bytes]:
    yield from (b"\0" + text for text in HOSTILE_JSON)
    for key in DEFAULTS:
        yield from (b'\0{"' + key.encode() + b'": ' + text + b"}" for text in HOSTILE_JSON)
    yield b"\0{}"
    yield b"\0" + json.dumps(DEFAULTS).encode()
    for key, value in DEFAULTS.items():
        yield b"\0" + json.dumps({key: value}).encode()
    tls = {
        "ssl": True,
        "cert_dir": "~/x",
        "trusted_proxy_cidrs": ["10.0.0.0/8"],
        "trusted_client_ip_headers": "x-real-ip",
    }
    transports = {"hivemind-websocket-plugin": tls, "hivemind-http-plugin": {"max_undelivered": 9, "queue_ttl_s": 0}}
    yield b"\0" + json.dumps({"network_protocol": transports, "admin": {"host": "127.0.0.1", "port": 1}}).encode()
    for name in FILES:
        options = {"name": "x", "subfolder": "y", "db_path": "~/z"}
        yield b"\0" + json.dumps({"database": {"module": name, name: options}}).encode()
    yield b"\0" + json.dumps({"cluster": {"name": "home", "redis_url": "redis://u:p@h:1/0"}}).encode()
    yield b"\0" + json.dumps({"upstream": {"enabled": True, "host": "h", "key": "k", "password": "p"}}).encode()
    yield b"\0" + json.dumps({"rendezvous": {"enabled": True}, "binary_protocol": {"module": "speech"}}).encode()
    yield b"\0" + json.dumps({"agent_protocol": {"module": "embedded", "embedded": {"host": "h", "port": 1}}}).encode()
    for variable in VARIABLES:
        for value in ("1", "true", "a,b", "5678", "10.0.0.0/8"):
            yield f"\1{variable.name}={value}".encode()


def run(data: bytes) -> None:
    choices = Choices(data)
    is_file, text = choices.byte() % 2 == 0, choices.rest()
    environ = {"HOME": str(folder()), "XDG_CONFIG_HOME": str(folder()), "XDG_DATA_HOME": str(folder())}
    path = write(folder() / "server.json", text if is_file else b"{}")
    if not is_file:
        environ |= _environment(text)
    try:
        config = load_config(path, environ)
        check_transports(config)
        _parts(config)
    except ConfigError as error:
        check_sentence(str(error))
        return
    assert path.read_bytes() == (text if is_file else b"{}"), "the file was written"
    for remark in warnings(config):
        check_sentence(printable(remark))
    assert LiveConfig(config).look() is None
    json.dumps(masked(config.raw, SECRETS), ensure_ascii=False)
    assert load_config(path, environ) == config


def _environment(text: bytes) -> dict[str, str]:
    """Return variables as a process has them."""
    lines = text.decode("utf-8", "surrogateescape").replace("\0", "").split("\n")
    pairs = (line.partition("=") for line in lines)
    own = {variable.name for variable in VARIABLES}
    return {name: value for name, _, value in pairs if name in own}


def _parts(config: Config) -> None:
    if config.database_module in FILES:
        file_place(config.database_module, config.database).is_there()
    load_policies(config.policy_chain)
    create_agent(config.agent_module, config.agent)
    handler = binary.create_binary(config.binary_module, Values(str(config.path), config.raw))
    handler.stop()
