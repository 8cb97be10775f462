"""codec: the fast and the standard path read and write the same, and refuse the same."""

from __future__ import annotations

import importlib.util
import json
import math
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hivemind_bus_client import codec
from hivemind_bus_client.exceptions import InvalidJson
from hivemind_bus_client.message import HiveMessageType

LOADS: list[Callable[[Any], Any]] = [codec.std_loads, codec.fast_loads]
DUMPS: list[Callable[[Any], str]] = [codec.std_dumps, codec.fast_dumps]
FUZZ = settings(max_examples=300, deadline=None)

both_readers = pytest.mark.parametrize("loads", LOADS, ids=["std", "fast"])
both_writers = pytest.mark.parametrize("dumps", DUMPS, ids=["std", "fast"])


def nested(depth: int, opening: str = "[", closing: str = "]") -> str:
    return opening * depth + closing * depth


# --- reading ------------------------------------------------------------------------------------------------

ACCEPTED: dict[str, Any] = {
    "null": None, "true": True, " \t\r\n{} \n": {}, "-0": 0, "-0.0": -0.0, "1E5": 1e5, "1e+5": 1e5, "0e9999": 0.0,
    "1e-400": 0.0, "4.9e-324": 5e-324, "1.7976931348623157e308": 1.7976931348623157e308, "1.0": 1.0,
    "9007199254740993": 9007199254740993, "18446744073709551616": 2**64, "-9223372036854775809": -(2**63) - 1,
    "1" * 400: int("1" * 400), "1234567890123456789012345.5": 1.2345678901234568e24,
    '"\\ud83d\\ude00"': "😀", '"\\u0000"': "\0", '"\\/\\b\\f\\n\\r\\t"': "/\b\f\n\r\t", '"\x7f"': "\x7f",
    '"\u2028"': "\u2028", '"\ufeff"': "\ufeff", '{"a":1,"a":2}': {"a": 2}, '{"":{}}': {"": {}},
    '"[[["': "[[[", '["' + "[" * 200 + '"]': ["[" * 200], "[" + "{}," * 100 + "{}]": [{}] * 101,
}  # fmt: skip


@both_readers
@pytest.mark.parametrize("text", ACCEPTED)
def test_strict_json_is_read(loads: Any, text: str) -> None:
    for given_as in (text, text.encode()):
        value = loads(given_as)
        assert value == ACCEPTED[text]
        assert type(value) is type(ACCEPTED[text])
    if text == "-0.0":
        assert math.copysign(1, loads(text)) == -1


@both_readers
def test_nesting_is_read_to_64_levels(loads: Any) -> None:
    for text in (nested(64), nested(32, '{"a":[', "]}"), "[" * 63 + "{}" + "]" * 63):
        loads(text)
        loads(text.encode())


REFUSED = [
    "", "  ", "nul", "tru", "NaN", "Infinity", "-Infinity", "[NaN]", '{"a":-Infinity}', "1e400", "-1e400",
    "1.7976931348623159e308", "1e99999999999", "01", "1.", ".5", "+1", "-", "--1", "0x10", "1_000", "\u0661",
    "{}x", "{} {}", "[1 2]", "[1,]", "[,]", '{"a":1,}', '{"a" 1}', '{"a":}', "{1:2}", "{'a':1}", '"', "{", "[",
    "// c\n{}", "/**/{}", "\ufeff{}", "\u00a0{}", "{}\u00a0", "\x0c{}", "{}\0", "\0", '"\0"', '"a\tb"', '"\x1f"',
    '"\\x"', '"\\u12"', '"\\ud800"', '"\\udc00"', '"\\ude00\\ud83d"', '{"\\ud800":1}', '["\\ud800\\ud800"]',
    nested(65), nested(33, '{"a":[', "]}"), "[" * 64 + "{}" + "]" * 64, nested(100_000), "[" * 100_000,
    "[" + "0," * 500_000 + "0]",
]  # fmt: skip


@both_readers
@pytest.mark.parametrize("text", REFUSED, ids=lambda text: ascii(text[:16]))
def test_anything_else_is_refused(loads: Any, text: str) -> None:
    for given_as in (text, text.encode()):
        with pytest.raises(InvalidJson):
            loads(given_as)


NO_UTF8 = [
    b"\xff", b'"\xff"', b'"\xc0\x80"', b'"\xed\xa0\x80"', b'"\xf4\x90\x80\x80"', b'"\xe2\x82"', b'"\xc3"',
    b'{"\xff":1}', b"\xef\xbb\xbf{}",
    '{"a":1}'.encode("utf-16"), '{"a":1}'.encode("utf-16-le"), '{"a":1}'.encode("utf-32"),
]  # fmt: skip


@both_readers
@pytest.mark.parametrize("data", NO_UTF8)
def test_bytes_are_strict_utf8_without_a_mark(loads: Any, data: bytes) -> None:
    with pytest.raises(InvalidJson):
        loads(data)


@both_readers
def test_a_lone_surrogate_in_text_is_refused(loads: Any) -> None:
    with pytest.raises(InvalidJson):
        loads('"\ud800"')


@both_readers
def test_a_long_text_of_few_values_is_read(loads: Any) -> None:
    for text in ('"' + "x" * 600_000 + '"', "[" + "0," * 400_000 + "0]"):
        assert len(loads(text)) == len(loads(text.encode())) > 400_000


