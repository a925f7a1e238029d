"""One quality score: two local files in; a summary, a JSON report and an HTML report out, or the score of a chunk."""

import math
import re
from bisect import bisect_left
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from msgspec import UNSET, structs

from elasticrecode.jobs.events import Progress
from elasticrecode.media.profiles import SOURCE, Ffmpeg, Vmaf
from worker.errors import PermanentError
from worker.media import colour, geometry, timing
from worker.media.colour import Signal
from worker.media.ffmpeg_errors import encoder_error, grave, limit_error
from worker.media.geometry import Raster
from worker.media.plan import Plan
from worker.media.probe import probe_video
from worker.media.progress import Ticker
from worker.media.steps import Step
from worker.media.video import Video
from worker.quality import alignment, filters, results
from worker.quality.filters import Sampling, Side
from worker.quality.html_report import Moment
from worker.quality.pairing import HDR_WARNING, Film, Pairing, compare, pair_frames
from worker.quality.pooled import Measured, Scored, write_reports
from worker.quality.results import Scores
from worker.sandbox.machine import cores
from worker.sandbox.runner import Runner, last_lines
from worker.settings import Settings

_DAMAGE = re.compile(
    r"error while decoding|conceal|(?<!packet )corrupt(?! input)|invalid data|missing picture|error submitting",
    re.IGNORECASE,
)
"""ffmpeg's words where it decodes on after damaged data; not a demuxer's guess, which is wrong wherever files join."""
_SDR = Signal("yuv420p", "bt709", "bt709", "bt709")
_SENDER = re.compile(r"^(\[[^\]]* @ 0x[0-9a-f]+\] ?)+")
_MAX_FILE_BYTES = 1 << 29
"""Limit of each file that a measurement writes, because they are read whole: enough for a million frames."""


class Place(NamedTuple):
    """Where a chunk lies in its film: its start in seconds, and the number of frames before it, 0 where unknown."""

    start: float
    first: int = 0


class Pair(NamedTuple):
    """The two local files and their URIs. `plan` is that of the transcode if this job made the input of the origin.

    With a `place`, the input is a chunk of that transcode, the origin its cut, and the plan that of the chunk.
    """

    origin: Path
    input: Path
    origin_uri: str
    input_uri: str
    plan: Plan | None = None
    place: Place | None = None

    @property
    def paths(self) -> dict[str, Path]:
        """Side → path."""
        return {"origin": self.origin, "input": self.input}


def at_size(profile: Vmaf, size: Raster) -> Vmaf:
    """The score of a rung, at the size of the largest one of its ladder."""
    return structs.replace(profile, scale=f"{size.width}x{size.height}")


class _Run(NamedTuple):
    """A measurement: its scores, and both sides as they were decoded."""

    scores: Scores
    films: dict[str, Film]


def score(
    files: Pair,
    profile: Vmaf,
    settings: Settings,
    runner: Runner,
    report: Callable[[Progress], None],
    folder: Path,
    before: int = 0,
) -> Scored:
    """Measure how close the input looks to its origin. Both files are in `folder`, which gets the reports.

    `before` is the number of frames that the job has processed already, for its progress. Raises PermanentError if the
    two cannot be compared; else as `Runner.run`.
    """
    measured = measure(files, profile, settings, runner, report, folder, before)
    return write_reports(measured, profile, files.input_uri, files.origin_uri, folder)


def measure(
    files: Pair,
    profile: Vmaf,
    settings: Settings,
    runner: Runner,
    report: Callable[[Progress], None],
    folder: Path,
    before: int = 0,
    *,
    with_stills: bool = True,
) -> Measured:
    """The measurement of a score or, where the pair has a place, of a chunk. Arguments and errors as `score`.

    Without `with_stills` it has no moments.
    """
    unknown = {side: path for side, path in files.paths.items() if side == "input" or not files.plan}
    with ThreadPoolExecutor(len(unknown)) as threads:
        probing = {
            side: threads.submit(probe_video, settings.ffprobe, runner, path, side, count=True)
            for side, path in unknown.items()
        }
        videos = {side: probed.result() for side, probed in probing.items()}
    for side, video in videos.items():
        runner.limits.check_frames(side, video.frames or 0)
    if files.plan:
        videos["origin"] = files.plan.source.video
    videos["input"] = _tagged_alike(videos["origin"], videos["input"])
    return _Scorer(files, profile, settings, runner, report, folder, before, videos).measure(with_stills=with_stills)


