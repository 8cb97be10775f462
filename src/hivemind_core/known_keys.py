"""Every key that server.json may hold, in this hub or a released one, so that a misspelt one can be told.

A key that is known is not always served; `remarks` names those, too, where they are used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from . import limits_config

_ANY: dict[str, Any] = {"*": None}
"""Whatever stands below is somebody else's."""
_COMMENT_MARKS = ("_", "#", "//")
_SIMILAR = 0.7


def _names(text: str) -> dict[str, Any]:
    return dict.fromkeys(text.split())


_LISTENING = "host port ssl cert_dir cert_name trusted_proxy_cidrs trusted_client_ip_headers allowed_origins"
_SPEECH = _names("program words_per_minute timeout lang max_text at_once waiting_each")
_FILES = _names("folder max_file_bytes max_files max_total_bytes")

KNOWN: dict[str, Any] = {
    **_names("binarize allowed_encodings allowed_ciphers min_password_bits runtime_password_strength_check"),
    **_names("min_protocol_version max_connections_per_address ping_flood_interval last_seen_update_interval"),
    **_names("log_level log_format site_id"),
    "network_protocol": {
        "module": None,
        "hivemind-websocket-plugin": _names(f"{_LISTENING} websocket_ping_interval websocket_ping_timeout"),
        "hivemind-http-plugin": _names(
            f"{_LISTENING} max_undelivered undelivered_ttl session_backend session_redis_url redis_url session_prefix"
            " session_ttl_s queue_ttl_s replica_id"
        ),
        "hivemind-mqtt-plugin": _names(
            "broker_host broker_port broker_username broker_password tls tls_ca_certs tls_certfile tls_keyfile"
            " topic_prefix qos idle_timeout"
        ),
    },
    "agent_protocol": {
        "module": None,
        "hivemind-ovos-agent-plugin": _names("host port route ssl connection_timeout"),
        "ovos": _names("host port route ssl connection_timeout"),
        "embedded": _names("host port route ssl"),
        "auto": _names("host port route ssl"),
        "builtin": _ANY,
        "hivemind-persona-agent-plugin": _ANY,
        "hivemind-a2a-agent-plugin": _ANY,
    },
    "binary_protocol": {
        "module": None,
        **dict.fromkeys(("speech", "hivemind-speech-binary-protocol"), _SPEECH),
        **dict.fromkeys(("files", "hivemind-files-binary-protocol"), _FILES),
        "hivemind-audio-binary-protocol-plugin": _ANY,
    },
    "database": {
        "module": None,
        "hivemind-sqlite-db-plugin": _names("name subfolder db_path password"),
        "hivemind-json-db-plugin": _names("name subfolder password"),
        "hivemind-redis-db-plugin": _names(
            "host port unix_socket_path username password db name subfolder index_prefix cluster_nodes cluster_hash_tag"
            " max_connections retry_attempts retry_delay use_ssl ssl ssl_certfile ssl_keyfile ssl_ca_certs"
            " ssl_cert_reqs ssl_check_hostname admission_record_ttl api_key_cache_ttl api_key_cache_size"
        ),
    },
    "admin": _names("host port token"),
    "limits": dict.fromkeys(limits_config.DEFAULTS),
    "presence": _names("enabled name zeroconf upnp"),
    "rendezvous": _names("enabled max_pending_per_mailbox max_pending_per_sender max_mailboxes max_bytes"),
    "cluster": _names("url name hub_name username password ca_certs certfile keyfile check_hostname"),
    "upstream": _names("enabled host port key password ssl self_signed"),
    "policy": {"chain": [_names("module optional") | {"config": _ANY}], "fail_open": None},
    "utterance_transformers": _ANY,
    "metadata_transformers": _ANY,
    "dialog_transformers": _ANY,
}

_HTTP = ("network_protocol", "hivemind-http-plugin")
_NOT_SERVED = (
    (("network_protocol", "hivemind-mqtt-plugin"), "this hub does not serve this transport"),
    *(
        ((*_HTTP, key), "each hub keeps its sessions; those of one `cluster` pass requests on to the one that has it")
        for key in ("session_backend", "session_redis_url", "redis_url", "session_prefix")
    ),
    ((*_HTTP, "replica_id"), "the hub names itself anew at each start"),
    (("policy", "fail_open"), "a policy that fails refuses"),
)
_TRANSFORMERS = ("utterance_transformers", "metadata_transformers", "dialog_transformers")


def remarks(document: Mapping[str, Any]) -> Iterator[str]:
    """Say, a sentence each, which keys of a document have no effect, and what was probably meant."""
    for key, meant in unknown_keys(document):
        yield f"nothing reads the key `{key}`; it is ignored." + (f" Did you mean `{meant}`?" if meant else "")
    for path, why in _NOT_SERVED:
        value: Any = document
        for key in path:
            value = value.get(key) if isinstance(value, Mapping) else None
        if value not in (None, False, "memory"):
            yield f"`{'.'.join(path)}` has no effect: {why}."
    for block in _TRANSFORMERS:
        if document.get(block):
            yield f"`{block}` has no effect: this hub runs no transformers yet."


def unknown_keys(document: Mapping[str, Any]) -> list[tuple[str, str | None]]:
    """Return the path of each key that nothing reads, with the path that was probably meant.

    The settings of a module that its block names are the module's own; keys that begin like a comment are passed
    over.
    """
    return list(_unknown(document, KNOWN, ""))


def _unknown(value: Any, known: Any, path: str) -> Iterator[tuple[str, str | None]]:
    if isinstance(known, list) and isinstance(value, list):
        for index, item in enumerate(value):
            yield from _unknown(item, known[0], f"{path.removesuffix('.')}[{index}].")
    if not isinstance(known, dict) or not isinstance(value, Mapping) or "*" in known:
        return
    for key, below in value.items():
        if key in known:
            yield from _unknown(below, known[key], f"{path}{key}.")
        elif not key.startswith(_COMMENT_MARKS) and key != value.get("module"):
            yield f"{path}{key}", _meant(key, known, path)


def _meant(key: str, known: Mapping[str, Any], path: str) -> str | None:
    near = get_close_matches(key, known, 1, _SIMILAR)
    if near:
        return f"{path}{near[0]}"
    return next((name for name in _paths(KNOWN, "") if name.endswith(f".{key}")), None)


def _paths(known: Mapping[str, Any], path: str) -> Iterator[str]:
    for key, below in known.items():
        yield f"{path}{key}"
        if isinstance(below, dict):
            yield from _paths(below, f"{path}{key}.")
