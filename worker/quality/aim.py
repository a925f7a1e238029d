"""Which constant rate factor (CRF) gives a film the VMAF that a job wants, from short encoded windows. Pure.

**Search.** `windows` chooses spans of the film by how hard they are to encode, and each stands for its share of the
film. A few of them, the `scouts`, are encoded and scored at `first_crf`, then all at `next_crf` until that is None;
`learnt` makes the curve.

**Film.** `chunk_crf` gives a chunk the factor with which the film has the wanted mean, by the chunks that are finished.
`again` is for a chunk below the floor. When all are finished, `corrections` has the fewest chunks encoded again that
bring the mean within the tolerance.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import pstdev

from msgspec import Struct

from elasticrecode.media.profiles import Ffmpeg
from worker.media.rates import Span
from worker.quality.curve import Curve, bisected, curved, loss_of, scale_of, slope_around, solved, vmaf_of, weight_of

NTH = 3
"""One frame of so many is scored, of windows and of chunks. See docs/quality-target.md for the error of each number."""
_WINDOWS = 12
_FEW_WINDOWS = 3
_SPANS = 8
"""A film that is so short that it would have fewer windows than three has one for three spans, others for so many."""
_ROUNDS = 3
_CLOSE = 1.0
"""How near to the aim the mean of a round ends the search: so near, the usual slope errs by little."""
_BRACKETED = 2.5
"""As `_CLOSE`, where rounds lie on both sides of the aim."""
_LEAST_POINTS = 4
_PRIOR_SECONDS = 60.0
"""Seconds of the film that the search counts as, beside finished chunks."""
_STEP = 4.0
"""How far the factor of a chunk may lie from that of the search."""
_UP, _DOWN = 1.5, 1.0
"""How far above or below the aim the rest of a film may be brought, to make up for the part that is finished."""
_TRIES = 3
_PASSES = 8
_MARGIN = 0.3
"""How far above the floor a chunk is aimed."""
_ALL_SECONDS = 60.0
"""Chunks of films up to so long are scored on all frames: the error of a sample is of the size of the tolerance."""
_KEPT = 0.9
"""The share of the tolerance within which a finished film is kept: scores of every third frame err by the rest."""
_WITHIN = 0.5
"""How far from the aim repeats for the mean may leave it, as a share of the tolerance."""
_REPEAT_STEP = 3.0
"""The largest change of a factor, by which a finished chunk is encoded again for the film's mean."""


class Aim(Struct, frozen=True):
    """The quality that a job wants: the film's mean VMAF within `tolerance`, and no chunk below `floor`.

    `model` is libvmaf's name of the model, `width` and `height` the size of the comparison.
    """

    vmaf: float
    tolerance: float
    floor: float
    model: str
    width: int
    height: int


class Probe(Struct, frozen=True):
    """A window of the film, encoded at a factor and scored. `span` is its number, and `bits` are its own."""

    span: int
    crf: float
    vmaf: float
    bits: float
    frames: int
    cpuSeconds: float = 0.0


class Scored(Struct, frozen=True):
    """A chunk of the film, encoded at a factor and scored."""

    crf: float
    vmaf: float
    bits: float
    frames: int


def nth_of(seconds: float) -> int:
    """One frame of so many is scored, of each chunk of a film so long."""
    return NTH if seconds > _ALL_SECONDS else 1


