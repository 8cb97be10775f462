"""What a hub tells its operator while satellites come, talk, are denied and turned away: the numbers are right."""

from __future__ import annotations

import json
import os
import signal
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

from helpers.hub_cluster import HubCluster, Seat
from helpers.pair import KEY, OURS, PASSWORD, Pair, cannot_run, talk
from helpers.processes import Child, Children, free_port, wait_until
from helpers.redis_server import RedisServer

try:
    from prometheus_client.parser import text_string_to_metric_families
except ImportError:
    text_string_to_metric_families = None

TOKEN = "the-token-of-the-admin-address"
SOON_S = 60
pytestmark = pytest.mark.e2e


def ask(port: int, path: str) -> tuple[int, str]:
    """Status and text of what a hub answers."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers={"Authorization": f"Bearer {TOKEN}"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def figures(port: int) -> dict[str, float]:
    """Every sample by its name and labels."""
    if text_string_to_metric_families is None:
        cannot_run("prometheus_client is not installed")
    status, text = ask(port, "/metrics")
    assert status == 200
    families = list(text_string_to_metric_families(text))
    assert all(family.documentation and family.type in ("counter", "gauge", "histogram") for family in families)
    assert len({family.name for family in families}) == len(families)
    return {
        ",".join((sample.name, *(sample.labels[name] for name in sample.labels))): sample.value
        for family in families
        for sample in family.samples
    }


class Watched(Pair):
    """A pair whose hub has an admin address."""

    def __init__(self, children: Children) -> None:
        self.admin_port = free_port()
        super().__init__(children, OURS, OURS)
        self.hub.stop()
        self.hub.configure({"admin": {"port": self.admin_port, "token": TOKEN}})
        self.hub.start()

    def ask(self, path: str) -> tuple[int, str]:
        return ask(self.admin_port, path)

    def figures(self) -> dict[str, float]:
        return figures(self.admin_port)

    def until(self, condition: Callable[[dict[str, float]], bool], what: str) -> dict[str, float]:
        """The figures as soon as they are so."""
        found: dict[str, float] = {}

        def are_so() -> bool:
            nonlocal found
            found = self.figures()
            return condition(found)

        wait_until(are_so, SOON_S, f"{what}: {found}")
        return found

    def until_ready(self, status: int) -> dict[str, Any]:
        wait_until(lambda: self.ask("/readyz")[0] == status, SOON_S, f"/readyz answers {status}")
        parts: dict[str, Any] = json.loads(self.ask("/readyz")[1])["parts"]
        return parts


@pytest.fixture
def pair(children: Children) -> Watched:
    return Watched(children)


def connected(pair: Watched) -> Child:
    child = pair.satellite()
    child.expect("connected")
    return child


def test_the_figures_are_those_of_what_happened(pair: Watched) -> None:
    before = pair.figures()
    assert before["hivemind_connections,registered"] == 0
    assert before["hivemind_agent_available,hivemind-ovos-agent-plugin"] == 1
    kitchen = connected(pair)
    for text in ("one", "two", "three"):
        talk(kitchen, text)
    for _ in range(2):
        kitchen.send("message", type="never.allowed", data={})
    pair.satellite(key="no-such-key")
    pair.satellite(password="not the password at all 99")

    def are_there(found: dict[str, float]) -> bool:
        ended = sum(value for key, value in found.items() if key.startswith("hivemind_handshakes_total,"))
        denied, strangers = "hivemind_messages_received_total,bus,denied", "hivemind_refusals_total,invalid_key"
        return found.get(denied) == 2 and ended >= 3 and found.get(strangers, 0) >= 1

    found = pair.until(are_there, "what happened")
    assert found["hivemind_messages_received_total,bus,accepted"] == 3
    assert found["hivemind_denials_total,acl_disallowed_type"] == 2
    assert found["hivemind_handshakes_total,opened"] == 1
    assert found["hivemind_handshakes_total,invalid_key"] >= 1
    assert found["hivemind_refusals_total,invalid_key"] >= 1
    assert found["hivemind_connections,registered"] == 1
    assert found["hivemind_answer_seconds_count"] == 3
    assert found["hivemind_answer_seconds_bucket,+Inf"] == 3
    assert found["hivemind_message_handling_seconds_count"] >= 5
    assert found["hivemind_received_bytes_total"] > found["hivemind_received_frames_total"] > 5
    assert found["hivemind_clients"] == 1
    assert found["hivemind_loop_lag_seconds_count"] > 0
    assert found["process_resident_memory_bytes"] > 10_000_000
    pair.close(kitchen)
    pair.until(lambda figures: figures["hivemind_connections,registered"] == 0, "nobody is there")


def test_readiness_follows_the_bus(pair: Watched) -> None:
    assert all(part["ready"] for part in pair.until_ready(200).values())
    port = pair.hub.bus_port
    pair.bus.kill()
    parts = pair.until_ready(503)
    assert [name for name, part in parts.items() if not part["ready"]] == ["agent"]
    assert "cannot be reached" in parts["agent"]["reason"]
    assert pair.ask("/healthz") == (200, "ok\n")
    assert pair.figures()["hivemind_agent_available,hivemind-ovos-agent-plugin"] == 0
    restarted = pair.children.spawn("bus-again", [*pair.bus.process.args, "--port", str(port)])  # type: ignore[misc]
    restarted.expect("ready")
    pair.until_ready(200)


def test_readiness_follows_the_database(pair: Watched) -> None:
    pair.until_ready(200)
    away = pair.hub.database.with_suffix(".away")
    pair.hub.database.rename(away)
    pair.hub.database.mkdir()
    parts = pair.until_ready(503)
    assert [name for name, part in parts.items() if not part["ready"]] == ["database"]
    assert str(pair.hub.database) in parts["database"]["reason"]
    pair.hub.database.rmdir()
    away.rename(pair.hub.database)
    pair.until_ready(200)


def test_a_hub_that_stands_still_answers_nothing_and_its_lag_is_seen_afterwards(pair: Watched) -> None:
    assert pair.hub.child is not None
    before = pair.figures()["hivemind_loop_lag_seconds_bucket,1.0"]
    os.kill(pair.hub.child.pid, signal.SIGSTOP)
    try:
        with pytest.raises(OSError, match="timed out"):
            urllib.request.urlopen(f"http://127.0.0.1:{pair.admin_port}/healthz", timeout=2)
    finally:
        os.kill(pair.hub.child.pid, signal.SIGCONT)
    late = pair.until(
        lambda now: now["hivemind_loop_lag_seconds_count"] > now["hivemind_loop_lag_seconds_bucket,1.0"], "the lag"
    )
    assert late["hivemind_loop_lag_seconds_bucket,1.0"] >= before


def test_changes_of_rights_are_written_down_and_no_secret_is_told_anywhere(pair: Watched) -> None:
    kitchen = connected(pair)
    talk(kitchen)
    pair.hub.command("make-admin", "satellite")

    def actions() -> list[str]:
        return [line["action"] for line in json.loads(pair.hub.command("audit", "--json"))]

    wait_until(lambda: {"pin-device-key", "make-admin"} <= set(actions()), SOON_S, "the lines")
    assert actions()[0] == "add-client"
    log_file = pair.hub.database.with_name("audit.log")
    assert log_file.stat().st_mode & 0o777 == 0o600
    peer_ids = [line for line in kitchen.output().splitlines() if "::" in line]
    told = {"metrics": pair.ask("/metrics")[1], "readyz": pair.ask("/readyz")[1], "audit": log_file.read_text("utf-8")}
    for where, text in told.items():
        for secret in (KEY, PASSWORD, TOKEN, *peer_ids):
            assert secret not in text, where
    samples = [line for line in told["metrics"].splitlines() if not line.startswith("#")]
    assert [line for line in samples if "satellite" in line] == [], "its name is no label"
    assert pair.hub.child is not None
    assert TOKEN not in pair.hub.child.output()


def test_a_cluster_counts_its_members(children: Children) -> None:
    ports = [free_port(), free_port()]
    seats = [
        Seat(f"hub{number}", f"127.0.0.1{number}", free_port(), settings={"admin": {"port": port}})
        for number, port in enumerate(ports, start=1)
    ]
    redis = RedisServer(children)
    cluster = HubCluster(children, redis, seats)
    cluster.start()

    def members() -> list[float]:
        return [figures(port)["hivemind_cluster_members"] for port in ports]

    wait_until(lambda: members() == [2, 2], SOON_S, "both know each other")
    wait_until(lambda: sum(figures(port)["hivemind_cluster_leads"] for port in ports) == 1, SOON_S, "one leads")
    status, text = ask(ports[0], "/readyz")
    assert (status, json.loads(text)["parts"]["cluster"]) == (200, {"ready": True, "required": False, "reason": ""})
    cluster.hubs[1].kill()
    wait_until(lambda: figures(ports[0])["hivemind_cluster_members"] == 1, SOON_S, "the other is gone")
    redis.kill()
    wait_until(lambda: ask(ports[0], "/readyz")[0] == 503, SOON_S, "without Redis it is not ready")

    def unready() -> set[str]:
        parts = json.loads(ask(ports[0], "/readyz")[1])["parts"]
        return {name for name, part in parts.items() if not part["ready"]}

    wait_until(lambda: {"cluster", "database"} <= unready(), SOON_S, "neither of the two is ready")
    wait_until(lambda: figures(ports[0])["hivemind_cluster_available"] == 0, SOON_S, "the figure")
