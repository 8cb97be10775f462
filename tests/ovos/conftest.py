"""The places in which hub and OVOS are tested together; each is set up once for a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from helpers.ovos import NEWEST, STABLE
from helpers.ovos_scene import Place, Scene
from helpers.processes import Children

BESIDE = Place("beside", STABLE, "auto")
EMBEDDED = Place("on the embedded bus", STABLE, "embedded")
NEWER = Place("beside the newest", NEWEST, "hivemind-ovos-agent-plugin")
PLACES = (BESIDE, EMBEDDED, NEWER)


@pytest.fixture(scope="module", params=PLACES, ids=lambda place: place.name)
def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with Children(tmp_path_factory.mktemp("ovos")) as children:
        yield Scene(children, request.param)
