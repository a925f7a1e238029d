"""One quality score: two local files in, the figures, a report and a page out."""

import os
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from msgspec import UNSET

from elasticrecode.events import Progress, Quality
from elasticrecode.profiles import Vmaf
from worker import alignment, page, probe, vmaf
from worker.alignment import Film, Pairing
from worker.failures import Hopeless, encoder_error, last_lines
from worker.page import Moment
from worker.settings import Settings
from worker.work import Ticker, Work


class Scored(NamedTuple):
    """What scoring has brought, the files in the job's folder."""

    quality: Quality
    report: Path
    page: Path


class Pair(NamedTuple):
    """The two files and what people call them."""

    origin: Path
    input: Path
    origin_uri: str
    input_uri: str

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
    films = {side: _film(settings, Path(path), side) for side, path in pair.paths.items()}
    nearest = asked.align == "nearest"
    pairing = alignment.pair(films["origin"], films["input"], nearest=nearest)
    threads = asked.threads or len(os.sched_getaffinity(0))
    scores, confirmed = _run(pair, asked, settings, work, report, folder, films, pairing, before, threads)
    if confirmed._replace(warnings=()) != pairing._replace(warnings=()):
        scores, _ = _run(pair, asked, settings, work, report, folder, films, confirmed, before, threads)
    if not confirmed.by_time:
        both = vmaf.detail_both_ways(scores, (folder / vmaf.REVERSED_LOG).read_bytes(), pairing.frames)
        swapped = alignment.refuse_swapped(*both, nearest=nearest)
        confirmed = confirmed.warned(swapped) if swapped else confirmed
    found = vmaf.quality(scores, asked, confirmed.warnings)
    told = {
        "input": pair.input_uri,
        "origin": pair.origin_uri,
        "filter": vmaf.graph(asked, confirmed, threads),
        "profile": asked,
    }
    files = folder / "report.json", folder / "report.html"
    files[0].write_bytes(vmaf.report(scores, found, told))
    moments = _moments(pair, asked, settings, work, folder, films, confirmed, scores)
    files[1].write_text(_page(told, asked, found, scores, films["input"].times, moments), encoding="utf-8")
    return Scored(found, *files)


def _film(settings: Settings, path: Path, side: str) -> Film:
    video = probe.video(settings.ffprobe, path, side)
    return Film(video, probe.times(settings.ffprobe, path, video.stream, side))


def _run(
    pair: Pair,
    asked: Vmaf,
    settings: Settings,
    work: Work,
    report: Callable[[Progress], None],
    folder: Path,
    films: dict[str, Film],
    pairing: Pairing,
    before: int,
    threads: int,
) -> tuple[vmaf.Scores, Pairing]:
    """Measure, and see whether the pictures confirm how they were paired."""
    arguments = vmaf.arguments(vmaf.graph(asked, pairing, threads), pairing, films, pair.paths)
    ticker = Ticker(pairing.frames, films["input"].video.duration, report, before=before)
    log = folder / "score.log"
    status = work.run([settings.ffmpeg, *arguments], log, ticker, folder)
    lines = last_lines(log, folder)
    if status:
        raise encoder_error(lines, status)
    scores = vmaf.read(
        (folder / vmaf.VMAF_LOG).read_bytes(),
        (folder / vmaf.PSNR_LOG).read_text() if vmaf.is_on(asked.psnr) else None,
        (folder / vmaf.SSIM_LOG).read_text() if vmaf.is_on(asked.ssim) else None,
    )
    if not scores.frames:
        raise Hopeless("input-corrupt", "Not one frame of the two could be decoded.", lines)
    thumbs = {side: (folder / name).read_bytes() for side, name in vmaf.THUMBS.items()}
    return scores, alignment.checked(pairing, thumbs["origin"], thumbs["input"], nearest=asked.align == "nearest")


def _moments(
    pair: Pair,
    asked: Vmaf,
    settings: Settings,
    work: Work,
    folder: Path,
    films: dict[str, Film],
    pairing: Pairing,
    scores: vmaf.Scores,
) -> list[Moment]:
    """The worst moments with their pictures, the worst first."""
    by_number = dict(scores.frames)
    chosen = vmaf.worst(scores, films["input"].video.rate)
    made = [number + pairing.skip_input for number in chosen]
    theirs = [_partner(number, films, pairing) for number in chosen]
    frames: dict[str, Sequence[int]] = {"input": made, "origin": theirs}
    arguments = vmaf.picture_arguments(asked, pairing, films, pair.paths, frames)
    log = folder / "pictures.log"
    status = work.run([settings.ffmpeg, *arguments], log, lambda *_: None, folder)
    if status:
        raise encoder_error(last_lines(log, folder), status)
    times, start = films["input"].times, films["input"].times[0]
    return [
        Moment(
            frame=number,
            seconds=times[here] - start,
            score=by_number[number]["vmaf"],
            origin=_picture(folder, "origin", theirs, there),
            input=_picture(folder, "input", made, here),
        )
        for number, here, there in zip(chosen, made, theirs, strict=True)
        if here < len(times)
    ]


def _partner(number: int, films: dict[str, Film], pairing: Pairing) -> int:
    """The origin's frame that a scored frame was compared with."""
    if not pairing.by_time:
        return number + pairing.skip_origin
    times = [time - films["origin"].times[0] for time in films["origin"].times]
    wanted = films["input"].times[number] - films["input"].times[0]
    after = min(bisect_left(times, wanted), len(times) - 1)
    return min((max(0, after - 1), after), key=lambda n: abs(times[n] - wanted))


def _picture(folder: Path, side: str, frames: Sequence[int], frame: int) -> bytes:
    """The picture of a frame: they were written in order, each once."""
    return (folder / f"{side}-{sorted(set(frames)).index(frame) + 1}.jpg").read_bytes()


def _page(
    told: Mapping[str, object],
    asked: Vmaf,
    found: Quality,
    scores: vmaf.Scores,
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
    return page.render(
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
