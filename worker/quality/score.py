"""One quality score: two local files in, the figures, a report and a page out."""

import math
import re
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from msgspec import UNSET

from elasticrecode.jobs.events import Progress, Quality
from elasticrecode.media.profiles import Vmaf
from worker.errors import Hopeless, encoder_error, last_lines
from worker.media import probe
from worker.media.progress import Ticker
from worker.quality import alignment, filters, html_report
from worker.quality.alignment import Film, Pairing
from worker.quality.html_report import Moment
from worker.sandbox.machine import cores
from worker.sandbox.runner import Work
from worker.settings import Settings

_DAMAGE = re.compile(
    r"error while decoding|conceal|corrupt|invalid data|missing picture|error submitting", re.IGNORECASE
)
"""ffmpeg decodes on where data is damaged, and says so."""
_FILE_BYTES = 1 << 29
"""What each file that scoring writes may have, since they are read whole: enough for a million frames."""


class Scored(NamedTuple):
    """What scoring has brought, the files in the job's folder."""

    quality: Quality
    report: Path
    page: Path


class Pair(NamedTuple):
    """The two files and what people call them. One that was just made of the other is known to show the same."""

    origin: Path
    input: Path
    origin_uri: str
    input_uri: str
    made_here: bool = False

    @property
    def paths(self) -> dict[str, str]:
        """Side → path."""
        return {"origin": str(self.origin), "input": str(self.input)}


def score(
    pair: Pair,
    asked: Vmaf,
    settings: Settings,
    work: Work,
    report: Callable[[Progress], None],
    folder: Path,
    before: int = 0,
) -> Scored:
    """Measure how much the input looks like its origin.

    `before` is the number of frames the job has done already, for its progress. Raises Hopeless, with a code, when the
    two can't be compared, and Interrupted.
    """
    with ThreadPoolExecutor(len(pair.paths)) as threads:
        found = threads.map(lambda side: _film(settings, work, Path(pair.paths[side]), side), pair.paths)
        films = dict(zip(pair.paths, found, strict=True))
    return _Scorer(pair, asked, settings, work, report, folder, before, films).scored()


def _film(settings: Settings, work: Work, path: Path, side: str) -> Film:
    video = probe.video(settings.ffprobe, work, path, side)
    return Film(video, probe.times(settings.ffprobe, work, path, video, side))


