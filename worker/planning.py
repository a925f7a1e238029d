"""What a job would make and cost, from short windows of its film: the work of a plan.

open by ranges → what would be encoded → encode and score windows, until they suffice or time is up → the whole film
"""

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from msgspec import UNSET, structs

from elasticrecode.jobs.job import Job
from elasticrecode.media.codecs import encoder_of
from elasticrecode.media.planned import Basis, Planned, PlannedRung, PlanProbe, Window
from elasticrecode.media.profiles import Ffmpeg, Target, Vmaf, bits, libvmaf_model
from worker.chunks import Place
from worker.cuts.index import Index, open_index
from worker.cuts.objects import Bytes, LocalFile, StoredObject
from worker.cuts.recipes import Uncuttable
from worker.division import estimate
from worker.errors import PermanentError
from worker.films import FILE, encodes_of
from worker.forecast import Costs, Spent, bytes_of, capped, held, sound_bits, whole_seconds
from worker.goals import aim_of
from worker.laddering import find_ladder, is_auto, remuxed
from worker.media import rates
from worker.media.ladder import Ends, declared_ends
from worker.media.rates import Span
from worker.media.source import Source
from worker.memory import Knowledge
from worker.outlook import Outlook, outlook
from worker.probing import Prober, probe_facts, prober_of
from worker.quality.aim import NTH, Aim, Probe, first_crf, learnt, next_crf, pooled, scouts, windows
from worker.quality.curve import Curve
from worker.quality.score import at_size
from worker.sandbox.machine import cores

_MOST_COPIED_BYTES = 4 << 30
"""Size of the largest input without an index that is copied for a plan."""
PLAN_SECONDS = 60.0
"""How long a plan takes at most, on two cores, for a film of any length."""
_PROBE_SECONDS = 48.0
"""When no window is begun any more: the rest is for the one that runs, and for opening the film."""
_LADDER_SECONDS = 36.0
"""When no probe for the ladder `auto` is begun any more."""
_WINDOW_SECONDS = 12.0
"""The longest time that a window may take, as far as the table of `division` knows."""
_GRIDS = (2.0, 1.0, 0.5, 0.25)
"""Lengths of windows in seconds."""
_MOST_WINDOWS = 30
"""Windows that are probed where time suffices."""
_SCORE_PIXELS = 1080 * 1920
"""Pictures of a ladder are compared at most at this size, unless the job says where."""
_USUAL_RATE = 25.0
_USUAL = 93.0
"""The VMAF near which curves of encodes without a VMAF for a target are made."""


class _Track(NamedTuple):
    """An output with pictures: its encode, at which size its windows are compared, and whether its factor is sought."""

    encode: Ffmpeg
    aim: Aim

    @property
    def is_sought(self) -> bool:
        """Whether the factor is yet to be found, for a VMAF or for a bitrate."""
        return not self.encode.quality or self.encode.quality.crf is UNSET

    @property
    def has_aim(self) -> bool:
        """Whether it is to reach a VMAF."""
        return bool(self.encode.quality) and self.is_sought


def _open(at: Place) -> tuple[Source, Source, Index, Bytes]:
    """What an input holds; and its pictures, their index, and bytes: those of a copy where the input has no index.

    Raises PermanentError `plan-impossible` where no window of it can be read; JobError or Interrupted.
    """
    source = StoredObject(at.storage, at.job.input, at.runner)
    try:
        probed, index = open_index(source, at.folder, at.settings, at.runner)
        return probed, probed, index, source
    except Uncuttable as uncuttable:
        reason = f"The input cannot be planned: {uncuttable}"
    size, _ = at.storage.opened(at.job.input)
    if size > _MOST_COPIED_BYTES:
        raise PermanentError("plan-impossible", f"{reason}, and it has more than {_MOST_COPIED_BYTES >> 30} GiB.")
    try:
        path, probed = remuxed(at)
        copy = LocalFile(path, at.runner)
        pictures, index = open_index(copy, at.folder, at.settings, at.runner)
        return probed, pictures, index, copy
    except Uncuttable as uncuttable:
        raise PermanentError("plan-impossible", f"{reason}; nor can a copy of its pictures: {uncuttable}.") from None


