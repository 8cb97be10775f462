"""JSON in and out: both ways of doing it have the same results."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hivemind_bus_client import codec
from hivemind_bus_client.exceptions import DecodingError, InvalidJson

LOADS = [codec.std_loads, codec.fast_loads]
both = pytest.mark.parametrize("loads", LOADS)

whole_text = st.text(st.characters(exclude_categories=["Cs"]))
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | whole_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(whole_text, inner),
    max_leaves=15,
)

ACCEPTED = [
    ("{}", {}),
    (' [1, 2.5, -0, "a", null, true, false] ', [1, 2.5, 0, "a", None, True, False]),
    ('{"a":1,"a":2}', {"a": 2}),
    (r'"\u00e9\ud834\udd1e\n\/"', "é\U0001d11e\n/"),
    ('"ol\u00e1 \u2028"', "olá \u2028"),
    ("18446744073709551615", 2**64 - 1),
    ("1e3", 1000.0),
    ("[" * 64 + "]" * 64, eval("[" * 64 + "]" * 64)),
    ('"' + "[{" * 200 + '"', "[{" * 200),
]

REFUSED = [
    "",
    " ",
    "nul",
    "{",
    "[1,]",
    '{"a":1,}',
    "{'a':1}",
    "01",
    "+1",
    ".5",
    "1.",
    "NaN",
    "Infinity",
    "-Infinity",
    "[NaN]",
    "1e999",
    "-1e999",
    '"a',
    '"\t"',
    '"\n"',
    r'"\x"',
    r'"\ud800"',
    r'"\udc00\ud800"',
    r'{"\ud800":1}',
    "[] []",
    "{} x",
    "// c\n1",
    "\ufeff{}",
    "[" * 65 + "]" * 65,
    "[" * 100_000,
    '{"a":' * 65 + "1" + "}" * 65,
    "[" * 5000 + "]" * 5000,
]


@both
@pytest.mark.parametrize(("text", "value"), ACCEPTED, ids=lambda x: repr(x)[:24])
def test_accepted(loads, text, value):
    for form in (text, text.encode()):
        found = loads(form)
        assert found == value
        assert type(found) is type(value)


@both
@pytest.mark.parametrize("text", REFUSED, ids=lambda x: repr(x)[:24])
def test_refused(loads, text):
    for form in (text, text.encode()):
        with pytest.raises(InvalidJson):
            loads(form)


@both
@pytest.mark.parametrize("data", [b"\xff", b'"\xff"', b'"\xc0\x80"', b'"\xed\xa0\x80"', b"\xef\xbb\xbf{}", b'"\0"'])
def test_bytes_refused(loads, data):
    with pytest.raises(InvalidJson):
        loads(data)


@both
def test_a_lone_surrogate_in_a_text_is_refused(loads):
    with pytest.raises(InvalidJson):
        loads('"\ud800"')


@both
def test_too_many_values_are_refused(loads):
    assert len(loads("[" + "1," * 1000 + "1]")) == 1001
    with pytest.raises(InvalidJson):
        loads("[" + "1," * codec.MAX_ITEMS + "1]")
    with pytest.raises(InvalidJson):
        loads(b"[" + b"[],[]," * codec.MAX_ITEMS + b"1]")


@given(json_values)
def test_both_read_what_both_write(value):
    texts = [codec.std_dumps(value), codec.fast_dumps(value), json.dumps(value)]
    assert codec.std_dumps_bytes(value).decode() == texts[0]
    assert codec.fast_dumps_bytes(value).decode() == texts[1]
    for text in texts:
        assert codec.std_loads(text) == codec.fast_loads(text) == value
        assert codec.std_loads(text.encode()) == codec.fast_loads(text.encode()) == value


@given(st.text(max_size=30) | st.binary(max_size=30))
def test_both_accept_the_same(text):
    def outcome(loads):
        try:
            return repr(loads(text))
        except InvalidJson:
            return "refused"

    assert outcome(codec.std_loads) == outcome(codec.fast_loads)


@given(st.text(alphabet='{}[]",:0123456789.eE+-\\u/ntrfals \n\ud800é', max_size=30))
def test_both_accept_the_same_of_what_looks_like_json(text):
    test_both_accept_the_same.hypothesis.inner_test(text)


@pytest.mark.parametrize("dumps", [codec.std_dumps, codec.fast_dumps])
class TestWriting:
    def test_compact(self, dumps):
        assert dumps({"é": [1, "\u2028", None]}) == '{"é":[1,"\u2028",null]}'

    def test_what_is_not_finite_becomes_null(self, dumps):
        value = {"a": [float("nan"), float("inf"), (1.5, -float("inf"))]}
        assert json.loads(dumps(value)) == {"a": [None, None, [1.5, None]]}

    def test_enums_of_text(self, dumps):
        from hivemind_bus_client.message import HiveMessageType

        assert dumps({"t": HiveMessageType.BUS}) == '{"t":"bus"}'

    def test_subclasses_of_text_and_keys_that_are_none(self, dumps):
        class Text(str):
            __slots__ = ()

        assert dumps({"a": Text("b")}) == '{"a":"b"}'
        assert json.loads(dumps({1: 2, None: 3})) == {"1": 2, "null": 3}

    def test_a_lone_surrogate_cannot_be_written(self, dumps):
        with pytest.raises(UnicodeEncodeError):
            dumps(["\ud800"])

    def test_objects_cannot_be_written(self, dumps):
        with pytest.raises(TypeError):
            dumps(object())


def test_the_exception_is_one_of_ours_and_a_value_error():
    assert issubclass(InvalidJson, DecodingError)
    assert issubclass(InvalidJson, ValueError)


def test_without_msgspec_the_standard_library_is_used():
    program = (
        "import sys; sys.modules['msgspec'] = None\n"
        "from hivemind_bus_client import codec\n"
        "assert codec.BACKEND == 'json' and codec.loads is codec.std_loads and codec.dumps is codec.std_dumps\n"
        "assert codec.loads(codec.dumps_bytes({'a': 1})) == {'a': 1}"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
    assert codec.BACKEND == "msgspec"
    assert codec.loads is codec.fast_loads
