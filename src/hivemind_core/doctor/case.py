"""What the checks of a hub are given, and tell each other."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..config import Config


@dataclass
class HubCase:
    """One examination of a hub."""

    named_config: Path | None = None
    """The server.json that the command line names."""
    wall: Callable[[], float] = time.time
    probe: str = ""
    """What to say to the assistant; nothing is said where it is empty."""
    config: Config | None = None
    """Once it was read; checks that need it say nothing without it."""
    hub_runs: bool = False
    """A hub has answered at a port of this configuration."""
