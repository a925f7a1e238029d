"""What an encode with a VMAF for a target aims at, and what probes have learnt of the film for it. Pure."""

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

from msgspec import UNSET, Struct

from elasticrecode.jobs.events import PartReached, Probed, Spent, TargetReached
from elasticrecode.media.profiles import FLOOR_BELOW, TOLERANCE, Profile, Target, Vmaf, libvmaf_model
from worker.media.geometry import Raster
from worker.media.rates import Span
from worker.quality.aim import Aim, Probe, Scored, nth_of
from worker.quality.curve import Curve

_MODEL_LINES = (1080, 2160)
"""Lines of the pictures that models were trained with: larger ones are compared at that size."""
_LEAST_SIDE = 216
"""The longer side, in pixels, that models of version 1 need."""


class Goal(Struct, frozen=True):
    """The aim of an encode, and how its film answers to the encoder, by probes of some of its spans.

    Every `nth` frame of a chunk is scored.
    """

    aim: Aim
    curve: Curve
    film: list[Span]
    probes: list[Probe]
    nth: int = 1


class Try(Struct, frozen=True):
    """A chunk as it was encoded once, and the CPU seconds of its encode and of its score."""

    scored: Scored
    encodeSeconds: float
    scoreSeconds: float


class ReachedPart(NamedTuple):
    """A part of a film by its name: the encode that was kept, and all."""

    name: str
    kept: Scored
    tries: Sequence[Try]


def reached(goal: Goal, mean: float, parts: Sequence[ReachedPart]) -> TargetReached:
    """What came of a goal, of a film with that mean VMAF and those parts."""
    aim, film = goal.aim, goal.film
    starts = list(accumulate((span.seconds for span in film), initial=0.0))
    probes = [
        Probed(
            round(starts[probe.span], 3),
            round(film[probe.span].seconds, 3),
            round(probe.crf, 2),
            round(probe.vmaf, 4),
            probe.cpuSeconds,
        )
        for probe in goal.probes
    ]
    shown = [
        PartReached(part.name, round(part.kept.crf, 2), round(part.kept.vmaf, 4), len(part.tries)) for part in parts
    ]
    tries = [(part.kept.crf == each.scored.crf, each) for part in parts for each in part.tries]
    worst = min(part.vmaf for part in shown)
    return TargetReached(
        vmaf=aim.vmaf,
        tolerance=aim.tolerance,
        floor=aim.floor,
        reached=round(mean, 4),
        worst=round(worst, 4),
        met=abs(mean - aim.vmaf) <= aim.tolerance and worst >= aim.floor,
        model=aim.model,
        width=aim.width,
        height=aim.height,
        subsample=goal.nth,
        repeats=sum(not kept for kept, _ in tries),
        probes=probes,
        parts=shown,
        cpuSeconds=Spent(
            encodes=round(sum(each.encodeSeconds for kept, each in tries if kept), 2),
            probes=round(sum(probe.cpuSeconds for probe in goal.probes), 2),
            scores=round(sum(each.scoreSeconds for kept, each in tries if kept), 2),
            repeats=round(sum(each.encodeSeconds + each.scoreSeconds for kept, each in tries if not kept), 2),
        ),
    )


def target_of(profile: Profile) -> Target | None:
    """The target of an encode that has a VMAF for one; None for another."""
    target = profile.ffmpeg.quality if profile.ffmpeg else UNSET
    return target if target and target.vmaf is not UNSET else None


def aim_of(profile: Profile, output: Raster, source: tuple[int, int]) -> Aim | None:
    """What an encode with a VMAF for a target aims at; None for another.

    `output` is the size of its pictures, and `source` that of the source's, upright. Pictures are compared at the size
    of the source, as that is how they are shown, but not larger than the model knows.
    """
    target = target_of(profile)
    if not target or target.vmaf is UNSET:
        return None
    lines = min(output)
    most = _MODEL_LINES[lines >= _MODEL_LINES[1]]
    scale = max(max(lines, min(most, *source)) / lines, _LEAST_SIDE / max(output))
    width, height = (2 * round(side * scale / 2) for side in output)
    scoring = profile.vmaf or Vmaf(scale=f"{width}x{height}", model=target.model)
    tolerance = TOLERANCE if target.tolerance is UNSET else target.tolerance
    floor = max(0.0, target.vmaf - FLOOR_BELOW) if target.floor is UNSET else target.floor
    return Aim(target.vmaf, tolerance, floor, libvmaf_model(scoring), *scoring.size)


def scored_of(profile: Profile, seconds: float) -> int:
    """One frame in so many is scored."""
    return (profile.vmaf.subsample or 1) if profile.vmaf else nth_of(seconds)


def score_of(aim: Aim, nth: int = 1) -> Vmaf:
    """The score that an aim is about, of every `nth` frame."""
    return Vmaf(scale=f"{aim.width}x{aim.height}", model=aim.model, subsample=nth, align="nearest")  # type: ignore[arg-type]
