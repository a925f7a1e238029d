"""Video codecs and containers: the one table of each.

The request types, the resolution of profiles, `GET /v1/schema`, the worker's encoder arguments, the OpenAPI document
and the table in docs/reference/api.md follow from CODECS. To add a codec, add an entry here.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

Platform = Literal["cpu", "gpu"]
"""The hardware that an encoder runs on."""
PLATFORMS: tuple[Platform, ...] = get_args(Platform)

Purpose = Literal["quality", "latency"]
"""What an encode is tuned for."""
PURPOSES: tuple[Purpose, ...] = get_args(Purpose)


Speed = Literal["fast", "medium", "slow"]
"""How much CPU time an encode may take: slower ones look better at the same bitrate."""
SPEEDS: tuple[Speed, ...] = get_args(Speed)


class Encoder(NamedTuple):
    """An encoder of ffmpeg: its name for `-c:v`, its preset for each speed, and the options that tune it for a purpose.

    `max_crf` is the highest constant rate factor, which is the lowest quality.
    """

    name: str
    presets: Mapping[Speed, str]
    tunings: Mapping[Purpose, tuple[str, ...]]
    max_crf: int = 51

    def preset(self, purpose: Purpose, speed: Speed | None) -> str:
        """The preset for a speed; without one, `medium` for quality and `fast` for latency."""
        return self.presets[speed or ("medium" if purpose == "quality" else "fast")]


class Codec(NamedTuple):
    """A video codec.

    `encoders` has the encoder for each platform that has one. `decoders` has ffmpeg's decoder for each platform that
    needs one named; on the others ffmpeg chooses. `stream` is ffprobe's name of the codec. `tags` maps a muxer to the
    codec tag that players expect in its files, where ffmpeg's default is another. `outside` has the muxers whose files
    cannot hold the codec. `depths` are the bits per sample that players decode.
    """

    encoders: Mapping[Platform, Encoder]
    decoders: Mapping[Platform, str]
    stream: str
    tags: Mapping[str, str] = {}
    outside: frozenset[str] = frozenset()
    depths: tuple[int, ...] = (8, 10)


_X26X: Mapping[Speed, str] = {"fast": "veryfast", "medium": "medium", "slow": "slow"}
_X26X_TUNINGS: Mapping[Purpose, tuple[str, ...]] = {"quality": (), "latency": ("-tune", "zerolatency")}
_NVENC: Mapping[Speed, str] = {"fast": "p1", "medium": "p5", "slow": "p7"}
_NVENC_TUNINGS: Mapping[Purpose, tuple[str, ...]] = {
    "quality": ("-tune", "hq"),
    "latency": ("-tune", "ll", "-zerolatency", "1"),
}
_SVT: Mapping[Speed, str] = {"fast": "9", "medium": "6", "slow": "4"}
"""Each takes about as long as libx265 at the same speed. SVT-AV1 itself warns of artifacts from preset 10 on."""
_SVT_TUNINGS: Mapping[Purpose, tuple[str, ...]] = {"quality": (), "latency": ()}

CODECS: Mapping[str, Codec] = {
    "h264": Codec(
        encoders={
            "cpu": Encoder("libx264", _X26X, _X26X_TUNINGS),
            "gpu": Encoder("h264_nvenc", _NVENC, _NVENC_TUNINGS),
        },
        decoders={"gpu": "h264_cuvid"},
        stream="h264",
        depths=(8,),
    ),
    "h265": Codec(
        encoders={
            "cpu": Encoder("libx265", _X26X, _X26X_TUNINGS),
            "gpu": Encoder("hevc_nvenc", _NVENC, _NVENC_TUNINGS),
        },
        decoders={"gpu": "hevc_cuvid"},
        stream="hevc",
        tags={"mp4": "hvc1", "mov": "hvc1"},
    ),
    "av1": Codec(
        encoders={"cpu": Encoder("libsvtav1", _SVT, _SVT_TUNINGS, max_crf=63)},
        decoders={},
        stream="av1",
        outside=frozenset({"mov", "mpegts"}),
    ),
}
"""Word of a request → the codec."""

CONTAINERS = {
    "mp4": "mp4",
    "m4v": "mp4",
    "mov": "mov",
    "mkv": "matroska",
    "ts": "mpegts",
    "mts": "mpegts",
    "m2ts": "mpegts",
}
"""File name extension → ffmpeg's muxer. Outputs keep these extensions where the muxer holds the codec."""

DEFAULT_CONTAINER = "mp4"
"""The muxer, and extension, of outputs of inputs with any other extension."""

AUDIO_OUTSIDE = {"opus": frozenset({"mov"})}
"""Audio codec → the muxers whose files cannot hold it."""

AUDIO_EXTENSIONS = {"aac": "m4a", "opus": "opus"}
"""Audio codec → the file name extension of an output that is sound alone."""
AUDIO_MUXERS = {"m4a": "ipod", "opus": "opus"}
"""File name extension of an output that is sound alone → ffmpeg's muxer."""

CONTENT_TYPES = {
    "mp4": "video/mp4",
    "m4v": "video/mp4",
    "mov": "video/quicktime",
    "mkv": "video/x-matroska",
    "ts": "video/mp2t",
    "mts": "video/mp2t",
    "m2ts": "video/mp2t",
    "m4s": "video/mp4",
    "m4a": "audio/mp4",
    "opus": "audio/ogg",
    "jpg": "image/jpeg",
    "vtt": "text/vtt",
    "m3u8": "application/vnd.apple.mpegurl",
    "mpd": "application/dash+xml",
    "txt": "text/plain",
    "json": "application/json",
    "html": "text/html",
}
"""File name extension → the content type of an output. The tables of hosts differ, and slim images have none."""

if TYPE_CHECKING:  # mypy reads no computed Literal
    CodecName = str
    DecoderName = str
else:
    CodecName = Literal[(*CODECS, *(encoder.name for codec in CODECS.values() for encoder in codec.encoders.values()))]
    DecoderName = Literal[
        (
            *(word for word, codec in CODECS.items() if codec.decoders),
            *(name for codec in CODECS.values() for name in codec.decoders.values()),
        )
    ]


def container(file_name: str, codec: str = "") -> str | None:
    """The muxer that writes a file of this name; None when the extension is not in CONTAINERS.

    Also None when its files cannot hold `codec`, the word of a codec or an encoder's name; other names are ignored.
    """
    muxer = CONTAINERS.get(file_name.rpartition(".")[2].lower())
    held = CODECS.get(codec) or (encoder_of(codec)[0] if codec in _ENCODERS else None)
    return None if held and muxer in held.outside else muxer


AUDIO_TRACK = "audio-"
"""The start of the names of a package's audio tracks, which have the extension of its video tracks."""


def content_type(file_name: str, *, is_member: bool = False) -> str:
    """The content type of an output; a member is a file in the folder of a package's version."""
    known = CONTENT_TYPES.get(file_name.rpartition(".")[2].lower(), "application/octet-stream")
    return CONTENT_TYPES["m4a"] if is_member and known == "video/mp4" and file_name.startswith(AUDIO_TRACK) else known


def encoder_of(name: str) -> tuple[Codec, Encoder]:
    """The codec and encoder that ffmpeg knows by this name, such as `libx264`. Raises KeyError for any other name."""
    return _ENCODERS[name]


_ENCODERS = {encoder.name: (codec, encoder) for codec in CODECS.values() for encoder in codec.encoders.values()}
