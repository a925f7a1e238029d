"""Strict reading of a JSON body into a type, which reports every fault at once.

The JSON Schema comes from the msgspec type, so a field is described in one place. Rules that a schema cannot express
are named formats: a predicate, and the words that complete the sentence "must be …".
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any, Generic, TypeVar

import jsonschema_rs
import msgspec

from elasticrecode.errors import Fault, Invalid, Malformed

T = TypeVar("T")
Formats = Mapping[str, tuple[Callable[[str], bool], str]]
"""Name of a format → a predicate on strings, and the rule in words."""

_SHOWN = 80
"""Characters of a wrong value that a fault quotes."""
_FAULTS_LIMIT = 1000
"""Faults in one answer."""
_SECRETS = ("/encryption", "/encryption/key")
"""Ends of pointers whose values no fault shows: answers and logs hold no keys."""
_POINTER_LENGTH = 300
DEPTH = 100
"""Levels of nesting: more than a valid request has, and fewer than overflow the validator's stack."""
_TYPES = {
    "object": "an object",
    "array": "an array",
    "string": "a string",
    "integer": "a whole number",
    "number": "a number",
}


class Body:
    """A parsed JSON body: its `content`, and the `faults` that a type cannot express: repeated keys, endless lists."""

    def __init__(self, text: bytes, lists: Mapping[str, int] | None = None, advice: str = "") -> None:
        """Parse strictly. Raises Malformed for NaN, lone surrogates and more than DEPTH levels of nesting.

        `lists` maps a field to the most entries that it may have; entries beyond are cut off and reported, followed by
        `advice`.
        """
        self.faults: list[Fault] = []
        try:
            self.content: Any = msgspec.json.decode(text)
            repeated = _repeated(json.loads(text, object_pairs_hook=_Pairs), [])
            self.faults += (
                Fault(_pointer(path), "is given more than once") for path in islice(repeated, _FAULTS_LIMIT)
            )
        except msgspec.DecodeError as error:
            raise Malformed(f"{error}.") from None
        except RecursionError:
            raise Malformed(f"The body is nested too deeply; the limit is {DEPTH} levels.") from None
        except ValueError:
            raise Malformed("The body holds a number with too many digits.") from None
        for name, limit in (lists or {}).items():
            entries = self.fields.get(name)
            if isinstance(entries, list) and len(entries) > limit:
                self.faults.append(Fault(f"/{name}", f"must hold at most {limit}, not {len(entries)}{advice}"))
                self.content = {**self.fields, name: entries[:limit]}

    @property
    def fields(self) -> dict[str, Any]:
        """The top-level fields; empty when the body is not an object."""
        return self.content if isinstance(self.content, dict) else {}

    def part(self, *names: str) -> dict[str, Any] | None:
        """The object at a path of fields; None where it is missing or anything else."""
        place: Any = self.content
        for name in names:
            place = place.get(name) if isinstance(place, dict) else None
        return place if isinstance(place, dict) else None

    def reported(self, fault: Fault) -> Fault | None:
        """A fault as the client sees it; None to leave it out."""
        return fault


class _Pairs:
    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        self.pairs = pairs


