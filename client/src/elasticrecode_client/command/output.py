"""What the command writes: text for people, or JSON alone on standard output; messages go to standard error."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from elasticrecode_client import problems

_COLOURS = {"finished": 32, "running": 36, "failed": 31, "cancelled": 33, "disabled": 31, "paused": 33}
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def printable(text: object) -> str:
    """The text on one line that moves no cursor: all that people see goes through this. Empty for None."""
    return "" if text is None else problems.printable(str(text))


class Output:
    """Standard output and standard error of a command. With `as_json` the first has JSON alone."""

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json

    @property
    def is_terminal(self) -> bool:
        """Whether standard output is a terminal that can move its cursor."""
        return can_move(sys.stdout)

    @property
    def shows_bars(self) -> bool:
        """Whether bars can be shown: on standard output, or beside JSON on standard error."""
        return can_move(sys.stderr if self.as_json else sys.stdout)

    def text(self, line: str = "") -> None:
        """Write a line for people; nothing with `as_json`."""
        if not self.as_json:
            print(printable(line), flush=True)

    def json(self, document: object) -> None:
        """Write one JSON document, or one line of a stream, if JSON is wanted."""
        if self.as_json:
            print(json.dumps(document, ensure_ascii=False), flush=True)

    def message(self, text: str) -> None:
        """Write a line to standard error."""
        print(printable(text), file=sys.stderr, flush=True)

    def table(self, heads: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Write a table for people. The last column is not filled up."""
        if self.as_json or not rows:
            return
        texts = [[printable(cell) or "-" for cell in row] for row in [heads, *rows]]
        widths = [max(len(row[column]) for row in texts) for column in range(len(heads))]
        for number, row in enumerate(texts):
            padded = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
            cells = [*padded[:-1], row[-1]]
            print("  ".join(self._bold(cell) if number == 0 else self.state(cell) for cell in cells).rstrip())
        sys.stdout.flush()

    def fields(self, values: Mapping[str, object]) -> None:
        """Write names and values for people, one pair a line; those without a value are left out."""
        shown = {name: value for name, value in values.items() if value not in (None, "", [])}
        width = max(map(len, shown), default=0)
        for name, value in shown.items():
            self.text(f"{name.ljust(width)}  {value}")

    def state(self, text: str) -> str:
        """The text in the colour of a state, where there are colours."""
        colour = _COLOURS.get(text.strip())
        return f"\x1b[{colour}m{text}\x1b[0m" if colour and has_colours(sys.stdout) else text

    def _bold(self, text: str) -> str:
        return f"\x1b[1m{text}\x1b[0m" if has_colours(sys.stdout) else text


def can_move(stream: Any) -> bool:
    """Whether a stream is a terminal that can move its cursor."""
    return bool(stream.isatty()) and os.environ.get("TERM", "dumb") not in ("dumb", "unknown", "")


def has_colours(stream: Any) -> bool:
    """Whether a stream is a terminal with colours, which NO_COLOR turns off."""
    return can_move(stream) and not os.environ.get("NO_COLOR")


def when(seconds: float | None) -> str:
    """The local time of a Unix second; empty for None."""
    return "" if seconds is None else datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def clock(seconds: float | None) -> str:
    """A duration, such as `1:02:03` or `0:07`; empty for None."""
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def size(count: float | None) -> str:
    """A number of bytes, such as `3.4 MiB`; empty for None."""
    if count is None:
        return ""
    for unit in _UNITS[:-1]:
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} {_UNITS[-1]}"


def name_of(uri: str) -> str:
    """The last part of a URI."""
    return uri.rstrip("/").rpartition("/")[2] or uri
