"""Pairs of files on which a plain call of libvmaf is wrong without a warning, and what the product answers for each.

The table is in docs/reference/quality.md; `SIZE=full TRAPS=write` updates it.
"""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.conftest import ROOT
from tests.quality.conftest import ENCODE, Make, plain, scored
from worker.errors import PermanentError

DOCS = ROOT / "docs" / "reference" / "quality.md"
BEGIN, END = "<!-- traps -->\n", "<!-- /traps -->\n"
HEAD = "| trap | truth | plain libvmaf | here | with `nearest` |\n|---|---|---|---|---|\n"
LOSSLESS = ("-c:v", "ffv1", "-an")
TOLERANCE = 0.5
_NUMBER = re.compile(r"^\d+\.\d")


class Films(NamedTuple):
    """Builds files; holds a film and its encode."""

    make: Make
    source: Path
    encoded: Path


class Trap(NamedTuple):
    """A pair of files, and a pair with the same frames aligned, whose score is the true one."""

    origin: Path
    encoded: Path
    true_origin: Path | None = None
    true_encoded: Path | None = None


def _dropped_at_start(films: Films) -> Trap:
    late = films.make("late.mkv", "-i", films.source, "-vf", "trim=start_frame=1,setpts=PTS-STARTPTS", *LOSSLESS)
    dropped = films.make("dropped.mp4", "-i", late, *ENCODE)
    return Trap(films.source, dropped, late, dropped)


def _dropped_in_the_middle(films: Films) -> Trap:
    without = ("-vf", "select='not(eq(n,25))',setpts=N/25/TB")
    return Trap(films.source, films.make("gap.mp4", "-i", films.source, *without, *ENCODE))


def _half_the_rate(films: Films) -> Trap:
    return Trap(films.source, films.make("half.mp4", "-i", films.source, "-r", "12.5", *ENCODE))


def _slightly_slower(films: Films) -> Trap:
    thirty = films.make("thirty.mp4", "-r", "30", "-i", films.source, "-c:v", "libx264", "-crf", "8", "-an")
    return Trap(thirty, films.make("slower.mp4", "-r", "30000/1001", "-i", films.source, *ENCODE))


def _turned_input(films: Films) -> Trap:
    turned = films.make("turned.mp4", "-display_rotation", "90", "-i", films.encoded, "-c", "copy")
    return Trap(films.source, turned, films.source, films.encoded)


def _turned_origin(films: Films) -> Trap:
    flagged = films.make("flagged.mp4", "-display_rotation", "90", "-i", films.source, "-c", "copy")
    upright = films.make("upright.mp4", "-i", flagged, *ENCODE)
    return Trap(flagged, upright, films.make("turned.mkv", "-i", flagged, *LOSSLESS), upright)


def _start_offset(films: Films) -> Trap:
    offset = films.make("offset.mp4", "-itsoffset", "0.04", "-i", films.encoded, "-c", "copy")
    return Trap(films.source, offset, films.source, films.encoded)


def _variable_rate(films: Films) -> Trap:
    rate = ("-vf", "select='not(eq(mod(n,5),2))'", "-fps_mode", "vfr")
    return Trap(films.source, films.make("variable.mp4", "-i", films.source, *rate, *ENCODE))


def _ten_bit(films: Films) -> Trap:
    deep = films.make("deep.mp4", "-i", films.source, "-pix_fmt", "yuv420p10le", *ENCODE)
    origin = films.make("deep.mkv", "-i", films.source, "-pix_fmt", "yuv420p10le", *LOSSLESS)
    return Trap(films.source, deep, origin, deep)


def _full_range(films: Films) -> Trap:
    full_range = ("-vf", "scale=out_range=full,format=yuv420p", "-color_range", "pc")
    full = films.make("full.mp4", "-i", films.source, *full_range, *ENCODE)
    limited = films.make("limited.mkv", "-i", full, "-vf", "scale=in_range=full:out_range=limited", *LOSSLESS)
    return Trap(films.source, full, films.source, limited)


def _edit_list(films: Films) -> Trap:
    return Trap(films.source, films.make("edit.mp4", "-ss", "1", "-i", films.encoded, "-c", "copy"))


