"""Clock, versions, and packages that bring the same modules as ours."""

from __future__ import annotations

import sys
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path

import pytest

from hivemind_bus_client.doctor.machine import clock, shadows, version_of, versions
from hivemind_bus_client.version import __version__


@pytest.mark.parametrize(("year", "verdict"), [(1970, "FAIL"), (2019, "FAIL"), (2026, "ok"), (2099, "FAIL")])
def test_a_year_that_cannot_be(year: int, verdict: str) -> None:
    found = clock(datetime(year, 1, 31, 12, tzinfo=timezone.utc).timestamp())
    assert found.verdict == verdict
    assert str(year) in found.reason
    assert ("timedatectl" in found.cure) == (verdict == "FAIL")


def test_versions_are_told() -> None:
    (found,) = versions()
    assert found.verdict == "ok"
    for part in (__version__, sys.executable, f"websockets {version_of('websockets')}"):
        assert part in found.reason


def test_a_library_that_is_missing() -> None:
    _, missing = versions(["websockets", "no-such-library"])
    assert (missing.verdict, missing.reason) == ("FAIL", "Not installed: no-such-library.")
    assert "pip install" in missing.cure


def installed(folder: Path, name: str, *files: str) -> metadata.Distribution:
    place = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    place.mkdir(parents=True)
    (place / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", "utf-8")
    (place / "RECORD").write_text("".join(f"{file},,\n" for file in files), "utf-8")
    return metadata.Distribution.at(place)


def test_a_released_package_with_the_same_modules_is_a_failure(tmp_path: Path) -> None:
    released = installed(tmp_path, "hivemind_bus_client", "hivemind_bus_client/__init__.py")
    (found,) = shadows([released, installed(tmp_path, "other", "other/__init__.py")])
    assert found.verdict == "FAIL"
    assert found.reason.endswith("hivemind-bus-client.")
    assert "pip uninstall --yes hivemind-bus-client" in found.cure


def test_our_packages_by_the_released_names_bring_no_modules(tmp_path: Path) -> None:
    assert list(shadows([installed(tmp_path, "hivemind-core", "hivemind_core-6.0.0.dist-info/METADATA")])) == []


def test_ours_installed_twice_is_told(tmp_path: Path) -> None:
    twice = [installed(tmp_path / each, "hivemind-mesh", "hivemind_core/__init__.py") for each in "ab"]
    (found,) = shadows(twice)
    assert (found.verdict, "2 times" in found.reason) == ("warn", True)
