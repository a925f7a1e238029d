"""Rate control of a film that many workers encode in chunks: one quality for all, and a decoder's buffer. Pure.

**Quality.** A chunk is encoded at a constant rate factor (CRF). A job with `quality` has one. For a job with `bitrate`,
and for a rung, the worker that divides the film finds the factor at which the whole has the wanted size: it encodes a
few short windows (`windows`) at `first_crf`, then at `next_crf` until that is None, and `analysed` makes the plan. Who
encodes a chunk later corrects the factor by the chunks that are finished (`chunk_crf`).

**Buffer.** A stream keeps to a rate R and a buffer B where no window of t seconds has more than B + R t bits. An
encoder with a rate r and a buffer b that begins filled to s keeps each window of its chunk to b + r t bits, and those
that begin with the chunk to s + r t. So a window over seams has at most b + r t bits of its first chunk, s + r t of its
last, and s + r T of each between them, T seconds long. With b + s = B and r = R - s / T, that is at most B + R t in
all. The first and the last chunk of a film are never between others, so theirs is r = R.

**Ends.** x264 and x265 spend bits on a picture by how much later ones take from it, and look for that beyond keyframes.
The last pictures of a chunk, behind which they see nothing, would be worse than others. So copies of the last one
follow it into the encoder, and are dropped behind it (`tail`).
"""

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple

from msgspec import UNSET, Struct, structs

from elasticrecode.media.codecs import encoder_of
from elasticrecode.media.profiles import Ffmpeg, Target, bits, rate

_FILLED = 0.9
"""How full x264 and x265 take the buffer to be at the first picture, as a share of it."""
_MOST_LOSS = 0.1
"""Most of the peak rate that a chunk gives up so that its neighbours may be as full as they like."""
_WINDOWS = 12
_LEAST_WINDOWS = 4
_SHARE = 0.015
"""Most of the film that a round of the analysis encodes."""
_CLOSE = (0.5, 2.0)
"""How near to the factor that is sought one of a first round, or of one or two, is near enough: between, sizes bend."""
_ROUNDS = 2
_COPIES = 12
"""Copies of its last picture behind a chunk: with them its end has the bits that it has in the undivided encode."""
_COPY_RATE = 25
_LEAST_POINTS = 4
_PRIOR = 3.0
"""Chunks that the analysis counts as, beside finished ones."""
_STEP = 3.0
"""How far the factor of a chunk may lie from that of the analysis."""


class Scale(NamedTuple):
    """What an encoder's factors mean.

    `middle` is that of a tenth of a bit per pixel, `halving` the steps that halve the size, `grain` the smallest step.
    `least` and `most` bound analyses: they leave room for corrections, and finer factors only grow a film's noise.
    """

    middle: float
    halving: float
    least: float
    most: float
    grain: float


_SCALES: Mapping[str, Scale] = {
    "h264": Scale(23.0, 6.0, 8.0, 49.0, 0.01),
    "hevc": Scale(22.0, 6.0, 8.0, 49.0, 0.01),
    "av1": Scale(30.0, 9.0, 8.0, 61.0, 0.25),
}


class Tail(NamedTuple):
    """The end of a chunk's encode: filters to be the last ones, and options of its output."""

    filters: tuple[str, ...]
    options: tuple[str, ...]


class Span(Struct, frozen=True, array_like=True):
    """A part of the film: its seconds, and the bytes of the source's coded pictures in it; 0 where unknown."""

    seconds: float
    weight: float = 0.0


class Coded(Struct, frozen=True, array_like=True):
    """An encoded part of the film: the factor, and the bits of its pictures."""

    span: Span
    crf: float
    bits: float


class RatePlan(Struct, frozen=True):
    """The rate control of one encode, common to all its chunks.

    `crf` is the factor, and factors are multiples of `grain`; `target` is the bits of the whole film, 0 for a job with
    `quality`. Bits change by the factor exp(-`slope`) with each step of the factor; `trust`, from 0 to 1, is how far
    the source's coded bytes predict them; `gain` is the bits of the film at `crf` by the analysis. `peak` is the rate,
    in bit/s, that windows may have beyond `buffer` bits; 0 where the encode has no cap.
    """

    crf: float
    target: float = 0.0
    slope: float = 0.0
    trust: float = 0.0
    gain: float = 0.0
    grain: float = 0.01
    peak: float = 0.0
    buffer: float = 0.0


def first_crf(encode: Ffmpeg, pixels: float) -> float:
    """The factor at which an analysis begins. `pixels` is the number that the output has in a second."""
    scale = _scale(encode)
    wanted = _bits_per_second(encode) / max(1.0, pixels)
    return _near(scale.middle - scale.halving * math.log2(max(1e-6, wanted) / 0.1), scale)


