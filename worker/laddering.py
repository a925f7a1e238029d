"""The ladder of one title, which the worker that has the job finds by probes before it plans anything.

    claim ──> probes of sizes and factors ──> hull ──> rungs ──> stored beside the parts ──> a job with fixed rungs
                                                                        └──> helpers, and a worker that adopts the job

From then on the job is one with rungs of its own: whoever plans or encodes any of it sees no `auto`.
"""

import logging
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec
from msgspec import UNSET, Struct, structs

from elasticrecode.jobs.events import Notice
from elasticrecode.jobs.job import Job
from elasticrecode.jobs.title_ladder import LadderPoint, LadderRung, TitleLadder
from elasticrecode.media import ladders
from elasticrecode.media.profiles import (
    RUNGS_LIMIT,
    Audio,
    Auto,
    Ffmpeg,
    LadderName,
    Package,
    Profile,
    Rung,
    Target,
    bits,
    rate,
)
from worker.chunks import Place
from worker.cuts.objects import LocalFile, StoredObject
from worker.cuts.recipes import Uncuttable
from worker.errors import PermanentError
from worker.films import ladder_uri
from worker.goals import aim_of
from worker.media.demuxers import input_options
from worker.media.encode import inspect
from worker.media.geometry import Raster
from worker.media.ladder import constant_rate
from worker.media.rates import Span, probe_encode, windows
from worker.media.source import Source
from worker.memory import Knowledge
from worker.parts import Parts
from worker.probing import Prober, open_prober
from worker.quality import hull
from worker.quality.aim import Aim, learnt
from worker.quality.curve import scale_of
from worker.quality.hull import Bounds, Point
from worker.storage import Storage

_log = logging.getLogger(__name__)

_Job = TypeVar("_Job", bound=Job)
_MOST_BYTES = 1 << 20
_NTH = 2
"""One frame in so many of a probe is scored: the mean of a window differs by less than a probe's own error."""
_MOST_PIXELS = 1.5e9
"""Pixels of the source in all windows of a probe, which bound the time that a ladder takes: 28 s of 1080p25."""
_FEW_PIXELS = 0.3e9
"""The same for a ladder that is to be found in a minute, on two cores."""
_LEAST_WINDOWS = 3
_LEAST_BITS = 50_000
_MOST_BITS = 2_000_000
"""Most bits of a second that a small source may have: the fixed ladders have few for small sizes, for slow lines."""
_UNKNOWN_RATE = 30.0


