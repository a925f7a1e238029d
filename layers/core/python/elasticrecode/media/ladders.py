"""Ladders: the renditions of a package, chosen for a source. Pure.

The rungs of H.264 and HEVC are those of Apple's "HLS authoring specification for Apple devices". Apple lists no AV1:
its rungs here are HEVC's at four fifths of the bitrate, as comparisons of AV1 with HEVC at equal quality report savings
of about a fifth. Apple's H.264 ends at 1080p: 1440p and 2160p are added, so that no larger source loses its detail,
at about the growth of HEVC's rates.
"""

import math
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import NamedTuple

from msgspec import UNSET, UnsetType

from elasticrecode.media.codecs import CODECS
from elasticrecode.media.profiles import SCALES, SOURCE, Ffmpeg, LadderName, Package, Rung, bits, rate

KEYFRAME_SECONDS = 2
"""Players switch and seek at keyframes; Apple's rule 1.13."""
CALM_RATE = 30
"""Frames per second that calm rungs have at most: the low ones, whose bits go into fewer frames."""
_MOST_RATE = 60
_FILM_RATE = Fraction(49, 2)
"""Below it a source is film at 24 frames per second, for which Apple lowers HEVC's rates by about 20 %."""
_FILM_SHARE = 0.8
_AV1_SHARE = 0.8
_PEAK = 1.5
"""The cap of a rung by its average: with the buffer, a segment's peak stays below Apple's 200 % (rule 1.30)."""
_BUFFER = 0.45
"""Most bits of the buffer, by the average of a segment."""
_LEAST_BITS = 50_000
_NEAR = 1.06
"""A source whose sides are this much shorter than a rung's gets that rung, at its own size."""
_NOTICEABLE = 1.2
"""A source with so many times the pixels of the largest rung gets its own size as the top."""
_FULL = Fraction(19, 20)
"""A wanted frame rate that is this much below the source's is that of the source."""
_LARGEST = (3840, 2160)
_ASPECT_ERROR = 0.004
"""The error of the aspect ratio below which a larger picture is better than a truer one."""


class Step(NamedTuple):
    """A recommended rung: the box of its size, its average in kbit/s, and whether it is calm (CALM_RATE)."""

    width: int
    height: int
    kbits: int
    is_calm: bool = False


H264 = (
    Step(416, 234, 145, is_calm=True),
    Step(640, 360, 365, is_calm=True),
    Step(768, 432, 730, is_calm=True),
    Step(768, 432, 1100, is_calm=True),
    Step(960, 540, 2000),
    Step(1280, 720, 3000),
    Step(1280, 720, 4500),
    Step(1920, 1080, 6000),
    Step(1920, 1080, 7800),
    Step(2560, 1440, 11000),
    Step(3840, 2160, 18000),
)
HEVC = (
    Step(640, 360, 145, is_calm=True),
    Step(768, 432, 300, is_calm=True),
    Step(960, 540, 600, is_calm=True),
    Step(960, 540, 900, is_calm=True),
    Step(960, 540, 1600),
    Step(1280, 720, 2400),
    Step(1280, 720, 3400),
    Step(1920, 1080, 4500),
    Step(1920, 1080, 5800),
    Step(2560, 1440, 8100),
    Step(3840, 2160, 11600),
    Step(3840, 2160, 16800),
)
HEVC_HDR = tuple(
    step._replace(kbits=kbits)
    for step, kbits in zip(HEVC, (160, 360, 730, 1090, 1930, 2900, 4080, 5400, 7000, 9700, 13900, 20000), strict=True)
)
LADDERS: Mapping[tuple[LadderName, bool], tuple[Step, ...]] = {
    ("h264", False): H264,
    ("h265", False): HEVC,
    ("h265", True): HEVC_HDR,
    ("av1", False): tuple(step._replace(kbits=round(step.kbits * _AV1_SHARE)) for step in HEVC),
    ("av1", True): tuple(step._replace(kbits=round(step.kbits * _AV1_SHARE)) for step in HEVC_HDR),
}
"""Codec, and whether HDR → its recommended rungs, the smallest first."""


class Box(NamedTuple):
    """A size of an automatic ladder: its box, and whether its rungs are calm (CALM_RATE)."""

    width: int
    height: int
    is_calm: bool = False

    @property
    def scale(self) -> str:
        """The scale of a rung that fills the box."""
        return f"{self.width}:{self.height}"


class _Choice(NamedTuple):
    """A rung for one source. `frame_rate` is 0 for that of the source, `cap` 0 for the default."""

    codec: LadderName
    size: tuple[int, int]
    average: int
    cap: int = 0
    frame_rate: Fraction = Fraction(0)
    is_hdr: bool = False


