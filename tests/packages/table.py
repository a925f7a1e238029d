"""The page docs/reference/package-rules.md: `python -m tests.packages.table` writes it."""

from pathlib import Path

from tests.packages import check
from tests.packages.breakages import BREAKAGES, DELIVERY
from tests.packages.rules import RULES

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "package-rules.md"
_SOURCES = {
    "hls": "Playlists (RFC 8216bis)",
    "cmaf": "Media (CMAF, ISO/IEC 14496-12)",
    "apple_video": "Video (Apple, section 1)",
    "apple_lists": "Lengths and declarations (Apple, sections 1, 7, 8 and 9)",
    "apple_rest": "Audio, subtitles and I-frames (Apple, sections 2, 4, 5 and 6)",
    "dash": "DASH (ISO/IEC 23009-1, DASH-IF IOP)",
    "delivery": "Delivery, for a package behind a URL",
    "images": "Pictures for scrubbing",
    "protection": "Encryption (ISO/IEC 23001-7)",
}
_HEAD = """# Rules of packages

`python -m tests.packages.check FOLDER|URL` measures a streaming package by these rules and prints a table with what it
measured. It reads boxes, bitstreams, playlists and the MPD by itself, and shares no code with the worker. `--key HEX`
gives it the content key of an encrypted package. The rules are those of Apple's HLS authoring specification, of
RFC 8216bis and of DASH that can be computed from the files. A MUST that is broken is a FAIL; a SHOULD that is not met
is a miss. Of segments that are encrypted whole (AES-128) it checks the playlists alone.

`tests/packages/test_rules.py` breaks each rule on purpose, and expects that the checker reports that rule and what
follows from it, no other. `python -m tests.packages.table` writes this page.
"""


def page() -> str:
    """The text of the page."""
    parts = [_HEAD]
    broken = [*BREAKAGES, *DELIVERY]
    for module, title in _SOURCES.items():
        rules = [rule for rule in RULES.values() if rule.check.__module__ == f"{check.__package__}.{module}"]
        parts += [f"\n## {title}\n\n| rule | clause | demand | text | broken by it too |\n|---|---|---|---|---|"]
        for rule in rules:
            also = next(one.also for one in broken if one.rule == rule.name).split()
            shown = ", ".join(f"`{name}`" for name in also)
            parts.append(f"| `{rule.name}` | {rule.clause} | {rule.demand} | {rule.text} | {shown} |")
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
