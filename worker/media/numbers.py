"""Numbers of a file's report, which may be hostile. Pure."""

import math

_MAX_NUMBER = 2**53


def number_of(value: object) -> float | None:
    """A number, or the number in a text; None for anything else, and for one beyond ±2^53, which loses its units."""
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and abs(number) <= _MAX_NUMBER else None
