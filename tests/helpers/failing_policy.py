"""A policy that has the hub fail over a message that says `fail`, with all that it was given in the error's text.

`install` makes it a plugin, and has each traceback that is logged say what every variable on the way held.
"""

from __future__ import annotations

from pathlib import Path

NAME = "hivemind-test-failing-policy"
POLICY = """
from hivemind_core.policy import ALLOW, Verdict


class Broken:
    def __init__(self, *given):
        self.given = given

    def keys(self):
        message, client, options = self.given
        raise RuntimeError(f"cannot tell of {message!r} of {client!r}, {client}")


class FailingPolicy:
    def __init__(self, **options):
        self.options = options

    def review(self, message, client):
        refused = "fail" in message.data.get("utterances", [])
        return Verdict(False, "failing", "it fails", Broken(message, client, self.options)) if refused else ALLOW
"""
INSIDE = """
import logging, traceback


def with_locals(self, error):
    return "".join(traceback.TracebackException(*error, capture_locals=True).format())


logging.Formatter.formatException = with_locals
"""


def install(folder: Path) -> Path:
    """Write it into a folder, which is to be in PYTHONPATH; that folder."""
    about = folder / "hivemind_test_failing_policy-1.0.dist-info"
    about.mkdir(parents=True)
    (folder / "failing_policy.py").write_text(POLICY, "utf-8")
    (folder / "sitecustomize.py").write_text(INSIDE, "utf-8")
    (about / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: hivemind-test-failing-policy\nVersion: 1.0\n", "utf-8"
    )
    (about / "entry_points.txt").write_text(f"[hivemind.policy]\n{NAME} = failing_policy:FailingPolicy\n", "utf-8")
    return folder
