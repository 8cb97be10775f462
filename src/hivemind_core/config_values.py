"""Takes values out of a configuration document, and says which key is wrong where one is."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

T = TypeVar("T")


class ConfigError(Exception):
    """The configuration cannot be used; the text names the file or variable, what is wrong and what to do."""


class Values:
    """A document, and the name of the file it is from."""

    def __init__(self, file: str, document: Mapping[str, Any]) -> None:
        self._file = file
        self._document = document

    def get(self, keys: tuple[str, ...], expected: str, fits: Callable[[Any], bool], default: Any = None) -> Any:
        """Return the value at a path of keys. Absent or null is the default; without one, that is wrong, too."""
        value: Any = self._document
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        value = default if value is None else value
        if not fits(value):
            raise ConfigError(f"{self._file}: `{'.'.join(keys)}` must be {expected}, not {json.dumps(value)[:60]}.")
        return value

    def flag(self, *keys: str) -> bool:
        return bool(self.get(keys, "true or false", lambda value: isinstance(value, bool)))

    def number(self, *keys: str) -> float:
        return float(self.get(keys, "a number, zero or more", is_number))

    def whole(self, *keys: str, most: int, least: int = 0) -> int:
        def fits(value: Any) -> bool:
            return is_whole(value, most) and value >= least

        return int(self.get(keys, f"a whole number from {least} to {most}", fits))

    def port(self, *keys: str) -> int:
        return int(self.get(keys, "a port number", lambda value: is_whole(value, 65535)))

    def one_of(self, key: str, choices: tuple[str, ...]) -> str:
        return str(self.get((key,), f"one of {', '.join(choices)}", lambda value: value in choices))

    def text(self, *keys: str, expected: str) -> str:
        return str(self.get(keys, expected, lambda value: isinstance(value, str) and value != ""))

    def object(self, *keys: str) -> dict[str, Any]:
        found: dict[str, Any] = self.get(keys, "an object", lambda value: isinstance(value, dict), {})
        return found

    def names(self, key: str, known: tuple[str, ...]) -> tuple[str, ...]:
        """Return a list whose entries are all known; absent is empty."""

        def fits(value: Any) -> bool:
            return isinstance(value, list) and all(name in known for name in value)

        return tuple(self.get((key,), f"an array of names out of {', '.join(known)}", fits, []))

    def listed(self, keys: tuple[str, ...], expected: str, read: Callable[[Any], tuple[T, ...]]) -> tuple[T, ...]:
        """Return what `read` makes of an array of texts or of a text with commas; it raises ValueError."""

        def fits(value: Any) -> bool:
            is_list = isinstance(value, list) and all(isinstance(item, str) for item in value)
            if not is_list and not isinstance(value, str):
                return False
            try:
                read(value)
            except ValueError:
                return False
            return True

        return read(self.get(keys, f"{expected}, as an array or with commas between them", fits, []))

    def chain(self, *keys: str) -> tuple[Mapping[str, Any], ...]:
        """Return a list of objects with a `module` and perhaps a `config`."""

        def fits(value: Any) -> bool:
            return isinstance(value, list) and all(
                isinstance(item, dict)
                and isinstance(item.get("module"), str)
                and isinstance(item.get("config") or {}, dict)
                for item in value
            )

        return tuple(self.get(keys, 'an array of objects like {"module": NAME}', fits, []))


def is_number(value: Any) -> bool:
    """Tell whether this is a finite number, zero or more."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < math.inf


def is_whole(value: Any, most: int) -> bool:
    """Tell whether this is a whole number from 0 to `most`."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most
