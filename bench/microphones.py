"""Microphones: 16 kHz, 16 bit, a BINARY frame every 20 ms. The first eight bytes of a frame say when it was sent."""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Sequence
from typing import Any

from hivemind_bus_client.message import HiveMessage, HiveMessageType, HiveMindBinaryPayloadType

from .satellites import Satellite

EVERY_S = 0.02
FRAME_BYTES = 640
METADATA = {"sample_rate": 16_000, "sample_width": 2}
END = b"END"
"""A frame after which the handler writes down what it heard."""


async def stream(satellites: Sequence[Satellite], seconds: float) -> dict[str, Any]:
    """All of them stream, one a little after the other; how many frames that were."""
    begun = time.monotonic() + 0.1
    step = EVERY_S / len(satellites)
    sent = await asyncio.gather(*(_one(each, begun + step * n, seconds) for n, each in enumerate(satellites)))
    await asyncio.sleep(1)
    satellites[0].send_now(_frame(END))
    return {"sent": sum(sent)}


async def _one(satellite: Satellite, begun: float, seconds: float) -> int:
    count = round(seconds / EVERY_S)
    silence = bytes(FRAME_BYTES - 8)
    for number in range(count):
        await asyncio.sleep(max(0.0, begun + number * EVERY_S - time.monotonic()))
        satellite.send_now(_frame(struct.pack("<d", time.monotonic()) + silence))
    return count


def _frame(data: bytes) -> HiveMessage:
    kind = HiveMindBinaryPayloadType.RAW_AUDIO
    return HiveMessage(HiveMessageType.BINARY, data, bin_type=kind, metadata=METADATA)
