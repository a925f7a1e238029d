"""Decoding of JSON that comes from outside."""

from typing import TypeVar

import msgspec
from msgspec import DecodeError, Raw

T = TypeVar("T")


def decode(text: bytes | str | Raw, kind: type[T]) -> T:
    """JSON as a value of the type. Raises DecodeError for anything else, also for bad UTF-8 and endless nesting."""
    try:
        return msgspec.json.decode(text, type=kind)
    except (UnicodeError, RecursionError) as error:
        raise DecodeError(str(error)) from None
