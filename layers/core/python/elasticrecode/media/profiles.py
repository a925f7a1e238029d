"""Profiles: the request types for an encode or a score, and their resolution into the values that workers use."""

import re
from typing import Annotated, Literal, get_args

from msgspec import UNSET, Meta, Struct, UnsetType, field, structs

from elasticrecode.media.codecs import CODECS, PLATFORMS, PURPOSES, CodecName, DecoderName, Platform, Purpose

PriceModel = Literal["normal", "spot"]
"""What an EC2 node costs."""
PRICE_MODELS: tuple[PriceModel, ...] = get_args(PriceModel)
SCALES = {"720p": (1280, 720), "480p": (800, 480), "360p": (640, 360), "240p": (480, 270), "1080p": (1920, 1080)}
"""Word of a request → width and height in pixels."""
BITRATE_MBITS = (1, 15)
PRIORITIES = (0, 100)

SCHEMA: dict[str, dict[str, tuple[object, ...]]] = {
    "ec2": {"platform": PLATFORMS, "priceModel": PRICE_MODELS},
    "ffmpeg": {
        "codec": tuple(CODECS),
        "originCodec": tuple(word for word, codec in CODECS.items() if codec.decoders),
        "scale": tuple(SCALES),
        "bitrate": BITRATE_MBITS,
        "profile": PURPOSES,
        "priority": PRIORITIES,
    },
}
"""The answer of `GET /v1/schema`."""

MS_SSIM_SIDE = 176
"""The shortest side, in pixels, that MS-SSIM can measure: it halves the picture four times and needs 11 pixels."""
_UNITS = {"K": 1_000, "M": 1_000_000}
_RATE = re.compile(r"(\d{1,8}(?:\.\d{1,3})?)([KM])", re.ASCII)
_SIZE = re.compile(r"(\d{2,5})[:x](\d{2,5})", re.ASCII)
_ENCODE_SIDE = (16, 8192)
_SCORE_SIDE = (32, 8192)
_BUFFER_KBITS = (1, 500_000)
_UHD_LINES = 2160


def bits(rate: str) -> int:
    """The bits per second of a rate such as `1.5M` or `1500K`. Raises ValueError for any other text."""
    match = _RATE.fullmatch(rate)
    if not match:
        raise ValueError(rate)
    return round(float(match[1]) * _UNITS[match[2]])


def rate(bits_per_second: float) -> str:
    """The shortest text for a rate: 2000000 → `2M`, 40000 → `40K`."""
    unit = "M" if bits_per_second % _UNITS["M"] == 0 else "K"
    return f"{bits_per_second / _UNITS[unit]:.12g}{unit}"


def _is_rate(text: str) -> bool:
    return _RATE.fullmatch(text) is not None


def _is_buffer(text: str) -> bool:
    low, high = _BUFFER_KBITS
    return _is_rate(text) and low * _UNITS["K"] <= bits(text) <= high * _UNITS["K"]


def _is_bitrate(text: str) -> bool:
    low, high = BITRATE_MBITS
    return _is_rate(text) and low * _UNITS["M"] <= bits(text) <= high * _UNITS["M"]


def _is_size(text: str, separator: str, side: tuple[int, int]) -> bool:
    match = _SIZE.fullmatch(text)
    return (
        match is not None
        and separator in text
        and all(side[0] <= int(n) <= side[1] and int(n) % 2 == 0 for n in match.groups())
    )


def _scale_rule(separator: str, side: tuple[int, int]) -> str:
    return f"one of {', '.join(SCALES)}, or WIDTH{separator}HEIGHT with even sides from {side[0]} to {side[1]}"


def fits_ms_ssim(scale: object) -> bool:
    """Whether both sides of a scale are at least MS_SSIM_SIDE; True for a value that is no scale at all."""
    match = _SIZE.fullmatch(scale) if isinstance(scale, str) else None
    return match is None or min(int(side) for side in match.groups()) >= MS_SSIM_SIDE


FORMATS = {
    "bitrate": (_is_bitrate, "a number with K or M from {}M to {}M, like 1M or 2500K".format(*BITRATE_MBITS)),
    "buffer": (_is_buffer, "a number with K or M from {}K to {}K, like 2M or 40K".format(*_BUFFER_KBITS)),
    "ffmpeg-scale": (lambda text: text in SCALES or _is_size(text, ":", _ENCODE_SIDE), _scale_rule(":", _ENCODE_SIDE)),
    "vmaf-scale": (lambda text: text in SCALES or _is_size(text, "x", _SCORE_SIDE), _scale_rule("x", _SCORE_SIDE)),
}
"""Named formats of profile fields; see `elasticrecode.validation`."""

Switch = Literal["enable", "disable"]


class Ec2(Struct, forbid_unknown_fields=True):
    """The EC2 nodes that the job may run on."""

    platform: Platform | UnsetType = UNSET
    priceModel: PriceModel | UnsetType = UNSET


