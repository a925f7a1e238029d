"""Sources whose samples mean something else than BT.709 of limited range."""

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.media.case import Between, Case, Measure, about, ffmpeg
from tests.media.charts import (
    GREYS,
    HDR_PATCHES,
    SDR_PATCHES,
    Form,
    chart,
    in_primaries,
    signal,
    tone_mapped,
    worst_of,
    xyz,
)
from tests.media.measures import failure, frames, warnings
from tests.media.measures_colour import (
    chroma_location,
    content_light,
    luma,
    mastering_nits,
    metadata_in_bitstream,
    signal_in_bitstream,
    signal_in_container,
)

RATE = {"scale": "source", "bitrate": "6M", "speed": "fast"}
H264: Mapping[str, Any] = {"ffmpeg": {"codec": "h264", **RATE}}
H265: Mapping[str, Any] = {"ffmpeg": {"codec": "h265", **RATE}}
AV1: Mapping[str, Any] = {"ffmpeg": {"codec": "av1", **RATE}}
SDR_SIGNAL = "yuv420p bt709 bt709 bt709 tv"
MPEG4 = ("-c:v", "mpeg4", "-q:v", 1)
PRORES_4444 = ("-c:v", "prores_ks", "-pix_fmt", "yuva444p10le")
FFV1 = ("-c:v", "ffv1")
X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-qp", 4)
MASTERING = (
    "hdr10=1:master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1):max-cll=1000,400"
)
SDR_FORM = Form()
PQ = Form("yuv420p10le", "bt2020nc", "bt2020", "smpte2084")
HLG = Form("yuv420p10le", "bt2020nc", "bt2020", "arib-std-b67")


def _x265(*more: str) -> tuple[str, ...]:
    return ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", ":".join(("log-level=error:qp=4", *more)))


def _sdr(
    text: str, form: Form, name: str, *options: object, patches: Any = None, right: Any = None, **more: Any
) -> Case:
    """A chart of SDR in some form, whose output is BT.709 and shows the same light."""
    light = patches or SDR_PATCHES
    truth = [xyz(one, "bt709") for one in light]
    light = [in_primaries(one, form.primaries) for one in truth]
    expected: dict[Measure, object] = {
        failure: "",
        signal: SDR_SIGNAL,
        worst_of(truth): Between(0, 2),
        warnings: [],
    }
    make = functools.partial(_chart, name=name, light=light, form=form, options=options, more=more)
    return Case(text, make, H264, expected | (right or {}))


def _chart(folder: Path, name: str, light: Any, form: Form, options: Any, more: Any) -> Path:
    return chart(folder, name, light, form, *options, **more)


def _hdr(
    text: str, form: Form, name: str, *options: object, profile: Any = H264, right: Mapping[Measure, object]
) -> Case:
    make = functools.partial(_chart, name=name, light=HDR_PATCHES, form=form, options=options, more={})
    return Case(text, make, profile, {failure: "", **right})


TONE_MAPPED: Mapping[Measure, object] = {
    signal: SDR_SIGNAL,
    worst_of([tone_mapped(light) for light in HDR_PATCHES]): Between(0, 2),
    warnings: ["hdr-tone-mapped"],
    metadata_in_bitstream: "none",
}
KEPT_LIGHT = worst_of([xyz(light, "bt2020") for light in HDR_PATCHES])


def _with(encode: Mapping[str, Any], **fields: object) -> Mapping[str, Any]:
    return {"ffmpeg": {**encode["ffmpeg"], **fields}}


def _dolby(profile: int, compatibility: int, form: Form, *, tag: bytes = b"dvvC") -> Callable[[Path], Path]:
    """An HEVC chart whose MP4 says that it is the base layer of Dolby Vision."""

    def make(folder: Path) -> Path:
        path = chart(folder, "x.mp4", HDR_PATCHES, form, *_x265(), "-tag:v", "hvc1")
        data = bytearray(path.read_bytes())
        bits = profile << 25 | 6 << 19 | 1 << 18 | 1 << 16 | compatibility << 12
        box = (32).to_bytes(4, "big") + tag + b"\1\0" + bits.to_bytes(4, "big") + bytes(18)
        at = data.index(b"hvcC") - 4
        at += int.from_bytes(data[at : at + 4], "big")
        for name in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"hvc1"):
            start = data.index(name) - 4
            size = int.from_bytes(data[start : start + 4], "big") + len(box)
            data[start : start + 4] = size.to_bytes(4, "big")
        path.write_bytes(data[:at] + box + data[at:])  # moov lies behind mdat, so no offset moves
        return path

    return make


