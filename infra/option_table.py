"""The table of docs/reference/options.md, from the options' names, defaults and descriptions."""

import json
import re
from typing import get_type_hints

from msgspec import Meta

from infra.options import DEFAULTS, ROOT, Options

_DOC = ROOT / "docs" / "reference" / "options.md"


def table() -> str:
    """The options as a Markdown table."""
    rows = ["| option | default | what it does | first generation |", "|---|---|---|---|"]
    for name, type_ in get_type_hints(Options, include_extras=True).items():
        (meta,) = (each for each in type_.__metadata__ if isinstance(each, Meta))
        before = f" {meta.extra['before']}" if meta.extra and meta.extra["before"] else ""
        rows.append(f"| `{name}` | {_shown(DEFAULTS[name])} | {meta.description} |{before} |")
    return "\n".join(rows) + "\n"


def document(text: str) -> str:
    """A page of documentation with its table of options renewed."""
    return re.sub(r"^\| option \|.*?\n(?=\n)", lambda _: table(), text, count=1, flags=re.MULTILINE | re.DOTALL)


def _shown(default: object) -> str:
    """A default as the table has it."""
    if default == "":
        return "none"
    if isinstance(default, int | float) and not isinstance(default, bool):
        return str(default)
    if isinstance(default, str) and "{region}" in default:
        return "AWS's own"
    return f"`{default if isinstance(default, str) else json.dumps(default)}`"


if __name__ == "__main__":
    _DOC.write_text(document(_DOC.read_text()))
