"""JSON from outside, whoever wrote it."""

from typing import TypeVar

import msgspec
from msgspec import DecodeError, Raw

T = TypeVar("T")


def decode(text: bytes | str | Raw, kind: type[T]) -> T:
    """JSON as the type. DecodeError whatever is wrong with it: no UTF-8 or endless nesting, too."""
    try:
        return msgspec.json.decode(text, type=kind)
    except (UnicodeError, RecursionError) as error:
        raise DecodeError(str(error)) from None