def _contradiction(folder: Path) -> Path:
    """BT.601 in the bitstream, which decoders follow, and BT.709 in the container."""
    path = chart(folder, "a.mp4", SDR_PATCHES, Form(matrix="smpte170m", primaries="bt709"), *X264)
    told = chart(folder, "b.mp4", SDR_PATCHES, Form(), *X264)
    data = path.read_bytes()
    right, wrong = (file.read_bytes()[file.read_bytes().index(b"colrnclx") :][:15] for file in (path, told))
    path.write_bytes(data.replace(right, wrong))
    return path


def _tagged(**fields: int) -> Callable[[Path], Path]:
    """A chart of BT.709 whose bitstream tells these numbers of H.273."""
    changes = ":".join(f"{name}={value}" for name, value in fields.items())

    def make(folder: Path) -> Path:
        path = chart(folder, "a.ts", SDR_PATCHES, Form(), *X264)
        return ffmpeg(folder, "x.ts", "-i", path, "-c", "copy", "-bsf:v", f"h264_metadata={changes}")

    return make


def _midway(folder: Path) -> Path:
    """Two films in one: first BT.709 of limited range, then BT.601 of full range."""
    first = chart(folder, "a.ts", SDR_PATCHES, Form(), *X264)
    second = chart(folder, "b.ts", SDR_PATCHES, Form(matrix="smpte170m", range="pc"), *X264)
    path = folder / "x.ts"
    path.write_bytes(first.read_bytes() + second.read_bytes())
    return path


def _half_white(name: str, *options: object) -> Callable[[Path], Path]:
    """White that is half transparent."""
    half = "color=white:s=640x360:r=25:d=0.2,format=rgba,colorchannelmixer=aa=0.5"
    return lambda folder: ffmpeg(folder, name, "-f", "lavfi", "-i", half, *options)


def _palette(folder: Path) -> Path:
    film = chart(folder, "a.mkv", SDR_PATCHES, Form("gbrp", "gbr"), *FFV1)
    graph = "split[a][b];[b]palettegen=stats_mode=single[p];[a][p]paletteuse=dither=none"
    return ffmpeg(folder, "x.mov", "-i", film, "-vf", graph, "-c:v", "png", "-pix_fmt", "pal8")


def _grey_card(form: Form, *options: object) -> Callable[[Path], Path]:
    """A grey card of 18 %, which BT.2408 puts at 26 cd/m²."""
    card = [(26 / 203,) * 3] * 24
    return functools.partial(_chart, name="x.mov", light=card, form=form, options=(*options, "-tag:v", "hvc1"), more={})


