"""noise_transport: the released names of a handshake and its transport."""

from __future__ import annotations

import stat
import threading
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag

from helpers import vectors
from hivemind_bus_client import noise
from hivemind_bus_client.exceptions import NoiseHandshakeFailed, NoiseTransportFailed
from hivemind_bus_client.noise import NOISE_PATTERNS, NOISE_SUITE_AESGCM, NOISE_SUITE_CHACHA, NOISE_SUITES
from hivemind_bus_client.noise_psks import load_cached_psk, save_cached_psk
from hivemind_bus_client.noise_transport import MAX_ONE_FRAME, NoiseHandShake, NoiseTransport, start_noise_handshake
from hivemind_bus_client.parts import CHUNK_SIZE

PSK = b"p" * 32
XX, KK = "XXpsk2", "KKpsk0"


def start(initiator: bool, pattern: str = XX, suite: str = NOISE_SUITE_CHACHA, **given: Any) -> NoiseHandShake:
    given = {"psk": PSK, **given}
    return start_noise_handshake(initiator, pattern, suite, None, "hub", b"prologue", **given)


def shake(initiator: NoiseHandShake, responder: NoiseHandShake) -> None:
    sender, receiver = initiator, responder
    while not sender.complete:
        assert receiver.read_message(sender.write_message(b"payload")) == b"payload"
        sender, receiver = receiver, sender


def pair(**given: Any) -> tuple[NoiseTransport, NoiseTransport]:
    initiator, responder = start(True), start(False)
    shake(initiator, responder)
    return NoiseTransport(initiator), NoiseTransport(responder, **given)


# --- the handshake ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suite", NOISE_SUITES)
@pytest.mark.parametrize("pattern", NOISE_PATTERNS)
def test_both_sides_agree_and_know_each_other(pattern: str, suite: str, tmp_path: Path) -> None:
    keys = tmp_path / "a.key", tmp_path / "b.key"
    first, second = (NoiseHandShake(True, path, psk=PSK) for path in keys)
    known: Any = {first: second.pubkey, second: first.pubkey_bytes} if pattern == KK else {first: None, second: None}
    initiator = start(True, pattern, suite, key_path=keys[0], remote_pubkey=known[first])
    responder = start(False, pattern, suite, key_path=str(keys[1]), remote_pubkey=known[second])
    assert (initiator.complete, initiator.handshake_finished, initiator.finished) == (False, False, False)
    assert initiator.handshake_hash is None
    shake(initiator, responder)
    assert (initiator.complete, initiator.handshake_finished, initiator.finished) == (True, True, True)
    assert initiator.handshake_hash == responder.handshake_hash is not None
    assert (initiator.remote_pubkey, responder.remote_pubkey) == (second.pubkey_bytes, first.pubkey_bytes)
    assert responder.decrypt(initiator.encrypt(b"x")) == b"x"
    assert initiator.split() is initiator.split()
    assert NoiseTransport(initiator).remote_static_key == second.pubkey


