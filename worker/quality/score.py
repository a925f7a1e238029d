"""One quality score: two local files in; a summary, a JSON report and an HTML report out."""

import math
import re
from bisect import bisect_left
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from msgspec import UNSET

from elasticrecode.jobs.events import Progress, Quality
from elasticrecode.media.profiles import Vmaf
from worker.errors import PermanentError
from worker.media.ffmpeg_errors import encoder_error, limit_error
from worker.media.probe import frame_times, probe_video
from worker.media.progress import Ticker
from worker.quality import alignment, filters, html_report, results
from worker.quality.html_report import Moment
from worker.quality.pairing import Film, Pairing, pair
from worker.quality.results import Scores
from worker.sandbox.machine import cores
from worker.sandbox.runner import Runner, last_lines
from worker.settings import Settings

_DAMAGE = re.compile(
    r"error while decoding|conceal|corrupt|invalid data|missing picture|error submitting", re.IGNORECASE
)
"""ffmpeg's words where it decodes on after damaged data."""
_MAX_FILE_BYTES = 1 << 29
"""Limit of each file that a measurement writes, because they are read whole: enough for a million frames."""


class Scored(NamedTuple):
    """The result of a score; the report files are in the job's folder."""

    quality: Quality
    report: Path
    html: Path


class Pair(NamedTuple):
    """The two local files and their URIs. `encoded_here` is true if this job has encoded the input from the origin."""

    origin: Path
    input: Path
    origin_uri: str
    input_uri: str
    encoded_here: bool = False

    @property
    def paths(self) -> dict[str, str]:
        """Side → path."""
        return {"origin": str(self.origin), "input": str(self.input)}


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
    with ThreadPoolExecutor(len(files.paths)) as threads:
        films = threads.map(lambda side: _film(settings, runner, Path(files.paths[side]), side), files.paths)
        sides = dict(zip(files.paths, films, strict=True))
    return _Scorer(files, profile, settings, runner, report, folder, before, sides).score()


def _film(settings: Settings, runner: Runner, path: Path, side: str) -> Film:
    video = probe_video(settings.ffprobe, runner, path, side)
    return Film(video, frame_times(settings.ffprobe, runner, path, video, side))