class _Scorer(NamedTuple):
    """Two films, and what it takes to score them."""

    pair: Pair
    asked: Vmaf
    settings: Settings
    work: Work
    report: Callable[[Progress], None]
    folder: Path
    before: int
    films: dict[str, Film]

    @property
    def nearest(self) -> bool:
        """Whether what does not match exactly is scored all the same, with a warning."""
        return self.asked.align == "nearest" or (self.pair.made_here and self.asked.align is UNSET)

    @property
    def threads(self) -> int:
        """Threads of libvmaf."""
        return self.asked.threads or cores()

    def scored(self) -> Scored:
        """Measure, once more where the pictures say that frames belong together otherwise, and write it down."""
        pairing = alignment.pair(self.films["origin"], self.films["input"], nearest=self.nearest)
        scores, confirmed, lines = self._measured(pairing)
        if confirmed._replace(warnings=()) != pairing._replace(warnings=()):
            scores, _, lines = self._measured(confirmed)
        if not confirmed.by_time and not self.pair.made_here:
            both = filters.detail_both_ways(scores, self._read(filters.REVERSED_LOG), pairing.frames)
            swapped = alignment.refuse_swapped(*both, nearest=self.nearest)
            confirmed = confirmed.warned(swapped) if swapped else confirmed
        damage = next((line for line in lines if _DAMAGE.search(line)), None)
        confirmed = confirmed.warned(f"One of the two is damaged: {damage}") if damage else confirmed
        found = filters.quality(scores, self.asked, confirmed.warnings)
        told = {
            "input": self.pair.input_uri,
            "origin": self.pair.origin_uri,
            "filter": filters.graph(self.asked, confirmed, self.threads),
            "profile": self.asked,
        }
        files = self.folder / "report.json", self.folder / "report.html"
        files[0].write_bytes(filters.report(scores, found, told))
        moments = self._moments(confirmed, scores)
        html = _page(told, self.asked, found, scores, self.films["input"].times, moments)
        files[1].write_text(html, encoding="utf-8")
        return Scored(found, *files)

    def _measured(self, pairing: Pairing) -> tuple[filters.Scores, Pairing, list[str]]:
        """The scores, the pairing as the pictures confirm it, and ffmpeg's last lines."""
        graph = filters.graph(self.asked, pairing, self.threads)
        ticker = Ticker(pairing.frames, self.films["input"].video.duration, self.report, before=self.before)
        lines = self._run(filters.arguments(graph, pairing, self.films, self.pair.paths, self.work.limits), ticker)
        scores = filters.read(
            self._read(filters.VMAF_LOG),
            self._read(filters.PSNR_LOG).decode() if filters.is_on(self.asked.psnr) else None,
            self._read(filters.SSIM_LOG).decode() if filters.is_on(self.asked.ssim) else None,
        )
        if not scores.frames:
            raise Hopeless("input-corrupt", "Not one frame of the two could be decoded.", lines)
        origin, made = (self._read(filters.THUMBS[side]) for side in ("origin", "input"))
        return scores, alignment.checked(pairing, self.films, origin, made, nearest=self.nearest), lines

    def _moments(self, pairing: Pairing, scores: filters.Scores) -> list[Moment]:
        """The worst moments with their pictures, the worst first."""
        by_number = dict(scores.frames)
        times = self.films["input"].times
        last = len(times) - pairing.skip_input
        chosen = [number for number in filters.worst(scores, self.films["input"].video.rate) if number < last]
        made = [number + pairing.skip_input for number in chosen]
        theirs = [_partner(number, self.films, pairing) for number in chosen]
        frames: dict[str, Sequence[int]] = {"input": made, "origin": theirs}
        arguments = filters.picture_arguments(
            self.asked, pairing, self.films, self.pair.paths, frames, self.work.limits
        )
        self._run(arguments, lambda *_: None)
        found = []
        for number, here, there in zip(chosen, made, theirs, strict=True):
            pictures = _picture(self.folder, "origin", theirs, there), _picture(self.folder, "input", made, here)
            if all(path.exists() for path in pictures):  # a damaged file may have fewer frames than it tells
                both = (path.read_bytes() for path in pictures)
                found.append(Moment(number, times[here] - times[0], by_number[number]["vmaf"], *both))
        return found

    def _run(self, arguments: Sequence[str], on_line: Callable[[str, float], None]) -> list[str]:
        """Run ffmpeg in the job's folder; its last lines. JobError when it fails."""
        log = self.folder / "score.log"
        longest = max(film.video.duration or math.inf for film in self.films.values())
        seconds = self.work.limits.seconds(longest)
        status = self.work.run(
            [self.settings.ffmpeg, *arguments],
            self.folder,
            log,
            seconds=seconds,
            file_bytes=_FILE_BYTES,
            on_line=on_line,
        )
        lines = last_lines(log, self.folder)
        if met := self.work.limits.met("input", lines):
            raise met
        if status:
            raise encoder_error(lines, status, ("input", "origin"))
        return lines

    def _read(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()


def _partner(number: int, films: dict[str, Film], pairing: Pairing) -> int:
    """The origin's frame that a scored frame was compared with."""
    if not pairing.by_time:
        return number + pairing.skip_origin
    times, made = films["origin"].times, films["input"].times
    wanted = made[number] - made[0]
    after = min(bisect_left(times, wanted, key=lambda time: time - times[0]), len(times) - 1)
    return min((max(0, after - 1), after), key=lambda n: abs(times[n] - times[0] - wanted))


def _picture(folder: Path, side: str, frames: Sequence[int], frame: int) -> Path:
    """The picture of a frame: they were written in order, each once."""
    return folder / f"{side}-{sorted(set(frames)).index(frame) + 1}.jpg"


def _page(
    told: Mapping[str, object],
    asked: Vmaf,
    found: Quality,
    scores: filters.Scores,
    times: Sequence[float],
    moments: Sequence[Moment],
) -> str:
    figures = {
        "VMAF mean": found.vmaf.mean,
        "VMAF harmonic mean": found.vmaf.harmonicMean,
        "VMAF minimum": found.vmaf.min,
        "VMAF 5th percentile": found.vmaf.p5,
    }
    others = {"PSNR (dB)": found.psnr, "SSIM": found.ssim, "MS-SSIM": found.msSsim}
    figures |= {name: score.mean for name, score in others.items() if score}
    measured = {
        "Model": found.vmaf.model,
        "Frames scored": str(found.vmaf.frames),
        "Scale": f"both at {asked.scale}",
        "Minimum asked for": f"VMAF mean {asked.min:g}" if asked.min is not UNSET else "none",
        "libvmaf": scores.version,
        "Filter": str(told["filter"]),
    }
    return html_report.render(
        input=str(told["input"]),
        origin=str(told["origin"]),
        figures=figures,
        points=[
            (times[number] - times[0], metrics["vmaf"]) for number, metrics in scores.frames if number < len(times)
        ],
        moments=moments,
        measured=measured,
        warnings=found.warnings,
        passed=found.passed,
    )
