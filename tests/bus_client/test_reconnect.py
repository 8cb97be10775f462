from dataclasses import replace

import pytest

from hivemind_bus_client.reconnect import NO_STATUS, Backoff, Ended, Persistence, read_close
from hivemind_bus_client.refusals import REFUSALS

LOST = Ended(admitted=True, opened=True, pattern="XXpsk2", stood_s=60.0)
UNREACHABLE = Ended(refusal=REFUSALS["unreachable"])


def even() -> Persistence:
    return Persistence(Backoff(jitter=lambda: 1.0))


def refused(code: str, **more: object) -> Ended:
    return Ended(close_code=1008, refusal=REFUSALS[code], **more)  # type: ignore[arg-type]


def test_waits_double_from_half_a_second_to_thirty():
    persistence = even()
    assert [persistence.after(UNREACHABLE) for _ in range(8)] == [0.5, 1, 2, 4, 8, 16, 30, 30]
    persistence.admitted()
    assert persistence.after(LOST) == 0.5


def test_waits_are_spread():
    waits = [Backoff().next() for _ in range(200)]
    assert 0.25 <= min(waits) < 0.4
    assert 0.6 < max(waits) <= 0.75


@pytest.mark.parametrize(
    "code", ["invalid_key", "wrong_password", "key_mismatch", "client_key_mismatch", "protocol_too_old"]
)
def test_a_permanent_refusal_ends_it(code):
    assert even().after(refused(code)) is None


@pytest.mark.parametrize("code", ["busy", "shutting_down", "database_unavailable", "handshake_timeout"])
def test_a_passing_refusal_does_not(code):
    assert even().after(refused(code)) == 0.5


def test_after_admission_every_end_is_a_loss():
    """docs/protocol.md 17.4: 1008 on a session that stood means reconnect."""
    assert even().after(refused("invalid_key", admitted=True, opened=True)) == 0.5


def test_another_devices_key_ends_it_even_then():
    """A proxy that answers pings by itself makes us believe to be admitted before the hub has refused."""
    assert even().after(refused("client_key_mismatch", admitted=True, opened=True)) is None


def test_a_refused_kk_attempt_is_followed_by_one_xx_at_once():
    persistence = even()
    kk = refused("handshake_failed", pattern="KKpsk0")
    assert persistence.after(kk) == 0.0
    assert (persistence.allow_kk, persistence.use_kept_key) == (False, False)
    assert persistence.after(refused("wrong_password", pattern="XXpsk2")) is None


def test_kk_is_used_again_once_admitted():
    persistence = even()
    persistence.after(refused("handshake_failed", pattern="KKpsk0"))
    persistence.admitted()
    assert persistence.allow_kk
    assert persistence.after(refused("handshake_failed", pattern="KKpsk0")) == 0.0


def test_a_kept_key_is_tried_once_then_derived_afresh():
    persistence = even()
    stale = refused("wrong_password", pattern="XXpsk2", key_was_kept=True)
    assert persistence.after(stale) == 0.0
    assert not persistence.use_kept_key
    assert persistence.after(refused("wrong_password", pattern="XXpsk2")) is None


def test_a_wrong_password_is_tried_twice_since_a_hub_may_hold_two():
    """docs/protocol.md 7.5: with XXpsk2 it has to choose, and chooses the other one then."""
    persistence = even()
    wrong = refused("wrong_password", pattern="XXpsk2")
    assert persistence.after(wrong) == 0.0
    assert persistence.after(wrong) is None
    assert even().after(refused("wrong_password", pattern="password")) is None


def test_an_unknown_key_is_no_reason_to_derive_again():
    assert even().after(refused("invalid_key", key_was_kept=True)) is None


def test_only_a_failed_handshake_makes_the_key_suspect():
    assert refused("wrong_password", pattern="XXpsk2").key_suspect
    assert not refused("client_key_mismatch", pattern="XXpsk2", opened=True).key_suspect
    assert not refused("invalid_key").key_suspect
    assert not Ended(pattern="XXpsk2", refusal=REFUSALS["busy"], close_code=1013).key_suspect