def _repeated(node: object, path: list[str | int]) -> Iterator[list[str | int]]:
    """Paths of repeated keys; one list, which changes with the iteration. Raises RecursionError below DEPTH."""
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
    """Reads bodies of one type, checked by its JSON Schema and the formats that it names."""

    def __init__(self, kind: type[T], formats: Formats) -> None:
        self._type = kind
        self._formats = formats
        self._schema = jsonschema_rs.validator_for(
            msgspec.json.schema(kind),
            formats={name: test for name, (test, _) in formats.items()},
            validate_formats=True,
        )

    def read(self, body: Body, also: Iterable[Fault] = ()) -> T:
        """The body as the type. Raises Invalid with the faults of the schema, of the body and those in `also`."""
        return self.convert(body.content, also, body.reported, body.faults)

    def convert(
        self,
        content: object,
        also: Iterable[Fault] = (),
        reported: Callable[[Fault], Fault | None] = lambda fault: fault,
        of_body: Iterable[Fault] = (),
    ) -> T:
        """Parsed content as the type. Raises Invalid with the faults of the schema, those in `also` and `of_body`.

        A fault in `also` says more of a value than the schema, whose fault at that pointer is left out. `reported` maps
        a fault to the one that the client sees, or to None. An answer has at most 1,000 faults.
        """
        of_rules = list(islice(also, _FAULTS_LIMIT))
        ruled = {fault.pointer for fault in of_rules}
        explained = (fault for error in self._schema.iter_errors(content) for fault in self._explain(error))
        of_schema = (fault for fault in explained if fault.pointer not in ruled)
        first = chain(islice(of_body, _FAULTS_LIMIT), of_rules, islice(of_schema, _FAULTS_LIMIT))
        faults = {shown for fault in first if (shown := reported(fault))}
        if faults:
            raise Invalid([Fault(_shortened(where), detail) for where, detail in sorted(faults)[:_FAULTS_LIMIT]])
        return msgspec.convert(content, self._type, strict=False)

    def _explain(self, error: jsonschema_rs.ValidationError) -> Iterable[Fault]:
        """The faults of one schema error: one each for fields that are missing or unknown."""
        pointer = _pointer(error.instance_path)
        kind, value = error.kind, "a secret" if pointer.endswith(_SECRETS) else error.instance
        match kind:
            case jsonschema_rs.ValidationErrorKind.Required():
                yield Fault(f"{pointer}/{_escape(kind.property)}", "is required")
            case jsonschema_rs.ValidationErrorKind.AdditionalProperties():
                for unknown in kind.unexpected[:_FAULTS_LIMIT]:
                    yield Fault(f"{pointer}/{_escape(unknown)}", "is not a known field")
            case jsonschema_rs.ValidationErrorKind.Type():
                types = " or ".join(_TYPES.get(name, name) for name in kind.types)
                yield Fault(pointer, f"must be {types}, not {_show(value)}")
            case jsonschema_rs.ValidationErrorKind.Enum():
                yield Fault(pointer, f"must be one of {', '.join(map(str, kind.options))}, not {_show(value)}")
            case jsonschema_rs.ValidationErrorKind.Constant():
                yield Fault(pointer, f"must be {_show(kind.expected_value)}, not {_show(value)}")
            case jsonschema_rs.ValidationErrorKind.AnyOf():
                yield from self._explain_choice(error, kind.context)
            case jsonschema_rs.ValidationErrorKind.Format():
                yield Fault(pointer, f"must be {self._formats[kind.format][1]}, not {_show(value)}")
            case jsonschema_rs.ValidationErrorKind.Minimum():
                yield Fault(pointer, f"must be at least {kind.limit}, not {_show(value)}")
            case jsonschema_rs.ValidationErrorKind.ExclusiveMinimum():
                yield Fault(pointer, f"must be more than {kind.limit}, not {_show(value)}")
            case jsonschema_rs.ValidationErrorKind.Maximum():
                yield Fault(pointer, f"must be at most {kind.limit}, not {_show(value)}")
            case jsonschema_rs.ValidationErrorKind.MinItems():
                yield Fault(pointer, f"must hold at least {kind.limit}, not {_count(value)}")
            case jsonschema_rs.ValidationErrorKind.MaxItems():
                yield Fault(pointer, f"must hold at most {kind.limit}, not {_count(value)}")
            case _:
                yield Fault(pointer, error.message[:_SHOWN])

    def _explain_choice(
        self, choice: jsonschema_rs.ValidationError, branches: Sequence[Sequence[jsonschema_rs.ValidationError]]
    ) -> Iterable[Fault]:
        """The faults of a value that fits none of several schemas: those of the one whose type it has, else one."""
        depth = len(choice.instance_path)
        of_type = [branch for branch in branches if not any(_refuses(error, depth) for error in branch)]
        if len(of_type) == 1:
            for error in of_type[0]:
                yield from self._explain(error)
            return
        rules = [fault.detail.partition(", not ")[0] for branch in branches for fault in self._explain(branch[0])]
        rule = " or ".join(rules).replace(" or must be", " or")
        yield Fault(_pointer(choice.instance_path), f"{rule}, not {_show(choice.instance)}")


def _refuses(error: jsonschema_rs.ValidationError, depth: int) -> bool:
    """Whether an error refuses the value at a depth as a whole: for its type, or as none of the words."""
    refusals = jsonschema_rs.ValidationErrorKind.Type | jsonschema_rs.ValidationErrorKind.Enum
    return len(error.instance_path) == depth and isinstance(error.kind, refusals)


def _pointer(path: Iterable[str | int]) -> str:
    return _shortened("".join(f"/{_escape(step)}" for step in path))


def _shortened(pointer: str) -> str:
    return pointer if len(pointer) <= _POINTER_LENGTH else f"{pointer[:_POINTER_LENGTH]}…"


def _escape(step: str | int) -> str:
    return str(step).replace("~", "~0").replace("/", "~1")


def _count(value: object) -> int:
    return len(value) if isinstance(value, list) else 1


def _show(value: object) -> str:
    shown = json.dumps(value, ensure_ascii=False)
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"
