"""Formats: the texts that fields of a profile may have."""

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from elasticrecode.media.profiles import BITRATE_MBITS, RATE, SCALES, SIZE, SOURCE, UNITS, bits

KEY_PREFIX = "elasticrecode/"
"""The beginning of the name of every secret that a job may name."""
_WIDE_KBITS = (50, 200_000)
_ENCODE_SIDE = (16, 8192)
_SCORE_SIDE = (32, 8192)
_BUFFER_KBITS = (1, 500_000)
AUDIO_KBITS = (16, 1024)
_FRAME_RATE = re.compile(r"(\d{1,6})(?:/([1-9]\d{0,5}))?", re.ASCII)
_MAX_FRAME_RATE = 240
_KEY = re.compile(r"[0-9a-fA-F]{32}", re.ASCII)
_KEY_URI = re.compile(r"https?://[!#$%&'()*+,./0-9:;=?@A-Z\[\]_a-z~-]{1,1000}", re.ASCII)
"""Without quotation marks, spaces and controls, which would break out of a line of a playlist."""
_SECRET = re.compile(rf"{KEY_PREFIX}[A-Za-z0-9/_+=.@-]{{1,480}}", re.ASCII)
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}", re.ASCII)


def _is_rate(text: str) -> bool:
    return RATE.fullmatch(text) is not None


def _is_buffer(text: str) -> bool:
    low, high = _BUFFER_KBITS
    return _is_rate(text) and low * UNITS["K"] <= bits(text) <= high * UNITS["K"]


def _is_bitrate(text: str) -> bool:
    low, high = _WIDE_KBITS
    return _is_rate(text) and low * UNITS["K"] <= bits(text) <= high * UNITS["K"]


def _is_size(text: str, separator: str, side: tuple[int, int]) -> bool:
    match = SIZE.fullmatch(text)
    return (
        match is not None
        and separator in text
        and all(side[0] <= int(n) <= side[1] and int(n) % 2 == 0 for n in match.groups())
    )


def _is_frame_rate(text: str) -> bool:
    match = _FRAME_RATE.fullmatch(text)
    return text == SOURCE or (match is not None and 1 <= int(match[1]) / int(match[2] or 1) <= _MAX_FRAME_RATE)


def _is_audio_rate(text: str) -> bool:
    low, high = AUDIO_KBITS
    return _is_rate(text) and low * UNITS["K"] <= bits(text) <= high * UNITS["K"]


def _is_key_uri(text: str) -> bool:
    try:
        return _KEY_URI.fullmatch(text) is not None and bool(urlsplit(text).hostname)
    except ValueError:  # for example an unclosed bracket around the address
        return False


def _scale_rule(separator: str, side: tuple[int, int], words: Iterable[str] = SCALES) -> str:
    return f"one of {', '.join(words)}, or WIDTH{separator}HEIGHT with even sides from {side[0]} to {side[1]}"


FORMATS = {
    "bitrate": (
        _is_bitrate,
        "a number with K or M from {}M to {}M, like 1M or 2500K; from {}K to {}K beside a field of the second "
        "generation".format(*BITRATE_MBITS, *_WIDE_KBITS),
    ),
    "cap": (_is_bitrate, "a number with K or M from {}K to {}K, like 8M".format(*_WIDE_KBITS)),
    "buffer": (_is_buffer, "a number with K or M from {}K to {}K, like 2M or 40K".format(*_BUFFER_KBITS)),
    "ffmpeg-scale": (
        lambda text: text in SCALES or text == SOURCE or _is_size(text, ":", _ENCODE_SIDE),
        _scale_rule(":", _ENCODE_SIDE, (*SCALES, SOURCE)),
    ),
    "frame-rate": (
        _is_frame_rate,
        f"{SOURCE}, or a rate from 1 to {_MAX_FRAME_RATE} frames per second, like 30 or 30000/1001",
    ),
    "audio-bitrate": (_is_audio_rate, "a number with K or M from {}K to {}K, like 128K".format(*AUDIO_KBITS)),
    "language": (
        lambda text: _LANGUAGE.fullmatch(text) is not None,
        "a language tag such as en, fra or pt-BR",
    ),
    "key": (lambda text: _KEY.fullmatch(text) is not None, "32 hexadecimal digits"),
    "key-uri": (_is_key_uri, "an http:// or https:// URL without spaces and quotation marks"),
    "secret": (
        lambda text: _SECRET.fullmatch(text) is not None,
        f"the name of a secret that begins with {KEY_PREFIX}, and at most 494 letters, digits and /_+=.@-",
    ),
    "vmaf-scale": (lambda text: text in SCALES or _is_size(text, "x", _SCORE_SIDE), _scale_rule("x", _SCORE_SIDE)),
}
"""Named formats of profile fields; see `elasticrecode.validation`."""
