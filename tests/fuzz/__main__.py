"""`python -m fuzz`: fuzz one target until the time is over. The exit status is 1 where an invariant broke, 3 where
nothing could be fuzzed; the input that did it is written into --crashes."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from .engine import CANNOT, Course, NoEngine, fuzz
from .targets import TARGETS

HERE = Path(__file__).parent


def options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("target", choices=sorted(TARGETS), help="what to fuzz")
    parser.add_argument("--seconds", type=int, default=60, help="how long (default 60)")
    parser.add_argument("--seed", type=int, default=1, help="of what is drawn (default 1)")
    parser.add_argument("--corpus", type=Path, help="a folder for inputs that reach something new (default: nowhere)")
    parser.add_argument("--crashes", type=Path, default=Path.cwd(), help="where an input that breaks something goes")
    parser.add_argument("--nice", type=int, default=0, help="how far behind other processes (default 0)")
    parser.add_argument("--merge", action="store_true", help="put what is needed of --corpus into the committed one")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> None:
    chosen = options(arguments)
    os.nice(chosen.nice)
    committed = HERE / "corpus" / chosen.target
    committed.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("PYTHONHASHSEED", "0")
    folder = chosen.corpus or Path(tempfile.mkdtemp(prefix="hivemind-fuzz-"))
    folder.mkdir(parents=True, exist_ok=True)
    chosen.crashes.mkdir(parents=True, exist_ok=True)
    folders = (committed, folder) if chosen.merge else (folder, committed)
    seeds = chosen.merge or not any(committed.iterdir())
    course = Course(chosen.target, chosen.seconds, chosen.seed, folders, chosen.crashes, seeds, chosen.merge)
    try:
        fuzz(course)
    except NoEngine as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(CANNOT)


if __name__ == "__main__":
    main(sys.argv[1:])
