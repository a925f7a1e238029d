"""Profiles: the request types for an encode or a score, and their resolution into the values that workers use."""

import re
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
CRF_LIMIT = 63
TOLERANCE = 0.5
"""How far the mean VMAF of a film may be from its target, where the target has no tolerance of its own."""
FLOOR_BELOW = 2.0
"""How far below its target a part of a film may be, where the target has no floor of its own."""
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
UNITS = {"K": 1_000, "M": 1_000_000}
RATE = re.compile(r"(\d{1,8}(?:\.\d{1,3})?)([KM])", re.ASCII)
SIZE = re.compile(r"(\d{2,5})[:x](\d{2,5})", re.ASCII)
_UHD_LINES = 2160


def bits(rate: str) -> int:
    """The bits per second of a rate such as `1.5M` or `1500K`. Raises ValueError for any other text."""
    match = RATE.fullmatch(rate)
    if not match:
        raise ValueError(rate)
    return round(float(match[1]) * UNITS[match[2]])


def rate(bits_per_second: float) -> str:
    """The shortest text for a rate: 2000000 → `2M`, 40000 → `40K`."""
    unit = "M" if bits_per_second % UNITS["M"] == 0 else "K"
    return f"{bits_per_second / UNITS[unit]:.12g}{unit}"


def fits_ms_ssim(scale: object) -> bool:
    """Whether both sides of a scale are at least MS_SSIM_SIDE; True for a value that is no scale at all."""
    match = SIZE.fullmatch(scale) if isinstance(scale, str) else None
    return match is None or min(int(side) for side in match.groups()) >= MS_SSIM_SIDE


def fits_banding(scale: object) -> bool:
    """Whether the longer side of a scale is at least BANDING_SIDE; True for a value that is no scale at all."""
    match = SIZE.fullmatch(scale) if isinstance(scale, str) else None
    return match is None or max(int(side) for side in match.groups()) >= BANDING_SIDE


Switch = Literal["enable", "disable"]
Fit = Literal["contain", "pad", "crop", "exact"]
DynamicRange = Literal["auto", "sdr", "keep"]
Deinterlace = Literal["auto", "off", "double"]
Split = Literal["auto", "never"]


Language = Annotated[str, Meta(extra_json_schema={"format": "language"})]
Languages = Annotated[list[Language], Meta(min_length=1, max_length=LANGUAGES_LIMIT)]


class Ec2(Struct, forbid_unknown_fields=True):
    """The EC2 nodes that the job may run on."""

    platform: Platform | UnsetType = UNSET
    priceModel: PriceModel | UnsetType = UNSET


class Target(Struct, forbid_unknown_fields=True):
    """The quality to encode at, in place of a bitrate: a constant rate factor (CRF), or the mean VMAF to reach.

    `crf` is on the encoder's own scale. The worker finds the one for `vmaf`. The film's mean may differ from that by
    `tolerance`, and no part of a film is to be below `floor`, by default `vmaf` less FLOOR_BELOW. `model` is that of
    the job's score, if it has one, else fits the size.
    """

    crf: Annotated[float, Meta(ge=0, le=CRF_LIMIT)] | UnsetType = UNSET
    vmaf: Annotated[float, Meta(ge=10, le=99)] | UnsetType = UNSET
    model: VmafModel | Literal["auto"] | UnsetType = UNSET
    tolerance: Annotated[float, Meta(ge=0.1, le=5)] | UnsetType = UNSET
    floor: Annotated[float, Meta(ge=0, le=99)] | UnsetType = UNSET

    @property
    def factor(self) -> float:
        """The CRF. Raises ValueError for a target whose CRF is yet to be found."""
        if self.crf is UNSET:
            raise ValueError("the CRF of a VMAF is yet to be found")
        return self.crf


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


LadderName = Literal["h264", "h265", "av1"]
LADDER_NAMES: tuple[LadderName, ...] = get_args(LadderName)
RUNGS_LIMIT = 12
"""Rungs that a ladder of a request's own may have."""


class Rung(Struct, forbid_unknown_fields=True):
    """A rung of a ladder of the request's own. `bitrate` is the average; absent `maxBitrate`: 1.5 times that."""

    scale: Annotated[str, Meta(extra_json_schema={"format": "ffmpeg-scale"})]
    bitrate: Annotated[str, Meta(extra_json_schema={"format": "cap"})]
    codec: LadderName = "h264"
    maxBitrate: Annotated[str, Meta(extra_json_schema={"format": "cap"})] | UnsetType = UNSET
    frameRate: Annotated[str, Meta(extra_json_schema={"format": "frame-rate"})] | UnsetType = UNSET


