"""What is installed for the project, by the extra that brings it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import metadata

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = "hivemind-mesh"
SATELLITE = ""
"""The extra of who asks for none."""
MOST_FOR_A_SATELLITE = 10
EXPECTED: dict[str, str] = {
    SATELLITE: "cffi click cryptography pycparser typing-extensions websockets",
    "hub": "aiohappyeyeballs aiohttp aiosignal async-timeout attrs frozenlist idna markdown-it-py mdurl msgspec"
    " multidict propcache pygments rich uvloop yarl zxcvbn",
    "http": "aiohappyeyeballs aiohttp aiosignal async-timeout attrs frozenlist idna multidict propcache yarl",
    "chatroom": "blinker flask itsdangerous jinja2 markupsafe waitress werkzeug",
    "redis": "async-timeout hiredis redis",
}
"""What each brings, besides what a satellite has. What comes anew is looked at by a person, and then named here."""


@dataclass
class Tree:
    """Versions of what is installed, and what is wrong with it."""

    versions: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def requirements(name: str, extras: frozenset[str]) -> Iterator[Requirement]:
    """What a distribution asks for here, with these extras."""
    for line in metadata.requires(name) or ():
        wanted = Requirement(line)
        if wanted.marker is None or any(wanted.marker.evaluate({"extra": extra}) for extra in extras | {""}):
            yield wanted


def installed(extra: str) -> Tree:
    """Everything that the project brings with an extra; the project itself left out."""
    tree = Tree()
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = [(PROJECT, frozenset({extra}))]
    while waiting:
        name, extras = waiting.pop()
        for wanted in requirements(name, extras):
            known = (canonicalize_name(wanted.name), frozenset(wanted.extras))
            if known in seen:
                continue
            seen.add(known)
            problem = missing(wanted)
            if problem:
                tree.problems.append(f"{name} {problem}")
            else:
                tree.versions[known[0]] = metadata.version(known[0])
                waiting.append(known)
    tree.versions.pop(PROJECT, None)
    return tree


def missing(wanted: Requirement) -> str:
    """What is wrong with how something is installed; empty if nothing is."""
    try:
        version = metadata.version(wanted.name)
    except metadata.PackageNotFoundError:
        return f"asks for {wanted.name}, which is not installed"
    fits = wanted.specifier.contains(version, prereleases=True)
    return "" if fits else f"asks for {wanted.name} {wanted.specifier}, and {version} is installed"


def unexpected(extra: str, versions: Mapping[str, str]) -> Iterator[str]:
    """What came along that nobody has looked at."""
    known = {*EXPECTED[SATELLITE].split(), *EXPECTED[extra].split()}
    whose = f"the extra `{extra}`" if extra else "a satellite"
    for name in sorted(versions.keys() - known):
        yield f"{whose} brings {name} {versions[name]}, which is not expected: look at it, and name it in {__file__}"
    if extra == SATELLITE and len(versions) > MOST_FOR_A_SATELLITE:
        yield f"a satellite brings {len(versions)} packages; {MOST_FOR_A_SATELLITE} are the most"
