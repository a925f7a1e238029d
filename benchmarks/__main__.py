"""`python -m benchmarks [section…]`: measure, print one table, and fail when a limit is missed."""

import math
import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple

from benchmarks import (
    batches,
    calls,
    chunks,
    division,
    events,
    hull,
    imports,
    lists,
    live,
    media,
    packages,
    push,
    quality,
    routing,
    saved,
    score,
    transcode,
    webhooks,
)


class Row(NamedTuple):
    """One figure: what was measured beside what, their ratio or value, and the most it may be, if anything."""

    figure: str
    measured: str
    beside: str
    value: float
    limit: float


_SECTIONS: dict[str, Callable[[], Iterator[tuple[str, str, str, float, float]]]] = {
    "imports": imports.rows,
    "calls": calls.rows,
    "batches": batches.rows,
    "events": events.rows,
    "lists": lists.rows,
    "push": push.rows,
    "live": live.rows,
    "webhooks": webhooks.rows,
    "routing": routing.rows,
    "transcode": transcode.rows,
    "media": media.rows,
    "packages": packages.rows,
    "division": division.rows,
    "chunks": chunks.rows,
    "score": score.rows,
    "quality": quality.rows,
    "hull": hull.rows,
    "saved": saved.rows,
}


def main() -> int:
    """Run the sections that are named, or all."""
    chosen = sys.argv[1:] or list(_SECTIONS)
    unknown = set(chosen) - set(_SECTIONS)
    if unknown:
        print(f"no such section: {', '.join(sorted(unknown))}; there are {', '.join(_SECTIONS)}", file=sys.stderr)
        return 2
    print(f"{'figure':<44} {'measured':>14} {'beside':>34} {'value':>8} {'limit':>7}")
    missed = 0
    for section in chosen:
        for row in map(Row._make, _SECTIONS[section]()):
            held = row.value <= row.limit
            missed += not held
            verdict = "" if held else "  MISSED"
            limit = f"{row.limit:.2f}" if row.limit < math.inf else ""
            print(
                f"{row.figure:<44} {row.measured:>14} {row.beside:>34} {row.value:>8.3f} {limit:>7}{verdict}",
                flush=True,
            )
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