@both_readers
def test_the_reason_is_short(loads: Any) -> None:
    with pytest.raises(InvalidJson) as refused:
        loads('"' + "x" * 10_000)
    assert len(str(refused.value)) <= 120


# --- writing ------------------------------------------------------------------------------------------------


@both_writers
@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"a": [1, 2.5, None, True, "é\u2028\x7f"]}, '{"a":[1,2.5,null,true,"é\u2028\x7f"]}'),
        ((1, (2,)), "[1,[2]]"),
        (math.nan, "null"),
        ({"a": [math.inf, {"b": -math.inf}, (math.nan, 1.5)]}, '{"a":[null,{"b":null},[null,1.5]]}'),
        ({1: 2, 1.5: 3}, '{"1":2,"1.5":3}'),
        ({None: 1, True: 2}, '{"null":1,"true":2}'),
        (10**30, str(10**30)),
        (HiveMessageType.BUS, '"bus"'),
        ({HiveMessageType.BUS: HiveMessageType.PING}, '{"bus":"ping"}'),
        ('\0\x1f"\\', '"\\u0000\\u001f\\"\\\\"'),
    ],
)
def test_values_are_written_compactly(dumps: Any, value: Any, text: str) -> None:
    assert dumps(value) == text


@both_writers
def test_subclasses_of_json_types_are_written(dumps: Any) -> None:
    class Text(str):
        __slots__ = ()

    class Table(dict[str, Any]):
        pass

    assert dumps(Table({Text("a"): [Text("b")]})) == '{"a":["b"]}'


@both_writers
@pytest.mark.parametrize("value", ["\ud800", {"\udc00": 1}, ["a\ud800"]])
def test_a_lone_surrogate_is_not_written(dumps: Any, value: Any) -> None:
    with pytest.raises(UnicodeEncodeError):
        dumps(value)


@both_writers
@pytest.mark.parametrize("value", [object(), type, lambda: 1, range(3), {"a": object()}])
def test_what_has_no_json_form_is_refused(dumps: Any, value: Any) -> None:
    with pytest.raises(TypeError):
        dumps(value)


def test_bytes_forms_are_the_text_in_utf8() -> None:
    for dumps_bytes in (codec.std_dumps_bytes, codec.fast_dumps_bytes, codec.dumps_bytes):
        assert dumps_bytes({"a": "é"}) == '{"a":"é"}'.encode()


# --- both ways ----------------------------------------------------------------------------------------------

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=15,
)


@given(VALUES)
@FUZZ
def test_both_paths_write_what_both_paths_read(value: Any) -> None:
    for dumps in DUMPS:
        text = dumps(value)
        for loads in LOADS:
            assert loads(text) == value
            assert loads(text.encode()) == value


@given(VALUES, st.booleans(), st.sampled_from([None, 1]))
@FUZZ
def test_both_paths_read_what_others_write(value: Any, ascii_only: bool, indent: int | None) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    assert codec.std_loads(text) == codec.fast_loads(text.encode()) == value


def outcome(loads: Any, text: Any) -> Any:
    try:
        return ("read", loads(text))
    except InvalidJson:
        return ("refused", None)


@given(st.text('{}[]",:\\ue+-.0123456789 dDNaIfnltrs\n\ud800é', max_size=30) | st.text(max_size=20))
@FUZZ
def test_both_paths_agree_on_any_text(text: str) -> None:
    assert repr(outcome(codec.std_loads, text)) == repr(outcome(codec.fast_loads, text))


@given(st.binary(max_size=30) | VALUES.map(lambda value: json.dumps(value).encode()[:-1]))
@FUZZ
def test_both_paths_agree_on_any_bytes(data: bytes) -> None:
    assert repr(outcome(codec.std_loads, data)) == repr(outcome(codec.fast_loads, data))


# --- which path is taken ------------------------------------------------------------------------------------


def test_the_standard_library_is_used_where_msgspec_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "msgspec", None)
    spec: Any = importlib.util.spec_from_file_location("hivemind_bus_client.codec_of_a_bare_machine", codec.__file__)
    bare = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bare)
    assert bare.BACKEND == "json"
    assert bare.loads(bare.dumps_bytes({"a": "é"})) == {"a": "é"}
    assert (bare.loads, bare.dumps) == (bare.std_loads, bare.std_dumps)


def test_msgspec_is_used_where_it_is_installed() -> None:
    assert codec.BACKEND == "msgspec"
    assert (codec.loads, codec.dumps) == (codec.fast_loads, codec.fast_dumps)


@pytest.mark.parametrize("value", [{}, [1.5, None], {"a": "é\u2028\x85"}, {"n": float("inf")}])
def test_a_file_of_people_may_have_comments_and_any_number(value: Any) -> None:
    text = json.dumps(value, ensure_ascii=False)
    assert codec.loads_commented(f"// mine\n  # and\n{text}\n// end") == value


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "line 1: "),
        ("// mine\n{\n]", "line 3: "),
        ("[" * 100_000, "nested too deeply"),
        ("9" * 5000, "Exceeds the limit"),
        ('{"a": "\\ud800"}', "surrogates not allowed"),
        ('{"\\udfff": 1}', "surrogates not allowed"),
    ],
)
def test_what_cannot_be_read_or_written_of_it_is_one_error(text: str, why: str) -> None:
    with pytest.raises(InvalidJson, match=why):
        codec.loads_commented(text)
