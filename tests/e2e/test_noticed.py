"""A hub that runs, and changes of rights made by others: each stands in the audit log once, with who made it."""

from __future__ import annotations

import json
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

from helpers.hub_process import HubProcess
from helpers.processes import PATIENCE_S, Children, free_port, wait_until
from hivemind_core.storage.sqlite import SQLiteStore

PROGRAM = Path(sys.executable).parent / "hivemind-core"
KEY, PASSWORD, NEW_PASSWORD = (
    "key-of-the-kitchen-7f3a",
    "4f6c2a90d1e84b7730aa55cc19f0be21",
    "0b9d4417c6a2f58e3317d0c4b8a6",
)


def test_what_others_change_is_told_once_and_with_no_secret(children: Children) -> None:
    hub = HubProcess(children, PROGRAM, free_port())
    log = hub.home.data / "hivemind-core" / "audit.log"

    def lines() -> list[dict[str, Any]]:
        return [json.loads(line) for line in log.read_text("utf-8").splitlines()]

    hub.add_client(KEY, PASSWORD, name="kitchen")
    hub.start()
    hub.command("make-admin", "1")
    with closing(SQLiteStore(hub.database)) as store:
        store.edit(1, lambda row: {"password": NEW_PASSWORD, "allowed_types": (*row.allowed_types, "speak")})
    wait_until(lambda: len(lines()) > 2, PATIENCE_S, "the hub to tell what it noticed")
    hub.command("blacklist-propagate", "1")
    with closing(SQLiteStore(hub.database)) as store:
        store.delete(1)
    hub.take_in()
    assert hub.stop() == 0

    told = [(line["source"], line["action"]) for line in lines()]
    assert told[:3] == [("command", "add-client"), ("command", "make-admin"), ("elsewhere", "change")]
    assert sorted(told[3:]) == [("command", "blacklist-propagate"), ("elsewhere", "delete-client")]
    noticed = lines()[2]
    assert (noticed["before"]["password"], noticed["after"]["password"]) == ("set", "changed")
    assert noticed["after"].keys() == {"password", "allowed_types"}
    assert "speak" in noticed["after"]["allowed_types"]
    assert not [secret for secret in (KEY, PASSWORD, NEW_PASSWORD) if secret in log.read_text("utf-8")]