def windows(film: Sequence[Span]) -> list[int]:
    """The numbers of the spans to encode in each round of the analysis, of a film cut at its keyframes.

    There are 12, or fewer where they are more than 1.5 % of the film, but four if it has so many. Each stands for as
    many spans of like weight, and they are spread over the film.
    """
    count = min(max(_LEAST_WINDOWS, min(_WINDOWS, round(_SHARE * len(film)))), len(film))
    by_weight = sorted(range(len(film)), key=lambda number: film[number].weight / film[number].seconds)
    free = set(range(count))
    chosen = []
    for stratum in range(count):
        low, high = (len(film) * edge // count for edge in (stratum, stratum + 1))
        margin = (high - low) // 3
        middle = by_weight[low + margin : max(high - margin, low + margin + 1)]
        places = {number: min(number * count // len(film), count - 1) for number in middle}
        number = min(
            middle, key=lambda one: (places[one] not in free, abs(one - (places[one] + 0.5) * len(film) / count), one)
        )
        free.discard(places[number])
        chosen.append(number)
    return sorted(chosen)


def next_crf(encode: Ffmpeg, film: Sequence[Span], probes: Sequence[Coded]) -> float | None:
    """The factor of the next round of the analysis; None where `probes` are enough. `film` has all its spans."""
    rounds = sorted({probe.crf for probe in probes})
    if not rounds:
        raise ValueError("next_crf follows a first round")
    plan = analysed(encode, film, probes)
    nearest = min(rounds, key=lambda crf: abs(crf - plan.crf))
    is_close = abs(nearest - plan.crf) <= _CLOSE[len(rounds) > 1]
    return None if is_close or len(rounds) >= _ROUNDS else plan.crf


def analysed(encode: Ffmpeg, film: Sequence[Span], probes: Sequence[Coded] = ()) -> RatePlan:
    """The rate control of an encode, by the windows of it that were encoded without a cap. `film` has all spans.

    An encode with `quality` needs no windows.
    """
    scale = _scale(encode)
    peak, buffer = limits(encode)
    if encode.quality:
        return RatePlan(encode.quality.factor, peak=peak, buffer=buffer)
    rounds: dict[float, list[Coded]] = {}
    for probe in probes:
        rounds.setdefault(probe.crf, []).append(probe)
    target = _bits_per_second(encode) * sum(span.seconds for span in film)
    sizes = {crf: _whole(film, coded, peak) for crf, coded in rounds.items()}
    near = sorted(sizes, key=lambda crf: abs(math.log(sizes[crf] / target)))
    slope = math.log(2) / scale.halving
    if len(near) > 1:
        measured = math.log(sizes[near[0]] / sizes[near[1]]) / (near[1] - near[0])
        slope = min(max(measured, slope / 2), slope * 2)
    crf = _near(near[0] + math.log(sizes[near[0]] / target) / slope, scale)
    gain = sizes[near[0]] * math.exp(slope * (near[0] - crf))
    return RatePlan(crf, target, slope, _trust(rounds[near[0]]), gain, scale.grain, peak, buffer)


def chunk_crf(
    plan: RatePlan, chunks: Sequence[Span], finished: Mapping[int, Coded], started: Mapping[int, float] | None = None
) -> float:
    """The factor of the next chunk, so that the whole has the target's bits.

    `chunks` has all chunks of the film; `finished` those that are encoded, by number; `started` the factors of others
    that are being encoded, where they are known.
    """
    if not plan.target:
        return plan.crf
    expected = _shares(plan, chunks)
    begun = {number: crf for number, crf in (started or {}).items() if number not in finished}
    have = sum(coded.bits for coded in finished.values())
    forecast = sum(expected[number] * _factor(plan, coded.crf) for number, coded in finished.items())
    prior = _PRIOR * plan.gain / len(chunks)
    level = (have + prior) / (forecast + prior)
    coming = sum(level * expected[number] * _factor(plan, crf) for number, crf in begun.items())
    rest = level * sum(share for number, share in enumerate(expected) if number not in finished and number not in begun)
    left = max(plan.target - have - coming, plan.target * 1e-6)
    step = math.log(rest / left) / plan.slope if rest else 0.0
    return round((plan.crf + min(max(step, -_STEP), _STEP)) / plan.grain) * plan.grain


def tail(end: int, units: Fraction, ticks: int) -> Tail:
    """The tail of a chunk that is not the film's last.

    The chunk is `end` ticks long on the clock of the filters, of which a second has `units`; that of the encoder has
    `ticks`, not fewer. The picture behind the chunk must be a keyframe, as at all ends of chunks: nothing that is kept
    then depends on pictures that are dropped.
    """
    later = f"max({end}\\,PREV_OUTPTS+{max(1, round(units / _COPY_RATE))})"
    return Tail(
        (f"tpad=stop={_COPIES}:stop_mode=clone", f"setpts=if(gt(N\\,0)*lte(PTS\\,PREV_OUTPTS)\\,{later}\\,PTS)"),
        ("-bsf:v", f"noise=amount=0:drop=gte(pts\\,{math.ceil((end - Fraction(1, 2)) * ticks / units)})"),
    )


def chunk_encode(encode: Ffmpeg, plan: RatePlan, crf: float, seconds: float, *, at_end: bool) -> Ffmpeg:
    """The encode of a chunk at a factor. `at_end` marks the first and the last chunk of the film."""
    constant = structs.replace(encode, bitrate=UNSET, quality=Target(crf=round(crf, 2)))
    if not plan.peak:
        return structs.replace(constant, maxBitrate=UNSET, buffersize=UNSET)
    buffer = plan.buffer / (1 + _FILLED)
    loss = 0.0 if at_end else _FILLED * buffer / seconds
    if loss > _MOST_LOSS * plan.peak:
        buffer *= _MOST_LOSS * plan.peak / loss
        loss = _MOST_LOSS * plan.peak
    return structs.replace(constant, maxBitrate=_text(plan.peak - loss), buffersize=_text(buffer))


def probe_encode(encode: Ffmpeg, crf: float) -> Ffmpeg:
    """The encode of a window of the analysis at a factor: without a cap."""
    quality = Target(crf=round(crf, 2))
    return structs.replace(encode, bitrate=UNSET, quality=quality, maxBitrate=UNSET, buffersize=UNSET)


def limits(encode: Ffmpeg) -> tuple[float, float]:
    """The peak rate in bit/s and the buffer in bits of an encode, as the undivided one has them; 0 without a cap."""
    is_unbounded = not encode.quality and not encode.maxBitrate and encoder_of(encode.codec)[1].name == "libsvtav1"
    peak = encode.maxBitrate or (UNSET if encode.quality or is_unbounded else encode.bitrate)
    return (bits(peak), bits(encode.buffersize or peak)) if peak else (0.0, 0.0)


def _whole(film: Sequence[Span], probes: Sequence[Coded], peak: float) -> float:
    """The bits of the film, by the windows of one round: each has as many as the cap leaves it, and at least one."""
    trust = _trust(probes)
    sample = sum(_size(probe.span, trust) for probe in probes)
    kept = sum(max(1.0, min(probe.bits, peak * probe.span.seconds if peak else math.inf)) for probe in probes)
    return kept / sample * sum(_size(span, trust) for span in film)


def _trust(probes: Sequence[Coded]) -> float:
    """How far the source's coded bytes predict the bits of the windows: the exponent of the best power law, 0 to 1."""
    points = [
        (math.log(probe.span.weight / probe.span.seconds), math.log(probe.bits / probe.span.seconds))
        for probe in probes
        if probe.span.weight > 0 and probe.bits > 0
    ]
    if len(points) < len(probes) or len(points) < _LEAST_POINTS:
        return 0.0
    mean_x, mean_y = (sum(values) / len(points) for values in zip(*points, strict=True))
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return min(max(sum((x - mean_x) * (y - mean_y) for x, y in points) / spread, 0.0), 1.0) if spread else 0.0


def _size(span: Span, trust: float) -> float:
    """A number in proportion to the bits that a span is expected to have."""
    return float(span.seconds ** (1 - trust) * span.weight**trust) if span.weight > 0 else span.seconds


def _shares(plan: RatePlan, chunks: Sequence[Span]) -> list[float]:
    """The bits that chunks are expected to have at the factor of the plan."""
    sizes = [_size(chunk, plan.trust) for chunk in chunks]
    return [plan.gain * size / sum(sizes) for size in sizes]


def _factor(plan: RatePlan, crf: float) -> float:
    """How many times as many bits a factor takes as that of the plan."""
    return math.exp(plan.slope * (plan.crf - crf))


def _text(number: float) -> str:
    """A rate that is at most `number` bit/s."""
    return rate(math.floor(number))


def _bits_per_second(encode: Ffmpeg) -> float:
    return bits(encode.bitrate) if encode.bitrate else 0.0


def _scale(encode: Ffmpeg) -> Scale:
    return _SCALES[encoder_of(encode.codec)[0].stream]


def _near(crf: float, scale: Scale) -> float:
    """The factor that an encoder knows which is nearest to another, within the limits."""
    return round(min(max(crf, scale.least), scale.most) / scale.grain) * scale.grain
