"""The bench: its scenarios are whole, its arithmetic is right, a small run of it leaves figures, tables and charts."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from aiohttp import WSMsgType, web

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT))

from bench import field_report  # noqa: E402
from bench.bare_link import BareCipher, BareLink  # noqa: E402
from bench.field_report import FieldRun  # noqa: E402
from bench.loop_watch import LoopWatch  # noqa: E402
from bench.pace import quantiles  # noqa: E402
from bench.plot import Panel, Series, svg  # noqa: E402
from bench.process import cpu_s  # noqa: E402
from bench.report import OURS, Figure  # noqa: E402
from bench.satellites import Device, Keyring  # noqa: E402
from bench.scenarios import SCENARIOS  # noqa: E402
from bench.stage import Scenario  # noqa: E402
from bench.subjects import BARE, RELEASED  # noqa: E402
from bench.thin_socket import SocketFailed, ThinSocket  # noqa: E402

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


def test_goals_are_compared_at_the_largest_number() -> None:
    (row,) = field_report.goals(found(), [SCENARIO]).splitlines()[2:]
    assert row.split(" | ") == [
        "| a step, µs (10 walkers)",
        "≤ 100",
        "120",
        "**missed**",
        "500 (with 1)",
        "10.0",
        "– |",
    ]


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


def test_processor_time_of_another_process() -> None:
    child = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        before, end = cpu_s(child.pid), time.monotonic() + 60
        while cpu_s(child.pid) < before + 0.05:
            assert time.monotonic() < end
        assert cpu_s(child.pid) > before
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