def test_an_unreadable_message_at_the_end_of_first_contact_is_another_devices_key():
    """The released hub answers so when HELLO already waits behind the message 3 that it refuses."""

    def read(pattern: str, opened: bool, admitted: bool) -> str:
        refusal = read_close(1008, "invalid message", pattern, opened, admitted)
        assert refusal is not None
        return refusal.code

    assert read("XXpsk2", True, False) == "client_key_mismatch"
    assert read("XXpsk2", True, True) == "invalid_frame"
    assert read("XXpsk2", False, False) == "invalid_frame"
    assert read("KKpsk0", True, False) == "invalid_frame"
    assert read_close(0, "", "XXpsk2", True, False) is None


def test_a_session_that_is_gone_without_a_word():
    """Over HTTP that is all a released hub lets one know (docs/protocol.md 6)."""

    def read(pattern: str, opened: bool, admitted: bool) -> str | None:
        refusal = read_close(NO_STATUS, "", pattern, opened, admitted)
        return refusal and refusal.code

    assert read("XXpsk2", True, False) == "client_key_mismatch"
    assert read("XXpsk2", True, True) is None
    assert read("XXpsk2", False, False) is None
    assert read("KKpsk0", True, False) is None
    persistence = even()
    assert persistence.after(Ended(pattern="KKpsk0", close_code=NO_STATUS)) == 0.0
    assert not persistence.allow_kk
    assert persistence.after(Ended(pattern="XXpsk2", close_code=NO_STATUS)) == 0.5
    assert not Ended(pattern="KKpsk0", opened=True, close_code=NO_STATUS).kk_refused


def test_a_hub_never_met_that_keeps_closing_without_a_word_has_refused():
    silent = Ended(close_code=1005, refusal=REFUSALS["no_greeting"])
    persistence = Persistence()
    assert [persistence.after(silent) is None for _ in range(3)] == [False, False, True]


def test_silent_ends_do_not_count_with_others_between_or_at_a_hub_that_was_met():
    silent = Ended(close_code=1005, refusal=REFUSALS["no_greeting"])
    persistence = Persistence()
    for _ in range(4):
        assert persistence.after(silent) is not None
        assert persistence.after(silent) is not None
        assert persistence.after(Ended(refusal=REFUSALS["unreachable"])) is not None
    persistence.admitted()
    assert None not in [persistence.after(silent) for _ in range(10)]


@pytest.mark.parametrize(
    ("pattern", "opened", "admitted", "code"),
    [
        ("preshared", True, False, "handshake_failed"),
        ("preshared", True, True, None),
        ("preshared", False, False, None),
        ("password", True, False, None),
    ],
)
def test_a_hub_that_drops_a_satellite_with_another_static_key(pattern, opened, admitted, code):
    refusal = read_close(0, "", pattern, opened, admitted)
    assert (None if refusal is None else refusal.code) == code
    told = read_close(1008, "invalid message", pattern, opened, admitted)
    assert told is not None
    assert told.code == (code or "invalid_frame")


def test_a_hub_that_admits_and_ends_it_at_once_is_left_alone_longer_each_time():
    persistence, waits = even(), []
    for _ in range(4):
        persistence.admitted()
        waits.append(persistence.after(Ended(admitted=True, opened=True, stood_s=0.1)))
    assert waits == [0.5, 1, 2, 4]


def test_a_hub_that_says_when_is_not_tried_before():
    persistence = even()
    ended = Ended(admitted=True, close_code=1013, refusal=REFUSALS["too_many_messages"], stood_s=60)
    for said in (7, 90):
        hint = replace(ended, detail=f"too many messages, try again in {said} s")
        assert said < persistence.after(hint) <= said + 1
    assert persistence.after(replace(ended, detail="too many messages, try again later")) <= 1


def test_what_is_no_refusal_for_a_while_has_no_say_in_it():
    ended = Ended(admitted=True, close_code=1011, refusal=REFUSALS["internal_error"], detail="try again in 60 s")
    assert even().after(ended) < 2