def rungs(package: Package, width: int, height: int, frame_rate: Fraction, *, is_hdr: bool) -> list[Ffmpeg]:
    """The encodes of a package, the largest first: at least one, none larger than the source, none like another.

    `width` and `height` are those of the picture as shown, in square pixels; `frame_rate` is the source's in frames per
    second, 0 where unknown. Sizes have even sides and the shape of the source. An HDR source becomes HDR and SDR
    rungs where the codec carries HDR, unless `dynamicRange` is `sdr` or `keep`. The ladder must not be `auto`.
    """
    source = (width, height)
    if package.ladder == "auto":
        raise ValueError("the worker that has the job finds its ladder first")
    if isinstance(package.ladder, list):
        chosen = [
            choice
            for rung in package.ladder
            for hdr in _ranges(rung.codec, package, is_hdr=is_hdr)
            for choice in (_own(rung, source, frame_rate, is_hdr=hdr),)
        ]
    else:
        chosen = [
            choice
            for hdr in _ranges(package.ladder, package, is_hdr=is_hdr)
            for choice in _recommended(package.ladder, source, frame_rate, is_hdr=hdr)
        ]
    order = sorted(_distinct(chosen), key=lambda one: (math.prod(one.size), one.is_hdr, one.average), reverse=True)
    return [_encode(choice, package) for choice in order]


def boxes(codec: LadderName, width: int, height: int) -> list[Box]:
    """The sizes of an automatic ladder, the largest first: at least one, none larger than the source.

    They are those of the codec's recommended rungs, and the source's own where that is noticeably larger.
    """
    source, steps = (width, height), LADDERS[codec, False]
    lively = {step[:2] for step in steps if not step.is_calm}
    sizes = list(dict.fromkeys(step[:2] for step in steps))
    chosen = [Box(*box, is_calm=box not in lively) for box in sizes if _growth(box, source) <= _NEAR]
    top = inside(*source, _turned(_LARGEST, source))
    if not chosen or math.prod(top) > _NOTICEABLE * math.prod(inside(*source, _turned(chosen[-1][:2], source))):
        calm = math.prod(top) <= max(math.prod(step[:2]) for step in steps if step.is_calm)
        chosen.append(Box(*_LARGEST, is_calm=calm))
    filled = {inside(*source, _turned(box[:2], source)): box for box in chosen}
    return list(filled.values())[::-1]


def bounds(codec: LadderName, width: int, height: int, *, is_hdr: bool) -> tuple[int, int]:
    """The lowest and the highest average, in bit/s, that the recommended rungs of a source have."""
    rates = [choice.average for choice in _recommended(codec, (width, height), Fraction(0), is_hdr=is_hdr)]
    return min(rates), max(rates)


