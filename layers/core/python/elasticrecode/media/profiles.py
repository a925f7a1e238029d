"""Profiles: the request types for an encode or a score, and their resolution into the values that workers use."""

import re
from collections.abc import Iterable
from typing import Annotated, Literal, get_args

from msgspec import UNSET, Meta, Struct, UnsetType, field, structs

from elasticrecode.media.codecs import CODECS, PLATFORMS, PURPOSES, CodecName, DecoderName, Platform, Purpose, Speed

PriceModel = Literal["normal", "spot"]
"""What an EC2 node costs."""
PRICE_MODELS: tuple[PriceModel, ...] = get_args(PriceModel)
FIRST_SCALES = {"720p": (1280, 720), "480p": (800, 480), "360p": (640, 360), "240p": (480, 270), "1080p": (1920, 1080)}
"""The scales of the first generation, which `GET /v1/schema` lists: word of a request → width and height in pixels."""
SCALES = {**FIRST_SCALES, "2160p": (3840, 2160), "1440p": (2560, 1440), "540p": (960, 540)}
"""Word of a request → width and height in pixels."""
SOURCE = "source"
"""The scale that keeps the source's size."""
BITRATE_MBITS = (1, 15)
"""Bitrates that a profile may have whose other fields the first generation knows, in Mbit/s."""
_WIDE_KBITS = (50, 200_000)
CRF_LIMIT = 63
LANGUAGES_LIMIT = 32
"""Languages that a list may name."""
PRIORITIES = (0, 100)

SCHEMA: dict[str, dict[str, tuple[object, ...]]] = {
    "ec2": {"platform": PLATFORMS, "priceModel": PRICE_MODELS},
    "ffmpeg": {
        "codec": tuple(word for word, codec in CODECS.items() if codec.decoders),
        "originCodec": tuple(word for word, codec in CODECS.items() if codec.decoders),
        "scale": tuple(FIRST_SCALES),
        "bitrate": BITRATE_MBITS,
        "profile": PURPOSES,
        "priority": PRIORITIES,
    },
}
"""The answer of `GET /v1/schema`."""

MS_SSIM_SIDE = 176
"""The shortest side, in pixels, that MS-SSIM can measure: it halves the picture four times and needs 11 pixels."""
BANDING_SIDE = 216
"""The longest side, in pixels, that pictures need for a VMAF v1 model, which looks for banding."""
FirstModel = Literal["v0.6.1", "v0.6.1neg", "4k"]
"""The VMAF models of the first generation."""
VmafModel = Literal[
    FirstModel, "v1", "v1-phone", "v1-4k", "v1-4k-3h", "vmaf_v0.6.1", "vmaf_v0.6.1neg", "vmaf_4k_v0.6.1",
    "vmaf_4k_v0.6.1neg", "vmaf_v1.0.16_3d0h", "vmaf_v1.0.16_5d0h", "vmaf_v1.0.16_1d5h_2160", "vmaf_v1.0.16_3d0h_2160",
    "vmaf_v1.0.16_hfr_3d0h", "vmaf_v1.0.16_hfr_5d0h", "vmaf_v1.0.16_hfr_1d5h_2160", "vmaf_v1.0.16_hfr_3d0h_2160",
]  # fmt: skip
"""A VMAF model: a word of `VMAF_MODELS`, or libvmaf's own name."""
VMAF_MODELS = {
    "v0.6.1": "vmaf_v0.6.1",
    "v0.6.1neg": "vmaf_v0.6.1neg",
    "4k": "vmaf_4k_v0.6.1",
    "v1": "vmaf_v1.0.16_3d0h",
    "v1-phone": "vmaf_v1.0.16_5d0h",
    "v1-4k": "vmaf_v1.0.16_1d5h_2160",
    "v1-4k-3h": "vmaf_v1.0.16_3d0h_2160",
}
"""Word of a request → libvmaf's name of the model."""
_UNITS = {"K": 1_000, "M": 1_000_000}
_RATE = re.compile(r"(\d{1,8}(?:\.\d{1,3})?)([KM])", re.ASCII)
_SIZE = re.compile(r"(\d{2,5})[:x](\d{2,5})", re.ASCII)
_ENCODE_SIDE = (16, 8192)
_SCORE_SIDE = (32, 8192)
_BUFFER_KBITS = (1, 500_000)
AUDIO_KBITS = (16, 1024)
_FRAME_RATE = re.compile(r"(\d{1,6})(?:/([1-9]\d{0,5}))?", re.ASCII)
_MAX_FRAME_RATE = 240
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}", re.ASCII)
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
    low, high = _WIDE_KBITS
    return _is_rate(text) and low * _UNITS["K"] <= bits(text) <= high * _UNITS["K"]


