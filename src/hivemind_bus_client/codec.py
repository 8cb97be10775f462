"""JSON in and out: msgspec where it is installed, the standard library where it is not, with the same results.

Accepted is strict JSON (docs/protocol.md 2.1): UTF-8, nesting of at most ``MAX_DEPTH``, finite numbers, whole code
points, no byte-order mark, so that a frame relayed as it came cannot break the next peer's parser; and at most
``MAX_ITEMS`` values, so that text cannot become a hundred times its size in objects.

Written is compact JSON; a float that is not finite becomes null. Anything that is not JSON (a set, bytes, a date) is
the caller's mistake: the standard library raises TypeError where msgspec may find a spelling.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any, NoReturn

from .exceptions import InvalidJson

MAX_DEPTH = 64
MAX_ITEMS = 500_000
VALUE_BYTES = 64


def _brackets(text: str | bytes) -> int:
    if isinstance(text, str):
        return text.count("{") + text.count("[")
    return text.count(b"{") + text.count(b"[")


def _check_items(text: str | bytes) -> None:
    """Refuse text that may hold too many values; commas inside strings count, which errs on the safe side."""
    if len(text) <= MAX_ITEMS:
        return
    commas = text.count(",") if isinstance(text, str) else text.count(b",")
    if commas + _brackets(text) > MAX_ITEMS:
        raise InvalidJson(f"more than {MAX_ITEMS} values")


def is_readable(text: bytes) -> bool:
    """Tell whether JSON of ours has no more values than `loads` takes."""
    return len(text) <= MAX_ITEMS or text.count(b",") + _brackets(text) <= MAX_ITEMS


def weight(text: bytes) -> int:
    """Return roughly how many bytes a JSON text takes once it is parsed: 64 for each value, besides the text."""
    return len(text) + VALUE_BYTES * (text.count(b",") + _brackets(text))


def _depth_exceeded(value: Any) -> bool:
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                below.extend(item.values())
            elif isinstance(item, list):
                below.extend(item)
        if not below:
            return False
        level = below
    return any(isinstance(item, (dict, list)) for item in level)


def _check_depth(text: str | bytes, value: Any) -> Any:
    if _brackets(text) > MAX_DEPTH and _depth_exceeded(value):
        raise InvalidJson(f"nested deeper than {MAX_DEPTH} levels")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise InvalidJson(f"{name} is not a JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise InvalidJson(f"number out of range: {text[:32]}")
    return value


_STRICT = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite)


def _short(error: Exception) -> str:
    return (str(error) or type(error).__name__)[:120]


def std_loads(text: str | bytes) -> Any:
    """Parse strict JSON with the standard library. Raises InvalidJson."""
    _check_items(text)
    try:
        decoded = text.decode("utf-8") if isinstance(text, bytes) else text
        value = _STRICT.decode(decoded)
        if "\\u" in decoded or isinstance(text, str):
            json.dumps(value, ensure_ascii=False).encode("utf-8")  # a lone surrogate does not encode
    except InvalidJson:
        raise
    except (ValueError, RecursionError) as error:
        raise InvalidJson(_short(error)) from None
    return _check_depth(text, value)


def loads_commented(text: str) -> Any:
    """Parse JSON as people keep it in files: lines that begin with // or # are comments, numbers may be any.

    Raises InvalidJson, which names the line where that is known.
    """
    lines = ["" if line.lstrip().startswith(("//", "#")) else line for line in text.split("\n")]
    try:
        value = json.loads("\n".join(lines))
        whole_characters(text, value)
    except json.JSONDecodeError as error:
        raise InvalidJson(f"line {error.lineno}: {error.msg}") from None
    except RecursionError:
        raise InvalidJson("nested too deeply") from None
    except ValueError as error:
        raise InvalidJson(_short(error)) from None
    return value


def whole_characters(text: str, value: Any) -> None:
    """Raise ValueError where a text in the value of a JSON text holds a lone surrogate, which nothing can write."""
    if "\\u" in text:
        json.dumps(value, ensure_ascii=False).encode("utf-8")


def finite(value: Any) -> Any:
    """Return a JSON value whose floats that are not finite have become None."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return value


def spaced(value: Any, ascii_only: bool = False) -> str:
    """Write JSON as released packages space it; floats and errors as `std_dumps` has them."""
    try:
        text = json.dumps(value, ensure_ascii=ascii_only, allow_nan=False)
    except ValueError:
        text = json.dumps(finite(value), ensure_ascii=ascii_only, allow_nan=False)
    if ascii_only and "\\ud" in text:
        json.dumps(value, ensure_ascii=False).encode("utf-8")  # raises for a lone surrogate
    elif not text.isascii():
        text.encode("utf-8")
    return text


def std_dumps(value: Any) -> str:
    """Write compact JSON with the standard library. Raises TypeError, UnicodeEncodeError for a lone surrogate."""
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except ValueError:
        text = json.dumps(finite(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    if not text.isascii():
        text.encode("utf-8")
    return text


def std_dumps_bytes(value: Any) -> bytes:
    """`std_dumps` as UTF-8."""
    return std_dumps(value).encode("utf-8")


loads: Callable[[str | bytes], Any] = std_loads
dumps: Callable[[Any], str] = std_dumps
dumps_bytes: Callable[[Any], bytes] = std_dumps_bytes

try:
    import msgspec
except ImportError:
    BACKEND = "json"
else:
    BACKEND = "msgspec"
    _decode = msgspec.json.Decoder().decode
    _encode = msgspec.json.Encoder().encode

    def fast_loads(text: str | bytes) -> Any:
        """Parse strict JSON. Raises InvalidJson."""
        _check_items(text)
        try:
            value = _decode(text)
        except (ValueError, RecursionError) as error:
            raise InvalidJson(_short(error)) from None
        return _check_depth(text, value)

    def fast_dumps_bytes(value: Any) -> bytes:
        """Write compact JSON as UTF-8. Raises TypeError, UnicodeEncodeError for a lone surrogate."""
        try:
            return _encode(value)
        except TypeError:  # subclasses of str, and keys that are not text, which the standard library takes
            return std_dumps_bytes(value)

    def fast_dumps(value: Any) -> str:
        """`fast_dumps_bytes` as text."""
        return fast_dumps_bytes(value).decode("utf-8")

    loads, dumps, dumps_bytes = fast_loads, fast_dumps, fast_dumps_bytes
