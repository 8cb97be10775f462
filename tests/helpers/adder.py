"""Adds one client after the other, and says of each that it did: `python adder.py STORE FILE PREFIX`."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

from hivemind_core.clients import Client
from hivemind_core.database import ClientDatabase
from hivemind_core.storage.json import JSONStore
from hivemind_core.storage.sqlite import SQLiteStore


def main(store: str, file: str, prefix: str) -> None:
    database = ClientDatabase(JSONStore(Path(file)) if store == "json" else SQLiteStore(Path(file)))
    for number in itertools.count():
        key = f"{prefix}-{number}"
        database.add(Client(0, key, key, password="correct horse battery staple 42"))
        print(key, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