def plan_job(at: Place) -> Planned:
    """Plan the job, without any output. Raises JobError or Interrupted; `plan-impossible` where that cannot be.

    It takes at most PLAN_SECONDS on two cores, after a copy of the pictures where the input has no index.
    """
    started, job = time.monotonic(), at.job
    probed, pictures, index, source = _open(at)
    if isinstance(source, LocalFile):  # the copy is not counted
        started = time.monotonic()
    ends = declared_ends(probed) or Ends(0.0, 0.0)
    size, etag = at.storage.opened(job.input)
    at = at._replace(storage=at.storage.pinned(job.input, etag))
    titled = find_ladder(at, started + _LADDER_SECONDS) if is_auto(job) else None
    if titled:
        job = titled.applied(job)
        at = at._replace(job=job)
    plans = outlook(job, probed, ends)
    if plans.length is None:
        raise PermanentError("plan-impossible", "The input cannot be planned: its length is unknown.")
    short = _with_short_windows(job, plans)
    prober = prober_of(at._replace(job=short), outlook(short, pictures, ends), index, source, etag)
    costs = Costs(at.settings, at.runner, at.folder)
    tracks = _tracks(job, plans)
    search = _Search(prober, tracks, costs, started + _PROBE_SECONDS)
    try:
        search.run()
        if FILE in tracks and tracks[FILE].has_aim:
            search.keep(FILE, at.known)
    finally:
        prober.close()
    rungs = [_rung(search, plans, output) for output in tracks]
    length = float(prober.length)
    aim = tracks[min(tracks)].aim
    basis = Basis(
        etag=etag,
        inputBytes=size,
        inputSeconds=round(length, 3),
        windows=[
            Window(round(float(prober.steps[n]), 3), round(prober.film[n].seconds, 3)) for n in sorted(search.probed)
        ],
        probes=list(search.shown(plans)),
        cores=cores(),
        probeSeconds=round(time.monotonic() - started, 2),
        model=aim.model,
        comparedAt=f"{aim.width}x{aim.height}",
    )
    seconds = whole_seconds(job.profile, costs, length, size, sum(rung.bytes for rung in rungs))
    sought = FILE in tracks and tracks[FILE].has_aim
    return Planned(
        rungs=rungs,
        seconds=round(seconds, 1),
        basis=basis,
        crf=search.forecast(FILE)[0] if sought else UNSET,
        ladder=titled.ladder if titled else UNSET,
    )


def _rung(search: "_Search", plans: Outlook, output: int) -> PlannedRung:
    """An output as the search predicts it."""
    _, size, vmaf = search.forecast(output)
    picture, source, length = plans.plan(output).picture, plans.source, search.length
    rate = float(picture.rate or source.video.rate or _USUAL_RATE)
    sound = sound_bits(plans.file.audio, source.audio, length) if plans.file and output == FILE else 0.0
    return PlannedRung(
        width=picture.size.width,
        height=picture.size.height,
        codec=encoder_of(picture.encode.codec)[0].stream,
        bitrate=round(size / length),
        predictedVmaf=round(vmaf, 2),
        bytes=bytes_of(size, sound, length, rate, is_segmented=output != FILE),
    )


def _with_short_windows(job: Job, plans: Outlook) -> Job:
    """The job with keyframes so often that a window, from one to the next, does not take too long."""
    profile = job.profile
    encode = profile.ffmpeg
    if not encode:
        return job
    given = encode.keyframeSeconds or _GRIDS[0]
    grids = [min(given, grid) for grid in _GRIDS]

    def work(grid: float) -> float:
        picture = plans.file.picture if plans.file else None
        return estimate(profile, grid, picture, plans.ladder).total / cores()

    grid = next((grid for grid in grids if work(grid) <= _WINDOW_SECONDS), grids[-1])
    short = structs.replace(encode, keyframeSeconds=grid)
    return structs.replace(job, profile=structs.replace(profile, ffmpeg=short))


