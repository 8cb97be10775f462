"""One target under libFuzzer, by way of atheris, in this process; it ends the process."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from . import targets

CANNOT = 3
WORDS = Path(__file__).with_name("words")
PACKAGES = ["hivemind_bus_client", "hivemind_core", "hivemind_chatroom"]
MAX_INPUT = 8192
HANG_S = 300
"""For one input: far from what any takes, on a machine that is busy with other things, too."""
MEMORY_MB = 2048


class NoEngine(Exception):
    """There is no atheris for this Python, or this machine."""


@dataclass(frozen=True)
class Course:
    """What to fuzz, and for how long."""

    target: str
    seconds: int
    seed: int
    folders: tuple[Path, ...]
    """Of inputs; what reaches something new is written into the first."""
    crashes: Path
    seeds: bool = False
    """Begin with the target's seeds, too: what they reach the committed corpus does already."""
    merges: bool = False
    """Instead of fuzzing: put what the other folders have into the first, as far as it reaches something new."""


def flags(course: Course, dictionary: Path) -> list[str]:
    """Return the options of libFuzzer; `dictionary` is a file of words."""
    if course.merges:
        return ["-merge=1", "-set_cover_merge=1", f"-max_len={MAX_INPUT}"]
    return [
        f"-max_total_time={course.seconds}",
        f"-seed={course.seed}",
        f"-max_len={MAX_INPUT}",
        "-len_control=20",
        f"-timeout={HANG_S}",
        f"-rss_limit_mb={MEMORY_MB}",
        f"-artifact_prefix={course.crashes}/",
        "-print_final_stats=1",
        f"-dict={dictionary}",
    ]


def words(name: str, own: Iterable[str]) -> Iterator[bytes]:
    """Return what inputs of a target are likely to hold: `own`, and its file in ``words/``, an escaped text a line."""
    lines = (WORDS / f"{name}.txt").read_text("ascii").split("\n")
    for word in (*(line.encode().decode("unicode_escape") for line in lines if line), *own):
        yield word.encode("latin-1") if all(ord(char) < 256 for char in word) else word.encode()


def write_words(path: Path, found: Iterable[bytes]) -> None:
    """Write a dictionary of libFuzzer."""
    lines = ("".join(f"\\x{byte:02x}" for byte in word) for word in found)
    path.write_text("".join(f'"{line}"\n' for line in lines), "ascii")


def write_seeds(folder: Path, seeds: Iterable[bytes]) -> None:
    """Write inputs to begin with, as far as they are short enough."""
    folder.mkdir()
    for number, seed in enumerate(seeds):
        if len(seed) <= MAX_INPUT:
            (folder / f"seed-{number}").write_bytes(seed)


def fuzz(course: Course) -> None:
    """Fuzz, or merge; never returns. Raises NoEngine."""
    own = Path(tempfile.mkdtemp(prefix="hivemind-fuzz-"))
    target = _instrumented(course.target)
    write_words(own / "words", words(course.target, target.WORDS))
    folders = list(course.folders)
    if course.seeds:
        write_seeds(own / "seeds", target.seeds())
        folders.append(own / "seeds")
    program = _write_program(own / "again", course.target)
    run(target, [str(program), *flags(course, own / "words"), *map(str, folders)])


def again(name: str) -> None:
    """Do what libFuzzer wants of a program that it has started itself, to merge."""
    run(_instrumented(name), sys.argv)


def run(target: targets.Target, arguments: list[str]) -> None:
    """Give a target to libFuzzer, which ends the process."""
    import atheris

    atheris.Setup(arguments, target.run)
    atheris.Fuzz()


def _instrumented(name: str) -> targets.Target:
    try:
        import atheris
    except ImportError:
        raise NoEngine("atheris is not installed; it has no package for every Python and every machine") from None
    with atheris.instrument_imports(include=PACKAGES):
        return targets.load(name)


def _write_program(path: Path, name: str) -> Path:
    """Write a program that is `again`: a merge runs what it was called as."""
    here = Path(__file__).parents[1]
    path.write_text(f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(here)!r})\n")
    with path.open("a") as file:
        file.write(f"from fuzz.engine import again\nagain({name!r})\n")
    path.chmod(0o700)
    return path
