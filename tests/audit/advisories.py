"""Asks the public advisories, by pip-audit in an environment of its own, which is kept for the next time.

What was not asked is no finding and no pass: it is counted, told last, and fails where `REQUIRED` asks for it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ACCEPTED: dict[str, str] = {}
"""Ids of advisories that do not concern this project, each with the reason."""
PIP_AUDIT = "pip-audit==2.10.1"
ENVIRONMENT = Path.home() / ".cache" / "hivemind-mesh" / PIP_AUDIT.replace("==", "-")
REQUIRED = "HIVEMIND_ADVISORIES"
"""This variable as `required`: a package that could not be looked up is a failure, for machines that have the reach."""
INSTALL_S, ASK_S = 180, 120


@dataclass
class Advice:
    """What the advisories say."""

    asked: list[str] = field(default_factory=list)
    """Packages that were looked up."""
    problems: list[str] = field(default_factory=list)
    why_not: str = ""
    """Why some, or all, could not be looked up."""


def advice(versions: Mapping[str, str]) -> Advice:
    """Look packages up."""
    try:
        return read(_ask(versions))
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        return Advice(why_not=f"pip-audit did not work here ({type(error).__name__})")


def _ask(versions: Mapping[str, str]) -> str:
    program = ENVIRONMENT / "bin" / "pip-audit"
    if not program.exists():
        _quietly([sys.executable, "-m", "venv", "--clear", ENVIRONMENT], INSTALL_S)
        _quietly([ENVIRONMENT / "bin" / "python", "-m", "pip", "install", PIP_AUDIT], INSTALL_S)
    listed = ENVIRONMENT / "audited.txt"
    listed.write_text("".join(f"{name}=={version}\n" for name, version in sorted(versions.items())), "utf-8")
    options = ["--requirement", listed, "--no-deps", "--disable-pip", "--format", "json", "--progress-spinner", "off"]
    asked = subprocess.run(
        [program, *options, "--timeout", "10"], capture_output=True, text=True, timeout=ASK_S, check=False
    )
    return asked.stdout


def _quietly(command: list[Any], seconds: float) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=seconds)


def read(text: str) -> Advice:
    """Read what pip-audit prints. Raises ValueError for what is not that."""
    document = json.loads(text)
    found = Advice()
    if not isinstance(document, dict) or not isinstance(document.get("dependencies"), list):
        raise ValueError("pip-audit printed something else")
    skipped = []
    for each in document["dependencies"]:
        if "skip_reason" in each:
            skipped.append(each["name"])
            continue
        found.asked.append(each["name"])
        for flaw in each["vulns"]:
            if not {flaw["id"], *flaw.get("aliases", ())} & ACCEPTED.keys():
                cured = ", ".join(flaw.get("fix_versions", ())) or "nothing yet"
                found.problems.append(f"{each['name']} {each['version']}: {flaw['id']}; mended in {cured}")
    if skipped:
        found.why_not = f"the advisories know nothing of, or could not be reached for, {len(skipped)} packages"
    return found


def verdict(told: Advice, versions: Mapping[str, str], required: bool) -> tuple[list[str], bool]:
    """What to say of it in the end, and whether it fails."""
    missing = sorted(versions.keys() - set(told.asked))
    if not missing:
        return [f"advisories: all {len(versions)} packages were looked up; {len(told.problems)} findings."], False
    names = " ".join(f"{name}=={versions[name]}" for name in missing)
    why = told.why_not or "they are not in the answer"
    lines = [
        f"advisories: NOT ASKED for {len(missing)} of {len(versions)} packages: {why}.",
        f"NOT ASKED: {names}",
        "This is no pass. Run `make check` where the advisories can be reached before a release.",
    ]
    return lines, required
