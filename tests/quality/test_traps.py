"""Pairs of files on which a plain call of libvmaf goes wrong without a word, and what the product says of each.

The table stands in docs/reference/quality.md; TRAPS=write writes it there again.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.conftest import ROOT
from tests.quality.conftest import ENCODE, Make, plain, scored
from worker.errors import PermanentError

DOCS = ROOT / "docs" / "reference" / "quality.md"
BEGIN, END = "<!-- traps -->\n", "<!-- /traps -->\n"
LOSSLESS = ("-c:v", "ffv1", "-an")
OFF = 0.5
_NUMBER = re.compile(r"^\d+\.\d")


class Trap(NamedTuple):
    """A pair of files, and one where the same frames stand beside each other: its score is the truth."""

    name: str
    origin: Path
    made: Path
    true_origin: Path | None = None
    true_made: Path | None = None


def traps(make: Make, source: Path, encoded: Path) -> Iterator[Trap]:
    late = make("late.mkv", "-i", source, "-vf", "trim=start_frame=1,setpts=PTS-STARTPTS", *LOSSLESS)
    dropped = make("dropped.mp4", "-i", late, *ENCODE)
    yield Trap("one frame dropped at the start", source, dropped, late, dropped)
    yield Trap("one frame dropped in the middle", source, make(
        "gap.mp4", "-i", source, "-vf", "select='not(eq(n,25))',setpts=N/25/TB", *ENCODE
    ))  # fmt: skip
    yield Trap("half the frame rate", source, make("half.mp4", "-i", source, "-r", "12.5", *ENCODE))
    thirty = make("thirty.mp4", "-r", "30", "-i", source, "-c:v", "libx264", "-crf", "8", "-an")
    slower = make("slower.mp4", "-r", "30000/1001", "-i", source, *ENCODE)
    yield Trap("29.97 against 30 frames a second", thirty, slower)
    turned = make("turned.mp4", "-display_rotation", "90", "-i", encoded, "-c", "copy")
    yield Trap("a 90° rotation flag on the input", source, turned, source, encoded)
    flagged = make("flagged.mp4", "-display_rotation", "90", "-i", source, "-c", "copy")
    upright = make("upright.mp4", "-i", flagged, *ENCODE)
    yield Trap("a 90° rotation flag on the origin", flagged, upright,
               make("turned.mkv", "-i", flagged, *LOSSLESS), upright)  # fmt: skip
    yield Trap("a start offset of 40 ms", source, make("offset.mp4", "-itsoffset", "0.04", "-i", encoded, "-c", "copy"),
               source, encoded)  # fmt: skip
    yield Trap("variable frame rate", source, make(
        "variable.mp4", "-i", source, "-vf", "select='not(eq(mod(n,5),2))'", "-fps_mode", "vfr", *ENCODE
    ))  # fmt: skip
    deep = make("deep.mp4", "-i", source, "-pix_fmt", "yuv420p10le", *ENCODE)
    yield Trap("10 bit against 8", source, deep,
               make("deep.mkv", "-i", source, "-pix_fmt", "yuv420p10le", *LOSSLESS), deep)  # fmt: skip
    full = make("full.mp4", "-i", source, "-vf", "scale=out_range=full,format=yuv420p", "-color_range", "pc", *ENCODE)
    limited = make("limited.mkv", "-i", full, "-vf", "scale=in_range=full:out_range=limited", *LOSSLESS)
    yield Trap("full against limited range", source, full, source, limited)
    yield Trap("an edit list that hides a second", source, make("edit.mp4", "-ss", "1", "-i", encoded, "-c", "copy"))
    hdr = make("hdr.mp4", "-i", source, "-vf", "setparams=color_trc=smpte2084", *ENCODE)
    yield Trap("HDR against SDR", source, hdr)
    yield Trap("interlaced against progressive", source, make(
        "interlaced.mp4", "-i", source, "-flags", "+ildct+ilme", "-x264-params", "interlaced=1:tff=1", *ENCODE
    ))  # fmt: skip
    yield Trap("the two swapped", encoded, source)


def said(trap: Trap, folder: Path, **asked: str) -> tuple[str, float | None, list[str]]:
    """What the product says: a code, or a score with its warnings."""
    try:
        quality = scored(trap.origin, trap.made, folder, **asked).quality
    except PermanentError as error:
        return error.failure.code, None, []
    return "", quality.vmaf.mean, quality.warnings


def shown(code: str, score: float | None, warnings: list[str]) -> str:
    return f"`{code}`" if score is None else f"{score:.1f}" + (", with a warning" if warnings else "")


def test_no_trap_gives_a_wrong_score_without_a_warning(make: Make, source: Path, encoded: Path, tmp_path: Path) -> None:
    rows = ["| trap | truth | plain libvmaf | here | with `nearest` |", "|---|---|---|---|---|"]
    for trap in traps(make, source, encoded):
        truth = plain(trap.true_origin, trap.true_made, tmp_path) if trap.true_origin and trap.true_made else None
        code, score, warnings = exact = said(trap, tmp_path)
        nearest = said(trap, tmp_path, align="nearest") if code or warnings else exact
        if score is not None and not warnings:
            assert truth is not None, trap.name
            assert abs(score - truth) <= OFF, trap.name
        assert (nearest[1] is not None) or nearest[0] == code, trap.name
        assert score is not None or nearest[2], f"{trap.name}: paired by time, and nothing said"
        called = plain(trap.origin, trap.made, tmp_path)
        cells = [trap.name, "" if truth is None else f"{truth:.1f}", f"{called:.1f}", shown(*exact), shown(*nearest)]
        rows.append(f"| {' | '.join(cells)} |")
    table = "\n".join(rows) + "\n"
    text = DOCS.read_text()
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    if os.environ.get("TRAPS") == "write":
        DOCS.write_text(f"{before}{BEGIN}{table}{END}{after}")
    else:
        assert _cells(rest.split(END)[0]) == _cells(table)


def _cells(table: str) -> list[str]:
    """The cells, scores without the decimals that another processor's arithmetic may change."""
    return [_NUMBER.sub("score", cell.strip()) for cell in table.split("|")]
