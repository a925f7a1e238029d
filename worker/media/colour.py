"""Colour: what the output's samples mean, and the filters that convert the source's samples to that. Pure.

SDR becomes BT.709 of limited range, whatever it was. HDR stays HDR where the codec carries it, else the LUT of
`tone_map` maps it to BT.709.
"""

import math
import re
from functools import partial
from typing import Literal, NamedTuple

from elasticrecode.jobs.events import Notice
from elasticrecode.media.codecs import encoder_of
from elasticrecode.media.profiles import Ffmpeg
from worker.errors import PermanentError
from worker.media.steps import Step
from worker.media.tone_map import cube
from worker.media.video import Video

_HDR_CURVES: dict[str, Literal["hdr10", "hlg"]] = {"smpte2084": "hdr10", "arib-std-b67": "hlg"}
_HDR_STREAMS = ("hevc", "av1")
"""Codecs whose 10-bit profile players decode."""
_MATRICES = {
    *("bt709", "fcc", "bt470bg", "smpte170m", "smpte240m", "ycgco", "bt2020nc", "bt2020c", "ictcp"),
    *("chroma-derived-nc", "chroma-derived-c"),
}
_UNSCALABLE = {"ycgco", "bt2020c", "ictcp", "chroma-derived-nc", "chroma-derived-c"}
"""Those that ffmpeg's scaler refuses to touch, and `zscale` converts."""
_PRIMARIES = {
    *("bt709", "bt470m", "bt470bg", "smpte170m", "smpte240m", "film", "bt2020", "smpte431", "smpte432"),
    *("jedec-p22", "ebu3213"),
}
_CONVERTED_CURVES = {"linear", "log100", "log316"}
_TOLD_CURVES = {"iec61966-2-1"}
"""Curves that the output keeps and tells. Displays show those of the other SDR systems alike, by BT.1886."""
_ABSENT = {"", "unknown", "unspecified"}
_RGB = re.compile(r"^(?!y)\w*(rgb|bgr|gbr)|^pal8|^bayer|^xyz", re.ASCII)
_GRAY = re.compile(r"^(gray|mono|ya\d)", re.ASCII)
_ALPHA = re.compile(r"^(rgba|bgra|argb|abgr|gbrap|yuva|ya\d|ayuv|vuya|uyva)", re.ASCII)
_CHROMA_LOCATIONS = {"center", "topleft", "top", "bottomleft", "bottom"}
"""Those that differ from MPEG's usual `left`, to which ffmpeg's scaler renames them all."""
_BETWEEN = ((("yuv410", "yuv411", "yuvj411", "uyyvyy411"), "yuv444p"), (("xyz",), "gbrp12le"))
"""Formats that `zscale` cannot take at any size, or at all, and those to which ffmpeg's scaler brings them before."""
_HD_WIDTH, _SD_HEIGHT = 1280, 576
_NTSC_HEIGHTS = (480, 486, 488)
_STATIC, _DYNAMIC = (
    ("MASTERING_DISPLAY_METADATA", "CONTENT_LIGHT_LEVEL", "AMBIENT_VIEWING_ENVIRONMENT"),
    ("DYNAMIC_HDR_PLUS", "DYNAMIC_HDR_VIVID", "DOVI_RPU_BUFFER", "DOVI_METADATA"),
)


class Signal(NamedTuple):
    """What the samples of a video mean: ffmpeg's names of the pixel format, primaries, transfer, matrix and range.

    `dynamic_range` is `sdr`, `hdr10` or `hlg`.
    """

    pixel_format: str
    primaries: str
    transfer: str
    matrix: str
    range: str = "tv"
    dynamic_range: str = "sdr"

    @property
    def colour(self) -> tuple[str, ...]:
        """All but the pixel format."""
        return self[1:]


def source_signal(video: Video) -> Signal:
    """The signal of a source. Where tags are absent or impossible, as players guess it: by the size of the picture."""
    transfer = _transfer(video)
    dynamic_range = _HDR_CURVES.get(transfer, "sdr")
    matrix = "gbr" if _RGB.search(video.pixel_format) else _matrix(video, dynamic_range)
    full = video.full_range or matrix == "gbr" or video.pixel_format.startswith("mono")
    primaries = _primaries(video, dynamic_range, matrix)
    return Signal(video.pixel_format, primaries, transfer, matrix, "pc" if full else "tv", dynamic_range)


def _transfer(video: Video) -> str:
    if video.transfer in _ABSENT and video.metadata.dolby_vision:
        base = {1: "smpte2084", 4: "arib-std-b67", 6: "smpte2084"}
        return base.get(video.metadata.dolby_vision.compatibility, "bt709")
    return video.transfer if video.transfer in {*_HDR_CURVES, *_CONVERTED_CURVES, *_TOLD_CURVES} else "bt709"