def _tracks(job: Job, plans: Outlook) -> dict[int, _Track]:
    """The outputs with pictures by their numbers."""
    profile = job.profile
    tracks = {}
    for output, encode in encodes_of(job, plans.source).items():
        if output == FILE:
            target = encode.quality if encode.quality and encode.quality.crf is UNSET else Target(vmaf=_USUAL)
            aimed = structs.replace(profile, ffmpeg=structs.replace(encode, quality=target))
            aim = aim_of(aimed, plans.plan(FILE).picture.size, plans.source.video.upright)
        else:
            aim = None
        tracks[output] = _Track(encode, aim or _aim_of_ladder(job, plans))
    return tracks


def _aim_of_ladder(job: Job, plans: Outlook) -> Aim:
    """How rungs are compared: at the size of the largest one, as their scores are, but not larger than 1080p."""
    size = plans.plan(0).picture.size
    if job.profile.vmaf:
        scoring = at_size(job.profile.vmaf, size)
    else:
        scale = min(1.0, (_SCORE_PIXELS / (size.width * size.height)) ** 0.5)
        scoring = Vmaf(scale="x".join(str(2 * round(side * scale / 2)) for side in size))
    width, height = scoring.size
    return Aim(_USUAL, 0.5, _USUAL - 2, libvmaf_model(scoring), width, height)


def _forecast(
    track: _Track, curve: Curve, film: Sequence[Span], probes: Sequence[Probe], length: float
) -> tuple[float, float, float]:
    """The factor of an output, the bits of its pictures, and its mean VMAF."""
    encode = track.encode
    if track.has_aim:
        return curve.crf, curve.bits(curve.crf), curve.vmaf(curve.crf)
    if encode.quality:
        factor = encode.quality.factor
        return factor, curve.bits(factor), curve.vmaf(factor)
    wanted = bits(encode.bitrate) * length if encode.bitrate else 0.0
    windows_ = held(encode, curve, film, probes, wanted)
    vmaf, size = pooled(film, windows_)
    return windows_[0].crf, min(wanted, max(size, curve.bits(curve.least))), vmaf