class Candidate(NamedTuple):
    """A size that a ladder may have: a rung without its bitrate, and the encode of that."""

    rung: Rung
    encode: Ffmpeg

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the pictures."""
        width, height = self.encode.scale.split(":")
        return int(width), int(height)


class StoredLadder(Struct, frozen=True):
    """The ladder of a title as all workers of its job use it: a word where the title cannot be probed."""

    ladder: LadderName | list[Rung]
    title: TitleLadder | None
    notices: list[Notice]

    def applied(self, job: _Job) -> _Job:
        """The job with this ladder in place of `auto`."""
        package = job.profile.package
        if not package:
            raise ValueError("the job has no package")
        package = structs.replace(package, ladder=self.ladder, auto=UNSET)
        return structs.replace(job, profile=structs.replace(job.profile, package=package))


def is_auto(job: Job) -> bool:
    """Whether the ladder of a job is to be found."""
    return bool(job.profile.package and job.profile.package.ladder == "auto")


def ladder_of(at: Place, parts: Parts | None) -> StoredLadder:
    """The ladder of a job with the ladder `auto`: that of an earlier attempt, else found now and stored with the parts.

    Raises JobError or Interrupted.
    """
    if not parts:
        return find_ladder(at)
    if parts.division:
        return read_ladder(at.storage, parts.start(parts.division.attempt))
    for attempt in range(parts.attempt - 1, 0, -1):
        if stored := _stored(at.storage, parts.start(attempt)):
            break
    else:
        stored = find_ladder(at)
    at.storage.write_small(ladder_uri(parts.start(parts.attempt)), msgspec.json.encode(stored))
    return stored


def read_ladder(storage: Storage, start: str) -> StoredLadder:
    """The ladder of a divided job, whose objects begin with `start`. Raises PermanentError without it."""
    stored = _stored(storage, start)
    if not stored:
        raise PermanentError("parts-gone", f"The ladder of the title is gone: {ladder_uri(start)}.")
    return stored


def _stored(storage: Storage, start: str) -> StoredLadder | None:
    _, content = storage.read_small(ladder_uri(start), _MOST_BYTES, "")
    return msgspec.json.decode(content, type=StoredLadder) if content else None


def find_ladder(at: Place, until: float | None = None) -> StoredLadder:
    """The ladder of a title, by probes of it. Raises JobError or Interrupted.

    With `until`, a time of the monotonic clock, probes are few and short, and none begins that would end later.
    A source that cannot be cut gets the fixed ladder of its codec, and a notice.
    """
    folder = at.folder / "ladder"
    folder.mkdir()
    try:
        return _probed(at._replace(folder=folder), until)
    except Uncuttable as uncuttable:
        codec = _auto(at.job).codec
        message = f"The source cannot be probed: {uncuttable}. It has the fixed ladder of {codec}."
        return StoredLadder(codec, None, [Notice("ladder-fixed", message)])
    finally:
        shutil.rmtree(folder)


def _auto(job: Job) -> Auto:
    package = job.profile.package
    return (package.auto if package else UNSET) or Auto()


def _probed(at: Place, until: float | None) -> StoredLadder:
    source = StoredObject(at.storage, at.job.input, at.runner)
    try:
        return _of_prober(open_prober(_probe_job(at), source), at, until)
    except Uncuttable as uncuttable:
        _log.info("the ladder is found on a copy of the pictures: %s", uncuttable)
    pictures, _ = remuxed(at)
    return _of_prober(open_prober(_probe_job(at), LocalFile(pictures, at.runner)), at, until)


def _probe_job(at: Place) -> Place:
    """The place for probes: a job of one file, without sound."""
    encode = Ffmpeg(codec="libx264", scale="source", quality=Target(crf=23), keyframeSeconds=ladders.KEYFRAME_SECONDS)
    profile = Profile(ffmpeg=encode, audio=Audio(codec="none"))
    return at._replace(job=structs.replace(at.job, profile=profile))


def remuxed(at: Place) -> tuple[Path, Source]:
    """A copy of the source's pictures in a container with an index, and what the source holds.

    Raises Uncuttable where they cannot be copied; JobError or Interrupted.
    """
    whole, copy = at.folder / "whole", at.folder / "pictures.mkv"
    at.storage.download(at.job.input, whole, at.runner)
    source = inspect(whole, at.settings, at.runner)
    video = source.video
    command = [at.settings.ffmpeg, "-hide_banner", "-nostdin", "-y", *input_options(at.runner.limits)]
    command += ["-f", video.demuxer, "-i", f"file:{whole}", "-map", f"0:{video.stream}", "-c", "copy"]
    command += ["-f", "matroska", f"file:{copy}"]
    seconds = at.runner.limits.timeout_seconds(video.duration)
    status = at.runner.run(command, at.folder, at.folder / "copy.log", seconds=seconds)
    whole.unlink()
    if status:
        raise Uncuttable("its pictures cannot be copied")
    return copy, source


def _of_prober(prober: Prober, at: Place, until: float | None) -> StoredLadder:
    package = at.job.profile.package
    if not package:
        raise ValueError("the job has no package")
    source, auto = prober.plans.source, _auto(at.job)
    chosen = candidates(package, source)
    search = Search(prober, chosen, aim_of_ladder(at.job.profile, chosen[0], source), until=until)
    bounds = bounds_of(auto, source)
    facts = search.facts(at.known)
    search.points += (before := at.known.memory.recall(facts, list[Point]) or [])
    search.run(bounds)
    if len(search.points) > len(before):
        at.known.memory.keep(facts, search.points)
    best = hull.rungs(hull.hull(search.scale, search.points), bounds, RUNGS_LIMIT)
    rungs = [rung_of(chosen[point.box], point) for point in best]
    shown = [
        LadderRung(*chosen[point.box].size, bits(rung.bitrate), round(point.vmaf, 2))
        for point, rung in zip(best, rungs, strict=True)
    ]
    points = [
        LadderPoint(*chosen[point.box].size, round(point.crf, 2), round(point.bitrate), round(point.vmaf, 2))
        for point in search.points
    ]
    aim = search.aim
    title = TitleLadder(auto.codec, shown, points, aim.model, aim.width, aim.height, round(search.cpu_seconds, 2))
    return StoredLadder(rungs, title, [])


def candidates(package: Package, source: Source) -> list[Candidate]:
    """The sizes that the ladder of a source may have, the largest first, with their encodes."""
    video, codec = source.video, (package.auto or Auto()).codec
    frame_rate = constant_rate(video)
    result = []
    for box in ladders.boxes(codec, *video.upright):
        calm = f"{ladders.CALM_RATE}" if box.is_calm and frame_rate > ladders.CALM_RATE else UNSET
        rung = Rung(scale=box.scale, bitrate="1M", codec=codec, frameRate=calm)
        alone = structs.replace(package, ladder=[rung], auto=UNSET)
        encode = ladders.rungs(alone, *video.upright, frame_rate, is_hdr=video.hdr)[0]
        result.append(Candidate(rung, encode))
    return result


def bounds_of(auto: Auto, source: Source) -> Bounds:
    """The ends of the ladder of a source."""
    video = source.video
    lowest, highest = ladders.bounds(auto.codec, *video.upright, is_hdr=video.hdr)
    bottom = bits(auto.bottomBitrate) if auto.bottomBitrate else max(lowest, _LEAST_BITS)
    most = bits(auto.maxBitrate) if auto.maxBitrate else max(highest, _MOST_BITS, bottom)
    return Bounds(auto.topVmaf, float(most), float(min(bottom, most)))


def aim_of_ladder(profile: Profile, largest: Candidate, source: Source) -> Aim:
    """What probes are scored for: the model and the size of the comparison are those of a target of quality."""
    model = profile.vmaf.model if profile.vmaf else UNSET
    aimed = structs.replace(largest.encode, bitrate=UNSET, quality=Target(vmaf=95.0, model=model))
    aim = aim_of(Profile(ffmpeg=aimed), Raster(*largest.size), source.video.upright)
    if not aim:
        raise ValueError("the target is a VMAF")
    return aim


def rung_of(candidate: Candidate, point: Point) -> Rung:
    """The rung of a point of the hull."""
    kbits = max(_LEAST_BITS, round(point.bitrate)) // 1000
    return structs.replace(candidate.rung, bitrate=rate(kbits * 1000))


class Search:
    """Probes sizes of a film until the hull is known. `points` are what it has, `cpu_seconds` what that took."""

    def __init__(
        self, prober: Prober, sizes: Sequence[Candidate], aim: Aim, nth: int = _NTH, until: float | None = None
    ) -> None:
        self.prober, self.sizes, self.aim, self._nth = prober, sizes, aim, nth
        self.scale = scale_of(sizes[0].encode)
        self.points: list[Point] = []
        self.cpu_seconds = 0.0
        self._until, self._longest = until, 0.0
        video = prober.plans.source.video
        picture = video.upright[0] * video.upright[1] * (video.rate or _UNKNOWN_RATE)
        pixels = _MOST_PIXELS if until is None else _FEW_PIXELS
        self._windows = fewer(windows(prober.film), prober.film, picture, pixels)

    def facts(self, known: Knowledge) -> object:
        """The facts on which the points depend: not on the ends of the ladder, so those that are known serve others."""
        aim, encodes = self.aim, [probe_encode(candidate.encode, 0.0) for candidate in self.sizes]
        where = aim.model, aim.width, aim.height, self._nth, self._windows
        return known.of("ladder", encodes, where, round(float(self.prober.length), 3))

    def run(self, bounds: Bounds) -> None:
        """Probe what the search wants. Raises JobError or Interrupted."""
        areas = [width * height for width, height in (candidate.size for candidate in self.sizes)]
        while following := hull.next_probe(self.scale, bounds, areas, self.points):
            before = time.monotonic()
            if self.points and self._until is not None and before + self._longest > self._until:
                _log.info("the ladder is made of %s probes: there is no time for more", len(self.points))
                return
            self.probe(*following)
            self._longest = max(self._longest, time.monotonic() - before)

    def probe(self, box: int, crf: float) -> None:
        """Probe a size at a factor. Raises JobError or Interrupted."""
        encode, prober = self.sizes[box].encode, self.prober
        probes = prober.probe(self._windows, encode, crf, self.aim, self._nth)
        if not probes:
            raise PermanentError("input-corrupt", "No frame of the input could be decoded.")
        _, vmaf, size = learnt(encode, self.aim, prober.film, probes).points[0]
        self.points.append(Point(box, crf, max(1.0, size / float(prober.length)), vmaf))
        self.cpu_seconds += sum(probe.cpuSeconds for probe in probes)


def fewer(numbers: Sequence[int], film: Sequence[Span], pixels: float, most_pixels: float = _MOST_PIXELS) -> list[int]:
    """The windows, or some of them that are spread over easy and hard ones, where all have more than `most_pixels`.

    `pixels` is the number that the source has in a second.
    """
    seconds = max(film[number].seconds for number in numbers)
    most = max(_LEAST_WINDOWS, int(most_pixels / max(1.0, pixels * seconds)))
    if len(numbers) <= most:
        return list(numbers)
    by_weight = sorted(numbers, key=lambda number: film[number].weight / film[number].seconds)
    return sorted(by_weight[(2 * n + 1) * len(numbers) // (2 * most)] for n in range(most))
