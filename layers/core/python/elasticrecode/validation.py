"""Strict reading of a JSON body into a type, with every fault at once.

The JSON Schema comes from the msgspec type, so the types are the only place where a field is described. Rules that a
schema cannot say are named formats: a test, and the words that finish the sentence "must be …".
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import Any, Generic, TypeVar

import jsonschema_rs
import msgspec

from elasticrecode.errors import Fault, Invalid, Malformed

T = TypeVar("T")
Formats = Mapping[str, tuple[Callable[[str], bool], str]]
"""Name of a format → its test on a string, and what a value must be."""

_SHOWN = 80
_MOST = 1000
"""Faults in one answer: more than that many entries are wrong in the same way."""
_LONGEST_POINTER = 300
DEPTH = 100
"""Levels of nesting: more than any request has, fewer than the schema's validator stands."""
_TYPES = {
    "object": "an object",
    "array": "an array",
    "string": "a string",
    "integer": "a whole number",
    "number": "a number",
}


class Body:
    """A parsed JSON body: `content`, and `faults`, what no type can say of it: keys given twice, endless lists."""

    def __init__(self, text: bytes, lists: Mapping[str, int] | None = None, beyond: str = "") -> None:
        """Parse strictly: no NaN, no lone surrogates, no endless nesting. Malformed otherwise.

        `lists` says how many entries a field may have; of one that has more, the first are looked at. `beyond` says
        what to do with so many.
        """
        self.faults: list[Fault] = []
        try:
            self.content: Any = msgspec.json.decode(text)
            repeated = _repeated(json.loads(text, object_pairs_hook=_Pairs), [])
            self.faults += (Fault(_pointer(path), "is given more than once") for path in islice(repeated, _MOST))
        except msgspec.DecodeError as error:
            raise Malformed(f"{error}.") from None
        except RecursionError:
            raise Malformed(f"It is nested too deeply: at most {DEPTH} levels are taken.") from None
        except ValueError:
            raise Malformed("It holds a number too long to read.") from None
        for name, most in (lists or {}).items():
            entries = self.fields.get(name)
            if isinstance(entries, list) and len(entries) > most:
                self.faults.append(Fault(f"/{name}", f"must hold at most {most}, not {len(entries)}{beyond}"))
                self.content = {**self.fields, name: entries[:most]}

    @property
    def fields(self) -> dict[str, Any]:
        """The body's own fields; empty when it is no object."""
        return self.content if isinstance(self.content, dict) else {}

    def placed(self, fault: Fault) -> Fault | None:
        """A fault as it is told to who sent the body; None where it is nothing to them."""
        return fault


class _Pairs:
    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        self.pairs = pairs


def _repeated(node: object, path: list[str | int]) -> Iterator[list[str | int]]:
    """Paths of keys that are given again. RecursionError below DEPTH. A path is the caller's again when it goes on."""
    if len(path) >= DEPTH:
        raise RecursionError
    seen: set[str] = set()
    for step, value in node.pairs if isinstance(node, _Pairs) else enumerate(node) if isinstance(node, list) else ():
        path.append(step)
        if isinstance(step, str):
            if step in seen:
                yield path
            seen.add(step)
        if isinstance(value, _Pairs | list):
            yield from _repeated(value, path)
        path.pop()


class Reader(Generic[T]):
    """Reads bodies of one type."""

    def __init__(self, kind: type[T], formats: Formats) -> None:
        self._type = kind
        self._formats = formats
        self._schema = jsonschema_rs.validator_for(
            msgspec.json.schema(kind),
            formats={name: test for name, (test, _) in formats.items()},
            validate_formats=True,
        )

    def read(self, body: Body, also: Iterable[Fault] = ()) -> T:
        """The body as the type. Invalid with the schema's faults, repeated keys and the faults in `also`."""
        return self.convert(body.content, [*body.faults, *also], body.placed)

    def convert(
        self,
        content: object,
        also: Iterable[Fault] = (),
        placed: Callable[[Fault], Fault | None] = lambda fault: fault,
    ) -> T:
        """Parsed content as the type. Invalid with the schema's faults and those in `also`, each where it is placed."""
        found = (fault for error in self._schema.iter_errors(content) for fault in self._explain(error))
        faults = {told for fault in chain(islice(also, _MOST), islice(found, _MOST)) if (told := placed(fault))}
        if faults:
            raise Invalid([Fault(_shorter(where), detail) for where, detail in sorted(faults)[:_MOST]])
        return msgspec.convert(content, self._type, strict=False)

    def _explain(self, error: jsonschema_rs.ValidationError) -> Iterable[Fault]:
        """One sentence for one schema error; one each for fields that are missing or unknown."""
        kind, value = error.kind, error.instance
        pointer = _pointer(error.instance_path)
        match kind:
            case jsonschema_rs.ValidationErrorKind.Required():
                yield Fault(f"{pointer}/{_escape(kind.property)}", "is required")
            case jsonschema_rs.ValidationErrorKind.AdditionalProperties():
                for unknown in kind.unexpected[:_MOST]:
                    yield Fault(f"{pointer}/{_escape(unknown)}", "is not a known field")
            case jsonschema_rs.ValidationErrorKind.Type():
                wanted = " or ".join(_TYPES.get(name, name) for name in kind.types)
                yield Fault(pointer, f"must be {wanted}, not {_show(value)}")
            case jsonschema_rs.ValidationErrorKind.Enum():
                yield Fault(pointer, f"must be one of {', '.join(map(str, kind.options))}, not {_show(value)}")
            case jsonschema_rs.ValidationErrorKind.Format():
                yield Fault(pointer, f"must be {self._formats[kind.format][1]}, not {_show(value)}")
            case jsonschema_rs.ValidationErrorKind.Minimum():
                yield Fault(pointer, f"must be at least {kind.limit}, not {_show(value)}")
            case jsonschema_rs.ValidationErrorKind.Maximum():
                yield Fault(pointer, f"must be at most {kind.limit}, not {_show(value)}")
            case jsonschema_rs.ValidationErrorKind.MinItems():
                yield Fault(pointer, f"must hold at least {kind.limit}, not {_count(value)}")
            case jsonschema_rs.ValidationErrorKind.MaxItems():
                yield Fault(pointer, f"must hold at most {kind.limit}, not {_count(value)}")
            case _:
                yield Fault(pointer, error.message[:_SHOWN])


def _pointer(path: Iterable[str | int]) -> str:
    return _shorter("".join(f"/{_escape(step)}" for step in path))


def _shorter(pointer: str) -> str:
    return pointer if len(pointer) <= _LONGEST_POINTER else f"{pointer[:_LONGEST_POINTER]}…"


def _escape(step: str | int) -> str:
    return str(step).replace("~", "~0").replace("/", "~1")


def _count(value: object) -> int:
    return len(value) if isinstance(value, list) else 1


def _show(value: object) -> str:
    shown = json.dumps(value, ensure_ascii=False)
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"
