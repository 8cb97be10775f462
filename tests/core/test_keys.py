from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from typing import Any

from hivemind_core import keys
from hivemind_core.clients import Client
from hivemind_core.database import ClientDatabase
from hivemind_core.keys import psk_binding
from hivemind_core.storage import StorageError
from hivemind_core.storage.sqlite import SQLiteStore
from hivemind_core.testing import MemoryHive, MemorySatellite


def test_the_binding_is_the_documented_hash() -> None:
    expected = hashlib.sha256(b"hivemind-noise-psk-binding\0node\0pass").hexdigest()
    assert psk_binding("node", "pass") == expected


async def test_a_key_is_derived_once_however_many_ask() -> None:
    async with MemoryHive() as hive:
        row, calls, gate = hive.add_client("kitchen"), [], asyncio.Event()
        derive = hive.hub.workers.derive

        async def slowly(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            calls.append(args)
            await gate.wait()
            return await derive(call, *args, **kwargs)

        hive.hub.workers.derive = slowly  # type: ignore[method-assign]
        asking = [asyncio.ensure_future(hive.hub.keys.derive(row)) for _ in range(50)]
        await hive.settle()
        gate.set()
        assert len(set(await asyncio.gather(*asking))) == 1
        assert len(calls) == 1


async def opened_before_it_was_pinned(hive: MemoryHive, row: Client) -> MemorySatellite:
    """A connection of the same client that began while there was no pin, and has not said anything yet."""
    late = MemorySatellite(hive, row.password or "")
    late.hold = True
    await hive.connect(late, row, "late")
    return late


async def test_a_connection_from_before_the_pin_does_not_get_around_it() -> None:
    async with MemoryHive() as hive:
        row = hive.add_client("kitchen")
        late = await opened_before_it_was_pinned(hive, row)
        first = await hive.join("first", client=row)
        late.hold = False
        hive.to_hub(late)
        await hive.settle()
        assert first.closed is None
        assert late.closed == (1008, "client Noise static key contradicts the pinned key")


async def test_of_two_hubs_on_one_database_one_pin_counts() -> None:
    async with MemoryHive() as hive:
        row = hive.add_client("kitchen")
        elsewhere = ClientDatabase(SQLiteStore(hive.db.store.path))  # type: ignore[attr-defined]
        derive = hive.hub.workers.derive

        async def another_hub_is_first(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            elsewhere.patch_metadata(row.client_id, {"noise_pubkey": "ab" * 32})
            return await derive(call, *args, **kwargs)

        hive.hub.workers.derive = another_hub_is_first  # type: ignore[method-assign]
        kitchen = await hive.join("kitchen", client=row)
        assert kitchen.closed == (1008, "client Noise static key contradicts the pinned key")
        elsewhere.close()


async def test_a_pin_that_could_not_be_written_is_tried_again(monkeypatch: Any) -> None:
    async with MemoryHive() as hive:
        row, patch = hive.add_client("kitchen"), hive.db.patch_metadata

        def fails(*args: Any, **kwargs: Any) -> None:
            raise StorageError("disk full")

        monkeypatch.setattr(hive.db, "patch_metadata", fails)
        kitchen = await hive.join("kitchen", client=row)
        monkeypatch.setattr(hive.db, "patch_metadata", patch)
        assert kitchen.closed is None
        hive.clock.advance(31)
        hive.hub.tick()
        await hive.settle()
        stored = hive.db.by_id(row.client_id)
        assert stored is not None
        assert "noise_pubkey" in stored.metadata
        assert hive.hub.keys.unsaved_pins() == []


async def test_a_key_that_could_not_be_stored_is_kept_and_not_derived_again(monkeypatch: Any) -> None:
    async with MemoryHive() as hive:
        row, patch = hive.add_client("kitchen"), hive.db.patch_metadata

        def fails(*args: Any, **kwargs: Any) -> None:
            raise StorageError("disk full")

        monkeypatch.setattr(hive.db, "patch_metadata", fails)
        psk = await hive.hub.keys.derive(row)
        monkeypatch.setattr(hive.db, "patch_metadata", patch)
        assert hive.hub.keys.stored_psk(row) == psk
        hive.db.update(row.client_id, {"password": "another horse another battery 43"})
        assert hive.hub.keys.stored_psk(row) is None


async def test_a_connection_does_not_wait_for_a_database_that_is_locked(monkeypatch: Any) -> None:
    async with MemoryHive() as hive:
        monkeypatch.setattr(keys, "WRITTEN_WITHIN_S", 0.0)
        row, unlocked, database = hive.add_client("kitchen"), asyncio.Event(), hive.hub.workers.database

        async def locked(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            if call == hive.db.patch_metadata:
                await unlocked.wait()
            return await database(call, *args, **kwargs)

        hive.hub.workers.database = locked  # type: ignore[method-assign]
        psk = await hive.hub.keys.derive(row)
        assert hive.hub.keys.stored_psk(row) == psk
        unlocked.set()
        await hive.settle()
        stored = hive.db.by_id(row.client_id)
        assert stored is not None
        assert stored.metadata["noise_psk"] == psk.hex()


async def test_a_key_that_could_not_be_written_is_written_later(monkeypatch: Any) -> None:
    """Nothing else may be written meanwhile, and until then the hub says that it is not ready."""
    async with MemoryHive() as hive:
        monkeypatch.setattr(keys, "WRITTEN_AGAIN_S", 0.0)
        rows, edit = [hive.add_client(name) for name in ("kitchen", "hall")], hive.db.store.edit
        tried: list[int] = []

        def locked(client_id: int, *args: Any) -> Any:
            tried.append(client_id)
            if len(tried) <= 4:
                raise StorageError("database is locked")
            return edit(client_id, *args)

        monkeypatch.setattr(hive.db.store, "edit", locked)
        psks = [await hive.hub.keys.derive(row) for row in rows]
        for _ in range(200):
            await hive.settle()
            await asyncio.sleep(0)
            if not hive.hub.keys._writing:
                break
        assert hive.db.write_problem == ""
        assert [hive.db.by_id(row.client_id).metadata["noise_psk"] for row in rows] == [psk.hex() for psk in psks]  # type: ignore[union-attr]
