"""The bench: its scenarios are whole, its arithmetic is right, a small run of it leaves figures, tables and charts."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from aiohttp import WSMsgType, web

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT))

from bench import field_report, responder, stages  # noqa: E402
from bench.bare_link import RELAY as RELAYS  # noqa: E402
from bench.bare_link import BareCipher, BareLink  # noqa: E402
from bench.bare_relay import session_of  # noqa: E402
from bench.field_report import FieldRun  # noqa: E402
from bench.loop_watch import LoopWatch  # noqa: E402
from bench.names import BARE, FLOORS, RELAY, RELEASED  # noqa: E402
from bench.pace import quantiles  # noqa: E402
from bench.plot import Panel, Series, bars, svg  # noqa: E402
from bench.process import cpu_s, spent  # noqa: E402
from bench.report import OURS, Figure, new_path  # noqa: E402
from bench.satellites import Device, Keyring, utterance  # noqa: E402
from bench.scenarios import SCENARIOS, where  # noqa: E402
from bench.stage import Scenario  # noqa: E402
from bench.starting import until_accepting  # noqa: E402
from bench.thin_socket import SocketFailed, ThinSocket  # noqa: E402

from helpers.processes import ChildError, Children, free_port  # noqa: E402
from hivemind_bus_client.message import HiveMessage, HiveMessageType  # noqa: E402

SCENARIO = Scenario(
    "walk",
    "steps",
    "walkers",
    (Figure("cpu_us", "a step, µs", most=100), Figure("steps", "steps a second", more=True)),
    {OURS: (1, 10), RELEASED: (1,)},
    lambda stage, name, points: iter(()),
)


def found() -> FieldRun:
    run = FieldRun({"cores": "2"}, {OURS: "1"}, 1.0)
    for cpu in (40.0, 60.0, 50.0):
        run.add("walk", OURS, 1, {"cpu_us": cpu, "steps": 10})
    run.add("walk", OURS, 10, {"cpu_us": 120, "steps": 100})
    run.add("walk", RELEASED, 1, {"cpu_us": 500, "steps": 2})
    return run


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_is_whole(name: str) -> None:
    scenario = SCENARIOS[name]
    assert scenario.name == name
    assert scenario.about
    assert OURS in scenario.points
    assert len({figure.field for figure in scenario.figures}) == len(scenario.figures)
    most = max(scenario.points[OURS])
    assert all((points and max(points) == most) or scenario.cannot.get(who) for who, points in scenario.points.items())


def test_the_page_names_every_scenario_and_its_goals() -> None:
    page = (ROOT / "BENCHMARKS.md").read_text("utf-8")
    for scenario in SCENARIOS.values():
        assert f"`{scenario.name}`" in page
        for figure in scenario.figures:
            assert figure.most is None or f"≤ {figure.most:g} " in page, figure.title


def test_the_median_of_the_rounds_counts() -> None:
    assert found().value("walk", OURS, 1, "cpu_us") == 50
    assert found().value("walk", RELEASED, 10, "cpu_us") is None


def test_a_table_has_ratios_both_ways_round() -> None:
    rows = field_report.table(found(), SCENARIO).splitlines()
    assert rows[2] == "| a step, µs | 1 | 50 | 500 | 10.0 |"
    assert rows[3] == "| a step, µs | 10 | 120 | – |  |"
    assert rows[4] == "| steps a second | 1 | 10 | 2 | 5.0 |"


def goal_row(**more: int) -> list[str]:
    """The row of the goal of the made-up scenario, with more said about that goal."""
    goal, other = SCENARIO.figures
    run = found()
    run.found["walk"][OURS][1] = [{"cpu_us": 150, "steps": 10}]
    (row,) = field_report.goals(run, [replace(SCENARIO, figures=(replace(goal, **more), other))]).splitlines()[2:]
    return row.strip("| ").split(" | ")


def test_a_goal_is_to_be_met_at_the_worst_number() -> None:
    assert goal_row() == ["a step, µs (1 walkers)", "≤ 100", "150", "**missed**", "", "500", "3.3", "–"]


def test_beside_a_goal_for_one_number_stands_the_worst() -> None:
    words = ["a step, µs (10 walkers)", "≤ 100", "120", "**missed**", "150 (with 1)", "500 (with 1)", "3.3", "–"]
    assert goal_row(at=10) == words


def test_a_goal_for_a_number_that_is_not_there_is_for_the_largest() -> None:
    assert goal_row(at=1_000)[:4] == ["a step, µs (10 walkers)", "≤ 100", "120", "**missed**"]


def test_a_goal_whose_figure_was_not_measured_has_no_row() -> None:
    run = FieldRun({}, {}, 1.0)
    run.add("walk", OURS, 1, {"steps": 10})
    assert len(field_report.goals(run, [SCENARIO]).splitlines()) == 2


def test_the_floor_of_a_goal_is_the_echo_or_else_the_relay() -> None:
    run = found()
    run.add("walk", RELAY, 10, {"cpu_us": 30})
    assert "| 30 |" in field_report.goals(run, [SCENARIO])
    run.add("walk", BARE, 10, {"cpu_us": 20})
    assert "| 20 |" in field_report.goals(run, [SCENARIO])


def test_parts_are_shares_of_the_whole() -> None:
    parts = (Figure("part_us", "a part"), Figure("whole_us", "all"))
    run = FieldRun({}, {}, 1.0)
    run.add("walk", OURS, 1, {"part_us": 30, "whole_us": 120})
    rows = field_report.table(run, replace(SCENARIO, figures=parts, whole="whole_us")).splitlines()
    assert rows[0].endswith("| % of ours |")
    assert rows[2:] == ["| a part | 1 | 30 |  | 25 |", "| all | 1 | 120 |  | 100 |"]


def test_what_nobody_was_measured_in_has_no_row() -> None:
    assert "steps a second | 3" not in field_report.table(found(), SCENARIO)
    run = found()
    run.add("walk", OURS, 3, {"cpu_us": 1})
    assert [row.split(" | ")[:2] for row in field_report.table(run, SCENARIO).splitlines()[-2:]] == [
        ["| steps a second", "1"],
        ["| steps a second", "10"],
    ]


def test_only_figures_of_a_whole_run_lie_where_they_can_be_committed() -> None:
    ignored = (ROOT / ".gitignore").read_text("utf-8").split()
    assert [new_path("field", is_whole=is_whole).parent for is_whole in (True, False)] == [
        ROOT / "bench" / "results",
        ROOT / "build" / "bench",
    ]
    assert "build/" in ignored
    assert not [line for line in ignored if line.startswith(("bench", "*.json", "*.svg"))]


def test_a_run_is_read_back_from_its_file(tmp_path: Path) -> None:
    written = field_report.save(found(), [SCENARIO], tmp_path / "run.json")
    assert [path.name for path in written] == ["run.json", "run-walk.svg"]
    assert FieldRun.read(written[0]) == found()


def test_a_chart_is_an_image_with_a_line_a_series() -> None:
    panels = [Panel("a & b", [Series("x", {1: 1.0, 1000: 900.0}), Series("y", {1: 2.0})])]
    root = ElementTree.fromstring(svg(panels, {1: "1", 1000: "1,000"}, "satellites"))
    lines = [element for element in root.iter() if element.tag.endswith("polyline")]
    assert [len(line.attrib["points"].split()) for line in lines] == [2, 1]


def test_higher_values_stand_higher() -> None:
    root = ElementTree.fromstring(svg([Panel("", [Series("", {0: 1.0, 1: 5.0, 2: 2.0})])], {0: "a", 1: "b", 2: "c"}))
    (line,) = [element for element in root.iter() if element.tag.endswith("polyline")]
    places = [tuple(map(float, point.split(","))) for point in line.attrib["points"].split()]
    assert [x for x, _ in places] == sorted(x for x, _ in places)
    assert places[1][1] < places[2][1] < places[0][1]


def test_bars_are_as_long_as_what_they_stand_for() -> None:
    root = ElementTree.fromstring(bars("parts", {"a": 1.0, "b & c": 4.0, "nothing": 0.0}))
    _, *found = [element for element in root.iter() if element.tag.endswith("rect")]
    longs = [float(each.attrib["width"]) for each in found]
    assert longs[1] > 0
    assert longs == [longs[1] / 4, longs[1], 0]


def test_a_run_of_parts_leaves_a_chart_of_them(tmp_path: Path) -> None:
    parts = replace(SCENARIO, whole="cpu_us")
    run = FieldRun({}, {}, 1.0)
    run.add("walk", OURS, 10, {"cpu_us": 120, "steps": 100})
    _, chart = field_report.save(run, [parts], tmp_path / "run.json")
    assert "a step, µs" in chart.read_text("utf-8")


def test_quantiles() -> None:
    hundred = [number / 1000 for number in range(100, 0, -1)]
    assert quantiles(hundred) == {"count": 100, "p50_ms": 50, "p99_ms": 99, "max_ms": 100}
    assert quantiles([0.25]) == {"count": 1, "p50_ms": 250, "p99_ms": 250, "max_ms": 250}
    assert quantiles([])["count"] == 0


def test_a_device_is_the_same_in_every_process() -> None:
    assert Device("a").static_key == Device("a").static_key != Device("b").static_key


def test_a_keyring_goes_to_another_process_whole() -> None:
    keyring = Keyring("secret", "PEM")
    keyring.keep("hub", b"derived")
    there = Keyring.of(json.loads(json.dumps(keyring.settings({"own-key": b"own"}))))
    assert (there.psk("hub"), there.psk("hub", "own-key")) == (b"derived", b"own")


def test_the_bare_link_takes_its_own_words_back() -> None:
    link, server = BareLink(), BareCipher()
    link.send(HiveMessage(HiveMessageType.BUS, {"type": "recognizer_loop:utterance", "data": {}, "context": {}}))
    (frame,) = link.frames_to_send()
    (event,) = link.receive(server.seal(server.open(frame)), 0.0)
    assert event.message.body["type"] == "speak"


def test_the_bare_relay_knows_whose_a_frame_of_the_bus_is() -> None:
    session = {"session_id": "5b9f9b5e-40a2-4f6c-8f7f-8a0ccf0c4b1e"}
    link, server = BareLink(RELAYS), BareCipher()
    link.send(utterance("hello", session))
    (frame,) = link.frames_to_send()
    asked = server.open(frame)
    assert json.loads(asked)["type"] == "recognizer_loop:utterance"
    for answer in responder.said(json.loads(asked), ""):
        assert session_of(json.dumps(answer).encode()).decode() == session["session_id"]
    assert session_of(asked).decode() == session["session_id"]


def test_a_bare_link_sends_sound_as_it_is() -> None:
    link, server = BareLink(), BareCipher()
    link.send(HiveMessage(HiveMessageType.BINARY, b"sound"))
    (frame,) = link.frames_to_send()
    assert server.open(frame) == b"sound"


@pytest.mark.parametrize(("words", "answers"), [("low what", 2), ("everybody what", 2), ("top what", 1)])
def test_the_assistant_of_a_level_declines_what_is_for_others(words: str, answers: int) -> None:
    asked = {"type": "recognizer_loop:utterance", "data": {"utterances": [words]}, "context": {}}
    assert len(responder.said(asked, "low")) == answers
    assert len(responder.said(asked, "")) == 2
    assert responder.said({"type": "speak"}, "low") == []


@pytest.mark.parametrize("whose", stages.WHOSE)
async def test_every_part_of_an_utterance_is_measured(whose: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, few in {"CALLS": 3, "ROUNDS": 2, "FRAMES": 5, "FRAME_ROUNDS": 2}.items():
        monkeypatch.setattr(stages, name, few)
    parts = await stages.WHOSE[whose]()
    wanted = {figure.field for figure in where.SCENARIO.figures} - {"sockets_us", "kernel_us", "whole_us"}
    assert parts.keys() == (wanted if whose == "ours" else {"decrypt_us", "encrypt_us"})
    assert all(value > 0 for name, value in parts.items() if name != "rest_us")


def test_what_is_no_part_is_the_sockets() -> None:
    found = where.parted({"whole_us": 100.0, "kernel_us": 20.0}, {"route_us": 5.0, "admit_us": 7.0})
    assert found["sockets_us"] == 68
    assert sum(value for name, value in found.items() if name != "whole_us") == found["whole_us"]


def test_a_process_that_never_listens_is_an_error(tmp_path: Path) -> None:
    with Children(tmp_path) as children, pytest.raises(ChildError, match="nobody listens"):
        until_accepting(lambda: children.spawn("mute", [sys.executable, "-c", ""]), free_port())


def test_processor_time_of_another_process() -> None:
    child = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        before, end = cpu_s(child.pid), time.monotonic() + 60
        while cpu_s(child.pid) < before + 0.05 or spent(child.pid).user < 0.03:
            assert time.monotonic() < end
        user = spent(child.pid).user
        assert before < cpu_s(child.pid) > user - 0.02
    finally:
        child.kill()
        child.wait()


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_loop_that_is_kept_is_noticed(loop: str, tmp_path: Path) -> None:
    if loop == "uvloop":
        pytest.importorskip("uvloop")
    watch = LoopWatch(tmp_path / "loop")
    code = (
        f"import {loop}, asyncio, time\n"
        "async def main():\n"
        "    await asyncio.sleep(0.05)\n"
        "    end = time.thread_time() + 0.1\n"
        "    while time.thread_time() < end: pass\n"
        "    await asyncio.sleep(0.05)\n"
        f"{loop}.run(main())\n"
    )
    subprocess.run([sys.executable, "-c", code], env=watch.environ, check=True, timeout=60)
    kept = watch.read()
    assert kept.late_ms > 50
    assert kept.busy_ms > 50
    assert kept.over_10_ms >= 1
    watch.reset()
    assert watch.read().late_ms == 0


@pytest.fixture
async def server_port() -> AsyncIterator[int]:
    """A WebSocket server that sends everything back, and refuses another path."""

    async def echo(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse(max_msg_size=0, compress=False)
        await ws.prepare(request)
        async for message in ws:
            if message.type == WSMsgType.TEXT and message.data == "bye":
                await ws.close(code=1013, message=b"later")
            elif message.type == WSMsgType.TEXT:
                await ws.send_str(message.data)
            else:
                await ws.send_bytes(message.data)
        return ws

    app = web.Application()
    app.router.add_get("/", echo)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield runner.addresses[0][1]
    await runner.cleanup()


async def test_the_thin_socket_carries_frames_of_every_size(server_port: int) -> None:
    came: asyncio.Queue[bytes | str] = asyncio.Queue()
    socket = ThinSocket(came.put_nowait, lambda code, reason: None)
    await socket.open("127.0.0.1", server_port, "/")
    for frame in (b"", b"x" * 125, b"y" * 126, b"z" * 65_535, b"0" * 65_536, b"1" * 300_000, "é"):
        socket.send(frame)
        assert await asyncio.wait_for(came.get(), 60) == frame
    await asyncio.wait_for(socket.ping(), 60)
    socket.close()


async def test_the_thin_socket_says_how_it_ended(server_port: int) -> None:
    ended: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()
    socket = ThinSocket(lambda frame: None, lambda code, reason: ended.set_result((code, reason)))
    await socket.open("127.0.0.1", server_port, "/")
    socket.send("bye")
    assert await asyncio.wait_for(ended, 60) == (1013, "later")


async def test_the_thin_socket_is_refused(server_port: int) -> None:
    socket = ThinSocket(lambda frame: None, lambda code, reason: None)
    with pytest.raises(SocketFailed, match="404"):
        await asyncio.wait_for(socket.open("127.0.0.1", server_port, "/elsewhere"), 60)
    socket.close()


@pytest.mark.e2e
def test_a_small_run_of_the_floors(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    argv = [sys.executable, "-m", "bench", "where", "audio", "--scale", "0.01", "--json", str(path)]
    argv += [part for name in FLOORS for part in ("--only", name)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr
    run = FieldRun.read(path)
    assert run.failed == {}
    assert all((run.value("where", name, 10, "whole_us") or 0) > 0 for name in FLOORS)
    assert run.value("audio", BARE, 1, "lost") == 0


@pytest.mark.e2e
def test_a_small_run(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    argv = [sys.executable, "-m", "bench", "round-trip", "--scale", "0.01", "--json", str(path)]
    argv += ["--only", OURS, "--only", BARE]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr
    run = FieldRun.read(path)
    for subject in (OURS, BARE):
        assert (run.value("round-trip", subject, 5, "cpu_us") or 0) > 0
    assert "processor time of a round trip" in done.stdout
    assert path.with_name("run-round-trip.svg").exists()
