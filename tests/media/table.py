"""`python -m tests.media.table`: write docs/sources.md, the table of odd sources with their right outcomes."""

import json
import pkgutil
from importlib import import_module
from pathlib import Path

import tests.media.sources
from tests.media.case import Case

PAGE = Path(__file__).resolve().parents[2] / "docs" / "sources.md"
_HEAD = """# Sources

Each row has a source, the profile of its transcode, and the right outcome. The tests make the source and measure every
figure from the output's file. `python -m tests.media.table` writes this page.
"""


def cases() -> list[tuple[str, Case]]:
    """The cases of all modules, each with the first line of its module."""
    modules = [
        import_module(f"tests.media.sources.{found.name}")
        for found in pkgutil.iter_modules(tests.media.sources.__path__)
    ]
    return [((module.__doc__ or "").splitlines()[0], case) for module in modules for case in module.CASES]


def page() -> str:
    """The page as Markdown."""
    parts, last = [_HEAD], ""
    for group, case in cases():
        if group != last:
            parts.append(f"\n## {group.removesuffix('.')}\n\n| source | profile | right |\n|---|---|---|\n")
            last = group
        right = "; ".join(
            f"{measure.__name__.replace('_', ' ')} {_shown(value)}" for measure, value in case.right.items()
        )
        parts.append(f"| {case.name} | `{json.dumps(case.profile)}` | {right} |\n")
    return "".join(parts)


def _shown(value: object) -> str:
    return "none" if value in ("", []) else ", ".join(map(str, value)) if isinstance(value, list) else str(value)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