def _is_sd(video: Video) -> bool:
    return video.width < _HD_WIDTH and video.height <= _SD_HEIGHT


def _matrix(video: Video, dynamic_range: str) -> str:
    if video.matrix in _MATRICES and _is_possible(video, dynamic_range):
        return video.matrix
    if dynamic_range != "sdr" or video.primaries == "bt2020":
        return "bt2020nc"
    if video.primaries in ("smpte170m", "bt470bg"):
        return video.primaries
    return "smpte170m" if _is_sd(video) and video.primaries != "bt709" else "bt709"


def _is_possible(video: Video, dynamic_range: str) -> bool:
    """Whether the rest of a signal is such that its matrix means anything."""
    if video.matrix == "ictcp":
        return dynamic_range != "sdr" and video.primaries not in _PRIMARIES - {"bt2020"}
    return video.matrix != "bt2020c" or _transfer(video) == "bt709"


def _primaries(video: Video, dynamic_range: str, matrix: str) -> str:
    if video.primaries in _PRIMARIES:
        return video.primaries
    if dynamic_range != "sdr" or matrix in ("bt2020nc", "bt2020c", "ictcp"):
        return "bt2020"
    if matrix in ("smpte170m", "bt470bg", "fcc") and _is_sd(video):
        return {**dict.fromkeys(_NTSC_HEIGHTS, "smpte170m"), _SD_HEIGHT: "bt470bg"}.get(video.height, "bt709")
    return "smpte240m" if matrix == "smpte240m" else "bt709"


def signal(video: Video, encode: Ffmpeg) -> Signal:
    """The signal of the output.

    Raises PermanentError `input-dolby-vision` for a source whose base layer means nothing by itself, and
    `dynamic-range-unsupported` for HDR that is to be kept in a codec or a depth that cannot carry it.
    """
    source, dolby = source_signal(video), video.metadata.dolby_vision
    if dolby and not dolby.has_base:
        message = (
            f"The input is Dolby Vision profile {dolby.profile}, whose colours only Dolby's decoders show right. "
            "Provide profile 8, HDR10, HLG or SDR."
        )
        raise PermanentError("input-dolby-vision", message)
    codec, _ = encoder_of(encode.codec)
    carries = codec.stream in _HDR_STREAMS and encode.bitDepth != 8
    if source.dynamic_range != "sdr" and encode.dynamicRange == "keep" and not carries:
        message = (
            f"dynamicRange keep: the input is {source.dynamic_range.upper()}, which {codec.stream} of "
            f"{encode.bitDepth or 8} bits does not carry. Use h265 or av1 of 10 bits, or dynamicRange sdr."
        )
        raise PermanentError("dynamic-range-unsupported", message)
    deep = "p010le" if encode.platform == "gpu" else "yuv420p10le"
    if source.dynamic_range != "sdr" and encode.dynamicRange != "sdr" and carries:
        return Signal(deep, "bt2020", source.transfer, "bt2020nc", dynamic_range=source.dynamic_range)
    transfer = source.transfer if source.transfer in _TOLD_CURVES else "bt709"
    return Signal(deep if encode.bitDepth == 10 else "yuv420p", "bt709", transfer, "bt709")


def decoder(video: Video) -> list[str]:
    """Ffmpeg's options for the decoder: its own ones for VP8 and VP9 leave the alpha channel out."""
    names = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
    return ["-c:v", names[video.codec]] if video.has_alpha and video.codec in names else []


def interpret(video: Video) -> Step:
    """Tell the filters behind how the samples are coded, so that none guesses, and none follows tags that change.

    They need no primaries and no transfer, and ffmpeg's scaler refuses some.
    """
    source = source_signal(video)
    matrix = "unknown" if source.matrix in _UNSCALABLE else source.matrix
    return Step((f"setparams=range={source.range}:color_primaries=unknown:color_trc=unknown:colorspace={matrix}",))


