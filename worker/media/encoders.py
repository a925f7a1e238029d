"""Options of the video encoders: rate, quality, keyframes, and the signal they tell. Pure."""

from collections.abc import Mapping
from fractions import Fraction
from typing import Literal

from elasticrecode.media.codecs import Encoder, encoder_of
from elasticrecode.media.profiles import Ffmpeg, bits
from worker.media.colour import Signal
from worker.media.hdr import HdrMetadata

KEYFRAME_SECONDS = 2.0
"""The default interval: players seek to any two seconds, and packagers cut there."""
_NEVER = 30_000
"""Frames between the keyframes that an encoder places itself: more than 60 s at 240 frames per second."""
_UNKNOWN_RATE = 30.0
_RATES = (1.0, 240.0)
"""What encoders may be told: SVT-AV1 accepts no higher rate."""
_EARLY = "0.000006"
"""Seconds that a keyframe may come early: half a tick of the encoder's clock, for rounding."""
_SPARE = 1.02
"""SVT-AV1 spreads bits over the interval it expects. This much longer, jitter in the frame times adds no keyframe."""
_X265_FRAMES = ((3, 1), (7, 2), (15, 3), (31, 4))
"""Most cores, and frames that x265 encodes at a time, which its output depends on: left alone, it counts the host's."""
_SVT_LEVELS = ((1, 1), (3, 2), (5, 3), (11, 4), (23, 5))
"""Most cores, and SVT-AV1's level of parallelism for them; above, its highest."""

_LEVELS = {"x264": "level", "x265": "level-idc"}
"""Encoders that write the level by the rate and the buffer they are given, and their parameter for another one."""

Family = Literal["x264", "x265", "svtav1", "nvenc"]


def encoder_options(
    encode: Ffmpeg,
    signal: Signal,
    rate: float,
    muxer: str,
    threads: int = 0,
    gop: int = 0,
    light: HdrMetadata = HdrMetadata(),  # noqa: B008
    late: float = 0.0,
    *,
    varies: bool = False,
    level: str = "",
) -> list[str]:
    """Options of ffmpeg for the video encoder.

    `rate` is the mean of frames per second, 0 where unknown; `threads` is the number of cores to use, 0 for all. `gop`
    is the number of frames from one keyframe to the next; 0 for the encode's seconds. `light` is the metadata to write
    where the encoder does not get it with the pictures. `late` is how many seconds the encode's first frame comes after
    a multiple of the interval, where it is a chunk of a film; `varies` says that chunks have different qualities,
    and `level` is that of the whole film.
    """
    _, encoder = encoder_of(encode.codec)
    family = _family(encoder)
    mean = min(max(rate or _UNKNOWN_RATE, _RATES[0]), _RATES[1])
    params = _params(family, encode, mean, threads)
    if level and family in _LEVELS:
        params[_LEVELS[family]] = level
    if varies and family == "x264":  # else it writes the quality into the parameter sets, which are to be equal
        params["stitchable"] = "1"
    if signal.dynamic_range == "hdr10":
        params |= {"x265": light.x265, "svtav1": light.svtav1}.get(family, {})
    return [
        *("-c:v", encoder.name, "-preset", encoder.preset(encode.profile, encode.speed or None)),
        *encoder.tunings[encode.profile],
        *_rate_control(family, encode),
        *(_counted_keyframes(family, gop) if gop else _keyframes(family, encode, mean, late)),
        *((f"-{family}-params", ":".join(f"{name}={value}" for name, value in params.items())) if params else ()),
        *("-color_primaries", signal.primaries, "-color_trc", signal.transfer),
        *("-colorspace", signal.matrix, "-color_range", signal.range),
        *(("-dolbyvision", "0") if family in ("x265", "svtav1") else ()),
        *tag_options(encode.codec, muxer),
    ]


def tag_options(encoder: str, muxer: str) -> tuple[str, ...]:
    """Options of ffmpeg for the codec tag that players expect in the muxer's files."""
    codec, _ = encoder_of(encoder)
    return ("-tag:v", codec.tags[muxer]) if muxer in codec.tags else ()


def _family(encoder: Encoder) -> Family:
    families: Mapping[str, Family] = {"libx264": "x264", "libx265": "x265", "libsvtav1": "svtav1"}
    return families.get(encoder.name, "nvenc")