class Auto(Struct, forbid_unknown_fields=True):
    """The bounds of the ladder `auto`, which a worker finds for the title.

    The top rung is the smallest that has a VMAF of `topVmaf` where the film is shown at its own size; no rung has more
    than `maxBitrate` on average, and the bottom rung has at most `bottomBitrate`. Absent rates are the highest (but at
    least 2M) and the lowest of the codec's fixed ladder for the size of the source.
    """

    codec: LadderName = "h264"
    topVmaf: Annotated[float, Meta(ge=40, le=99)] = 95
    bottomBitrate: Annotated[str, Meta(extra_json_schema={"format": "cap"})] | UnsetType = UNSET
    maxBitrate: Annotated[str, Meta(extra_json_schema={"format": "cap"})] | UnsetType = UNSET


class Encryption(Struct, forbid_unknown_fields=True):
    """How segments are encrypted. Players get the key from `keyUri`; keys are 32 hexadecimal digits.

    A request has `key`, or the name of its secret in `secretId`. A resolved profile has no `key`: `sealedKey` is the
    key, encrypted with the deployment's KMS key, in base64.
    """

    scheme: Literal["cbcs", "aes-128"]
    keyUri: Annotated[str, Meta(extra_json_schema={"format": "key-uri"})]
    key: Annotated[str, Meta(extra_json_schema={"format": "key"})] | UnsetType = UNSET
    secretId: Annotated[str, Meta(extra_json_schema={"format": "secret"})] | UnsetType = UNSET
    keyId: Annotated[str, Meta(extra_json_schema={"format": "key"})] | UnsetType = UNSET
    sealedKey: Annotated[str, Meta(max_length=1024)] | UnsetType = UNSET

    def __repr__(self) -> str:
        """The scheme and the address of the key: logs and tracebacks show no key."""
        return f"Encryption({self.scheme!r}, {self.keyUri!r})"


class Package(Struct, forbid_unknown_fields=True):
    """A streaming package: one ladder of renditions, which HLS and DASH share. `segmentSeconds` is what to aim at.

    The ladder `auto` is found for the title, within the bounds `auto`; an encode sees the rungs that were found.
    With `early`, a small rung of a film that is divided into chunks plays over HLS while the others are encoded.
    """

    formats: Annotated[list[Literal["hls", "dash"]], Meta(min_length=1, max_length=2)] = field(
        default_factory=lambda: ["hls", "dash"]
    )
    ladder: Literal[LadderName, "auto"] | Annotated[list[Rung], Meta(min_length=1, max_length=RUNGS_LIMIT)] = "h264"
    auto: Auto | UnsetType = UNSET
    segmentSeconds: Annotated[float, Meta(ge=1, le=30)] = 6
    speed: Speed | UnsetType = UNSET
    dynamicRange: DynamicRange | UnsetType = UNSET
    encryption: Encryption | UnsetType = UNSET
    early: bool | UnsetType = UNSET


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
    """The `profile` of a job: an encode, a package, a score, or sound alone.

    Subtitles and images go with an encode or a package. `split` says whether a long film may be divided into chunks,
    which several workers encode: `auto` where one worker would take long, or `never`. Without it, an encode with a
    `bitrate` stays whole. With `reuse` false the job is done even where an earlier one with the same source and profile
    has outputs that can be copied.
    """

    ffmpeg: Ffmpeg | UnsetType = UNSET
    package: Package | UnsetType = UNSET
    audio: Audio | UnsetType = UNSET
    subtitles: Subtitles | UnsetType = UNSET
    images: Images | UnsetType = UNSET
    split: Split | UnsetType = UNSET
    reuse: bool | UnsetType = UNSET
    vmaf: Vmaf | UnsetType = UNSET
    ec2: Ec2 | UnsetType = UNSET


class FfmpegProfile(Profile, forbid_unknown_fields=True, kw_only=True):
    """The `profile` of a request for transcodes and packages, which may be scored afterwards, or sound alone."""


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
        package=profile.package,
        audio=profile.audio,
        subtitles=profile.subtitles,
        images=profile.images,
        split=profile.split,
        reuse=profile.reuse,
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