def convert(video: Video, target: Signal, encode: Ffmpeg) -> Step:
    """The filters that convert pictures to a signal, behind those that scale them."""
    source = source_signal(video)
    filters, notices = list[str](), list[Notice]()
    if _ALPHA.search(source.pixel_format) or video.has_alpha:
        filters.append("premultiply=inplace=1")
        place = source.pixel_format if _ALPHA.search(source.pixel_format) else "in a layer of its own"
        message = f"The input has an alpha channel ({place}); the output shows it on black."
        notices.append(Notice("alpha-blended", message))
    if source.dynamic_range != "sdr" or video.metadata.is_dynamic:
        filters += _without_metadata(target)
    if source.dynamic_range != "sdr":
        notices += _hdr_notices(source, target, encode)
    notices += _dropped(video)
    if middle := next((name for marks, name in _BETWEEN if source.pixel_format.startswith(marks)), None):
        filters.append(f"format={middle}")
    filters.append(_tags(video, source))
    if target.dynamic_range == "sdr" != source.dynamic_range:
        filters += _tone_mapped(source)
        source = Signal("gbrp16le", "bt709", "bt709", "gbr", "pc")
    if source.colour != target.colour or _GRAY.search(source.pixel_format):
        tags = f"p={target.primaries}:t={target.transfer}:m={target.matrix}:r={target.range}"
        filters.append(f"zscale={tags}" + (":c=left" if target.dynamic_range == "sdr" else ""))
    return Step((*filters, f"format={target.pixel_format}"), tuple(notices), _files(video, target))


def _tags(video: Video, source: Signal) -> str:
    """The filter that tells all of a signal."""
    place = f":chroma_location={video.chroma_location}" if video.chroma_location in _CHROMA_LOCATIONS else ""
    tags = f"color_primaries={source.primaries}:color_trc={source.transfer}:colorspace={source.matrix}"
    return f"setparams={tags}{place}"


def _tone_mapped(source: Signal) -> list[str]:
    return [
        "zscale=p=bt2020:m=gbr:r=pc",
        "format=gbrp16le",
        f"lut3d=file={source.dynamic_range}.cube:interp=tetrahedral",
        "setparams=range=pc:color_primaries=bt709:color_trc=bt709:colorspace=gbr",
    ]


def _files(video: Video, target: Signal) -> dict[str, str]:
    source = source_signal(video)
    if source.dynamic_range == "sdr" or target.dynamic_range != "sdr":
        return {}
    return {f"{source.dynamic_range}.cube": cube(source.transfer)}


def _without_metadata(target: Signal) -> list[str]:
    kinds = _DYNAMIC if target.dynamic_range != "sdr" else (*_STATIC, *_DYNAMIC)
    return [f"sidedata=mode=delete:type={kind}" for kind in kinds]


def _hdr_notices(source: Signal, target: Signal, encode: Ffmpeg) -> list[Notice]:
    notices = []
    if target.dynamic_range == "sdr" and encode.dynamicRange != "sdr":
        codec = encoder_of(encode.codec)[0].stream
        message = (
            f"The input is {source.dynamic_range.upper()}; the output is SDR, tone-mapped, as {codec} of 8 bits "
            "does not carry it. h265 and av1 keep HDR."
        )
        notices.append(Notice("hdr-tone-mapped", message))
    return notices


def _dropped(video: Video) -> list[Notice]:
    notices = []
    if dolby := video.metadata.dolby_vision:
        message = (
            f"The input is Dolby Vision profile {dolby.profile}; the output is made of its base layer, "
            f"{source_signal(video).dynamic_range.upper()}, without Dolby's metadata."
        )
        notices.append(Notice("dolby-vision-dropped", message))
    elif video.metadata.is_dynamic:
        message = "The input has metadata for each scene (HDR10+ or alike); the output is without."
        notices.append(Notice("dynamic-metadata-dropped", message))
    return notices


def verify(video: Video, output: Video, target: Signal) -> list[Notice]:
    """Warnings where an output lacks what it should tell. Raises PermanentError if it tells another signal.

    Containers that hold no tags of their own leave them to the bitstream, from which ffprobe reads them.
    """
    actual = (output.primaries, output.transfer, output.matrix, "pc" if output.full_range else "tv", output.bits)
    expected = (*target.colour[:4], 10 if "10" in target.pixel_format else 8)
    if actual != expected:
        raise PermanentError("output-invalid", f"The output is of {_words(actual)}, not {_words(expected)}.")
    lost = [
        name
        for name, before, after in (
            ("mastering display", video.metadata.mastering, output.metadata.mastering),
            ("content light level", video.metadata.light, output.metadata.light),
        )
        if target.dynamic_range != "sdr" and before and not _are_close(before, after or ())
    ]
    return [Notice("hdr-metadata-lost", f"The output lacks the input's {' and '.join(lost)}.")] if lost else []


def _are_close(before: tuple[float, ...], after: tuple[float, ...]) -> bool:
    """Whether the numbers are the same, but for the rounding of the codec that stores them."""
    return len(before) == len(after) and all(map(partial(math.isclose, rel_tol=0.01, abs_tol=0.0002), before, after))


def _words(values: tuple[object, ...]) -> str:
    return " ".join(map(str, values))
