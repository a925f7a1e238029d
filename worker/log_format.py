"""The format of the worker's log, in which text from users and files cannot forge a line."""

import logging
from types import TracebackType

_ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


def printable(text: str) -> str:
    """The text on one line, with unprintable characters such as newlines and terminal escapes written as in Python."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


class LineFormatter(logging.Formatter):
    """Writes one line for each record; the lines of a traceback follow, indented."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        """The record's own line."""
        return printable(super().formatMessage(record))

    def formatException(self, ei: _ExcInfo) -> str:  # noqa: N802
        """The traceback's lines."""
        return "\n".join(f"    {printable(line)}" for line in super().formatException(ei).splitlines())
