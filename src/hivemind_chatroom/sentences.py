"""Every sentence that a person meets in the room, with its cure: the one place to change them.

Those about the connection to the hub, and about messages that it denies, are the satellite's own
(`hivemind_bus_client.refusals`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from .names import clean_line


@dataclass(frozen=True)
class Sentence:
    """What happened, and what to do about it."""

    code: str
    """Stable name."""
    text: str
    """A plain sentence."""
    cure: str = ""
    """What to do about it; empty where it passes by itself and there is nothing to add."""

    def __str__(self) -> str:
        return f"{self.text} {self.cure}".strip()


MAX_FIELD = 500
"""Characters of what a hub or an error adds to a sentence."""

_ROWS = (
    # the link
    Sentence("hub_connecting", "Connecting to the hub.", "Messages can be written; they are sent once it answers."),
    Sentence("hub_down", "The hub cannot be reached.", "It is tried again by itself; the chatroom's log says more."),
    Sentence("refused", "{text}", "{cure}"),
    # a message
    Sentence(
        "waiting_for_hub",
        "The hub is not connected; this message waits for it.",
        "It is sent by itself once the hub is back.",
    ),
    Sentence(
        "waited_too_long",
        "This message was not sent: the hub did not come back in time.",
        "Send it again when the hub is connected.",
    ),
    Sentence(
        "queue_full",
        "This message was not taken: too many wait for the hub already.",
        "Send it again when the hub is connected.",
    ),
    Sentence(
        "stopping",
        "This message was not taken: the chatroom is about to stop.",
        "Send it again when it is back.",
    ),
    Sentence(
        "not_sent",
        "This message could not be sent{detail}.",
        "Send it again; if that does not help see the log of the chatroom.",
    ),
    Sentence(
        "link_lost",
        "The connection to the hub was lost before an answer came; the message may have been carried out.",
        "See whether it was, and send it again if not.",
    ),
    Sentence(
        "restarted",
        "The chatroom was restarted before an answer came; the message may have been carried out.",
        "See whether it was, and send it again if not.",
    ),
    Sentence(
        "unanswered",
        "The assistant did not answer in time.",
        "Send it again; if this goes on see whether the assistant behind the hub is running.",
    ),
    Sentence("not_understood", "The assistant did not understand this.", "Say it in other words."),
    Sentence("nothing_said", "The assistant dealt with this without saying anything."),
    Sentence("cancelled", "The assistant dropped this message.", "Say it again if it was meant."),
    Sentence("denied", "The hub denied this message{reason}.", "{cure}"),
    Sentence("rate_limited", "You are sending too fast.", "Wait {seconds} s and send it again."),
    # coming in
    Sentence(
        "too_many_users",
        "There are too many people here.",
        "Come back later, or start the chatroom with a larger --max-users.",
    ),
    Sentence(
        "too_many_rooms",
        "There are too many rooms.",
        "Go to one that exists, or start the chatroom with a larger --max-rooms.",
    ),
    Sentence(
        "private_needs_cookies",
        "A private message needs to know whose it is, and this browser sent no cookie.",
        "Allow cookies for this page and load it again.",
    ),
    Sentence(
        "no_streams",
        "Too many pages are open for live updates.",
        "The page asks for news every few seconds instead; close pages that nobody looks at, or start the chatroom with"
        " a larger --streams.",
    ),
    Sentence("no_such_page", "There is no such page here.", "Go to the start page."),
    Sentence(
        "wrong_room_password",
        "This is not the password of the room.",
        "Ask whoever runs the chatroom for it; it was set with --room-password.",
    ),
    Sentence("sign_in", "This room has a password.", "Sign in with it first."),
    Sentence(
        "cross_site",
        "This was sent by the page of another site.",
        "Open the chatroom itself and send it there. If a reverse proxy stands in between, it has to pass on Host and"
        " X-Forwarded-Proto, and the chatroom to be started with --trusted-proxy and its address.",
    ),
    Sentence(
        "address_refused",
        "The chatroom serves this network only.",
        "To let others in, start it with --room-password, or with --open for everybody.",
    ),
    Sentence(
        "host_refused",
        "The chatroom does not go by this name.",
        "Open it by its address, or start it with --allowed-host and this name.",
    ),
    Sentence(
        "forwarded_refused",
        "This request came through a proxy that the chatroom does not know.",
        "Start the chatroom with --trusted-proxy and the address of the proxy.",
    ),
)

SENTENCES: dict[str, Sentence] = {row.code: row for row in _ROWS}
"""Code -> sentence; in braces is what `say` puts in."""
_AFTER_COLON = ("reason", "detail")


def _field(name: str, value: object) -> str:
    if isinstance(value, float):
        return str(max(1, math.ceil(value))) if math.isfinite(value) else "a few"
    text = clean_line(str(value), MAX_FIELD)
    if name in _AFTER_COLON:
        return f": {text.rstrip('. ')}" if text.strip(". ") else ""
    return text


class _Fields(dict[str, str]):
    def __missing__(self, name: str) -> str:
        return ""


def say(code: str, **fields: object) -> Sentence:
    """Return the sentence with these fields in place; one that is not given is empty. Raises KeyError.

    ``refused`` has text and cure (of a `hivemind_bus_client.refusals.Refusal`), ``denied`` reason and cure (of a
    `hivemind_bus_client.denials.Denial`), ``not_sent`` detail, ``rate_limited`` seconds.
    """
    row = SENTENCES[code]
    filled = _Fields({name: _field(name, value) for name, value in fields.items()})
    return Sentence(code, row.text.format_map(filled), row.cure.format_map(filled))
