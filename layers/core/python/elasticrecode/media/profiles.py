"""What an encoder or a scorer is asked for, and the values a worker is told instead.

The tables hold every word of the wire contract once; the schema answer, the request types and the resolution are
all read from them.
"""

import re
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, field, structs

SCALES = {"720p": (1280, 720), "480p": (800, 480), "360p": (640, 360), "240p": (480, 270), "1080p": (1920, 1080)}
ENCODERS = {"h264": {"cpu": "libx264", "gpu": "h264_nvenc"}, "h265": {"cpu": "libx265", "gpu": "hevc_nvenc"}}
DECODERS = {"h264": {"gpu": "h264_cuvid"}, "h265": {"gpu": "hevc_cuvid"}}
PLATFORMS = ("cpu", "gpu")
PRICE_MODELS = ("normal", "spot")
PURPOSES = ("quality", "latency")
BITRATE_MBITS = (1, 15)
PRIORITIES = (0, 100)

SCHEMA = {
    "ec2": {"platform": PLATFORMS, "priceModel": PRICE_MODELS},
    "ffmpeg": {
        "codec": tuple(ENCODERS),
        "originCodec": tuple(DECODERS),
        "scale": tuple(SCALES),
        "bitrate": BITRATE_MBITS,
        "profile": PURPOSES,
        "priority": PRIORITIES,
    },
}

CONTAINERS = {
    "mp4": "mp4",
    "m4v": "mp4",
    "mov": "mov",
    "mkv": "matroska",
    "ts": "mpegts",
    "mts": "mpegts",
    "m2ts": "mpegts",
}
"""File name extension → ffmpeg's name of a container that holds every codec that is made here."""

_UNITS = {"K": 1_000, "M": 1_000_000}
_RATE = re.compile(r"(\d{1,8}(?:\.\d{1,3})?)([KM])", re.ASCII)
_SIZE = re.compile(r"(\d{2,5})[:x](\d{2,5})", re.ASCII)
_SIDE = (16, 8192)
_VMAF_SIDE = (32, 8192)
MS_SSIM_SIDE = 176
"""MS-SSIM halves the picture four times, and eleven pixels must be left."""
_BUFFER_KBITS = (1, 500_000)
_UHD_LINES = 2160


def container(name: str) -> str | None:
    """The container that a file's name tells, if it can be written."""
    return CONTAINERS.get(name.rpartition(".")[2].lower())


def bits(rate: str) -> int:
    """Bits per second of a rate such as `1.5M` or `1500K`. ValueError when it is not one."""
    match = _RATE.fullmatch(rate)
    if not match:
        raise ValueError(rate)
    return round(float(match[1]) * _UNITS[match[2]])


def rate(bits_per_second: float) -> str:
    """The shortest way to write a rate: 2000000 → `2M`, 40000 → `40K`."""
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


def _words_or(separator: str, side: tuple[int, int]) -> str:
    return f"one of {', '.join(SCALES)}, or WIDTH{separator}HEIGHT with even sides from {side[0]} to {side[1]}"


def fits_ms_ssim(scale: object) -> bool:
    """Whether MS-SSIM can be measured at a scale; True for what is no scale, which is told elsewhere."""
    match = _SIZE.fullmatch(scale) if isinstance(scale, str) else None
    return match is None or min(int(side) for side in match.groups()) >= MS_SSIM_SIDE


FORMATS = {
    "bitrate": (_is_bitrate, "a number with K or M from {}M to {}M, like 1M or 2500K".format(*BITRATE_MBITS)),
    "buffer": (_is_buffer, "a number with K or M from {}K to {}K, like 2M or 40K".format(*_BUFFER_KBITS)),
    "ffmpeg-scale": (lambda text: text in SCALES or _is_size(text, ":", _SIDE), _words_or(":", _SIDE)),
    "vmaf-scale": (lambda text: text in SCALES or _is_size(text, "x", _VMAF_SIDE), _words_or("x", _VMAF_SIDE)),
}

Platform = Literal["cpu", "gpu"]
Switch = Literal["enable", "disable"]