def _hdr(films: Films) -> Trap:
    return Trap(
        films.source, films.make("hdr.mp4", "-i", films.source, "-vf", "setparams=color_trc=smpte2084", *ENCODE)
    )


def _interlaced(films: Films) -> Trap:
    fields = ("-flags", "+ildct+ilme", "-x264-params", "interlaced=1:tff=1")
    return Trap(films.source, films.make("interlaced.mp4", "-i", films.source, *fields, *ENCODE))


def _swapped(films: Films) -> Trap:
    return Trap(films.encoded, films.source)


TRAPS: dict[str, Callable[[Films], Trap]] = {
    "one frame dropped at the start": _dropped_at_start,
    "one frame dropped in the middle": _dropped_in_the_middle,
    "half the frame rate": _half_the_rate,
    "29.97 against 30 frames a second": _slightly_slower,
    "a 90° rotation flag on the input": _turned_input,
    "a 90° rotation flag on the origin": _turned_origin,
    "a start offset of 40 ms": _start_offset,
    "variable frame rate": _variable_rate,
    "10 bit against 8": _ten_bit,
    "full against limited range": _full_range,
    "an edit list that hides a second": _edit_list,
    "HDR against SDR": _hdr,
    "interlaced against progressive": _interlaced,
    "the two swapped": _swapped,
}
_SAMPLE = ("one frame dropped at the start", "a 90° rotation flag on the input", "HDR against SDR", "the two swapped")


def outcome(trap: Trap, folder: Path, **options: Any) -> tuple[str, float | None, list[str]]:
    """The product's answer: a code, or a score with its warnings."""
    try:
        quality = scored(trap.origin, trap.encoded, folder, **options).quality
    except PermanentError as error:
        return error.failure.code, None, []
    return "", quality.vmaf.mean, quality.warnings


def cell(code: str, score: float | None, warnings: list[str]) -> str:
    return f"`{code}`" if score is None else f"{score:.1f}" + (", with a warning" if warnings else "")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in _SAMPLE else pytest.mark.full) for name in TRAPS], ids=str
)
def test_no_trap_gives_a_wrong_score_without_a_warning(
    make: Make, source: Path, encoded: Path, tmp_path: Path, name: str
) -> None:
    trap = TRAPS[name](Films(make, source, encoded))
    truth = plain(trap.true_origin, trap.true_encoded, tmp_path) if trap.true_origin and trap.true_encoded else None
    code, score, warnings = exact = outcome(trap, tmp_path)
    nearest = outcome(trap, tmp_path, align="nearest") if code or warnings else exact
    if score is not None and not warnings:
        assert truth is not None
        assert abs(score - truth) <= TOLERANCE
    assert (nearest[1] is not None) or nearest[0] == code
    assert score is not None or nearest[2], "paired by time without a warning"
    naive = plain(trap.origin, trap.encoded, tmp_path)
    cells = [name, "" if truth is None else f"{truth:.1f}", f"{naive:.1f}", cell(*exact), cell(*nearest)]
    row = f"| {' | '.join(cells)} |\n"
    rows = documented()
    if os.environ.get("TRAPS") == "write":
        write(rows | {name: row})
    else:
        assert _without_decimals(rows[name]) == _without_decimals(row)


def test_the_documented_traps_are_these() -> None:
    assert list(documented()) == list(TRAPS)


def documented() -> dict[str, str]:
    """The rows of the table in the docs, by trap."""
    table = DOCS.read_text().partition(BEGIN)[2].partition(END)[0]
    assert table.startswith(HEAD)
    return {row.split("|")[1].strip(): row for row in table.removeprefix(HEAD).splitlines(keepends=True)}


def write(rows: dict[str, str]) -> None:
    before, _, rest = DOCS.read_text().partition(BEGIN)
    table = "".join(rows[name] for name in TRAPS if name in rows)
    DOCS.write_text(f"{before}{BEGIN}{HEAD}{table}{END}{rest.partition(END)[2]}")


def _without_decimals(row: str) -> list[str]:
    """The cells of a row without the decimals of scores, which depend on the processor's arithmetic."""
    return [_NUMBER.sub("score", cell.strip()) for cell in row.split("|")]