class _Scorer(NamedTuple):
    """Two videos, and all that is needed to score them."""

    files: Pair
    profile: Vmaf
    settings: Settings
    runner: Runner
    report: Callable[[Progress], None]
    folder: Path
    before: int
    videos: dict[str, Video]

    @property
    def nearest(self) -> bool:
        """Whether differences become warnings: by default only if this job has encoded the input itself."""
        return self.profile.align == "nearest" or (self.files.plan is not None and self.profile.align is UNSET)

    @property
    def sampling(self) -> Sampling:
        """The frames that get thumbnails, and those that are scored both ways."""
        frames, place = self.videos["input"].frames or 0, self.files.place
        lead = filters.lead(frames, place.first, self.every) if place and place.start else 0
        return filters.sampling(frames, both_ways=self.files.plan is None)._replace(lead=lead)

    @property
    def every(self) -> int:
        """One frame in so many is scored."""
        return self.profile.subsample or 1

    def measure(self, *, with_stills: bool) -> Measured:
        """Measure, and measure again if the frames support another pairing."""
        pairing = self._glance(self._expected())
        run, lines = self._measure(pairing)
        confirmed = self._pair(pairing, run.films)
        if confirmed.order != pairing.order:
            run, lines = self._measure(confirmed, again=True)
        confirmed = self._complete(confirmed, run)
        if not confirmed.by_time and self.sampling.both_ways:
            both = results.detail_both_ways(self._read(filters.FORWARD_LOG), self._read(filters.REVERSED_LOG))
            swapped = alignment.check_swapped(*both, nearest=self.nearest)
            confirmed = confirmed.with_warning(swapped) if swapped else confirmed
        damage = next((line for line in lines if _DAMAGE.search(line)), None)
        if damage:
            confirmed = confirmed.with_warning(f"One of the two files is damaged: {_SENDER.sub('', damage)}")
        return self._measured(run, confirmed, with_stills=with_stills)

    def _expected(self) -> Pairing:
        """How the two are compared, before a frame is decoded."""
        origin, encoded = self.videos["origin"], self.videos["input"]
        if self.files.plan is None:
            return compare(origin, encoded, nearest=self.nearest)
        pairing = Pairing(0, bits=10 if encoded.bits > 8 else 8)
        return pairing.with_warning(HDR_WARNING) if encoded.hdr else pairing

    def _glance(self, pairing: Pairing) -> Pairing:
        """The pairing that the first frames support, which spares files that start apart a second measurement."""
        if self.files.plan:
            return pairing
        self._run(filters.glance_arguments(self._sides(pairing), self.runner.limits), lambda *_: None)
        films = {side: Film(video, ()) for side, video in self.videos.items()}
        origin, encoded = (self._read(filters.THUMBS[side]) for side in ("origin", "input"))
        seen = alignment.confirm(pairing, films, origin, encoded, nearest=True)
        return pairing if seen.by_time or seen.order == pairing.order else seen

    def _sides(self, pairing: Pairing) -> dict[str, Side]:
        """Both sides as they are compared: the origin by the steps that made the input of it, where this job did."""
        sides = {side: _side(self.videos[side], path, pairing) for side, path in self.files.paths.items()}
        if not self.files.plan:
            step = _likened(self.videos["origin"], self.videos["input"])
            sides["origin"] = sides["origin"]._replace(filters=(*sides["origin"].filters, *step.filters))
            for name, text in step.files.items():
                (self.folder / name).write_text(text, encoding="ascii")
        else:
            picture = self.files.plan.picture.with_fit(_reference_fit(self.profile, self.files.plan))
            plan = self.files.plan
            used = {stream for track in plan.audio.tracks for stream in track.streams}
            starts = [track.start for track in plan.source.audio if track.stream in used]
            options = timing.reference_options(plan.source.video, starts, picture.encode)
            options = ("-copyts",) if self.files.place else options  # by the film's clock, from which the plan counts
            sides["origin"] = sides["origin"]._replace(filters=picture.filters, size=picture.size, options=options)
        return sides

    def _pair(self, pairing: Pairing, films: dict[str, Film]) -> Pairing:
        """The pairing of the decoded frames, as numbers, times and thumbnails support it."""
        same_clock, step = self.files.plan is not None, self.sampling.step
        origin, encoded = (self._read(filters.THUMBS[side]) for side in ("origin", "input"))
        paired = pair_frames(pairing, films["origin"], films["input"], nearest=self.nearest, same_clock=same_clock)
        if paired.by_time:
            return pair_frames(self._expected(), films["origin"], films["input"], nearest=self.nearest)
        if same_clock and len(films["origin"].times) == len(films["input"].times):
            return alignment.check_numbers(paired, origin, encoded, step=step)
        return alignment.confirm(paired, films, origin, encoded, nearest=self.nearest, step=step)

    def _complete(self, pairing: Pairing, run: _Run) -> Pairing:
        """The pairing with the frames that were compared. Raises PermanentError if not all of them were scored."""
        origin, encoded = (len(run.films[side].times) for side in ("origin", "input"))
        scored, every, lead = len(run.scores.frames), self.every, self.sampling.lead
        if pairing.by_time:
            if scored < math.ceil(encoded / every):
                pairing = pairing.with_warning(f"{scored * every} of the input's {encoded} frames have one to compare.")
            return pairing._replace(frames=min(encoded, scored * every))
        pairs = min(origin - pairing.skip_origin, encoded - pairing.skip_input)
        expected = math.ceil((lead + pairs) / every) - math.ceil(lead / every)
        if scored != expected:
            message = f"{scored} frames were scored, not {expected} of {pairs} pairs."
            raise PermanentError("score-incomplete", message)
        return pairing._replace(frames=pairs)

    def _measure(self, pairing: Pairing, *, again: bool = False) -> tuple[_Run, list[str]]:
        """The measurement, and ffmpeg's warnings. The progress of a repeated one is unknown."""
        sides, chosen, encoded = self._sides(pairing), self.sampling, self.videos["input"]
        graph = filters.filter_graph(self.profile, pairing, sides, chosen, self.profile.threads or cores())
        frames = None if again else encoded.frames
        ticker = Ticker(frames, encoded.duration, self.report, before=self.before)
        lines = self._run(filters.score_arguments(graph, sides, chosen, self.runner.limits), ticker)
        scores = results.parse_logs(
            self._read(filters.VMAF_LOG),
            self._read(filters.PSNR_LOG).decode() if filters.is_on(self.profile.psnr) else None,
            self._read(filters.SSIM_LOG).decode() if filters.is_on(self.profile.ssim) else None,
            0 if pairing.by_time else chosen.lead,
        )
        if not scores.frames:
            raise PermanentError("input-corrupt", "No frame of the two files could be decoded.", lines)
        films = {}
        for side, video in self.videos.items():
            with (self.folder / filters.TIMES[side]).open(encoding="utf-8") as printed:
                films[side] = Film(video, results.frame_times(printed, video.rate))
        return _Run(scores, films), lines

    def _measured(self, run: _Run, pairing: Pairing, *, with_stills: bool) -> Measured:
        sides, times, place = self._sides(pairing), run.films["input"].times, self.files.place
        return Measured(
            scores=run.scores,
            frames=len(times),
            pairs=pairing.frames,
            points=_points(run.scores, times, pairing),
            moments=self._moments(pairing, run) if with_stills else [],
            warnings=list(pairing.warnings),
            size=filters.raster(self.profile, sides["origin"].size),
            graph=filters.filter_graph(self.profile, pairing, sides, self.sampling, self.profile.threads or cores()),
            start=place.start if place else 0.0,
        )

    def _moments(self, pairing: Pairing, run: _Run) -> list[Moment]:
        """The worst frames with their pictures, the worst first."""
        metrics = dict(run.scores.frames)
        times = run.films["input"].times
        last = len(times) - pairing.skip_input
        rate = len(times) / (times[-1] - times[0]) if times[-1] > times[0] else 1.0
        chosen = [number for number in results.worst_frames(run.scores, rate) if number < last]
        of_input = [number + pairing.skip_input for number in chosen]
        of_origin = [_partner(number, run.films, pairing) for number in chosen]
        frames = {"input": of_input, "origin": of_origin}
        for side, numbers in frames.items():
            for number in numbers:
                _still(self.folder, side, numbers, number).unlink(missing_ok=True)  # those of an earlier chunk
        self._run(
            filters.still_arguments(self.profile, self._sides(pairing), frames, self.runner.limits), lambda *_: None
        )
        moments = []
        for number, frame, partner in zip(chosen, of_input, of_origin, strict=True):
            stills = _still(self.folder, "origin", of_origin, partner), _still(self.folder, "input", of_input, frame)
            if all(path.exists() for path in stills):  # a damaged file may have fewer frames than it declares
                pictures = (path.read_bytes() for path in stills)
                moments.append(Moment(number, times[frame] - times[0], metrics[number]["vmaf"], *pictures))
        return moments

    def _run(self, arguments: Sequence[str], on_line: Callable[[str, float], None]) -> list[str]:
        """Run ffmpeg in the job's folder and return its last log lines. Raises JobError if it fails."""
        log = self.folder / "score.log"
        longest = max(video.duration or math.inf for video in self.videos.values())
        status = self.runner.run(
            [self.settings.ffmpeg, *arguments],
            self.folder,
            log,
            seconds=self.runner.limits.timeout_seconds(longest),
            file_bytes=_MAX_FILE_BYTES,
            on_line=on_line,
        )
        lines = grave(last_lines(log, self.folder))
        if error := limit_error(self.runner.limits, "input", lines):
            raise error
        if status:
            raise encoder_error(lines, status, ("input", "origin"))
        return lines

    def _read(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()


def _side(video: Video, path: Path, pairing: Pairing) -> Side:
    """One side as players show it, or as coded."""
    turned = () if pairing.as_coded else geometry.orient(video).filters
    size = video._replace(rotation=0).upright if pairing.as_coded else video.upright
    steps = (*colour.interpret(video).filters, *geometry.normalise(video).filters, *turned)
    return Side(video, str(path), steps, size)


def _likened(origin: Video, encoded: Video) -> Step:
    """The step that gives an origin the nature of an input that is not interlaced, or not HDR, as the origin is."""
    tone = Step()
    if origin.hdr and not encoded.hdr:
        tone = colour.convert(origin, _SDR, Ffmpeg(codec="libx264", scale=SOURCE))
    if not origin.interlaced or encoded.interlaced:
        return tone
    fields = "send_field" if encoded.rate > 1.5 * origin.rate else "send_frame"
    return tone._replace(filters=(f"bwdif=mode={fields}:deint=interlaced", *tone.filters))


def _tagged_alike(origin: Video, encoded: Video) -> Video:
    """The input with the origin's matrix where neither has a tag: the guess by size differs between two sizes."""
    guess = colour.source_signal(origin)
    untagged = not {origin.matrix, encoded.matrix} - {"", "unknown"} and not {guess.matrix} & {"gbr"}
    return encoded._replace(matrix=guess.matrix, primaries=guess.primaries) if untagged else encoded


def _reference_fit(profile: Vmaf, plan: Plan) -> Step:
    """The step that frames the reference of a transcode as its output, but not smaller than it is compared.

    The detail that a smaller output lacks counts against it.
    """
    size, encode = plan.picture.size, plan.picture.encode
    width, height = filters.raster(profile, size)
    if encode.scale == SOURCE or encode.fit not in ("pad", "crop"):
        return Step((f"scale={width}:{height}:flags=bicubic", "setsar=1"))
    times = math.ceil(max(1.0, width / size.width, height / size.height))
    return geometry.fit(plan.source.video, encode, Raster(size.width * times, size.height * times))


def _partner(number: int, films: dict[str, Film], pairing: Pairing) -> int:
    """The origin's frame with which a scored frame was compared."""
    if not pairing.by_time:
        return number + pairing.skip_origin
    times, of_input = films["origin"].times, films["input"].times
    elapsed = of_input[number] - of_input[0]
    after = min(bisect_left(times, elapsed, key=lambda time: time - times[0]), len(times) - 1)
    return min((max(0, after - 1), after), key=lambda n: abs(times[n] - times[0] - elapsed))


def _still(folder: Path, side: str, frames: Sequence[int], frame: int) -> Path:
    """The file of a frame's picture: frames are written in ascending order, each once."""
    return folder / f"{side}-{sorted(set(frames)).index(frame) + 1}.jpg"


def _points(scores: Scores, times: Sequence[float], pairing: Pairing) -> list[tuple[float, float]]:
    """Seconds from the start and VMAF of each scored frame."""
    numbered = [(number + pairing.skip_input, metrics["vmaf"]) for number, metrics in scores.frames]
    return [(times[number] - times[0], value) for number, value in numbered if number < len(times)]