def _rate_control(family: Family, encode: Ffmpeg) -> list[str]:
    """A mean bitrate, or a constant quality; and the decoder's buffer, which bounds peaks.

    SVT-AV1 has such a buffer only with constant quality or low delay: at a mean bitrate, its peaks are not bounded.
    """
    quality = encode.quality.factor if encode.quality else None
    bitrate = encode.bitrate or ""
    peak, size = _buffer(family, encode)
    buffer = ["-maxrate", peak, "-bufsize", size] if peak else []
    if quality is None:
        return ["-b:v", bitrate, *buffer]
    constant = {
        "x264": ["-crf", f"{quality:g}"],
        "x265": ["-crf", f"{quality:g}"],
        "svtav1": [],  # its option takes whole numbers only, and its parameter fractions
        "nvenc": ["-rc", "vbr", "-cq", f"{quality:g}", "-b:v", "0"],
    }
    return [*constant[family], *buffer]


def cap(encode: Ffmpeg) -> tuple[int, int] | None:
    """Bits per second to which the peaks of an encode keep, and the bits of the decoder's buffer; None without."""
    peak, size = _buffer(_family(encoder_of(encode.codec)[1]), encode)
    return (bits(peak), bits(size)) if peak else None


def _buffer(family: Family, encode: Ffmpeg) -> tuple[str, str]:
    """The cap and the buffer in the words of a profile; both empty where there is none."""
    if family == "svtav1" and encode.profile == "quality" and not encode.quality:
        return "", ""
    peak = encode.maxBitrate or ("" if encode.quality else encode.bitrate or "")
    return peak, encode.buffersize or peak


def _keyframes(family: Family, encode: Ffmpeg, rate: float, late: float) -> list[str]:
    """A keyframe at the first picture at or after each multiple of the interval, counted from the first, and no other.

    The encoders close each group of pictures there. At cuts of the film, they may code pictures without reference to
    others, which are no keyframes.
    """
    seconds = encode.keyframeSeconds or KEYFRAME_SECONDS
    shift = f"+{late:.9f}" if late else ""
    previous = f"(prev_forced_t{shift})" if late else "prev_forced_t"
    following = f"(floor({previous}/{seconds:g}+{_EARLY})+1)*{seconds:g}"
    force = ["-force_key_frames", f"expr:if(isnan(prev_forced_t),1,gte(t{shift}+{_EARLY},{following}))"]
    if family == "svtav1":
        is_paced = not encode.quality and encode.profile == "quality"
        return [*force, "-g", str(int(seconds * rate * _SPARE) + 2 if is_paced else _NEVER)]
    return [*force, "-forced-idr", "1", "-g", str(_NEVER), "-keyint_min", str(_NEVER // 2)]


def _counted_keyframes(family: Family, gop: int) -> list[str]:
    """A keyframe every `gop` frames, and no other. As for `_keyframes`, groups of pictures are closed."""
    force = ["-force_key_frames", f"expr:not(mod(n,{gop}))"]
    if family == "svtav1":
        return [*force, "-g", str(gop)]
    return [*force, "-forced-idr", "1", "-g", str(_NEVER), "-keyint_min", str(_NEVER // 2)]


def _params(family: Family, encode: Ffmpeg, rate: float, threads: int) -> dict[str, str]:
    """The encoder's own parameters, among them the rate, which ffmpeg would take from the container's guess."""
    exact = Fraction(rate).limit_denominator(1001)
    if family == "x264":
        return {"fps": f"{exact}", **({"threads": f"{threads + threads // 2}"} if threads else {})}
    if family == "x265":
        frames = next((number for most, number in _X265_FRAMES if threads <= most), 5)
        parallel = {"pools": f"{threads}", "frame-threads": f"{frames}"} if threads else {}
        return {"fps": f"{exact}", "open-gop": "0", **parallel}
    if family == "svtav1":
        capped = bool(encode.quality and encode.maxBitrate)
        low_delay = encode.profile == "latency" and not capped  # it ignores the cap with low delay
        level = next((level for most, level in _SVT_LEVELS if threads <= most), 6)
        return {
            **({"crf": f"{encode.quality.factor:g}"} if encode.quality else {}),
            **({"pred-struct": "1"} if low_delay else {}),
            "fps-num": f"{exact.numerator}",
            "fps-denom": f"{exact.denominator}",
            **({"lp": f"{level}"} if threads else {}),
        }
    return {}