def _is_size(text: str, separator: str, side: tuple[int, int]) -> bool:
    match = _SIZE.fullmatch(text)
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
    return _is_rate(text) and low * _UNITS["K"] <= bits(text) <= high * _UNITS["K"]


def _scale_rule(separator: str, side: tuple[int, int], words: Iterable[str] = SCALES) -> str:
    return f"one of {', '.join(words)}, or WIDTH{separator}HEIGHT with even sides from {side[0]} to {side[1]}"


def fits_ms_ssim(scale: object) -> bool:
    """Whether both sides of a scale are at least MS_SSIM_SIDE; True for a value that is no scale at all."""
    match = _SIZE.fullmatch(scale) if isinstance(scale, str) else None
    return match is None or min(int(side) for side in match.groups()) >= MS_SSIM_SIDE


def fits_banding(scale: object) -> bool:
    """Whether the longer side of a scale is at least BANDING_SIDE; True for a value that is no scale at all."""
    match = _SIZE.fullmatch(scale) if isinstance(scale, str) else None
    return match is None or max(int(side) for side in match.groups()) >= BANDING_SIDE


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
    "vmaf-scale": (lambda text: text in SCALES or _is_size(text, "x", _SCORE_SIDE), _scale_rule("x", _SCORE_SIDE)),
}
"""Named formats of profile fields; see `elasticrecode.validation`."""

Switch = Literal["enable", "disable"]
Fit = Literal["contain", "pad", "crop", "exact"]
DynamicRange = Literal["auto", "sdr", "keep"]
Deinterlace = Literal["auto", "off", "double"]


Language = Annotated[str, Meta(extra_json_schema={"format": "language"})]
Languages = Annotated[list[Language], Meta(min_length=1, max_length=LANGUAGES_LIMIT)]


class Ec2(Struct, forbid_unknown_fields=True):
    """The EC2 nodes that the job may run on."""

    platform: Platform | UnsetType = UNSET
    priceModel: PriceModel | UnsetType = UNSET


class Target(Struct, forbid_unknown_fields=True):
    """The quality to encode at, in place of a bitrate: a constant rate factor on the encoder's own scale."""

    crf: Annotated[float, Meta(ge=0, le=CRF_LIMIT)]


class Ffmpeg(Struct, forbid_unknown_fields=True):
    """An encode, as requested or resolved: both forms have the same fields, and requests may use either.

    A resolved encode without `fit` has the size of a scale word, and fits the source into it (`contain`). `start` and
    `end` are in seconds of the source.
    """

    codec: CodecName
    scale: Annotated[str, Meta(extra_json_schema={"format": "ffmpeg-scale"})]
    bitrate: Annotated[str, Meta(extra_json_schema={"format": "bitrate"})] | UnsetType = UNSET
    buffersize: Annotated[str, Meta(extra_json_schema={"format": "buffer"})] | UnsetType = UNSET
    profile: Purpose = "quality"
    platform: Platform | UnsetType = UNSET
    originCodec: DecoderName | UnsetType = UNSET
    quality: Target | UnsetType = UNSET
    maxBitrate: Annotated[str, Meta(extra_json_schema={"format": "cap"})] | UnsetType = UNSET
    fit: Fit | UnsetType = UNSET
    speed: Speed | UnsetType = UNSET
    frameRate: Annotated[str, Meta(extra_json_schema={"format": "frame-rate"})] | UnsetType = UNSET
    keyframeSeconds: Annotated[float, Meta(ge=0.1, le=60)] | UnsetType = UNSET
    dynamicRange: DynamicRange | UnsetType = UNSET
    bitDepth: Literal[8, 10] | UnsetType = UNSET
    deinterlace: Deinterlace | UnsetType = UNSET
    start: Annotated[float, Meta(ge=0, le=1_000_000)] | UnsetType = UNSET
    end: Annotated[float, Meta(gt=0, le=1_000_000)] | UnsetType = UNSET


