"""What workers of the first generation cannot do."""

from collections.abc import Mapping
from typing import Any, Literal, get_args

import msgspec

from elasticrecode.media.codecs import CODECS
from elasticrecode.media.profiles import BITRATE_MBITS, FIRST_SCALES, SCALES, SCHEMA, SOURCE, FirstModel, Profile, bits

Generation = Literal[1, 2]
"""The generation of a worker: the first knows the documented messages alone."""

_FIRST_FIELDS = {"codec", "scale", "bitrate", "buffersize", "profile", "platform", "originCodec", "fit"}
_NEW_CODECS = {
    name
    for word, codec in CODECS.items()
    if word not in SCHEMA["ffmpeg"]["codec"]
    for name in (word, *(encoder.name for encoder in codec.encoders.values()))
}
_NEW_SIZES = {"{}:{}".format(*size) for word, size in SCALES.items() if word not in FIRST_SCALES}


def beyond_first(profile: Profile) -> str:
    """The first field of a resolved profile that needs the second generation, such as `ffmpeg.codec`; empty for none.

    The first generation gives a picture exactly the size of the message, which `fit` `exact` asks for.
    """
    parts = msgspec.to_builtins(profile)
    encode = parts.get("ffmpeg", {})
    if name := field_beyond_first(encode):
        return f"ffmpeg.{name}"
    if "bitrate" in encode and not is_first_rate(encode["bitrate"]):
        return "ffmpeg.bitrate"
    if parts.get("vmaf", {}).get("model", "v0.6.1") not in get_args(FirstModel):
        return "vmaf.model"
    return next((name for name in ("package", "audio", "subtitles", "images", "split") if name in parts), "")


def field_beyond_first(encode: Mapping[str, Any]) -> str:
    """The first field of an encode, beside its bitrate, that needs the second generation; empty for none."""
    codec, scale, fit = (value if isinstance(value := encode.get(n), str) else None for n in ("codec", "scale", "fit"))
    if codec in _NEW_CODECS:
        return "codec"
    if scale == SOURCE or (scale in SCALES and scale not in FIRST_SCALES) or (fit is None and scale in _NEW_SIZES):
        return "scale"
    if fit not in (None, "exact"):
        return "fit"
    return min(encode.keys() - _FIRST_FIELDS, default="")


def is_first_rate(bitrate: str) -> bool:
    """Whether the first generation takes a bitrate. Raises ValueError for a text that is none."""
    low, high = BITRATE_MBITS
    return low * 1_000_000 <= bits(bitrate) <= high * 1_000_000


def first_generation_message(message: bytes | str) -> str:
    """The message of a job as the first generation knows it.

    It is without `fit`, whose only value there is `exact`, and without `reuse`, as that generation does every job.
    """
    job = msgspec.json.decode(message)
    job["profile"].pop("reuse", None)
    encode = job["profile"].get("ffmpeg", {})
    if encode.get("fit") == "exact":
        del encode["fit"]
    return msgspec.json.encode(job).decode()
