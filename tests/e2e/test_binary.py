"""Binary data and speech over real sockets: our satellite asks, a handler of the hub answers, nobody waits in vain."""

from __future__ import annotations

import base64
import re
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from helpers.link_hub import eventually
from helpers.live_hub import LiveHub
from helpers.sound import need_engine, sound
from hivemind_bus_client.async_client import AsyncHiveMessageBusClient
from hivemind_bus_client.client import BinaryDataCallbacks
from hivemind_bus_client.denials import DENIED
from hivemind_bus_client.message import HiveMessage, HiveMessageType, HiveMindBinaryPayloadType, Message
from hivemind_core.binary import BinaryHandler, create_binary
from hivemind_core.binary.callbacks import CALLBACKS
from hivemind_core.binary.default import DefaultHandler
from hivemind_core.binary.espeak import Engine
from hivemind_core.binary.files import FileHandler, FileSettings
from hivemind_core.binary.sender import Sender
from hivemind_core.binary.speech import SpeechHandler, SpeechSettings
from hivemind_core.config import load_config
from hivemind_core.config_values import Values
from hivemind_core.known_keys import remarks
from hivemind_core.roles import ROLES

PAGE = (Path(__file__).parents[2] / "docs" / "binary.md").read_text("utf-8")
KEY, PASSWORD = "an-access-key", "correct horse battery staple 42"
UTTERANCE = "recognizer_loop:utterance"
LONG = "it is noon and the kettle is on, " * 25


class Received(BinaryDataCallbacks):
    """What a satellite is sent."""

    def __init__(self) -> None:
        self.speech: list[tuple[bytes, str | None, str | None, str | None]] = []

    def handle_receive_tts(
        self, bin_data: bytes, utterance: str | None, lang: str | None, file_name: str | None
    ) -> None:
        self.speech.append((bin_data, utterance, lang, file_name))


class Satellite:
    def __init__(self, client: AsyncHiveMessageBusClient, received: Received) -> None:
        self.client = client
        self.received = received
        self.denials: list[Message] = []
        client.on_mycroft(DENIED, self.denials.append)

    async def ask(self, msg_type: str, **data: Any) -> None:
        await self.client.emit(HiveMessage(HiveMessageType.BUS, Message(msg_type, data)))

    async def send(self, data: bytes, kind: int, **metadata: Any) -> None:
        await self.client.emit(HiveMessage(HiveMessageType.BINARY, data, bin_type=kind, metadata=metadata))

    async def denied(self) -> dict[str, Any]:
        [denial] = await eventually(lambda: self.denials)
        assert self.client.connected
        return denial.data


@asynccontextmanager
async def joined(
    folder: Path, handler: BinaryHandler, types: tuple[str, ...] = ROLES["voice"].types, **hub: Any
) -> AsyncIterator[tuple[LiveHub, Satellite]]:
    """A hub with a handler, and a satellite that may send these types of messages too."""
    async with LiveHub(folder / "hub", parts={"binary": handler}, **hub) as live:
        live.add(KEY, PASSWORD, allowed_types=types)
        received = Received()
        client = live.client(KEY, PASSWORD, bin_callbacks=received)
        satellite = Satellite(client, received)
        await client.connect(timeout=60)
        try:
            yield live, satellite
        finally:
            await client.close()


@pytest.mark.parametrize("binarize", [False, True])
async def test_speech_for_a_satellite_is_its_text_spoken(tmp_path: Path, binarize: bool) -> None:
    need_engine()
    async with joined(tmp_path, SpeechHandler(), binarize=binarize) as (live, satellite):
        for text in ("hello world", "good evening", LONG):
            await satellite.ask("speak:synth", utterance=text, lang="en-GB")
        speech = await eventually(lambda: len(satellite.received.speech) == 3 and satellite.received.speech)
        assert [(said, lang) for _, said, lang, _ in speech[:2]] == [
            ("hello world", "en-GB"),
            ("good evening", "en-GB"),
        ]
        assert LONG.startswith(speech[2][1].rstrip("…"))
        assert all(name.endswith(".wav") for *_, name in speech)
        sounds = [sound(wav) for wav, *_ in speech]
        assert all(each.is_speech and each.rate == 22050 for each in sounds)
        assert len({each.samples for each in sounds}) == 3
        assert sounds[2].seconds > 10 * sounds[0].seconds
        assert live.agent.of_type("speak:synth") == []  # the agent might answer, too


async def test_speech_as_a_message(tmp_path: Path) -> None:
    need_engine()
    async with joined(tmp_path, SpeechHandler()) as (live, satellite):
        answers: list[Message] = []
        satellite.client.on_mycroft("speak:b64_audio.response", answers.append)
        await satellite.ask("speak:b64_audio", utterance="hello world", listen=False)
        [answer] = await eventually(lambda: answers)
        assert sound(base64.b64decode(answer.data["audio"])).is_speech
        assert answer.data["utterance"] == "hello world"
        assert live.agent.of_type("speak:b64_audio") == []


async def test_without_a_handler_the_agent_is_asked(tmp_path: Path) -> None:
    async with joined(tmp_path, DefaultHandler()) as (live, satellite):
        await satellite.ask("speak:synth", utterance="hello")
        [asked] = await eventually(lambda: live.agent.of_type("speak:synth"))
        assert asked.data == {"utterance": "hello"}


async def test_who_may_not_ask_gets_no_speech(tmp_path: Path) -> None:
    need_engine()
    async with joined(tmp_path, SpeechHandler(), (UTTERANCE,)) as (_, satellite):
        await satellite.ask("speak:synth", utterance="hello")
        assert (await satellite.denied())["code"] == "acl_disallowed_type"
        assert satellite.received.speech == []


