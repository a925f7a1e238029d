"""The client's types of requests and answers, from docs/openapi.json.

`python -m local.client_types` writes them; `python -m local.client_types --check` fails where they differ. Types are
tolerant: fields newer than the client may come, and words in answers are strings, as an answer may have newer ones.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Json = dict[str, Any]

ROOT = Path(__file__).parent.parent
TYPES = ROOT / "client" / "src" / "elasticrecode_client" / "types.py"
_HEAD = '''"""The types of requests and answers of the API.

Written by `python -m local.client_types` from docs/openapi.json, and long because that has so many.
"""
'''
_OPTIONS = (
    *("--input-file-type", "openapi", "--output-model-type", "typing.TypedDict", "--target-python-version", "3.11"),
    *("--use-schema-description", "--use-field-description", "--enum-field-as-literal", "all"),
    *("--use-union-operator", "--use-standard-collections", "--disable-timestamp", "--formatters", "builtin"),
)
_AS_PROFILE = ("FfmpegProfile", "VmafProfile")
"""Variants of `Profile` by what goes together, which the API checks."""


def generated() -> str:
    """The text of `types.py`. Raises CalledProcessError when the generator fails."""
    document = json.loads((ROOT / "docs" / "openapi.json").read_text())
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "openapi.json"), Path(folder, "types.py")
        source.write_text(json.dumps(_tolerant(document)))
        command = [sys.executable, "-W", "ignore", "-m", "datamodel_code_generator", *_OPTIONS]
        subprocess.run([*command, "--input", source, "--output", target], check=True, capture_output=True)
        body = target.read_text().split("from __future__", 1)[1]
    written = f"{_HEAD}\nfrom __future__{body}"
    ruff = [sys.executable, "-m", "ruff"]
    for step in (("check", "--fix", "--quiet"), ("format", "--quiet")):
        done = subprocess.run(
            [*ruff, *step, "--stdin-filename", TYPES, "-"],
            input=written,
            cwd=ROOT,
            check=False,
            capture_output=True,
            text=True,
        )
        written = done.stdout
    return written


def _tolerant(document: Json) -> Json:
    """The document with its schemas only, each as one open object."""
    schemas: Json = document["components"]["schemas"]
    requested = _reached(schemas, ["Profile", *(name for name in schemas if name.endswith("Request"))])
    open_schemas = {
        name: _opened(schema, name in requested) for name, schema in schemas.items() if name not in _AS_PROFILE
    }
    return {"openapi": "3.1.0", "info": document["info"], "paths": {}, "components": {"schemas": open_schemas}}


def _reached(schemas: Json, names: list[str]) -> set[str]:
    """The names of the schemas that these name, and all that those name."""
    seen: set[str] = set()
    while names:
        name = names.pop()
        if name not in seen:
            seen.add(name)
            names += _references(schemas[name])
    return seen


def _references(schema: Any) -> Iterator[str]:
    match schema:
        case {"$ref": str(reference)}:
            yield reference.rsplit("/", 1)[1]
        case dict():
            for value in schema.values():
                yield from _references(value)
        case list():
            for value in schema:
                yield from _references(value)


def _opened(schema: Any, literal: bool) -> Any:
    """A schema without what forbids other fields, or other words unless `literal`; variants of objects as one."""
    if isinstance(schema, list):
        return [_opened(one, literal) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        return {"$ref": "#/components/schemas/" + ("Profile" if name in _AS_PROFILE else name)}
    variants = schema.get("anyOf", ())
    if variants and all("properties" in one for one in variants):
        if any({"ffmpeg", "vmaf"} & one["properties"].keys() for one in variants):
            return {"$ref": "#/components/schemas/Profile"}
        return _opened(_joined(schema, variants), literal)
    words = schema.get("enum")
    if words and not literal and all(isinstance(word, str) for word in words):
        return {"type": "string", "description": f"One of {', '.join(map(str, words))}."}
    kept = {key: value for key, value in schema.items() if key != "title"}
    if "properties" in schema:
        kept = {key: kept[key] for key in ("description", "type", "properties", "required") if key in kept}
    return {key: _opened(value, literal) for key, value in kept.items()}


def _joined(schema: Json, variants: list[Json]) -> Json:
    """One object with the fields of all variants: those are required that all require."""
    properties: Json = {}
    for one in variants:
        properties = one["properties"] | properties
    required = [name for name in properties if all(name in one.get("required", ()) for one in variants)]
    kept = {key: value for key, value in schema.items() if key != "anyOf"}
    return {**kept, "type": "object", "properties": properties, "required": required}


def main() -> int:
    """Write the types, or with `--check` compare: 1 where they differ."""
    text = generated()
    if "--check" not in sys.argv:
        TYPES.write_text(text)
        return 0
    if TYPES.read_text() == text:
        return 0
    print("client/src/elasticrecode_client/types.py differs from docs/openapi.json: python -m local.client_types")
    return 1


if __name__ == "__main__":
    sys.exit(main())
