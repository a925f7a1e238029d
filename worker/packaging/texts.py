"""WebVTT as HLS wants it. Pure."""

import re

_HEADER = re.compile(rb"(?:\xef\xbb\xbf)?WEBVTT[^\r\n]*(?:\r\n|\n|\r|$)")
_MAP = b"X-TIMESTAMP-MAP="
_TIMES = _MAP + b"LOCAL:00:00:00.000,MPEGTS:0\n"


def timed(text: bytes) -> bytes:
    """WebVTT that says that its times are those of the film; players of DASH ignore it. ValueError for other text."""
    header = _HEADER.match(text)
    if not header:
        raise ValueError("subtitles are not WebVTT")
    rest = text[header.end() :]
    line = header.group().rstrip(b"\r\n").removeprefix(b"\xef\xbb\xbf")
    return line + b"\n" + (rest if rest.startswith(_MAP) else _TIMES + rest)