async def test_a_missing_engine_is_told(tmp_path: Path) -> None:
    handler = SpeechHandler(SpeechSettings(Engine("no-such-engine")))
    async with joined(tmp_path, handler) as (_, satellite):
        await satellite.ask("speak:synth", utterance="hello")
        denial = await satellite.denied()
        assert (denial["denied_type"], denial["code"]) == ("speak:synth", "speech_unavailable")
        assert "no-such-engine cannot be run" in denial["reason"]


async def test_files_are_kept_and_what_is_not_is_told(tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    async with joined(tmp_path, FileHandler(FileSettings(inbox, max_file_bytes=100_000))) as (_, satellite):
        data = bytes(range(256)) * 300
        await satellite.send(data, HiveMindBinaryPayloadType.FILE, file_name="../../etc/passwd")
        await eventually(lambda: inbox.is_dir() and (inbox / "passwd").is_file())
        assert (inbox / "passwd").read_bytes() == data
        await satellite.send(bytes(100_001), HiveMindBinaryPayloadType.FILE, file_name="large")
        denial = await satellite.denied()
        assert (denial["denied_type"], denial["code"], denial["data"]) == ("binary", "file_not_kept", {"bin_type": "3"})
        assert [path.name for path in inbox.iterdir()] == ["passwd"]


class Listener(BinaryHandler):
    """Understands what nobody said."""

    def __init__(self, act: Callable[[bytes, Sender], None]) -> None:
        super().__init__()
        self._act = act

    def handle_stt_handle_request(
        self, bin_data: bytes, sample_rate: int, sample_width: int, lang: str, client: Sender
    ) -> None:
        self._act(bin_data, client)


async def test_what_a_handler_understands_is_taken_as_the_satellites_own_words(tmp_path: Path) -> None:
    def understand(data: bytes, client: Sender) -> None:
        client.inject(Message(UTTERANCE, {"utterances": [data.decode()]}))
        client.inject(Message("mycroft.stop"))

    async with joined(tmp_path, Listener(understand)) as (live, satellite):
        await satellite.send(b"what time is it", HiveMindBinaryPayloadType.STT_AUDIO_HANDLE)
        denial = await satellite.denied()
        assert (denial["denied_type"], denial["code"]) == ("mycroft.stop", "acl_disallowed_type")
        assert live.agent.utterances == ["what time is it"]
        [heard] = live.agent.of_type(UTTERANCE)
        assert heard.context["source"] == heard.context["peer"]
        assert ":" in heard.context["session"]["session_id"]


async def test_a_handler_that_fails_harms_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def fail(data: bytes, client: Sender) -> None:
        raise OSError("a fault")

    async with joined(tmp_path, Listener(fail)) as (live, satellite):
        await satellite.send(b"", HiveMindBinaryPayloadType.STT_AUDIO_HANDLE)
        assert (await satellite.denied())["code"] == "binary_handler_failed"
        assert "a fault" in caplog.text
        await satellite.ask(UTTERANCE, utterances=["are you there"])
        await eventually(lambda: live.agent.utterances == ["are you there"])


async def test_the_hub_goes_on_while_a_handler_hangs(tmp_path: Path) -> None:
    free = threading.Event()

    def hang(data: bytes, client: Sender) -> None:
        free.wait(30)

    async with joined(tmp_path, Listener(hang)) as (live, satellite):
        for _ in range(10):
            await satellite.send(b"", HiveMindBinaryPayloadType.STT_AUDIO_HANDLE)
        await satellite.ask(UTTERANCE, utterances=["are you there"])
        await eventually(lambda: live.agent.utterances == ["are you there"])
    free.set()


async def test_the_handler_in_the_documentation(tmp_path: Path) -> None:
    [block] = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    exec(block, names)  # noqa: S102 - what the page tells people to write
    async with joined(tmp_path, names["Listener"](config={"word": "tea"})) as (live, satellite):
        await satellite.send(b"", HiveMindBinaryPayloadType.STT_AUDIO_HANDLE, lang="en-GB")
        await eventually(lambda: live.agent.utterances == ["tea"])
        await satellite.send(b"", HiveMindBinaryPayloadType.STT_AUDIO_HANDLE, sample_rate=8000)
        assert "only 16 kHz and 16 bit are understood" in (await satellite.denied())["reason"]


def test_the_settings_in_the_documentation(tmp_path: Path) -> None:
    path = tmp_path / "server.json"
    for block in re.findall(r"^```json\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL):
        path.write_text(block, "utf-8")
        config = load_config(path, {})
        if config.binary_module != "my-listener":
            create_binary(config.binary_module, Values(str(path), config.raw))
        assert list(remarks(config.raw)) == []
    speech, files = SpeechSettings(), FileSettings(tmp_path)
    told = {
        "program": f"`{speech.engine.program}`",
        "lang": f"`{speech.lang}`",
        "words_per_minute": speech.engine.words_per_minute,
        "max_text": speech.max_text,
        "timeout": f"{speech.engine.timeout_s:g}",
        "at_once": speech.at_once,
        "waiting_each": speech.waiting_each,
        "max_file_bytes": files.max_file_bytes,
        "max_files": files.max_files,
        "max_total_bytes": files.max_total_bytes,
    }
    assert [key for key, value in told.items() if f"| `{key}` | {value} |" not in PAGE] == []


def test_the_callbacks_in_the_documentation() -> None:
    for kind, callback in CALLBACKS.items():
        given = ", ".join(["bin_data", *(field.name for field in callback.fields), "client"])
        assert f"| {int(kind)} {HiveMindBinaryPayloadType(kind).name} | `{callback.method}({given})` |" in PAGE
