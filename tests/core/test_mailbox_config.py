"""The block `rendezvous` of server.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hivemind_core.config_values import ConfigError, Values
from hivemind_core.mailbox import Limits
from hivemind_core.mailbox_config import DEFAULTS, MailboxConfig, read


def block(**given: Any) -> Values:
    return Values("server.json", {"rendezvous": {**DEFAULTS, **given}})


def test_it_is_off_unless_enabled() -> None:
    assert read(block()) == read(Values("x", {})) == read(Values("x", {"rendezvous": False})) == MailboxConfig()
    assert not MailboxConfig().enabled


def test_what_a_released_hub_is_told() -> None:
    released = Values("x", {"rendezvous": {"enabled": True, "max_pending_per_mailbox": 7}})
    assert read(released) == MailboxConfig(True, Limits(per_box=7))


def test_the_page_names_the_defaults() -> None:
    page = (Path(__file__).parents[2] / "docs" / "mailbox.md").read_text("utf-8")
    for key, value in DEFAULTS.items():
        assert f"| `{key}` | {json.dumps(value)} |" in page


def test_every_key() -> None:
    told = block(enabled=True, max_pending_per_sender=3, max_mailboxes=5, max_bytes=300_000)
    assert read(told) == MailboxConfig(True, Limits(per_sender=3, boxes=5, total_bytes=300_000))
    assert read(block(enabled=True)).limits == Limits()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("enabled", "yes"),
        ("max_pending_per_mailbox", 0),
        ("max_pending_per_mailbox", "256"),
        ("max_pending_per_sender", -1),
        ("max_mailboxes", 4097),
        ("max_bytes", 1000),
        ("max_bytes", 1e6),
    ],
)
def test_what_cannot_be_is_refused_by_name(key: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"`rendezvous.{key}` must be"):
        read(block(**{"enabled": True, key: value}))


def test_what_is_wrong_counts_only_where_it_is_enabled() -> None:
    assert read(block(max_bytes="lots")) == MailboxConfig()
    with pytest.raises(ConfigError, match="`rendezvous` must be an object"):
        read(Values("x", {"rendezvous": [1]}))