class Audio(Struct, forbid_unknown_fields=True):
    """The sound of an output. `loudness` is the integrated loudness to reach, in LUFS; `tracks` may list languages.

    Absent values: AAC; 128 kbit/s for mono and stereo, 384 kbit/s for 5.1; the source's channels; no change of
    loudness; the first track.
    """

    codec: Literal["aac", "opus", "copy", "none"] | UnsetType = UNSET
    bitrate: Annotated[str, Meta(extra_json_schema={"format": "audio-bitrate"})] | UnsetType = UNSET
    channels: Literal["source", "mono", "stereo", "5.1"] | UnsetType = UNSET
    loudness: Annotated[float, Meta(ge=-40, le=-5)] | UnsetType = UNSET
    tracks: Literal["first", "all"] | Languages | UnsetType = UNSET


class Subtitles(Struct, forbid_unknown_fields=True):
    """The subtitles of an output: which text tracks it gets, and the language of the one that is burnt in."""

    tracks: Literal["all"] | Languages | UnsetType = UNSET
    burn: Language | UnsetType = UNSET


class Sprite(Struct, forbid_unknown_fields=True):
    """Small pictures for scrubbing: one every so many seconds, each `width` pixels wide."""

    everySeconds: Annotated[float, Meta(ge=1, le=3600)] = 5
    width: Annotated[int, Meta(ge=32, le=640)] = 160


class Images(Struct, forbid_unknown_fields=True):
    """Pictures beside an output: a poster, and sprites with a WebVTT file that maps times to pictures."""

    poster: bool | UnsetType = UNSET
    sprite: Sprite | UnsetType = UNSET


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
    model: VmafModel | Literal["auto"] | UnsetType = UNSET
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
    """The `profile` of a job: an encode, a score, both, or sound alone. Subtitles and images go with an encode."""

    ffmpeg: Ffmpeg | UnsetType = UNSET
    audio: Audio | UnsetType = UNSET
    subtitles: Subtitles | UnsetType = UNSET
    images: Images | UnsetType = UNSET
    vmaf: Vmaf | UnsetType = UNSET
    ec2: Ec2 | UnsetType = UNSET


class FfmpegProfile(Profile, forbid_unknown_fields=True, kw_only=True):
    """The `profile` of a request for a transcode, which may be scored afterwards, or for sound alone."""


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
        audio=profile.audio,
        subtitles=profile.subtitles,
        images=profile.images,
        vmaf=_resolve_vmaf(profile.vmaf) if profile.vmaf else UNSET,
        ec2=profile.ec2,
    )


def _resolve_ffmpeg(encode: Ffmpeg, on: Platform) -> Ffmpeg:
    origin = CODECS.get(encode.originCodec or "")
    return structs.replace(
        encode,
        codec=_encoder(encode.codec, on),
        scale="{}:{}".format(*SCALES[encode.scale]) if encode.scale in SCALES else encode.scale,
        fit=encode.fit if encode.fit or encode.scale in (*SCALES, SOURCE) else "exact",
        buffersize=encode.buffersize or _buffer(encode),
        platform=on,
        originCodec=origin.decoders.get(on, encode.originCodec) if origin else encode.originCodec,
    )


def _encoder(codec: str, on: Platform) -> str:
    """The encoder of a codec's word on a platform; other names, and a codec without one there, stay as they are."""
    encoders = CODECS[codec].encoders if codec in CODECS else {}
    return encoders[on].name if on in encoders else codec


def _buffer(encode: Ffmpeg) -> str | UnsetType:
    """The default size of the decoder's buffer: that of two seconds, or of a frame at 25 frames per second."""
    peak = encode.bitrate or encode.maxBitrate
    return rate(bits(peak) * 2 if encode.profile == "quality" else bits(peak) / 25) if peak else UNSET


def _resolve_vmaf(score: Vmaf) -> Vmaf:
    scaled = structs.replace(
        score, scale="{}x{}".format(*SCALES[score.scale]) if score.scale in SCALES else score.scale
    )
    return structs.replace(scaled, model=vmaf_model(scaled)) if score.model == "auto" else scaled


def vmaf_model(score: Vmaf) -> VmafModel:
    """The VMAF model of a resolved score: the requested one, else by scale, as each fits one viewing distance."""
    if score.model is UNSET or score.model == "auto":
        return "4k" if score.size[1] >= _UHD_LINES else "v0.6.1"
    return score.model


def libvmaf_model(score: Vmaf) -> str:
    """The model of a resolved score by its name in libvmaf."""
    return VMAF_MODELS.get(vmaf_model(score), vmaf_model(score))


def finds_banding(model: object) -> bool:
    """Whether a VMAF model is one of version 1."""
    return isinstance(model, str) and VMAF_MODELS.get(model, model).startswith("vmaf_v1")
