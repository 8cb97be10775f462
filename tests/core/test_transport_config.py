"""The block `network_protocol`: what is filled in, and for which transport options and variables count."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hivemind_core.transport_config import (
    HTTP_DEFAULTS,
    HTTP_MODULE,
    WEBSOCKET_DEFAULTS,
    WEBSOCKET_MODULE,
    CertificateFiles,
    HTTPConfig,
    WebSocketConfig,
    fill,
    for_transport,
)

DATA = Path("/data")
PORT = {"network_protocol": {WEBSOCKET_MODULE: {"port": 1}}}


def test_only_transports_that_are_there_are_filled_in() -> None:
    transports: dict[str, Any] = {HTTP_MODULE: {"port": 7, "host": None}}
    fill(transports, {}, DATA)
    assert transports == {HTTP_MODULE: {**HTTP_DEFAULTS, "port": 7, "cert_dir": "/data/hivemind"}}


def test_the_environment_fills_what_the_file_leaves_open() -> None:
    transports: dict[str, Any] = {WEBSOCKET_MODULE: {"websocket_ping_timeout": 9}}
    said = {"websocket_ping_interval": 5.0, "websocket_ping_timeout": 6.0}
    fill(transports, {"network_protocol": {WEBSOCKET_MODULE: said}}, DATA)
    filled = transports[WEBSOCKET_MODULE]
    assert (filled["websocket_ping_interval"], filled["websocket_ping_timeout"]) == (5.0, 9)
    assert filled.keys() == WEBSOCKET_DEFAULTS.keys() | {"cert_dir"}


@pytest.mark.parametrize("transports", [None, [], {WEBSOCKET_MODULE: 7}])
def test_what_is_wrong_is_left_for_the_check(transports: Any) -> None:
    before = repr(transports)
    fill(transports, {}, DATA)
    assert repr(transports) == before


@pytest.mark.parametrize(
    ("given", "module"),
    [
        ({}, WEBSOCKET_MODULE),
        ({WEBSOCKET_MODULE: {}, HTTP_MODULE: {}}, WEBSOCKET_MODULE),
        ({HTTP_MODULE: {}}, HTTP_MODULE),
    ],
)
def test_options_are_for_the_transport_that_is_served(given: dict[str, Any], module: str) -> None:
    assert for_transport(PORT, {"network_protocol": given}) == {"network_protocol": {module: {"port": 1}}}


def test_satellites_are_told_how_to_dial() -> None:
    tls = CertificateFiles(DATA)
    assert WebSocketConfig().dialled_as("hub.lan") == "hub.lan"
    assert WebSocketConfig(tls=tls).dialled_as("fd00::1") == "wss://[fd00::1]"
    assert (HTTPConfig().dialled_as("hub.lan"), HTTPConfig(tls=tls).scheme) == ("http://hub.lan", "https")
    assert (str(tls.certificate), str(tls.key)) == ("/data/hivemind.crt", "/data/hivemind.key")
