"""Frames that no hub takes, with what it says to them."""

from __future__ import annotations

import json
from typing import Any

from hivemind_bus_client.noise import NOISE_SUITES


def shake(payload: dict[str, Any]) -> str:
    """A HANDSHAKE message in the clear."""
    return json.dumps({"msg_type": "shake", "payload": payload})


XX = {"pattern": "XXpsk2", "suite": NOISE_SUITES[0]}
CLEAR_REFUSALS: list[tuple[str | bytes, str, str]] = [
    ("garbage", "unencrypted_frame", "invalid message"),
    ("", "unencrypted_frame", "invalid message"),
    ("[]", "unencrypted_frame", "invalid message"),
    ("{}", "unencrypted_frame", "invalid message"),
    ('{"msg_type":"nope","payload":{}}', "unencrypted_frame", "invalid message"),
    ('{"msg_type":"bus","payload":{"type":"speak"}}', "unencrypted_frame", "invalid message"),
    ('{"msg_type":"hello","payload":{"site_id":"x"}}', "unencrypted_frame", "invalid message"),
    ('{"msg_type":"shake"}', "unencrypted_frame", "invalid message"),
    ('{"msg_type":"shake","payload":[]}', "unencrypted_frame", "invalid message"),
    (b"\0\1", "unencrypted_frame", "invalid message"),
    (b"\x8c\x02{}{}", "unencrypted_frame", "invalid message"),
    ('{"msg_type":"shake","payload":{"pad":"' + "x" * 65_536 + '"}}', "unencrypted_frame", "invalid message"),
    (shake({}), "protocol_too_old", "this node requires the v3 Noise handshake"),
    (shake({"envelope": "00"}), "protocol_too_old", "this node requires the v3 Noise handshake"),
    (shake({"pubkey": "x"}), "protocol_too_old", "this node requires the v3 Noise handshake"),
    (shake({"noise": []}), "protocol_too_old", "this node requires the v3 Noise handshake"),
    (shake({"noise": {}}), "not_offered", "pattern/suite not offered: ?/?"),
    (shake({"noise": {**XX, "pattern": "KKpsk0"}}), "not_offered", f"pattern/suite not offered: KKpsk0/{XX['suite']}"),
    (shake({"noise": {**XX, "suite": "nope"}}), "not_offered", "pattern/suite not offered: XXpsk2/nope"),
    (shake({"noise": {**XX, "suite": ["\n"]}}), "not_offered", "pattern/suite not offered: XXpsk2/?"),
    (shake({"noise": XX}), "malformed_handshake", "malformed Noise envelope"),
    (shake({"noise": {**XX, "msg": 5}}), "malformed_handshake", "malformed Noise envelope"),
    (shake({"noise": {**XX, "msg": "zz"}}), "malformed_handshake", "malformed Noise envelope"),
    (shake({"noise": {**XX, "msg": ""}}), "handshake_failed", "handshake failure: "),
    (shake({"noise": {**XX, "msg": "00" * 8}}), "handshake_failed", "handshake failure: "),
    (shake({"noise": {**XX, "msg": "00" * 60}}), "handshake_failed", "handshake failure: "),
]
"""Frame before the session, code and reason of the refusal."""

NOT_MESSAGES: list[tuple[bytes, bool]] = [
    (b"", False),
    (b"[1]", False),
    (b"zzz", False),
    (b"\xff", False),
    (b'{"msg_type":"bin","payload":{}}', False),
    (b'{"msg_type":"BUS","payload":{}}', False),
    (b'{"msg_type":"bus","payload":[]}', False),
    (b'{"msg_type":"bus","payload":"{}"}', False),
    (b'{"msg_type":"ping","payload":null}', False),
    (b'{"msg_type":"ping","metadata":[]}', False),
    (b'{"msg_type":"hello"}', False),
    (b"", True),
    (b"\0\0", True),
    (b"\xff\xff\xff", True),
]
"""Body inside the session, and whether its frame says that it is binary."""
