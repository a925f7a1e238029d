"""The worker's log: what others wrote can't pass for a line of it."""

import logging
from types import TracebackType

_Raised = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


def printable(text: str) -> str:
    """A text on one line: what is not printed, such as a new line or a terminal's escape, as Python writes it."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


class Lines(logging.Formatter):
    """One line for each record; those of a traceback follow, and are set in."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        """The record's own line."""
        return printable(super().formatMessage(record))

    def formatException(self, ei: _Raised) -> str:  # noqa: N802
        """The traceback's lines."""
        return "\n".join(f"    {printable(line)}" for line in super().formatException(ei).splitlines())