def windows(film: Sequence[Span]) -> list[int]:
    """The numbers of the spans that each round of the search encodes, of a film cut at its keyframes.

    One for each 8 spans, up to 12, but 3, or one for each 3 spans, where a film is short. Each stands for as many spans
    of like weight, and they are spread over the film.
    """
    few = min(_FEW_WINDOWS, -(-len(film) // _FEW_WINDOWS))
    count = min(_WINDOWS, max(few, len(film) // _SPANS))
    by_weight = _ordered(film)
    free, chosen = set(range(count)), []
    for stratum in range(count):
        low, high = (len(film) * edge // count for edge in (stratum, stratum + 1))
        margin = (high - low) // 3
        middle = by_weight[low + margin : max(high - margin, low + margin + 1)]
        places = {number: min(number * count // len(film), count - 1) for number in middle}
        number = min(
            middle,
            key=lambda one: (
                places[one] not in free,
                film[one].seconds < max(film[other].seconds for other in middle) / 2,
                abs(one - (places[one] + 0.5) * len(film) / count),
                one,
            ),
        )
        free.discard(places[number])
        chosen.append(number)
    return sorted(chosen)


def scouts(film: Sequence[Span]) -> list[int]:
    """Those of `windows` that the first round encodes: a third of them, of middling weight."""
    chosen = sorted(windows(film), key=lambda number: (film[number].weight / film[number].seconds, number))
    count = -(-len(chosen) // 3)
    start = (len(chosen) - count) // 2
    return sorted(chosen[start : start + count])


def first_crf(encode: Ffmpeg, aim: Aim) -> float:
    """The factor at which a search begins."""
    scale = scale_of(encode)
    return scale.near(scale.middle + (loss_of(aim.vmaf) - loss_of(93.0)) / scale.slope)


def next_crf(encode: Ffmpeg, aim: Aim, film: Sequence[Span], probes: Sequence[Probe]) -> float | None:
    """The factor of the next round of the search; None where `probes` are enough. `film` has all its spans."""
    curve = learnt(encode, aim, film, probes)
    if len({probe.span for probe in probes}) < len(windows(film)) and len(curve.points) < _ROUNDS:
        return curve.crf
    misses = [vmaf - aim.vmaf for _, vmaf, _ in curve.points]
    is_bracketed = min(misses) <= 0 <= max(misses)
    is_close = min(map(abs, misses)) <= (_BRACKETED if is_bracketed and len(misses) > 1 else _CLOSE)
    is_tried = any(abs(curve.crf - crf) < curve.grain for crf, _, _ in curve.points)
    return None if is_close or is_tried or len(misses) >= _ROUNDS else curve.crf


def learnt(encode: Ffmpeg, aim: Aim, film: Sequence[Span], probes: Sequence[Probe]) -> Curve:
    """The curve of a film by its probes, of which there is one at least. Raises ValueError without any."""
    if not probes:
        raise ValueError("a curve needs probes")
    scale = scale_of(encode)
    rounds: dict[float, dict[int, Probe]] = {}
    for probe in probes:
        rounds.setdefault(probe.crf, {})[probe.span] = probe
    points = _points(film, rounds)
    losses = [(crf, loss_of(vmaf)) for crf, vmaf, _ in points]
    wanted = loss_of(aim.vmaf)
    slope = slope_around(losses, wanted, scale.slope)
    crf = scale.near(solved(losses, wanted, slope))
    nearest = min(rounds, key=lambda one: abs(one - crf))
    usual = math.log(2) / scale.halving
    sizes = [(at, -math.log(max(1.0, bits))) for at, _, bits in points]
    steepness = slope_around(sizes, curved(sizes, crf, usual), usual)
    lean, middle = _lean(film, list(rounds[nearest].values()))
    spread = pstdev(probe.vmaf for probe in rounds[nearest].values())
    bounds = (scale.least, scale.most, scale.grain)
    return Curve(crf, points, slope, steepness, lean, middle, spread, *bounds, scale.slope, len(windows(film)))


def chunk_crf(
    curve: Curve,
    aim: Aim,
    spans: Sequence[Span],
    number: int,
    finished: Mapping[int, Scored],
    running: Mapping[int, float],
) -> float:
    """The factor of a chunk with which the film has the wanted mean.

    `spans` has all chunks of the film; `finished` those that are encoded, by number, and `running` the factors of
    others that are being encoded.
    """
    level = _level(curve, spans, finished)
    begun = {other: crf for other, crf in running.items() if other not in finished and other != number}
    rest = [other for other in range(len(spans)) if other not in finished and other not in begun]
    have = sum(spans[other].seconds * scored.vmaf for other, scored in finished.items())
    have += sum(spans[other].seconds * _part(curve, crf, spans[other], level) for other, crf in begun.items())
    left = sum(spans[other].seconds for other in rest) or spans[number].seconds
    total = sum(span.seconds for span in spans)
    wanted = min(max((aim.vmaf * total - have) / left, aim.vmaf - _DOWN), aim.vmaf + _UP)

    tilts = [(spans[other].seconds, level + curve.tilt(spans[other])) for other in rest]

    def mean(crf: float) -> float:
        loss = loss_of(curve.vmaf(crf))
        return sum(seconds * vmaf_of(loss + tilt) for seconds, tilt in tilts) / left

    low, high = max(curve.least, curve.crf - _STEP), min(curve.most, curve.crf + _STEP)
    crf = bisected(mean, wanted, low, high) if rest else curve.crf
    least = aim.floor + _MARGIN
    if _part(curve, crf, spans[number], level) < least:
        crf = bisected(lambda one: _part(curve, one, spans[number], level), least, curve.least, crf)
    return curve.near(crf)


def again(curve: Curve, aim: Aim, span: Span, tries: Sequence[Scored]) -> float | None:
    """The factor to encode a chunk with again that misses the floor; None: keep the best of its tries.

    `span` is the chunk's part of the film.
    """
    best = max(tries, key=lambda scored: scored.vmaf)
    if best.vmaf >= aim.floor or len(tries) >= _TRIES or span.seconds <= 0:
        return None
    crf = _refined(curve, tries, min(aim.floor + _MARGIN, max(aim.vmaf, aim.floor)))
    return crf if crf < min(scored.crf for scored in tries) - curve.grain / 2 else None


def corrections(
    curve: Curve,
    aim: Aim,
    spans: Sequence[Span],
    results: Mapping[int, Scored],
    tries: Mapping[int, Sequence[Scored]] | None = None,
) -> dict[int, float]:
    """The chunks of a finished film to encode again, with their factors, so that its mean is within the tolerance.

    `results` are the chunks as they are, and `tries` all encodes of each chunk, where there were more than one.
    Empty where it is, and where no factor within the bounds can bring it nearer. The fewest seconds are encoded again;
    no chunk is brought below the floor, and none changes its factor by more than 3 unless all together miss the aim.
    """
    frames = sum(scored.frames for scored in results.values())
    miss = aim.vmaf - sum(scored.frames * scored.vmaf for scored in results.values()) / frames
    if abs(miss) <= _KEPT * aim.tolerance:
        return {}
    needed = abs(miss) - _WITHIN * aim.tolerance
    for step in (_REPEAT_STEP, 2 * _REPEAT_STEP, curve.most):
        reach = {number: _reach(curve, aim, scored, math.copysign(step, -miss)) for number, scored in results.items()}
        gains = {n: scored.frames / frames * abs(reach[n] - scored.vmaf) for n, scored in results.items()}
        chosen: list[int] = []
        for number in sorted(gains, key=lambda n: (-gains[n], n)):
            if sum(gains[n] for n in chosen) < needed and gains[number] > 0:
                chosen.append(number)
        if sum(gains[number] for number in chosen) >= needed:
            break
    chosen = _fewest(chosen, gains, spans, needed)
    share = min(1.0, abs(miss) / (sum(gains[number] for number in chosen) or 1.0))
    result = {}
    for number in chosen:
        scored = results[number]
        wanted = scored.vmaf + share * (reach[number] - scored.vmaf)
        crf = _refined(curve, [*(tries or {}).get(number, ()), scored], wanted)
        if abs(crf - scored.crf) >= curve.grain / 2:
            result[number] = crf
    return result


def selected(aim: Aim, tries: Mapping[int, Sequence[Scored]]) -> dict[int, int]:
    """The number of the try of each chunk with which the film is best.

    No chunk is below the floor that need not be, the mean is within the tolerance or as near as can be, and then the
    film is small.
    """
    chosen = {number: cheapest(aim, some) for number, some in tries.items()}
    frames = sum(tries[number][place].frames for number, place in chosen.items())
    gained = sum(tries[n][place].frames * tries[n][place].vmaf for n, place in chosen.items())
    for _ in range(_PASSES):
        before = dict(chosen)
        for number, some in tries.items():
            rest = gained - some[chosen[number]].frames * some[chosen[number]].vmaf

            def cost(place: int, some: Sequence[Scored] = some, rest: float = rest) -> tuple[float, float, float]:
                mean = (rest + some[place].frames * some[place].vmaf) / frames
                below = max(0.0, aim.floor - some[place].vmaf)
                return below, max(0.0, abs(mean - aim.vmaf) - _KEPT * aim.tolerance), some[place].bits

            chosen[number] = min(range(len(some)), key=cost)
            gained = rest + some[chosen[number]].frames * some[chosen[number]].vmaf
        if chosen == before:
            break
    return chosen


def cheapest(aim: Aim, tries: Sequence[Scored]) -> int:
    """The number of the smallest try that reaches the floor, else of the best."""
    good = [number for number, each in enumerate(tries) if each.vmaf >= aim.floor]
    if good:
        return min(good, key=lambda number: tries[number].bits)
    return max(range(len(tries)), key=lambda number: tries[number].vmaf)


def _fewest(chosen: Sequence[int], gains: Mapping[int, float], spans: Sequence[Span], needed: float) -> list[int]:
    """Chunks without those that are not needed, the longest first."""
    kept = list(chosen)
    for number in sorted(chosen, key=lambda n: (-spans[n].seconds, n)):
        if sum(gains[n] for n in kept if n != number) >= needed:
            kept.remove(number)
    return kept


def _reach(curve: Curve, aim: Aim, scored: Scored, step: float) -> float:
    """The predicted VMAF of a chunk so many steps from its factor, within the bounds and above the floor."""
    crf = curve.near(scored.crf + step)
    vmaf = vmaf_of(loss_of(scored.vmaf) + loss_of(curve.vmaf(crf)) - loss_of(curve.vmaf(scored.crf)))
    return max(vmaf, min(aim.floor + _MARGIN, scored.vmaf)) if step > 0 else max(vmaf, scored.vmaf)


def _refined(curve: Curve, tries: Sequence[Scored], wanted: float) -> float:
    """The factor with which a chunk has a VMAF, by its tries; by one alone, along the curve of the film.

    Of few windows, that is half trusted, beside the usual slope.
    """
    points = sorted({scored.crf: loss_of(scored.vmaf) for scored in tries}.items())
    if len(points) > 1:
        return curve.near(solved(points, loss_of(wanted), slope_around(points, loss_of(wanted), curve.slope)))
    ((crf, loss),) = points
    film = [(at, loss_of(vmaf)) for at, vmaf, _ in curve.points]
    step = solved(film, loss_of(wanted) - loss + curved(film, crf, curve.slope), curve.slope) - crf
    usual = (loss_of(wanted) - loss) / (curve.usual or curve.slope)
    trust = curve.windows / (curve.windows + _FEW_WINDOWS)
    return curve.near(crf + math.copysign(abs(step) ** trust * abs(usual) ** (1 - trust), usual))


def _level(curve: Curve, spans: Sequence[Span], finished: Mapping[int, Scored]) -> float:
    """How much more the film lacks to 100 than the curve has it: the logarithm of the ratio, by finished chunks."""
    have = sum(spans[number].seconds * (100 - scored.vmaf) for number, scored in finished.items())
    forecast = sum(
        spans[number].seconds * (100 - curve.chunk_vmaf(scored.crf, spans[number]))
        for number, scored in finished.items()
    )
    prior = _PRIOR_SECONDS * math.exp(loss_of(curve.vmaf(curve.crf)))
    return math.log(max(have + prior, 1e-6) / max(forecast + prior, 1e-6))


def _part(curve: Curve, crf: float, span: Span, level: float) -> float:
    """The predicted VMAF of a part of the film at a factor, where the film lacks so much more than the curve has it."""
    return vmaf_of(loss_of(curve.chunk_vmaf(crf, span)) + level)


def _points(film: Sequence[Span], rounds: Mapping[float, Mapping[int, Probe]]) -> list[tuple[float, float, float]]:
    """The points of a curve. A round of fewer windows tells by how much the film differs from the round of the most."""
    base = max(sorted(rounds), key=lambda crf: len(rounds[crf]))
    points = []
    for crf in sorted(rounds):
        common = rounds[crf].keys() & rounds[base].keys()
        if len(rounds[crf]) == len(rounds[base]) or not common:
            points.append((crf, *pooled(film, list(rounds[crf].values()))))
            continue
        vmaf, bits = pooled(film, list(rounds[base].values()))
        (of_part, size), (of_base, full) = (
            pooled(film, [rounds[each][number] for number in common]) for each in (crf, base)
        )
        points.append((crf, vmaf_of(loss_of(vmaf) + loss_of(of_part) - loss_of(of_base)), bits * size / max(full, 1.0)))
    return points


def pooled(film: Sequence[Span], probes: Sequence[Probe]) -> tuple[float, float]:
    """The film's VMAF and bits by probes at one factor: each counts as much as the spans that are most like it."""
    by_span = {probe.span: probe for probe in probes}
    order = _ordered(film)
    rank = {number: place for place, number in enumerate(order)}
    probed = sorted(by_span, key=lambda number: rank[number])
    edges = [(rank[one] + rank[other] + 1) // 2 for one, other in pairwise(probed)]
    bounds = list(zip([0, *edges], [*edges, len(order)], strict=True))
    total = score = size = 0.0
    for number, (low, high) in zip(probed, bounds, strict=True):
        seconds = sum(film[other].seconds for other in order[low:high])
        total += seconds
        score += seconds * by_span[number].vmaf
        size += seconds * by_span[number].bits / film[number].seconds
    return score / total, size


def _ordered(film: Sequence[Span]) -> list[int]:
    """The numbers of spans from the easiest to the hardest, by the source's coded bytes."""
    return sorted(range(len(film)), key=lambda number: (film[number].weight / film[number].seconds, number))


def _lean(film: Sequence[Span], probes: Sequence[Probe]) -> tuple[float, float]:
    """`lean` and `middle` of a curve by probes at one factor: least squares, shrunk where they are few."""
    weights = [weight_of(span) for span in film if span.weight > 0]
    middle = sum(weights) / len(weights) if weights else 0.0
    points = [(weight_of(film[probe.span]), loss_of(probe.vmaf)) for probe in probes if film[probe.span].weight > 0]
    if len(points) < _LEAST_POINTS:
        return 0.0, middle
    mean_x, mean_y = (sum(values) / len(points) for values in zip(*points, strict=True))
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    if spread < 1e-6:
        return 0.0, middle
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread
    residue = sum((y - mean_y - slope * (x - mean_x)) ** 2 for x, y in points) / max(1, len(points) - 2)
    trust = max(0.0, 1 - residue / spread / max(slope * slope, 1e-9))
    return min(max(slope * trust, -1.0), 1.0), middle
