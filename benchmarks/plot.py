"""A plot of lines over numbers of workers, as SVG. Its colours suit light and dark pages."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

_WIDTH, _HEIGHT = 720, 400
_LEFT, _TOP, _RIGHT, _BOTTOM = 56, 20, 150, 44
_COLOURS = ("#2f7ed8", "#e07b39", "#8a8a8a", "#3aa06b")
_GREY = "#888"


def draw(path: Path, workers: Sequence[int], lines: Mapping[str, Sequence[float]]) -> None:
    """Write the efficiency of each line, 0 to 1, by the number of workers on a logarithmic axis."""
    wide, high = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM

    def place(count: int, share: float) -> tuple[float, float]:
        return _LEFT + wide * math.log(count) / math.log(workers[-1]), _TOP + high * (1 - share)

    marks = []
    for share in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0):
        x, y = place(1, share)
        marks.append(f'<path d="M{x:.0f} {y:.1f}h{wide}" stroke="{_GREY}" stroke-opacity=".3"/>')
        marks.append(f'<text x="{x - 8:.0f}" y="{y + 4:.1f}" text-anchor="end">{share:.1f}</text>')
    for count in workers:
        x, y = place(count, 0.0)
        marks.append(f'<text x="{x:.1f}" y="{y + 18:.0f}" text-anchor="middle">{count}</text>')
    marks.append(f'<text x="{_LEFT + wide / 2:.0f}" y="{_HEIGHT - 6}" text-anchor="middle">workers</text>')
    for at, ((name, shares), colour) in enumerate(zip(lines.items(), _COLOURS, strict=True)):
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in zip(workers, shares, strict=True)))
        marks.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2.5"/>')
        marks.append(f'<text x="{_LEFT + wide + 14}" y="{_TOP + 16 + 22 * at}" style="fill:{colour}">{name}</text>')
    body = "\n".join(marks)
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif"'
        f' font-size="13" fill="{_GREY}">\n<title>Efficiency by the number of workers</title>\n{body}\n</svg>\n'
    )
