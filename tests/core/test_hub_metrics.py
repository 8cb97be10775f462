"""How a hub stands, as figures: those of the connections, of what it depends on, and of its process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hivemind_core.hub_metrics import families
from hivemind_core.metrics import render
from hivemind_core.testing import MemoryHive, MemoryUplink


def figures(hive: MemoryHive, cluster: Any = None) -> dict[str, str]:
    lines = render(families(hive.hub, cluster)).splitlines()
    return dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))


async def test_connections_by_state() -> None:
    async with MemoryHive() as hive:
        await hive.join("kitchen")
        await hive.join("hall")
        (peer, _) = hive.hub.peers.connections()
        visitor: Any = type("Visitor", (), {"client": peer.client, "useragent": "x"})()
        hive.hub.connect(peer.conn, visitor)
        hive.hub.peers.displace(peer.peer_id, 0.0)
        found = figures(hive)
        states = {
            state: found[f'hivemind_connections{{state="{state}"}}'] for state in ("handshake", "open", "registered")
        }
        assert states == {"handshake": "1", "open": "1", "registered": "1"}
        assert found["hivemind_clients"] == "2"
        assert (found["hivemind_send_queue_frames"], found["hivemind_send_queue_frames_max"]) == ("0", "0")


@pytest.mark.parametrize("available", [True, False])
async def test_what_it_depends_on(available: bool) -> None:
    async with MemoryHive() as hive:
        hive.agent.available = available
        hive.hub.admission.database_problem = "" if available else "the disk is gone"
        hive.clock.advance(7)
        found = figures(hive)
        assert found['hivemind_agent_available{agent="recording"}'] == str(int(available))
        assert found["hivemind_database_available"] == str(int(available))
        assert float(found["hivemind_database_read_age_seconds"]) == 7
        assert "hivemind_upstream_available" not in found
        assert not any(name.startswith("hivemind_cluster") for name in found)


async def test_the_hub_above_and_the_others_of_the_cluster() -> None:
    cluster = type("Cluster", (), {"available": True, "leads": False, "others": lambda self: ["a", "b"]})()
    async with MemoryHive() as above, MemoryHive(parent=MemoryUplink(above)) as hive:
        found = figures(hive, cluster)
        assert found["hivemind_upstream_available"] == "1"
        assert found["hivemind_cluster_members"] == "3"
        assert (found["hivemind_cluster_available"], found["hivemind_cluster_leads"]) == ("1", "0")


async def test_every_figure_has_one_meaning_and_the_page_names_it() -> None:
    page = (Path(__file__).parents[2] / "docs" / "operating.md").read_text("utf-8")
    async with MemoryHive() as hive:
        found = list(families(hive.hub, None))
    assert len({family.name for family in found}) == len(found)
    assert [family.name for family in found if f"`{family.name}`" not in page] == []
    assert all(family.help and not family.help.endswith(".") for family in found)