SDR_CASES = (
    _sdr("SDR as it should be", SDR_FORM, "x.mp4", *X264,
         right={signal_in_bitstream: "bt709 bt709 bt709 tv", signal_in_container: [1, 1, 1, 0]}),
    _sdr("chroma in the middle of its pixels", SDR_FORM, "x.mp4", "-c:v", "libx264", "-qp", 4, "-x264-params",
         "chromaloc=1", right={chroma_location: "center"}),
    _sdr("H.264 of full range", Form(range="pc"), "x.mp4", *X264),
    _sdr("motion JPEG", Form("yuvj420p", "bt470bg", "bt709", "bt709", "pc"), "x.avi", "-c:v", "mjpeg", "-q:v", 1),
    _sdr("RGB in FFV1", Form("gbrp", "gbr"), "x.mkv", *FFV1),
    _sdr("RGB of 16 bits", Form("gbrp16le", "gbr"), "x.mkv", *FFV1),
    _sdr("RGB in QuickTime Animation", Form("gbrp", "gbr"), "x.mov", "-c:v", "qtrle", "-pix_fmt", "rgb24"),
    _sdr("ProRes of 4:2:2 and 10 bits", Form("yuv422p10le"), "x.mov", "-c:v", "prores_ks", "-profile:v", 3),
    _sdr("H.264 of 4:4:4", Form("yuv444p"), "x.mp4", *X264),
    _sdr("4:1:1", Form("yuv411p", "smpte170m"), "x.mkv", *FFV1),
    _sdr("4:2:0 of 12 bits", Form("yuv420p12le"), "x.mkv", *FFV1),
    _sdr("grey of limited range", Form("gray"), "x.mkv", *FFV1, patches=GREYS * 4),
    _sdr("grey of full range", Form("gray", range="pc"), "x.mkv", *FFV1, patches=GREYS * 4),
    _sdr("NTSC", Form("yuv420p", "smpte170m", "smpte170m", "smpte170m"), "x.mp4", *X264, size=(720, 480)),
    _sdr("PAL without tags", Form("yuv420p", "bt470bg", "bt470bg"), "x.mkv", *FFV1, tags=False, size=(720, 576)),
    _sdr("NTSC without tags", Form("yuv420p", "smpte170m", "smpte170m"), "x.avi", *MPEG4, tags=False, size=(720, 480)),
    _sdr("HD without tags", Form(), "x.mkv", *FFV1, tags=False, size=(1280, 720)),
    _sdr("SMPTE 240M", Form("yuv420p", "smpte240m", "smpte240m", "smpte240m"), "x.mkv", *FFV1),
    _sdr("the matrix of the FCC", Form("yuv420p", "fcc"), "x.mp4", *X264),
    _sdr("YCgCo", Form("yuv444p", "ycgco"), "x.mkv", *FFV1),
    _sdr("BT.2020 that is no HDR", Form("yuv420p10le", "bt2020nc", "bt2020", "bt2020-10"), "x.mp4", *_x265()),
    _sdr("Display P3", Form("yuv420p", "bt709", "smpte432"), "x.mp4", *X264),
    _sdr("the curve of sRGB", Form(transfer="iec61966-2-1"), "x.mp4", *X264,
         right={signal: "yuv420p bt709 iec61966-2-1 bt709 tv"}),
    _sdr("xvYCC", Form(transfer="iec61966-2-4"), "x.mp4", *X264),
)  # fmt: skip
ODD_CASES = (
    Case("a container that contradicts its bitstream", _contradiction, H264,
         {failure: "", signal: SDR_SIGNAL, worst_of([xyz(one, "bt709") for one in SDR_PATCHES]): Between(0, 2)}),
    Case("reserved numbers for primaries, curve and matrix",
         _tagged(colour_primaries=3, transfer_characteristics=3, matrix_coefficients=3), H264,
         {failure: "", signal: SDR_SIGNAL}),
    Case("a film that goes on in another matrix and range", _midway, H264,
         {failure: "", signal: SDR_SIGNAL, frames: 10}),
    Case("4:1:0 at a width that four does not divide", lambda folder: chart(
        folder, "x.mkv", SDR_PATCHES, Form("yuv410p", "smpte170m"), *FFV1), _with(H264, scale="426:240", fit="exact"),
         {failure: "", signal: SDR_SIGNAL, worst_of([xyz(one, "bt709") for one in SDR_PATCHES]): Between(0, 2)}),
    Case("a transfer that ffmpeg's scaler refuses", lambda folder: chart(
        folder, "x.mp4", SDR_PATCHES, Form(transfer="log100"), *X264), _with(H264, scale="240p"),
         {failure: "", signal: SDR_SIGNAL}),
    Case("a palette", _palette, H264,
         {failure: "", signal: SDR_SIGNAL, worst_of([xyz(one, "bt709") for one in SDR_PATCHES]): Between(0, 2)}),
    Case("half transparent, in QuickTime Animation", _half_white("x.mov", "-c:v", "qtrle"), H264,
         {failure: "", signal: SDR_SIGNAL, luma: about(126, 2), warnings: ["alpha-blended"]}),
    Case("half transparent, in ProRes 4444", _half_white("x.mov", *PRORES_4444), H264,
         {failure: "", signal: SDR_SIGNAL, luma: about(126, 2), warnings: ["alpha-blended"]}),
    Case("half transparent, in VP9", _half_white("x.mkv", "-c:v", "libvpx-vp9", "-pix_fmt", "yuva420p"), H264,
         {failure: "", signal: SDR_SIGNAL, luma: about(126, 2), warnings: ["alpha-blended"]}),
)  # fmt: skip
HDR_CASES = (
    _hdr("HDR10 for H.264", PQ, "x.mp4", *_x265(MASTERING), right=TONE_MAPPED),
    _hdr("HLG for H.264", HLG, "x.mp4", *_x265(), right=TONE_MAPPED),
    _hdr("PQ of full range", PQ._replace(range="pc"), "x.mkv", *FFV1, right=TONE_MAPPED),
    _hdr("PQ in RGB of 12 bits", PQ._replace(pixel_format="gbrp12le", matrix="gbr"), "x.mkv", *FFV1, right=TONE_MAPPED),
    _hdr("HDR10 for H.265", PQ, "x.mp4", *_x265(MASTERING), profile=H265, right={
        signal: "yuv420p10le bt2020 smpte2084 bt2020nc tv", KEPT_LIGHT: Between(0, 2), warnings: [],
        mastering_nits: [0.0001, 1000.0], content_light: [1000, 400],
        signal_in_bitstream: "bt2020 smpte2084 bt2020nc tv", signal_in_container: [9, 16, 9, 0],
        metadata_in_bitstream: "Content light level metadata, Mastering display metadata"}),
    _hdr("HDR10 in a transport stream for H.265", PQ, "x.ts", *_x265(MASTERING), profile=H265, right={
        signal: "yuv420p10le bt2020 smpte2084 bt2020nc tv", warnings: [],
        metadata_in_bitstream: "Content light level metadata, Mastering display metadata"}),
    _hdr("HDR10 whose chroma lies at the top left", PQ, "x.mp4", *_x265("chromaloc=2"), profile=H265, right={
        chroma_location: "topleft", KEPT_LIGHT: Between(0, 2)}),
    _hdr("HDR10 whose chroma lies at the top left, for H.264", PQ, "x.mp4", *_x265("chromaloc=2"), right={
        chroma_location: "left", **TONE_MAPPED}),
    _hdr("HLG for H.265", HLG, "x.mkv", *_x265(), profile=H265, right={
        signal: "yuv420p10le bt2020 arib-std-b67 bt2020nc tv", KEPT_LIGHT: Between(0, 2), warnings: []}),
    _hdr("HDR10 for AV1", PQ, "x.mp4", *_x265(MASTERING), profile=AV1, right={
        signal: "yuv420p10le bt2020 smpte2084 bt2020nc tv", KEPT_LIGHT: Between(0, 2), warnings: [],
        mastering_nits: [0.0001, 1000.0], content_light: [1000, 400],
        signal_in_bitstream: "bt2020 smpte2084 bt2020nc tv", signal_in_container: [9, 16, 9, 0]}),
    _hdr("HLG for AV1", HLG, "x.mkv", *_x265(), profile=AV1, right={
        signal: "yuv420p10le bt2020 arib-std-b67 bt2020nc tv", KEPT_LIGHT: Between(0, 2), warnings: []}),
    _hdr("HDR10 for H.265 of 8 bits", PQ, "x.mp4", *_x265(MASTERING), profile=_with(H265, bitDepth=8),
         right=TONE_MAPPED),
    _hdr("HDR10 for SDR of 10 bits", PQ, "x.mp4", *_x265(MASTERING),
         profile=_with(H265, bitDepth=10, dynamicRange="sdr"),
         right={**TONE_MAPPED, signal: SDR_SIGNAL.replace("420p", "420p10le"), warnings: []}),
    _hdr("HDR10 to be kept in H.264", PQ, "x.mp4", *_x265(MASTERING), profile=_with(H264, dynamicRange="keep"), right={
        failure: "dynamic-range-unsupported"}),
    Case("a grey card in HDR10", _grey_card(PQ, *_x265(MASTERING)), H264, {signal: SDR_SIGNAL, luma: Between(90, 150)}),
    Case("a grey card in HLG", _grey_card(HLG, *_x265()), H264, {signal: SDR_SIGNAL, luma: Between(90, 150)}),
    Case("Dolby Vision profile 8.1", _dolby(8, 1, PQ), H265,
         {failure: "", signal: "yuv420p10le bt2020 smpte2084 bt2020nc tv", warnings: ["dolby-vision-dropped"]}),
    Case("Dolby Vision profile 8.4", _dolby(8, 4, HLG), H264,
         {**TONE_MAPPED, failure: "", warnings: ["dolby-vision-dropped", "hdr-tone-mapped"]}),
    Case("Dolby Vision profile 8.2", _dolby(8, 2, SDR_FORM), H264,
         {failure: "", signal: SDR_SIGNAL, warnings: ["dolby-vision-dropped"]}),
    Case("Dolby Vision profile 7", _dolby(7, 6, PQ, tag=b"dvcC"), H265,
         {failure: "", signal: "yuv420p10le bt2020 smpte2084 bt2020nc tv", warnings: ["dolby-vision-dropped"]}),
    Case("Dolby Vision profile 5", _dolby(5, 0, PQ, tag=b"dvcC"), H264, {failure: "input-dolby-vision"}),
)  # fmt: skip
CASES = (*SDR_CASES, *ODD_CASES, *HDR_CASES)