def test_a_key_is_made_where_it_is_missing_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.key"
    made = start(True, key_path=path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert start(False, key_path=path).pubkey == made.pubkey
    made.export_private_key(tmp_path / "copy.key")
    assert (tmp_path / "copy.key").read_text() == path.read_text()
    assert start(True).pubkey != start(True).pubkey


@pytest.mark.parametrize(
    "given",
    [
        {"pattern": KK},
        {"pattern": KK, "remote_pubkey": "zz"},
        {"pattern": KK, "remote_pubkey": b"short"},
        {"pattern": "NN"},
        {"suite": "25519_ChaChaPoly_BLAKE2s"},
        {"psk": b"short"},
    ],
)
def test_what_makes_no_handshake_is_refused(given: Any) -> None:
    with pytest.raises(NoiseHandshakeFailed):
        start(True, **given)


def test_a_key_file_that_holds_no_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.key").write_text("no key")
    with pytest.raises(NoiseHandshakeFailed):
        start(True, key_path=tmp_path / "a.key")
    assert (tmp_path / "a.key").read_text() == "no key"


def test_a_secret_is_wanted() -> None:
    with pytest.raises(ValueError):
        start(True, psk=None)
    with pytest.raises(ValueError):
        NoiseHandShake(True, password="pw")


def test_a_wrong_secret_a_wrong_turn_and_garbage_are_found_out() -> None:
    initiator, responder = start(True), start(False, psk=b"q" * 32)
    responder.read_message(initiator.write_message())
    with pytest.raises(NoiseHandshakeFailed):
        initiator.write_message()
    for message in (b"xx", bytes(200), "text"):
        with pytest.raises(NoiseHandshakeFailed):
            initiator.read_message(message)  # type: ignore[arg-type]
    with pytest.raises(NoiseHandshakeFailed):
        initiator.read_message(responder.write_message())
    for use in (NoiseTransport, NoiseHandShake.split):
        with pytest.raises(NoiseHandshakeFailed):
            use(initiator)


@pytest.fixture
def derived(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    calls: list[tuple[str, str]] = []

    def derive(password: str, node_id: str) -> bytes:
        calls.append((password, node_id))
        return PSK

    monkeypatch.setattr(noise, "derive_psk", derive)
    return calls


def test_a_key_is_derived_once_and_kept(tmp_path: Path, derived: list[tuple[str, str]]) -> None:
    path = tmp_path / "a.key"
    for _ in range(2):
        start_noise_handshake(True, XX, NOISE_SUITE_CHACHA, "pw", "hub", b"", path, cache_scope="access")
    assert derived == [("pw", "hub")]
    assert load_cached_psk(path, "hub", "access") == PSK
    start_noise_handshake(True, XX, NOISE_SUITE_CHACHA, b"pw", "other", b"", path, cache_scope="access")
    assert derived == [("pw", "hub"), ("pw", "other")]


def test_a_hub_and_a_client_with_its_own_key_keep_nothing(tmp_path: Path, derived: list[tuple[str, str]]) -> None:
    path = tmp_path / "a.key"
    save_cached_psk(path, "hub", b"k" * 32)
    hub = start_noise_handshake(False, XX, NOISE_SUITE_AESGCM, "pw", "hub", b"", path)
    client = start_noise_handshake(True, XX, NOISE_SUITE_AESGCM, "pw", "hub", b"", path, psk=PSK)
    assert derived == [("pw", "hub")]
    assert load_cached_psk(path, "hub") == b"k" * 32
    shake(client, hub)


# --- the transport ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, CHUNK_SIZE, CHUNK_SIZE + 1, 200_000])
def test_messages_of_any_size_arrive_as_they_were(size: int) -> None:
    mine, theirs = pair()
    for payload in ("é" * (size // 2), b"\xa5" * size):
        frames: list[bytes] = []
        mine.send_message(payload, frames.append)
        assert len(frames) == max(1, -(-len(payload.encode() if isinstance(payload, str) else payload) // CHUNK_SIZE))
        *early, last = [theirs.decrypt_frame(frame) for frame in frames]
        assert early == [None] * len(early)
        assert last == payload


def test_one_frame_holds_what_fits() -> None:
    mine, theirs = pair()
    for payload in ("text", b"bytes", bytes(MAX_ONE_FRAME)):
        frame = mine.encrypt_frame(payload)
        assert len(frame) <= 65_535
        assert theirs.decrypt_frame(frame) == payload
    assert theirs.decrypt_frame(mine.encrypt_frame(bytearray(b"x"))) == b"x"  # type: ignore[arg-type]
    with pytest.raises(NoiseTransportFailed):
        mine.encrypt_frame(bytes(MAX_ONE_FRAME + 1))
    for send in (mine.encrypt_frame, lambda payload: mine.send_message(payload, print)):
        with pytest.raises(TypeError):
            send({"a": 1})


@pytest.mark.parametrize("change", ["replayed", "changed", "lost", "text"])
def test_a_frame_that_is_not_the_next_one_is_fatal(change: str) -> None:
    mine, theirs = pair()
    frame = mine.encrypt_frame("x")
    following = mine.encrypt_frame("y")
    changed = following[:-1] + bytes([following[-1] ^ 1])
    bad: Any = {"replayed": frame, "changed": changed, "lost": b"", "text": "text"}[change]
    assert theirs.decrypt_frame(frame) == "x"
    with pytest.raises(NoiseTransportFailed):
        theirs.decrypt_frame(bad)


@pytest.mark.parametrize("case", vectors.load("chunking")["receiver"], ids=lambda case: case["name"])
def test_recorded_parts(case: dict[str, Any]) -> None:
    """A handshake that encrypts nothing stands in, as one of another library could."""
    transport = NoiseTransport(Clear(), 200_000)  # type: ignore[arg-type]
    assert [received(transport, text) for text in case["plaintext_frames_hex"]] == case["results"]


class Clear:
    handshake_finished, remote_pubkey, handshake_hash = True, None, b"hash"

    def encrypt(self, data: bytes) -> bytes:
        return data

    def decrypt(self, data: bytes) -> bytes:
        if data == b"bad":
            raise InvalidTag
        return data


def received(transport: NoiseTransport, text: str) -> str:
    shown = bytes.fromhex(text.rstrip("."))
    try:
        whole = transport.decrypt_frame(shown if text == text.rstrip(".") else shown.ljust(CHUNK_SIZE + 1, shown[-1:]))
    except (NoiseTransportFailed, UnicodeDecodeError) as error:
        return type(error).__name__
    if whole is None:
        return "incomplete"
    return f"text:{whole}" if isinstance(whole, str) else f"bin:{whole.hex()}"


def test_what_another_library_raises_is_a_failure_of_the_transport() -> None:
    transport = NoiseTransport(Clear())  # type: ignore[arg-type]
    assert (transport.remote_static_key, transport.handshake_hash) == (None, b"hash")
    assert transport.encrypt_frame("x") == b"\0x"
    with pytest.raises(NoiseTransportFailed):
        transport.decrypt_frame(b"bad")


def test_too_much_of_one_message_is_refused_and_forgotten() -> None:
    mine, theirs = pair(max_reassembly_bytes=100_000)
    frames: list[bytes] = []
    mine.send_message("y" * 200_000, frames.append)
    assert theirs.decrypt_frame(frames[0]) is None
    for frame in frames[1:]:
        with pytest.raises(NoiseTransportFailed):
            theirs.decrypt_frame(frame)
    assert theirs.decrypt_frame(mine.encrypt_frame("next")) == "next"


def test_frames_of_two_threads_do_not_mix() -> None:
    mine, theirs = pair()
    frames: list[bytes] = []
    bodies = [bytes([number]) * (2 * CHUNK_SIZE + 1) for number in range(8)]
    threads = [threading.Thread(target=mine.send_message, args=(body, frames.append)) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    whole = [theirs.decrypt_frame(frame) for frame in frames]
    assert sorted(body for body in whole if isinstance(body, bytes)) == bodies


def test_the_names_are_in_the_module_where_they_are_released() -> None:
    assert noise.NoiseTransport is NoiseTransport
    assert noise.start_noise_handshake is start_noise_handshake
    assert noise.load_cached_psk is load_cached_psk
    with pytest.raises(AttributeError, match="NoSuchName"):
        noise.NoSuchName  # noqa: B018


def test_who_shakes_by_hand_may_catch_what_the_released_handshake_raises() -> None:
    initiator, responder = start(True), start(False, psk=b"q" * 32)
    responder.read_message(initiator.write_message())
    with pytest.raises(InvalidTag) as caught:
        initiator.read_message(responder.write_message())
    assert isinstance(caught.value, NoiseHandshakeFailed)