class _Scorer(NamedTuple):
    """Two films, and all that is needed to score them."""

    files: Pair
    profile: Vmaf
    settings: Settings
    runner: Runner
    report: Callable[[Progress], None]
    folder: Path
    before: int
    films: dict[str, Film]

    @property
    def nearest(self) -> bool:
        """Whether differences become warnings: by default only if this job has encoded the input itself."""
        return self.profile.align == "nearest" or (self.files.encoded_here and self.profile.align is UNSET)

    @property
    def threads(self) -> int:
        """Threads of libvmaf."""
        return self.profile.threads or cores()

    def score(self) -> Scored:
        """Measure, measure again if the thumbnails support another pairing, and write the reports."""
        pairing = pair(self.films["origin"], self.films["input"], nearest=self.nearest)
        scores, confirmed, lines = self._measure(pairing)
        if confirmed._replace(warnings=()) != pairing._replace(warnings=()):
            scores, _, lines = self._measure(confirmed)
        if not confirmed.by_time and not self.files.encoded_here:
            both = results.detail_both_ways(scores, self._read(filters.REVERSED_LOG), pairing.frames)
            swapped = alignment.check_swapped(*both, nearest=self.nearest)
            confirmed = confirmed.with_warning(swapped) if swapped else confirmed
        damage = next((line for line in lines if _DAMAGE.search(line)), None)
        confirmed = confirmed.with_warning(f"One of the two files is damaged: {damage}") if damage else confirmed
        return self._write(scores, confirmed)

    def _measure(self, pairing: Pairing) -> tuple[Scores, Pairing, list[str]]:
        """The scores, the pairing that the thumbnails support, and ffmpeg's last log lines."""
        graph = filters.filter_graph(self.profile, pairing, self.threads)
        ticker = Ticker(pairing.frames, self.films["input"].video.duration, self.report, before=self.before)
        arguments = filters.score_arguments(graph, pairing, self.films, self.files.paths, self.runner.limits)
        lines = self._run(arguments, ticker)
        scores = results.parse_logs(
            self._read(filters.VMAF_LOG),
            self._read(filters.PSNR_LOG).decode() if filters.is_on(self.profile.psnr) else None,
            self._read(filters.SSIM_LOG).decode() if filters.is_on(self.profile.ssim) else None,
        )
        if not scores.frames:
            raise PermanentError("input-corrupt", "No frame of the two files could be decoded.", lines)
        origin, encoded = (self._read(filters.THUMBS[side]) for side in ("origin", "input"))
        return scores, alignment.confirm(pairing, self.films, origin, encoded, nearest=self.nearest), lines

    def _write(self, scores: Scores, pairing: Pairing) -> Scored:
        """Write both reports."""
        quality = results.summarize(scores, self.profile, pairing.warnings)
        graph = filters.filter_graph(self.profile, pairing, self.threads)
        scored = Scored(quality, self.folder / "report.json", self.folder / "report.html")
        measurement = {
            "input": self.files.input_uri,
            "origin": self.files.origin_uri,
            "filter": graph,
            "profile": self.profile,
        }
        scored.report.write_bytes(results.json_report(scores, quality, measurement))
        html = html_report.render(
            input=self.files.input_uri,
            origin=self.files.origin_uri,
            figures=_figures(quality),
            points=_points(scores, self.films["input"].times),
            moments=self._moments(pairing, scores),
            measured=_measured(quality, self.profile, scores.version, graph),
            warnings=quality.warnings,
            passed=quality.passed,
        )
        scored.html.write_text(html, encoding="utf-8")
        return scored

    def _moments(self, pairing: Pairing, scores: Scores) -> list[Moment]:
        """The worst frames with their pictures, the worst first."""
        metrics = dict(scores.frames)
        times = self.films["input"].times
        last = len(times) - pairing.skip_input
        chosen = [number for number in results.worst_frames(scores, self.films["input"].video.rate) if number < last]
        of_input = [number + pairing.skip_input for number in chosen]
        of_origin = [_partner(number, self.films, pairing) for number in chosen]
        frames = {"input": of_input, "origin": of_origin}
        arguments = filters.still_arguments(
            self.profile, pairing, self.films, self.files.paths, frames, self.runner.limits
        )
        self._run(arguments, lambda *_: None)
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
        longest = max(film.video.duration or math.inf for film in self.films.values())
        status = self.runner.run(
            [self.settings.ffmpeg, *arguments],
            self.folder,
            log,
            seconds=self.runner.limits.timeout_seconds(longest),
            file_bytes=_MAX_FILE_BYTES,
            on_line=on_line,
        )
        lines = last_lines(log, self.folder)
        if error := limit_error(self.runner.limits, "input", lines):
            raise error
        if status:
            raise encoder_error(lines, status, ("input", "origin"))
        return lines

    def _read(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()


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


def _points(scores: Scores, times: Sequence[float]) -> list[tuple[float, float]]:
    """Seconds from the start and VMAF of each scored frame."""
    return [(times[number] - times[0], metrics["vmaf"]) for number, metrics in scores.frames if number < len(times)]


def _figures(quality: Quality) -> dict[str, float | None]:
    """The figures that the HTML report shows, by their labels."""
    figures: dict[str, float | None] = {
        "VMAF mean": quality.vmaf.mean,
        "VMAF harmonic mean": quality.vmaf.harmonicMean,
        "VMAF minimum": quality.vmaf.min,
        "VMAF 5th percentile": quality.vmaf.p5,
    }
    others = {"PSNR (dB)": quality.psnr, "SSIM": quality.ssim, "MS-SSIM": quality.msSsim}
    return figures | {name: value.mean for name, value in others.items() if value}


def _measured(quality: Quality, profile: Vmaf, version: str, graph: str) -> dict[str, str]:
    """The measurement as the HTML report describes it, by labels."""
    return {
        "Model": quality.vmaf.model,
        "Frames scored": str(quality.vmaf.frames),
        "Scale": f"both at {profile.scale}",
        "Required minimum": f"VMAF mean {profile.min:g}" if profile.min is not UNSET else "none",
        "libvmaf": version,
        "Filter graph": graph,
    }
