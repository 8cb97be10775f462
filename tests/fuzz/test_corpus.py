"""What is known already: the inputs that targets begin with, the corpora, and what once broke something."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fuzz import engine, targets
from fuzz.place import folder
from fuzz.targets import TARGETS

HERE = Path(__file__).parent
MAX_FILES, MAX_BYTES = 200, 300_000


def _files(*kinds: str) -> list[Path]:
    found = [path for kind in kinds for path in sorted((HERE / kind).glob("*/*"))]
    return [path for path in found if path.parent.name in TARGETS]


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    """Targets set up a process of their own; this one is the test's."""
    environ, at = dict(os.environ), os.getcwd()
    yield
    os.environ.clear()
    os.environ.update(environ)
    os.chdir(at)
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_the_corpus_breaks_nothing(name: str) -> None:
    """One test for each target: its inputs are many, and each takes a moment."""
    target = targets.load(name)
    for path in _files("corpus"):
        if path.parent.name == name:
            try:
                target.run(path.read_bytes())
            except Exception as error:
                raise AssertionError(f"{path.relative_to(HERE)} breaks it") from error


@pytest.mark.parametrize("path", _files("crashes"), ids=lambda path: f"{path.parent.name}-{path.name[:20]}")
def test_what_once_broke_something_does_not_any_more(path: Path) -> None:
    targets.load(path.parent.name).run(path.read_bytes())


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_a_corpus_is_there_and_small(name: str) -> None:
    files = [path for path in _files("corpus") if path.parent.name == name]
    assert 0 < len(files) < MAX_FILES
    assert sum(path.stat().st_size for path in files) < MAX_BYTES


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_every_target_has_seeds_and_words(name: str, tmp_path: Path) -> None:
    target = targets.load(name)
    engine.write_seeds(tmp_path / "seeds", target.seeds())
    assert len(list((tmp_path / "seeds").iterdir())) >= 5
    engine.write_words(tmp_path / "words", engine.words(name, target.WORDS))
    assert (tmp_path / "words").read_text("ascii").startswith('"\\x')


def test_a_broken_invariant_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The targets look at what comes of an input; here something wrong comes of it."""
    from fuzz.targets import clear_frames, frames
    from hivemind_bus_client import codec
    from hivemind_bus_client.link import Link, Opened

    monkeypatch.setattr(Link, "receive", lambda link, frame, now: [Opened(3, "XXpsk2", b"", False)])
    with pytest.raises(AssertionError, match="let in"):
        clear_frames.run(b"\0\0x")
    monkeypatch.setattr(codec, "loads", lambda text: {})
    with pytest.raises(AssertionError, match="differ"):
        frames.run(b"\1[]")
    assert folder().is_dir()