class Ffmpeg(Struct, forbid_unknown_fields=True):
    """An encode, as requested or resolved: both forms have the same fields, and requests may use either."""

    codec: CodecName
    scale: Annotated[str, Meta(extra_json_schema={"format": "ffmpeg-scale"})]
    bitrate: Annotated[str, Meta(extra_json_schema={"format": "bitrate"})]
    buffersize: Annotated[str, Meta(extra_json_schema={"format": "buffer"})] | UnsetType = UNSET
    profile: Purpose = "quality"
    platform: Platform | UnsetType = UNSET
    originCodec: DecoderName | UnsetType = UNSET


class Vmaf(Struct, forbid_unknown_fields=True):
    """A quality score, as requested or resolved.

    `subsample` measures one frame in that many. `threads` defaults to the worker's cores. `align` says how frames that
    do not match one to one are paired: `exact` fails the job, `nearest` pairs them by time. A mean VMAF below `min`
    does not pass, and fails the job where `onFail` is `fail`.
    """

    scale: Annotated[str, Meta(extra_json_schema={"format": "vmaf-scale"})]
    ssim: Switch | UnsetType = UNSET
    psnr: Switch | UnsetType = UNSET
    ms_ssim: Switch | UnsetType = field(name="ms-ssim", default=UNSET)
    model: Literal["v0.6.1", "v0.6.1neg", "4k", "auto"] | UnsetType = UNSET
    subsample: Annotated[int, Meta(ge=1, le=100)] | UnsetType = UNSET
    threads: Annotated[int, Meta(ge=1, le=64)] | UnsetType = UNSET
    align: Literal["exact", "nearest"] | UnsetType = UNSET
    min: Annotated[float, Meta(ge=0, le=100)] | UnsetType = UNSET
    onFail: Literal["keep", "fail"] | UnsetType = UNSET

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, in pixels, at which frames are compared. Only for a resolved scale."""
        width, height = self.scale.split("x")
        return int(width), int(height)


class Profile(Struct, forbid_unknown_fields=True, kw_only=True):
    """The `profile` of a job: an encode, a score or both."""

    ffmpeg: Ffmpeg | UnsetType = UNSET
    vmaf: Vmaf | UnsetType = UNSET
    ec2: Ec2 | UnsetType = UNSET


class FfmpegProfile(Profile, forbid_unknown_fields=True, kw_only=True):
    """The `profile` of a request for a transcode, which may be scored afterwards."""

    ffmpeg: Ffmpeg


class VmafProfile(Profile, forbid_unknown_fields=True, kw_only=True):
    """The `profile` of a request for a quality score alone."""

    vmaf: Vmaf


def platform(profile: Profile) -> Platform:
    """The platform that a job runs on: `ffmpeg.platform`, else `ec2.platform`, else cpu."""
    for part in (profile.ffmpeg, profile.ec2):
        if part and part.platform:
            return part.platform
    return "cpu"


def resolve(profile: Profile) -> Profile:
    """The profile in the words that workers know, such as `libx264` and `1280:720`. Resolved values stay as they are.

    Expects a profile that was validated; raises ValueError for a bitrate that is no rate.
    """
    return Profile(
        ffmpeg=_resolve_ffmpeg(profile.ffmpeg, platform(profile)) if profile.ffmpeg else UNSET,
        vmaf=_resolve_vmaf(profile.vmaf) if profile.vmaf else UNSET,
        ec2=profile.ec2,
    )


def _resolve_ffmpeg(encode: Ffmpeg, on: Platform) -> Ffmpeg:
    bitrate = bits(encode.bitrate)
    origin = CODECS.get(encode.originCodec or "")
    return structs.replace(
        encode,
        codec=CODECS[encode.codec].encoders[on].name if encode.codec in CODECS else encode.codec,
        scale="{}:{}".format(*SCALES[encode.scale]) if encode.scale in SCALES else encode.scale,
        buffersize=encode.buffersize or rate(bitrate * 2 if encode.profile == "quality" else bitrate / 25),
        platform=on,
        originCodec=origin.decoders.get(on, encode.originCodec) if origin else encode.originCodec,
    )


def _resolve_vmaf(score: Vmaf) -> Vmaf:
    scaled = structs.replace(
        score, scale="{}x{}".format(*SCALES[score.scale]) if score.scale in SCALES else score.scale
    )
    return structs.replace(scaled, model=vmaf_model(scaled)) if score.model == "auto" else scaled


def vmaf_model(score: Vmaf) -> Literal["v0.6.1", "v0.6.1neg", "4k"]:
    """The VMAF model of a resolved score: the requested one, else by scale, as each fits one viewing distance."""
    if score.model is UNSET or score.model == "auto":
        return "4k" if score.size[1] >= _UHD_LINES else "v0.6.1"
    return score.model
