"""Hypothesis strategies for outside input: bytes, hostile JSON, and valid content with random changes."""

import json
import random
import string
from typing import Any

from hypothesis import strategies as st

BIG = 200_000
"""Length of long texts, in characters: enough for quadratic time to exceed the limit."""

_NUMBERS = [
    "0",
    "-0",
    "1e400",
    "-1e400",
    "9" * 5000,
    "1.0",
    "1e2",
    "NaN",
    "Infinity",
    "0.1e-400",
    "18446744073709551616",
]
_STRINGS = [
    '"\\ud800"',
    '"\\udc00\\ud800"',
    '"\\u0000"',
    '"\\/"',
    '"a\\nb"',
    '"é\U0001f600"',
    '""',
    '"' + "x" * BIG + '"',
]
_NESTED = [
    "[" * 100_000 + "]" * 100_000,
    '{"a":' * 100_000 + "1" + "}" * 100_000,
    "[" * 101 + "]" * 101,
    "[" * 99 + "]" * 99,
]
_WIDE = ['{"' + "k" * BIG + '":{' + '"a":1,' * 30_000 + '"a":1}}', "[" + "1," * BIG + "1]", '{"a":1,"a":2}']
HOSTILE = [*_NUMBERS, *_STRINGS, *_NESTED, *_WIDE, "null", "true", "[]", "{}", "", " ", "\ufeff{}", "{'a':1}", "[1,]"]
"""Texts, JSON or almost JSON, that parsers are known to fail on."""

TEXTS = st.one_of(
    st.text(max_size=40),
    st.text(string.printable, max_size=40),
    st.sampled_from(
        [
            "",
            " ",
            "\0",
            "x" * BIG,
            "é" * 300,
            "../..",
            "%00",
            "%d",
            "-i",
            "'; --",
            "\r\n",
            "\ud800".encode("utf-8", "replace").decode(),
        ]
    ),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda below: st.lists(below, max_size=4) | st.dictionaries(st.text(max_size=12), below, max_size=4),
    max_leaves=12,
)


def changed(valid: Any) -> st.SearchStrategy[str]:
    """JSON of valid content with parts replaced, removed, repeated or renamed, some of it cut or spliced."""
    return st.builds(_changed, st.just(valid), st.integers(0, 2**32), st.lists(JSON, min_size=1, max_size=4))


def _changed(valid: Any, seed: int, others: list[Any]) -> str:
    chance = random.Random(seed)
    content = json.loads(json.dumps(valid))
    for other in others:
        content = _mutated(content, chance, other)
    text = json.dumps(content)
    match chance.randrange(8):
        case 0:
            place = chance.randrange(len(text) + 1)
            return text[:place]
        case 1:
            places = [n for n, sign in enumerate(text) if sign in ":,["] or [0]
            place = chance.choice(places) + 1
            return text[:place] + chance.choice(HOSTILE) + text[place:].lstrip("0123456789")
        case 2 if text.startswith("{") and len(text) > 2:
            return text[:-1] + "," + text[1:]
        case _:
            return text


def _mutated(node: Any, chance: random.Random, other: Any) -> Any:
    """The content with one change, somewhere below `node`."""
    if isinstance(node, dict) and node and chance.random() < 0.85:
        key = chance.choice(sorted(node))
        match chance.randrange(8):
            case 0:
                return {name: value for name, value in node.items() if name != key}
            case 1:
                return {name if name != key else key + chance.choice("sX_ ~/"): value for name, value in node.items()}
            case 2:
                return node | {chance.choice(["extra", "", "preset", "a/b~c", "input"]): other}
            case _:
                return node | {key: _mutated(node[key], chance, other)}
    if isinstance(node, list) and node and chance.random() < 0.85:
        place = chance.randrange(len(node))
        match chance.randrange(4):
            case 0:
                return node * chance.choice([2, 50])
            case 1:
                return [*node[:place], other, *node[place:]]
            case _:
                return [*node[:place], _mutated(node[place], chance, other), *node[place + 1 :]]
    if isinstance(node, str) and chance.random() < 0.7:
        place = chance.randrange(len(node) + 1)
        return (
            node[:place]
            + chance.choice(["", "\0", "/", "é", " ", "x" * 300, "%", "#", "..", "\n"])
            + node[place + chance.randrange(2) :]
        )
    return other


def bodies(*valid: Any) -> st.SearchStrategy[bytes]:
    """Bodies: changed valid ones, hostile JSON, any JSON, any bytes."""
    return st.one_of(
        st.sampled_from(valid).flatmap(changed).map(_encoded),
        st.sampled_from(valid).flatmap(changed).map(_encoded),
        st.sampled_from(HOSTILE).map(str.encode),
        JSON.map(lambda content: json.dumps(content).encode()),
        st.binary(max_size=300),
    )


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def lines(words: list[str]) -> st.SearchStrategy[str]:
    """Texts with lines of `name=value`, `name:value`, numbers and other words."""
    value = st.one_of(
        st.integers().map(str),
        st.floats().map(str),
        st.sampled_from(["N/A", "nan", "inf", "-inf", "", "9" * 400]),
        st.text(max_size=10),
    )
    field = st.builds(
        "{}{}{}".format, st.one_of(st.sampled_from(words), st.text(max_size=6)), st.sampled_from(["=", ":", " "]), value
    )
    return st.lists(st.lists(field, max_size=5).map(" ".join), max_size=8).map("\n".join)
