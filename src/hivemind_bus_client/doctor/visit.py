"""What the checks of a satellite are given, and tell each other."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ..address import Address
from ..identity import NodeIdentity
from ..options import Target


@dataclass
class Visit:
    """One examination of a satellite."""

    target: Target
    """What the command line says; its timeout is that of connecting, and of the answer to the probe."""
    identity_path: Path
    open_identity: Callable[[], NodeIdentity]
    """Raises IdentityFileCorrupted."""
    probe: str = ""
    """What to ask the assistant; empty asks nothing."""
    wall: Callable[[], float] = time.time
    identity: NodeIdentity | None = None
    """Once it was read."""
    address: Address | None = None
    """The hub's, once it is known and for as long as nothing has shown that there is no hub."""
    key: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