def inside(width: int, height: int, box: tuple[int, int], *, enlarge: bool = False) -> tuple[int, int]:
    """The largest size inside a box with even sides and the shape of width x height; larger than that to `enlarge`.

    Of the sizes just below the largest it is the first whose shape is right, else the one whose shape is least wrong.
    """
    scale = min(box[0] / width, box[1] / height)
    scale = scale if enlarge else min(scale, 1.0)
    most = box if enlarge else (min(box[0], width), min(box[1], height))
    limits = [
        max(2, min(side // 2 * 2, 2 * math.ceil(exact * scale / 2 - 1e-6)))
        for side, exact in zip(most, (width, height), strict=True)
    ]
    sizes = [
        *(
            (wide, min(limits[1], max(2, 2 * round(wide * height / width / 2))))
            for wide in range(limits[0], max(1, limits[0] - 16), -2)
        ),
        *(
            (min(limits[0], max(2, 2 * round(high * width / height / 2))), high)
            for high in range(limits[1], max(1, limits[1] - 16), -2)
        ),
    ]
    errors = {size: abs(size[0] * height / (size[1] * width) - 1) for size in sizes}
    right = [size for size in sizes if errors[size] <= _ASPECT_ERROR]
    return max(right, key=math.prod) if right else min(sizes, key=errors.__getitem__)


def _ranges(codec: LadderName, package: Package, *, is_hdr: bool) -> tuple[bool, ...]:
    """Whether HDR, for each range that a codec's rungs have."""
    wish = package.dynamicRange or "auto"
    if not is_hdr or wish == "sdr" or 10 not in CODECS[codec].depths:
        return (False,)
    return (True,) if wish == "keep" else (True, False)


def _recommended(
    codec: LadderName, source: tuple[int, int], frame_rate: Fraction, *, is_hdr: bool
) -> Iterable[_Choice]:
    steps = LADDERS[codec, is_hdr]
    share = _FILM_SHARE if codec != "h264" and 0 < frame_rate < _FILM_RATE else 1.0
    chosen = [
        _Choice(
            codec,
            inside(*source, _turned(step[:2], source)),
            round(step.kbits * 1000 * share),
            frame_rate=_divided(frame_rate, CALM_RATE if step.is_calm else _MOST_RATE),
            is_hdr=is_hdr,
        )
        for step in steps
        if _growth(step[:2], source) <= _NEAR
    ]
    top = inside(*source, _turned(_LARGEST, source))
    if not chosen or math.prod(top) > _NOTICEABLE * max(math.prod(choice.size) for choice in chosen):
        average = round(_kbits(steps, math.prod(top)) * 1000 * share)
        calm = math.prod(top) <= max(math.prod(step[:2]) for step in steps if step.is_calm)
        divided = _divided(frame_rate, CALM_RATE if calm else _MOST_RATE)
        chosen.append(_Choice(codec, top, average, frame_rate=divided, is_hdr=is_hdr))
    return chosen


def _kbits(steps: tuple[Step, ...], pixels: int) -> float:
    """The average for a size between those of a ladder: on the straight line between its neighbours' best rates."""
    best = {step.width * step.height: step.kbits for step in steps}  # the last of a size has the highest rate
    below = max((size for size in best if size <= pixels), default=0)
    above = min((size for size in best if size > pixels), default=0)
    if not below or not above:
        near = below or above
        return best[near] * pixels / near
    return best[below] + (best[above] - best[below]) * (pixels - below) / (above - below)


def _own(rung: Rung, source: tuple[int, int], frame_rate: Fraction, *, is_hdr: bool) -> _Choice:
    """A rung of a request's own list for a source: its box, filled as far as the source goes."""
    if rung.scale == SOURCE:
        box = source
    elif rung.scale in SCALES:
        box = SCALES[rung.scale]
    else:
        width, height = map(int, rung.scale.split(":"))
        box = (width, height)
    wish = Fraction(rung.frameRate) if rung.frameRate and rung.frameRate != SOURCE else Fraction(0)
    divisor = 2 if wish and wish < frame_rate * _FULL else 1  # players expect the rungs' rates to be one, or half of it
    return _Choice(
        rung.codec,
        inside(*source, _turned(box, source)),
        bits(rung.bitrate),
        bits(rung.maxBitrate) if rung.maxBitrate else 0,
        frame_rate / divisor if divisor > 1 else Fraction(0),
        is_hdr,
    )


def _turned(box: tuple[int, int], source: tuple[int, int]) -> tuple[int, int]:
    """A box as it lies for a source: upright for one that is higher than wide, so that the short sides meet."""
    return (box[1], box[0]) if source[0] < source[1] and box[0] > box[1] else box


def _growth(box: tuple[int, int], source: tuple[int, int]) -> float:
    """How many times longer the sides of a source would become to fill a box."""
    return min(side / own for side, own in zip(_turned(box, source), source, strict=True))


def _divided(frame_rate: Fraction, most: int) -> Fraction:
    """The rate halved until it is at most so many frames per second; 0 where it is so already."""
    divided = frame_rate
    while divided > most:
        divided /= 2
    return divided if divided != frame_rate else Fraction(0)


def _distinct(choices: Iterable[_Choice]) -> list[_Choice]:
    """The choices that differ: of those with one codec, range, size and average, the first."""
    return list({(one.codec, one.is_hdr, one.size, one.average): one for one in reversed(list(choices))}.values())


def _encode(choice: _Choice, package: Package) -> Ffmpeg:
    average = max(_LEAST_BITS, choice.average)
    cap = choice.cap or round(average * _PEAK)
    # Bits of the buffer come on top of the cap in the worst segment.
    buffer = max(1000, round(average * min(_PEAK, _BUFFER * package.segmentSeconds)))
    frame_rate: str | UnsetType = SOURCE
    if choice.frame_rate:
        exact = choice.frame_rate.limit_denominator(4000)
        frame_rate = f"{exact.numerator}/{exact.denominator}" if exact.denominator > 1 else f"{exact.numerator}"
    return Ffmpeg(
        codec=CODECS[choice.codec].encoders["cpu"].name,
        scale="{}:{}".format(*choice.size),
        fit="contain",
        bitrate=_text(average),
        maxBitrate=_text(cap),
        buffersize=_text(buffer),
        platform="cpu",
        speed=package.speed or UNSET,
        frameRate=frame_rate,
        keyframeSeconds=KEYFRAME_SECONDS,
        dynamicRange="keep" if choice.is_hdr else "sdr",
        bitDepth=10 if choice.is_hdr else 8,
    )


def _text(bits_per_second: int) -> str:
    return rate(round(bits_per_second, -3))