class Ec2(Struct, forbid_unknown_fields=True):
    """Where the job may run."""

    platform: Platform | UnsetType = UNSET
    priceModel: Literal["normal", "spot"] | UnsetType = UNSET


class Ffmpeg(Struct, forbid_unknown_fields=True):
    """An encode, as asked for or as resolved: both forms have the same fields and either is accepted."""

    codec: Literal["h264", "h265", "libx264", "libx265", "h264_nvenc", "hevc_nvenc"]
    scale: Annotated[str, Meta(extra_json_schema={"format": "ffmpeg-scale"})]
    bitrate: Annotated[str, Meta(extra_json_schema={"format": "bitrate"})]
    buffersize: Annotated[str, Meta(extra_json_schema={"format": "buffer"})] | UnsetType = UNSET
    profile: Literal["quality", "latency"] = "quality"
    platform: Platform | UnsetType = UNSET
    originCodec: Literal["h264", "h265", "h264_cuvid", "hevc_cuvid"] | UnsetType = UNSET


class Vmaf(Struct, forbid_unknown_fields=True):
    """A quality score, as asked for or as resolved.

    `subsample` measures every so manieth frame; `threads` is by the worker's cores unless given. `align` says what
    becomes of frames that do not match one to one: `exact` fails the job, `nearest` pairs them by time. Below `min`
    the score has not passed, which fails the job where `onFail` says so.
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
        """Width and height of a resolved scale, at which pictures are compared."""
        width, height = self.scale.split("x")
        return int(width), int(height)


class Profile(Struct, forbid_unknown_fields=True, kw_only=True):
    """The `profile` of a job, as a worker is told it."""

    ffmpeg: Ffmpeg | UnsetType = UNSET
    vmaf: Vmaf | UnsetType = UNSET
    ec2: Ec2 | UnsetType = UNSET


class FfmpegProfile(Profile, forbid_unknown_fields=True, kw_only=True):
    """The `profile` that a transcode is asked for with."""

    ffmpeg: Ffmpeg


class VmafProfile(Profile, forbid_unknown_fields=True, kw_only=True):
    """The `profile` that a quality score is asked for with."""

    vmaf: Vmaf


def platform(profile: Profile) -> Platform:
    """Where the job runs: `ffmpeg.platform`, else `ec2.platform`, else cpu."""
    for part in (profile.ffmpeg, profile.ec2):
        if part and part.platform:
            return part.platform
    return "cpu"


def resolve(asked: Profile) -> Profile:
    """What the worker is told. A value that is resolved already stays as it is."""
    return Profile(
        ffmpeg=_resolve_ffmpeg(asked.ffmpeg, platform(asked)) if asked.ffmpeg else UNSET,
        vmaf=_resolve_vmaf(asked.vmaf) if asked.vmaf else UNSET,
        ec2=asked.ec2,
    )


def _resolve_ffmpeg(asked: Ffmpeg, where: Platform) -> Ffmpeg:
    bitrate = bits(asked.bitrate)
    return structs.replace(
        asked,
        codec=ENCODERS[asked.codec][where] if asked.codec in ENCODERS else asked.codec,
        scale="{}:{}".format(*SCALES[asked.scale]) if asked.scale in SCALES else asked.scale,
        buffersize=asked.buffersize or rate(bitrate * 2 if asked.profile == "quality" else bitrate / 25),
        platform=where,
        originCodec=DECODERS.get(asked.originCodec or "", {}).get(where, asked.originCodec),
    )


def _resolve_vmaf(asked: Vmaf) -> Vmaf:
    scaled = structs.replace(
        asked, scale="{}x{}".format(*SCALES[asked.scale]) if asked.scale in SCALES else asked.scale
    )
    return structs.replace(scaled, model=vmaf_model(scaled)) if asked.model == "auto" else scaled


def vmaf_model(resolved: Vmaf) -> Literal["v0.6.1", "v0.6.1neg", "4k"]:
    """The model to score with: the one asked for, else by scale, as each was trained for a viewing distance."""
    if resolved.model is UNSET or resolved.model == "auto":
        return "4k" if resolved.size[1] >= _UHD_LINES else "v0.6.1"
    return resolved.model
