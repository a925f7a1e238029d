"""The size of the output picture, and the filters that bring the source's pictures to it. Pure."""

from collections.abc import Mapping
from fractions import Fraction
from typing import NamedTuple

from elasticrecode.jobs.events import Notice
from elasticrecode.media.ladders import inside
from elasticrecode.media.profiles import SOURCE, Ffmpeg
from worker.media.steps import Step
from worker.media.video import Video

_MAX_SIDE = 16384
_MIN_SIDES = {"libx264": 2, "libx265": 34, "libsvtav1": 64}
"""Below them x265 damages its heap, and SVT-AV1 holds no rate."""
_MIN_SIDE = 16
_ANAMORPHIC = "(eq(ih,480)+eq(ih,576))*lte(iw,720)*abs(iw-640)+eq(iw,1440)*eq(ih,1080)+eq(iw,960)*eq(ih,720)"
"""Sizes of broadcast pictures that are shown in the shape of the film, although their pixels are not square."""
_TURNS = {
    (1, 0, 0, 1): (),
    (-1, 0, 0, 1): ("hflip",),
    (1, 0, 0, -1): ("vflip",),
    (-1, 0, 0, -1): ("hflip", "vflip"),
    (0, 1, 1, 0): ("transpose=cclock_flip",),
    (0, 1, -1, 0): ("transpose=clock",),
    (0, -1, 1, 0): ("transpose=cclock",),
    (0, -1, -1, 0): ("transpose=clock_flip",),
}


class Raster(NamedTuple):
    """Width and height of the output, both even."""

    width: int
    height: int


def raster(video: Video, encode: Ffmpeg) -> Raster:
    """The size of the output, by the encode's `scale` and `fit`."""
    box = _box(video, encode)
    if _fills(encode):
        return box
    least = _MIN_SIDES.get(encode.codec, _MIN_SIDE)
    inner = _inside(video, box, enlarge=False)
    return Raster(max(inner.width, least), max(inner.height, least))


def normalise(video: Video) -> Step:
    """Bring pictures whose size changes to that of the first, made even, with bars around those of another shape.

    ffmpeg gives all frames the pixel aspect of the first, so that of others is taken by their size: square, but for
    the sizes that broadcasts use with other pixels.
    """
    width, height = (max(2, side // 2 * 2) for side in (video.width, video.height))
    film = video.width * video.pixel_aspect / video.height
    shape = f"st(0,if(eq(iw,{video.width})*eq(ih,{video.height})+{_ANAMORPHIC},1,iw/ih/{film:.6f}))"
    wide = f"{shape};if(lt(ld(0),0.99),max(2,2*round({width}*ld(0)/2)),{width})"
    high = f"{shape};if(gt(ld(0),1.01),max(2,2*round({height}/ld(0)/2)),{height})"
    problem = f"The pixel aspect {video.stated_aspect} of the input is beyond belief: its pixels count as square."
    return Step(
        (
            *(("setsar=1",) if video.stated_aspect else ()),
            f"scale=w='{wide}':h='{high}':eval=frame",
            f"pad={width}:{height}:-1:-1:eval=frame",
        ),
        (Notice("pixel-aspect-ignored", problem),) if video.stated_aspect else (),
    )


def changed(video: Video, sizes: Mapping[tuple[int, int], float]) -> list[Notice]:
    """A warning where the log of ffmpeg has other sizes of decoded pictures, with the seconds at which they begin."""
    others = [(*size, at) for size, at in sizes.items() if size != (video.width, video.height)]
    if not others:
        return []
    known = ", ".join(f"{width}x{height} at {at:.1f} s" for width, height, at in others[:5])
    first = f"{video.width}x{video.height}"
    same_shape = all(width * video.height == height * video.width for width, height, _ in others)
    bars = "" if same_shape else ", with black bars where their shape differs"
    message = f"The picture's size changes from {first}: {known}. All pictures are brought to {first}{bars}."
    return [Notice("size-changes", message)]


def orient(video: Video) -> Step:
    """Turn and mirror the picture as its display matrix says, by the nearest right angle, and forget the matrix."""
    problem = (
        f"A player turns the input's picture by {video.tilt:+.1f} degrees more than the right angle that the output is "
        "turned by. Turn it in an editor if that matters."
    )
    notices = (Notice("rotation-rounded", problem),) if video.tilt else ()
    return Step((*_TURNS[video.orientation], "sidedata=mode=delete:type=DISPLAYMATRIX"), notices)


def fit(video: Video, encode: Ffmpeg, size: Raster) -> Step:
    """Scale, crop and pad upright pictures to the output's size: in square pixels, but for `exact`."""
    wide, high = video.upright
    if encode.fit == "exact" and encode.scale != SOURCE:
        pixel = (Fraction(wide, high) * Fraction(size.height, size.width)).limit_denominator(1000)
        return Step((f"scale={size.width}:{size.height}", f"setsar={pixel.numerator}/{pixel.denominator}"))
    if encode.fit == "crop" and encode.scale != SOURCE:
        ratio = Fraction(size.width, size.height) / Fraction(wide, high)
        cut = f"crop=w=iw*{float(ratio):.6f}:h=ih" if ratio < 1 else f"crop=w=iw:h=ih/{float(ratio):.6f}"
        return Step((*((cut,) if ratio != 1 else ()), f"scale={size.width}:{size.height}", "setsar=1"))
    inner = _inside(video, size if _fills(encode) else _box(video, encode), enlarge=_fills(encode))
    if inner == size:
        return Step((f"scale={size.width}:{size.height}", "setsar=1"))
    left, top = ((side - part) // 4 * 2 for side, part in zip(size, inner, strict=True))
    filters = (f"scale={inner.width}:{inner.height}", f"pad={size.width}:{size.height}:{left}:{top}", "setsar=1")
    if _fills(encode):
        return Step(filters)
    problem = (
        f"The picture of {inner.width}x{inner.height} is smaller than the encoder takes: it has black bars around it, "
        f"to {size.width}x{size.height}."
    )
    return Step(filters, (Notice("picture-padded", problem),))


def _fills(encode: Ffmpeg) -> bool:
    """Whether the output has the size that was requested, whatever the shape of the source."""
    return encode.scale != SOURCE and encode.fit in ("pad", "crop", "exact")


def _box(video: Video, encode: Ffmpeg) -> Raster:
    """The largest output: `contain` turns it for a source that is higher than wide."""
    if encode.scale == SOURCE:
        return Raster(_MAX_SIDE, _MAX_SIDE)
    width, height = map(int, encode.scale.split(":"))
    wide, high = video.upright
    turned = not _fills(encode) and wide < high and width > height
    return Raster(height, width) if turned else Raster(width, height)


def _inside(video: Video, box: Raster, *, enlarge: bool) -> Raster:
    """The largest size inside a box with even sides and the source's shape."""
    return Raster(*inside(*video.upright, box, enlarge=enlarge))
