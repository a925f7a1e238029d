"""Whether a decoder that starts at a key frame has whole pictures from there on, by the bytes of H.264. Pure."""

from collections.abc import Iterator

_START = b"\0\0\1"
_SEI = 6
_RECOVERY_POINT = 6
_MOST_MESSAGES = 64


def is_gradual(stream: bytes) -> bool:
    """Whether pictures become whole only some frames behind the first, in an H.264 byte stream that begins at a key."""
    return any(unit[:1] and unit[0] & 31 == _SEI and _recovers_late(unit[1:]) for unit in units(stream))


def units(stream: bytes) -> Iterator[bytes]:
    """The NAL units of a byte stream; the last may be cut short."""
    place = stream.find(_START)
    while place >= 0:
        following = stream.find(_START, place + 3)
        yield stream[place + 3 : following if following >= 0 else len(stream)]
        place = following


def _recovers_late(payload: bytes) -> bool:
    """Whether a message in supplemental enhancement information says that pictures recover after more than 0 frames."""
    payload, place = payload.replace(b"\0\0\3", b"\0\0"), 0
    for _ in range(_MOST_MESSAGES):
        kind, place = _number(payload, place)
        size, place = _number(payload, place)
        if place >= len(payload):
            return False
        if kind == _RECOVERY_POINT:
            return payload[place] & 0x80 == 0  # the count is an Exp-Golomb code, of which 1 stands for 0
        place += size
    return False


def _number(payload: bytes, place: int) -> tuple[int, int]:
    """A type or a size, and the place behind it: bytes of 255 add up with the one that follows them."""
    value = 0
    while place < len(payload) and payload[place] == 255:
        value, place = value + 255, place + 1
    return value + (payload[place] if place < len(payload) else 0), place + 1