def _further(film: Sequence[Span], probed: Collection[int]) -> list[int]:
    """Further windows, so that there are _MOST_WINDOWS: evenly from the easiest to the hardest, in a mixed order."""
    rest = [number for number in range(len(film)) if number not in probed]
    rest.sort(key=lambda number: (film[number].weight / film[number].seconds, number))
    count = min(len(rest), _MOST_WINDOWS - len(probed))
    chosen = [rest[(2 * n + 1) * len(rest) // (2 * count)] for n in range(count)]
    return [*chosen[::3], *chosen[1::3], *chosen[2::3]]


class _Search:
    """Encodes and scores windows of the film at factors, in rounds, until they suffice or time is up."""

    def __init__(self, prober: Prober, tracks: Mapping[int, _Track], costs: Costs, until: float) -> None:
        """`until` is a time of the monotonic clock."""
        self._prober, self._tracks, self._costs, self._until = prober, tracks, costs, until
        self._probes: dict[int, list[Probe]] = {output: [] for output in tracks}
        scoring = prober.encoder.job.profile.vmaf
        self._nth = (scoring.subsample or 1) if scoring else NTH
        self._longest, self.length = 0.0, float(prober.length)
        self.probed: set[int] = set()
        """The numbers of the windows."""

    def run(self) -> None:
        """Find the factors, then encode all windows at them. Raises JobError or Interrupted."""
        film, factors = self._prober.film, dict[int, float]()
        for output, track in self._tracks.items():
            factors[output] = self._first(output, track)
        few = scouts(film)
        every = [*few, *(number for number in windows(film) if number not in few)]
        if any(track.is_sought for track in self._tracks.values()):
            self._round(few, {output: factors[output] for output, track in self._tracks.items() if track.is_sought})
            factors |= {output: self._next(output, factors[output]) for output in factors}
        self._round(every, factors)
        while following := dict(self._missed(factors)):
            factors |= following
            if not self._round(every, following):
                break
        self._round(_further(film, self.probed), factors)

    def keep(self, output: int, known: Knowledge) -> None:
        """Remember the probes of an output for the job that carries out the plan, and for others."""
        track = self._tracks[output]
        known.memory.keep(probe_facts(known, self._prober, track.encode, track.aim, self._nth), self._probes[output])

    def curve(self, output: int) -> Curve:
        """The curve of an output."""
        track = self._tracks[output]
        if not self._probes[output]:
            raise PermanentError("input-corrupt", "No frame of the probed windows could be decoded.")
        return learnt(track.encode, track.aim, self._prober.film, self._probes[output])

    def forecast(self, output: int) -> tuple[float, float, float]:
        """The factor of an output, the bits of its pictures, and its mean VMAF."""
        prober, probes = self._prober, self._probes[output]
        return _forecast(self._tracks[output], self.curve(output), prober.film, probes, float(prober.length))

    def shown(self, plans: Outlook) -> Iterator[PlanProbe]:
        """The probes of each output at each factor."""
        film = self._prober.film
        for output, probes in self._probes.items():
            size = plans.plan(output).picture.size
            for factor in sorted({probe.crf for probe in probes}):
                some = [probe for probe in probes if probe.crf == factor]
                seconds = sum(film[probe.span].seconds for probe in some)
                frames = sum(probe.frames for probe in some)
                yield PlanProbe(
                    width=size.width,
                    height=size.height,
                    crf=round(factor, 2),
                    bitrate=round(sum(probe.bits for probe in some) / seconds),
                    vmaf=round(sum(probe.vmaf * probe.frames for probe in some) / frames, 2),
                    cpuSeconds=round(sum(probe.cpuSeconds for probe in some), 2),
                )

    def _first(self, output: int, track: _Track) -> float:
        if track.has_aim:
            return first_crf(track.encode, track.aim)
        if track.encode.quality:
            return track.encode.quality.factor
        return rates.first_crf(track.encode, self._prober.plans.pixels(output))

    def _next(self, output: int, factor: float) -> float:
        """The factor at which an output is encoded next, by its probes."""
        track = self._tracks[output]
        if not track.is_sought or not self._probes[output]:
            return factor
        curve = self.curve(output)
        return curve.near(self.forecast(output)[0])

    def _missed(self, factors: Mapping[int, float]) -> Iterator[tuple[int, float]]:
        """Outputs whose probes do not tell enough of the factor that they need, each with that."""
        for output, track in self._tracks.items():
            if not (track.is_sought and self._probes[output]):
                continue
            if track.has_aim:
                following = next_crf(track.encode, track.aim, self._prober.film, self._probes[output])
            else:
                near = self._next(output, factors[output])
                is_far = abs(near - factors[output]) > 1.0 and len({each.crf for each in self._probes[output]}) < 3
                following = near if is_far else None
            if following is not None:
                yield output, following

    def _round(self, numbers: Sequence[int], factors: Mapping[int, float]) -> bool:
        """Encode windows at factors; False where time was up before the end."""
        for number in numbers:
            if self.probed and time.monotonic() + self._longest > self._until:
                return False
            before = time.monotonic()
            self._window(number, factors)
            self._longest = max(self._longest, time.monotonic() - before)
        return True

    def _window(self, number: int, factors: Mapping[int, float]) -> None:
        prober, span, runner = self._prober, self._prober.film[number], self._prober.encoder.runner
        prober.cut(number)
        encodes = {output: rates.probe_encode(self._tracks[output].encode, crf) for output, crf in factors.items()}
        before = time.monotonic()
        encoded = prober.run(number, encodes)
        wall = time.monotonic() - before
        is_whole, scored, begun = len(factors) == len(self._tracks), 0.0, time.monotonic()
        for output, (target, figures) in encoded.items():
            track, crf = self._tracks[output], factors[output]
            if figures.frames:
                before = runner.cpu_seconds
                vmaf = prober.score(number, target, track.aim, self._nth)
                spent = runner.cpu_seconds - before
                scored += spent
                bits_, vmaf = capped(track.encode, span.seconds, 8.0 * figures.bytes, vmaf)
                cost = round(figures.cpuSeconds + spent, 3)
                self._probes[output].append(Probe(number, crf, vmaf, bits_, figures.frames, cost))
            target.file.unlink(missing_ok=True)
        self.probed.add(number)
        if is_whole:
            encode = sum(window.figures.cpuSeconds for window in encoded.values())
            self._costs.add(span.seconds, Spent(encode, wall), Spent(scored, time.monotonic() - begun))
