"""`python -m bench`: our hub and the released one, side by side, in one run; with `chatroom`: the two chatrooms; with
`cluster`: one, two and three hubs of a cluster."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from helpers.processes import Children

from . import chatroom, cluster, subjects
from .measure import FIGURES, Load, Round, measure_all
from .process import machine, raise_file_limit
from .report import Run, finish
from .satellites import Keyring

NAMES = ("released-hub", "ours")


def options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", choices=NAMES, help="measure only one of the two")
    parser.add_argument("--rounds", type=int, default=3, help="fresh processes of each hub (default 3)")
    parser.add_argument("--satellites", type=int, default=300, help="idle satellites (default 300)")
    parser.add_argument("--talking", type=int, default=10, help="satellites that talk at once (default 10)")
    parser.add_argument("--round-trips", type=int, default=2000, help="utterances of a measurement (default 2000)")
    parser.add_argument("--json", type=Path, help="where the figures go (default bench/results/<time>.json)")
    parser.add_argument("--check", action="store_true", help="exit 1 if a goal is missed")
    return parser.parse_args(arguments)


def new_keyring() -> Keyring:
    key = generate_private_key(public_exponent=65537, key_size=2048).public_key()
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode().strip()
    return Keyring(subjects.PASSWORD, pem)


def rounds_of(names: tuple[str, ...], load: Load, rounds: int) -> dict[str, list[Round]]:
    with tempfile.TemporaryDirectory(prefix="hivemind-bench-") as folder, Children(Path(folder)) as children:
        bus_port = subjects.start_bus(children)
        count = load.satellites + load.talking
        measured = [subjects.make(children, name, bus_port, count) for name in names]
        return asyncio.run(measure_all(measured, new_keyring(), load, rounds))


def measure_hubs(arguments: Sequence[str]) -> int:
    chosen = options(arguments)
    raise_file_limit()
    names = (chosen.only,) if chosen.only else NAMES
    load = Load(chosen.satellites, chosen.talking, chosen.round_trips)
    facts = machine()
    results = rounds_of(names, load, chosen.rounds)
    run = Run(facts, {name: subjects.version(name) for name in names}, load, results, FIGURES)
    return finish(run, chosen.json, chosen.check)


def main(arguments: Sequence[str]) -> int:
    """Measure what the first argument names, the hub if it names nothing."""
    others = {"chatroom": chatroom.main, "cluster": cluster.main}
    if arguments and arguments[0] in others:
        return others[arguments[0]](arguments[1:])
    return measure_hubs(arguments)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
