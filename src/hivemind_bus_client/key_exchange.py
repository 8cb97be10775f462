"""The client's side of a key exchange for connections that leave it to their protocol: programs with a transport of
their own, such as bridges (docs/protocol.md 8.1-8.3). Our clients do it in `link`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from .coroutines import settle
from .encryption import SupportedCiphers, SupportedEncodings, _norm_cipher, optimal_ciphers
from .exceptions import HiveMindException
from .exchange import Refuse
from .keyring import Keyring
from .message import HiveMessage, HiveMessageType
from .noise import PROTOCOL_V3
from .noise_line import NoiseAttempt, server_name
from .refusals import REFUSALS
from .text_encodings import norm_encoding

LOG = logging.getLogger(__name__)


def handles_exchange(hm: Any) -> bool:
    """Tell whether a connection exchanges keys and hands out BUS messages by itself, as our clients do."""
    return getattr(hm, "handles_exchange", False) is True


class KeyExchange:
    """The part of the protocol that answers HELLO and HANDSHAKE."""

    hm: Any
    identity: Any
    handshake: Any
    pswd_handshake: Any
    internal_protocol: Any
    mpubkey: str
    binarize: bool
    site_id: str
    noise_handshake: Any
    _offer: Mapping[str, Any] | None = None
    _hello: Mapping[str, Any] | None = None
    _asked = False
    _secured = False
    _kk_failed = False

    def _emit(self, message: HiveMessage) -> None:
        raise NotImplementedError

    def _password_handshake(self, password: str) -> Any:
        raise NotImplementedError

    @property
    def node_id(self) -> str:
        """The hub's id; empty until its HELLO came."""
        return self.internal_protocol.node_id if self.internal_protocol is not None else ""

    def handle_hello(self, message: HiveMessage) -> None:
        """Learn who the hub is."""
        hello = message.payload
        self._hello = hello
        pubkey, node_id = hello.get("pubkey"), hello.get("node_id")
        if isinstance(pubkey, str):
            self.mpubkey = pubkey
        if isinstance(node_id, str) and self.internal_protocol is not None and not self.internal_protocol.node_id:
            self.internal_protocol.node_id = node_id

    def handle_handshake(self, message: HiveMessage) -> None:
        """Answer the hub's offer, and take its part of the key; once there is a v3 session, nothing of the kind."""
        payload = message.payload
        if self._secured:
            LOG.debug("a HANDSHAKE inside a session is ignored")
        elif self.noise_handshake is not None:
            self.receive_noise_handshake(payload)
        elif "envelope" in payload:
            self._take_envelope(payload)
        else:
            self.binarize = bool(payload.get("binarize", False))
            self._offer = payload
            self._answer_offer(payload)

    def _answer_offer(self, offer: Mapping[str, Any]) -> None:
        if self._takes_noise() and self.start_noise_handshake(offer):
            return
        if self._was_secured():
            self._refused("protocol_too_old")
        elif offer.get("password") and self._password():
            self.start_handshake()
        elif offer.get("preshared_key") and not offer.get("handshake") and _is_key(self.hm.crypto_key):
            self._finish()

    # --- protocol v3 (docs/protocol.md 7) -------------------------------------------------------------------

    def _takes_noise(self) -> bool:
        """The connection can have a v3 session."""
        newest = getattr(self.hm, "max_protocol_version", 0)
        can = isinstance(newest, int) and newest >= PROTOCOL_V3
        return can and bool(self._password()) and self._hello is not None

    def _server(self) -> str:
        return server_name(getattr(self.hm, "config", None), self.node_id)

    def _was_secured(self) -> bool:
        """The hub has once had a v3 session with this node, and so is never spoken to below that."""
        pinned = getattr(self.identity, "pinned_noise_keys", None)
        return isinstance(pinned, Mapping) and self._server() in pinned

    def start_noise_handshake(self, server_payload: Mapping[str, Any]) -> bool:
        """Begin a v3 session from the hub's offer; False if it offers none that we can do."""
        keyring = Keyring(self.identity, self._server(), getattr(self.hm, "key", None) or "", self._password())
        attempt = NoiseAttempt.begin(keyring, self._hello or {}, server_payload, self.binarize, not self._kk_failed)
        if attempt is None:
            return False
        self.noise_handshake = attempt
        self._shake(attempt.first(self.node_id))
        return True

    def receive_noise_handshake(self, payload: Mapping[str, Any]) -> None:
        """Take the hub's answer; when it is sound there is a session, and this node introduces itself."""
        attempt: NoiseAttempt = self.noise_handshake
        try:
            self._shake(attempt.receive(payload))
        except Refuse as refusal:
            attempt.rejected()
            self.noise_handshake = None
            self._refused(refusal.code)
            return
        if attempt.line is not None:
            self.noise_handshake, self._secured, self._kk_failed = None, True, False
            self.hm.noise_transport = attempt.line
            if attempt.encoding:
                self.hm.json_encoding = norm_encoding(attempt.encoding)
            self._finish()

    def _shake(self, payloads: tuple[dict[str, Any], ...]) -> None:
        for payload in payloads:
            self._emit(HiveMessage(HiveMessageType.HANDSHAKE, payload))

    def kk_attempt_failed(self) -> bool:
        """Tell whether the hub ended an attempt that went by the key it is known by: the connection should be made
        once more, and the hub will have to show that key.
        """
        attempt = self.noise_handshake
        if attempt is None or not attempt.is_kk or self._kk_failed:
            return False
        self._kk_failed = True
        return True

    # --- older protocols (docs/protocol.md 8) ---------------------------------------------------------------

    def _password(self) -> str:
        found = getattr(self.hm, "password", None) or getattr(self.identity, "password", None)
        return found if isinstance(found, str) else ""

    def start_handshake(self) -> None:
        """Begin, or begin anew, to exchange keys; before the hub's offer came there is nothing to begin with.

        With a password if the hub takes one and there is one, else with RSA keys.
        """
        offer = self._offer
        if self._secured or self.noise_handshake is not None:
            return
        if offer is None or handles_exchange(self.hm) or self._was_secured():
            LOG.info("the hub's offer has not come yet")
            return
        wish: dict[str, Any] = {
            "binarize": self.binarize,
            "encodings": [encoding.value for encoding in SupportedEncodings],
            "ciphers": [cipher.value for cipher in optimal_ciphers()],
        }
        if offer.get("password") and self._password():
            self.pswd_handshake = self._password_handshake(self._password())
            wish["envelope"] = self.pswd_handshake.generate_handshake()
        else:
            self.pswd_handshake = None
            wish["pubkey"] = self.handshake.pubkey
        self._asked = True
        self._emit(HiveMessage(HiveMessageType.HANDSHAKE, wish))

    def _take_envelope(self, payload: Mapping[str, Any]) -> None:
        try:
            cipher = _norm_cipher(payload.get("cipher") or SupportedCiphers.AES_GCM)
            encoding = norm_encoding(payload.get("encoding") or SupportedEncodings.JSON_HEX)
        except HiveMindException as error:
            LOG.error("the hub chose what there is not: %s", error)
            return
        before = self.hm.cipher, self.hm.json_encoding
        self.hm.cipher, self.hm.json_encoding = cipher, encoding
        if not self.receive_handshake(payload["envelope"]):
            self.hm.cipher, self.hm.json_encoding = before

    def receive_handshake(self, envelope: Any) -> bool:
        """Take the hub's part of the key and introduce this node under it.

        False, and the key stays, if it is not sound or was not asked for.
        """
        if not self._asked and _is_key(self.hm.crypto_key):
            LOG.warning("a key that nobody asked for is dropped")
            return False
        try:
            key = self._agreed_key(envelope)
        except (HiveMindException, TypeError, ValueError) as error:
            LOG.error("a handshake envelope could not be processed: %s", type(error).__name__)
            return False
        if key is None:
            self._refused("wrong_password")
            return False
        self._asked = False
        self.hm.crypto_key = key
        self._finish()
        return True

    def _agreed_key(self, envelope: Any) -> Any:
        if self.pswd_handshake is not None:
            fits = self.pswd_handshake.receive_and_verify(envelope)
            return None if fits is False else self.pswd_handshake.secret
        if self.handshake is None:
            raise HiveMindException("nothing was begun")
        fits = self.handshake.receive_and_verify(envelope, self.mpubkey)
        return None if fits is False else self.handshake.secret

    def _refused(self, code: str) -> None:
        """End an attempt: for good where the connection can take that in and nothing will change by itself."""
        refusal = REFUSALS[code]
        LOG.error("%s", refusal)
        latch = getattr(self.hm, "latch_refusal" if refusal.permanent else "close_connection", None)
        if latch is not None:
            settle(latch(str(refusal)) if refusal.permanent else latch())

    def _finish(self) -> None:
        """Introduce this node, which is the first message under the new key (docs/protocol.md 10)."""
        session = {"session_id": self.hm.session_id, "site_id": self.site_id}
        payload = {"pubkey": self.identity.public_key, "session": session, "site_id": self.site_id}
        self._emit(HiveMessage(HiveMessageType.HELLO, payload))
        self.hm.handshake_event.set()

    def connection_opened(self) -> None:
        """Note that a new connection stands: its offer is yet to come."""
        self._forget_exchange()

    def reset_connection_state(self) -> None:
        """Note that the connection is lost."""
        self._forget_exchange()

    def _forget_exchange(self) -> None:
        self._offer = self._hello = None
        self._asked = self._secured = False
        self.noise_handshake = None


def _is_key(value: Any) -> bool:
    return isinstance(value, (bytes, str)) and bool(value)
