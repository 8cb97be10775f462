"""The names applications import. Taking one away breaks somebody: say so in CHANGELOG.md."""

from __future__ import annotations

from importlib import import_module

import pytest

PUBLIC: dict[str, str] = {
    "hivemind_bus_client": """
        AsyncHiveMessageBusClient AsyncHiveMessageWaiter AsyncHivePayloadWaiter HiveMessage HiveMessageBusClient
        HiveMessageType HiveMindHTTPClient""",
    "hivemind_bus_client.client": """
        BinaryDataCallbacks HiveMessageBusClient HiveMessageWaiter HivePayloadWaiter WEBSOCKET_CONNECT_TIMEOUT
        WORKER_JOIN_TIMEOUT""",
    "hivemind_bus_client.async_client": """
        AsyncHiveMessageBusClient AsyncHiveMessageWaiter AsyncHivePayloadWaiter BinaryDataCallbacks""",
    "hivemind_bus_client.http_client": """
        BinaryDataCallbacks DEFAULT_HANDSHAKE_MAX_RETRIES HTTP_TIMEOUT HiveMindHTTPClient""",
    "hivemind_bus_client.message": """
        HiveMessage HiveMessageType HiveMindBinaryPayloadType MalformedWirePayload Message""",
    "hivemind_bus_client.serialization": """
        BINARY_ENCODABLE_TYPES MAX_METADATA_BYTES PROTOCOL_VERSION HiveMessage HiveMessageType
        HiveMindBinaryPayloadType decode_bitstring get_bitstring mycroft2bitstring""",
    "hivemind_bus_client.encryption": """
        AES_CIPHERS AES_KEY_SIZES AES_NONCE_SIZE AES_TAG_SIZE BLOCK_CIPHERS CHACHA20_KEY_SIZE CHACHA20_NONCE_SIZE
        CHACHA20_TAG_SIZE SupportedCiphers SupportedEncodings cpu_supports_AES decrypt_AES_128 decrypt_ChaCha20_Poly1305
        decrypt_bin decrypt_from_json encrypt_AES encrypt_ChaCha20_Poly1305 encrypt_as_json encrypt_bin get_decoder
        get_encoder hybrid_decrypt hybrid_encrypt optimal_ciphers""",
    "hivemind_bus_client.exceptions": """
        DecodingError DecryptionKeyError EncryptionKeyError HiveMindConnectionError HiveMindEntryPointNotFound
        HiveMindException IdentityFileCorrupted InvalidCipher InvalidEncoding InvalidKeySize MalformedBinaryFrame
        MetadataTooLarge SecureConnectionFailed UnauthorizedKeyError UnsupportedProtocolVersion WrongEncryptionKey
        Z85DecodeError""",
    "hivemind_bus_client.identity": """
        JsonConfigXDG NodeIdentity create_RSA_key export_RSA_key shared_identity_for""",
    "hivemind_bus_client.keepalive": """
        CLIENT_PING_INTERVAL_ENVS CLIENT_PING_TIMEOUT_ENVS DEFAULT_WEBSOCKET_PING_INTERVAL
        DEFAULT_WEBSOCKET_PING_TIMEOUT websocket_keepalive_options""",
    "hivemind_bus_client.fakebus": "FakeBus",
    "hivemind_bus_client.noise": """
        CHUNK_SIZE MAX_REASSEMBLY_BYTES NOISE_PATTERNS NOISE_PATTERN_KK NOISE_PATTERN_XX NOISE_SUITES
        NOISE_SUITE_AESGCM NOISE_SUITE_CHACHA NOISE_SUPPORTED PROTOCOL_V3 NoiseHandshakeFailed NoiseTransportFailed
        build_prologue canonical_json derive_psk noise_protocol_name select_noise_options NOISE_PSK_CACHE_SUFFIX
        NoiseHandShake NoiseTransport clear_cached_psks forget_cached_psk load_cached_psk save_cached_psk
        start_noise_handshake""",
    "hivemind_bus_client.refusals": "HiveMindRefused REFUSALS Refusal",
    "hivemind_bus_client.scripts": """
        HiveMessageBusClient NodeIdentity _node_identity clear_cached_psks escalate forget_server hmclient_cmds
        identity_set ping propagate reset_keys send_mycroft terminal test_identity""",
    "hivemind_bus_client.util": """
        HiveMessage HiveMessageType Message bytes2str cast2bytes compress_payload decompress_payload decrypt_bin
        decrypt_from_json encrypt_as_json encrypt_bin get_hivemsg get_mycroft_msg get_payload parse_text_frame
        payload2dict serialize_message unencrypted_frame_allowed""",
    "hivemind_bus_client.version": """
        VERSION VERSION_ALPHA VERSION_BUILD VERSION_MAJOR VERSION_MINOR __version__""",
    "hivemind_core.scripts": "hmcore_cmds",
    "hivemind_core.testing": "FakeClock MemoryHive MemorySatellite RecordingAgent",
}

MESSAGE_TYPES = """
    BINARY BROADCAST BUS CASCADE ESCALATE HANDSHAKE HELLO INTERCOM PING PROPAGATE QUERY RENDEZVOUS SHARED_BUS THIRDPRTY
"""
CLIENT_MEMBERS = """
    AUTH_REJECTED_CLOSE_CODE allow_self_signed bin_callbacks binarize build_url cipher client close close_connection
    compress config connect connected_event create_client crypto_key emit emit_intercom emit_mycroft emitter flush
    handshake_event hub_session identity init_identity internal_bus json_encoding key latch_refusal
    max_protocol_version noise_transport on on_close on_error on_message on_mycroft on_open once password protocol
    remove remove_all_listeners retry session session_id share_bus site_id started_running stopping useragent
    wait_for_handshake wait_for_message wait_for_mycroft wait_for_payload wait_for_payload_response
    wait_for_response websocket_connect_timeout websocket_ping_interval websocket_ping_timeout
"""


@pytest.mark.parametrize("module", sorted(PUBLIC))
def test_public_names_are_there(module: str) -> None:
    there = import_module(module)
    assert [name for name in PUBLIC[module].split() if not hasattr(there, name)] == []


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="NoSuchName"):
        import_module("hivemind_bus_client").NoSuchName  # noqa: B018


def test_all_message_types_are_there() -> None:
    kinds = import_module("hivemind_bus_client").HiveMessageType
    assert sorted(kinds.__members__) == MESSAGE_TYPES.split()


THREADED_MEMBERS = "collect_responses on_collect run_forever run_in_thread"
HTTP_MEMBERS = """
    connected disconnect get_binary_messages get_messages http_timeout is_alive join remove_mycroft run shutdown start
    stopped
"""


@pytest.mark.parametrize("name", ["HiveMessageBusClient", "AsyncHiveMessageBusClient", "HiveMindHTTPClient"])
def test_clients_have_the_members_applications_use(name: str) -> None:
    from hivemind_bus_client.identity import NodeIdentity

    made = getattr(import_module("hivemind_bus_client"), name)
    client = made(key="k", password="p", host="127.0.0.1", identity=NodeIdentity())
    members = CLIENT_MEMBERS.split()
    members += THREADED_MEMBERS.split() if not name.startswith("Async") else []
    members += HTTP_MEMBERS.split() if name == "HiveMindHTTPClient" else []
    assert [member for member in members if not hasattr(client, member)] == []
