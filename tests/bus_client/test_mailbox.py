"""Requests to the mailbox of a hub, what its replies say, and the two calls that programs use."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hivemind_bus_client import mailbox
from hivemind_bus_client.identity import NodeIdentity
from hivemind_bus_client.intercom import is_signed_by, open_sealed
from hivemind_bus_client.mailbox import REASONS, MailboxError
from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message
from hivemind_core.mailbox import Limits
from hivemind_core.mailbox_service import Mailbox
from hivemind_core.mailbox_store import MailboxStore

NOW = 1_790_000_000.0
INTERCOM = HiveMessage(HiveMessageType.INTERCOM, {"ciphertext": "x"}, target_pubkey="PEM")


def reply(**payload: Any) -> HiveMessage:
    return HiveMessage(HiveMessageType.RENDEZVOUS, {"status": "ok", "mailbox_node": "PEM", **payload})


# --- requests and replies ---------------------------------------------------------------------------------------


def test_requests() -> None:
    assert mailbox.collect().as_dict["msg_type"] == "rendezvous"
    assert mailbox.collect().body == {"cmd": "collect"}
    assert mailbox.ack(iter(["a", "b"])).body == {"cmd": "ack", "deposit_ids": ["a", "b"]}
    asked = mailbox.deposit("key", INTERCOM).body
    assert asked == {"cmd": "deposit", "target_key": "key", "payload": INTERCOM.serialize()}
    assert mailbox.deposit("key", INTERCOM, 60).body == {**asked, "ttl": 60}


def test_replies() -> None:
    assert mailbox.deposit_id(reply(deposit_id="id")) == "id"
    assert mailbox.removed(reply(removed=2)) == 2
    (letter,) = mailbox.letters(reply(messages=[{"deposit_id": "id", "payload": INTERCOM.serialize()}]))
    assert letter.deposit_id == "id"
    assert letter.message is not None
    assert (letter.message.body, letter.message.target_public_key) == ({"ciphertext": "x"}, "PEM")


@pytest.mark.parametrize("payload", ["x", None, 5, "{}", json.dumps({"type": "speak"}), "[" * 100_000])
def test_what_is_no_letter_can_be_acknowledged(payload: Any) -> None:
    assert mailbox.letters(reply(messages=[{"deposit_id": "id", "payload": payload}])) == [("id", None)]


@pytest.mark.parametrize("messages", [None, 5, [5, None]])
def test_a_reply_of_another_shape_holds_nothing(messages: Any) -> None:
    assert mailbox.letters(reply(messages=messages)) == []
    assert mailbox.removed(reply(removed="x")) == 0


@pytest.mark.parametrize("reason", sorted(REASONS))
def test_every_reason_has_a_sentence(reason: str) -> None:
    failed = None if reason == "no_reply" else reply(status="error", reason=reason)
    for read in (mailbox.deposit_id, mailbox.letters, mailbox.removed):
        with pytest.raises(MailboxError) as caught:
            read(failed)
        assert caught.value.reason == reason
        assert str(caught.value) == REASONS[reason]


def test_the_page_says_the_same() -> None:
    page = (Path(__file__).parents[2] / "docs" / "mailbox.md").read_text("utf-8")
    for reason, sentence in REASONS.items():
        assert f"| `{reason}` | {sentence} |" in page


def test_a_reason_of_the_hubs_own_is_shown_as_it_is() -> None:
    with pytest.raises(MailboxError, match=r"^The hub refused: 'x{100}'\.$"):
        mailbox.read(reply(status="error", reason="x" * 10_000))


# --- for programs -----------------------------------------------------------------------------------------------


class Wire:
    """As much of a client as the calls use, at the real mailbox of a hub."""

    def __init__(self, box: Mailbox, access_key: str, folder: Path) -> None:
        self._box = box
        self._key = access_key
        self.identity = NodeIdentity(identity_file=folder / access_key / "_identity.json")
        self.identity.create_keys()
        self.identity.save()
        self.cmds: list[str] = []

    @property
    def public_key(self) -> str:
        return str(self.identity.public_key)

    async def _ask(self, message: HiveMessage) -> HiveMessage:
        self.cmds.append(message.body["cmd"])
        return HiveMessage(HiveMessageType.RENDEZVOUS, await self._box.handle(self._key, message.body, NOW))

    def wait_for_response(self, message: HiveMessage, timeout: float) -> HiveMessage:
        return asyncio.run(self._ask(message))

    def opened(self, letter: HiveMessage) -> str:
        private = Path(self.identity.private_key).read_text("ascii")
        return str(open_sealed(letter.body, private).payload.data["utterance"])


class AsyncWire(Wire):
    """The same for asyncio."""

    async def wait_for_response(self, message: HiveMessage, timeout: float) -> HiveMessage:  # type: ignore[override]
        return await self._ask(message)


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Mailbox]:
    made = Mailbox(partial(MailboxStore, tmp_path / "mailbox.db"), "PEM", Limits(per_sender=20))
    asyncio.run(made.start())
    yield made
    asyncio.run(made.stop())


def words(text: str) -> Message:
    return Message("speak", {"utterance": text})


def test_what_one_leaves_another_fetches_once(box: Mailbox, tmp_path: Path) -> None:
    alice, bob = Wire(box, "alice", tmp_path), Wire(box, "bob", tmp_path)
    ids = {mailbox.leave(alice, "bob", bob.public_key, words(text)) for text in ("one", "two")}
    assert len(ids) == 2
    fetched = list(mailbox.fetch(bob))
    assert [bob.opened(letter) for letter in fetched] == ["one", "two"]
    for letter in fetched:
        assert letter.target_public_key == bob.public_key
        assert is_signed_by(letter.body, alice.public_key)
    assert list(mailbox.fetch(bob)) == list(mailbox.fetch(alice)) == []
    assert bob.cmds == ["collect", "ack", "collect", "collect"]


def test_more_than_one_reply_holds_is_fetched_in_one_go(
    box: Mailbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hivemind_core.mailbox.MAX_COLLECTED_BYTES", 5000)
    alice, bob = Wire(box, "alice", tmp_path), Wire(box, "bob", tmp_path)
    texts = [str(number) for number in range(10)]
    for text in texts:
        mailbox.leave(alice, "bob", bob.public_key, words(text))
    assert [bob.opened(letter) for letter in mailbox.fetch(bob)] == texts
    assert bob.cmds.count("collect") > 2


def test_what_was_not_dealt_with_comes_again(box: Mailbox, tmp_path: Path) -> None:
    alice, bob = Wire(box, "alice", tmp_path), Wire(box, "bob", tmp_path)
    mailbox.leave(alice, "bob", bob.public_key, words("one"))
    assert bob.opened(next(mailbox.fetch(bob))) == "one"
    assert [bob.opened(letter) for letter in mailbox.fetch(bob)] == ["one"]


def test_junk_is_acknowledged_and_does_not_stand_in_the_way(box: Mailbox, tmp_path: Path) -> None:
    alice, bob = Wire(box, "alice", tmp_path), Wire(box, "bob", tmp_path)
    alice.wait_for_response(mailbox.deposit("bob", INTERCOM), 1)
    mailbox.leave(alice, "bob", bob.public_key, words("one"))
    junk, letter = mailbox.fetch(bob)
    assert (junk.body, bob.opened(letter)) == (INTERCOM.body, "one")
    assert list(mailbox.fetch(bob)) == []


def test_a_refusal_raises(box: Mailbox, tmp_path: Path) -> None:
    alice = Wire(box, "alice", tmp_path)
    with pytest.raises(MailboxError, match=REASONS["invalid_ttl"]):
        mailbox.leave(alice, "bob", alice.public_key, words("one"), -1)
    for _ in range(20):
        mailbox.leave(alice, "bob", alice.public_key, words("one"), 60)
    with pytest.raises(MailboxError, match="Too many of your own"):
        mailbox.leave(alice, "bob", alice.public_key, words("one"))


def test_a_hub_that_never_lets_go_is_not_asked_for_ever(tmp_path: Path) -> None:
    class Forgetful(Mailbox):
        async def handle(self, owner_key: str, body: Any, wall: float) -> dict[str, Any]:
            messages = [{"deposit_id": "id", "payload": INTERCOM.serialize()}]
            return {"status": "ok", "messages": messages, "removed": 0}

    bob = Wire(Forgetful(tmp_path / "x", "PEM"), "bob", tmp_path)
    assert len(list(mailbox.fetch(bob))) == 1


async def test_the_same_with_asyncio(tmp_path: Path) -> None:
    box = Mailbox(partial(MailboxStore, tmp_path / "mailbox.db"), "PEM")
    alice, bob = AsyncWire(box, "alice", tmp_path), AsyncWire(box, "bob", tmp_path)
    await mailbox.leave_async(alice, "bob", bob.public_key, words("one"))
    assert [bob.opened(letter) async for letter in mailbox.fetch_async(bob)] == ["one"]
    assert [letter async for letter in mailbox.fetch_async(bob)] == []
    with pytest.raises(MailboxError):
        await mailbox.leave_async(alice, "", bob.public_key, words("one"))
    await box.stop()
