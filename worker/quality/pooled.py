"""The result of a measurement, of a whole film or pooled from those of its chunks, and its reports.

Every chunk of a divided film is scored by the worker that has encoded it, which has the source's pictures at hand. The
scores of all chunks, one behind the other, are those of the film.
"""

import gzip
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec import UNSET

from elasticrecode import wire
from elasticrecode.jobs.events import Quality
from elasticrecode.media.profiles import Vmaf
from worker.quality import html_report, results
from worker.quality.html_report import Moment
from worker.quality.results import Scores


class Scored(NamedTuple):
    """The result of a score: the report files, which are in the job's folder, and the worst moments."""

    quality: Quality
    report: Path
    html: Path
    moments: tuple[Moment, ...] = ()


class Measured(NamedTuple):
    """A finished measurement, which JSON can hold. A chunk counts frames and seconds from its own start.

    `frames` is the number of the input's frames and `pairs` that of those with a partner. `points` are seconds and VMAF
    of each scored frame, `moments` the worst ones. `size` is the width and height at which both sides were compared, by
    the filters of `graph`. `start` is where a chunk begins in the film, in seconds.
    """

    scores: Scores
    frames: int
    pairs: int
    points: list[tuple[float, float]]
    moments: list[Moment]
    warnings: list[str]
    size: tuple[int, int]
    graph: str
    start: float = 0.0

    def save(self, path: Path) -> None:
        """Write the measurement to a file, as gzipped JSON."""
        path.write_bytes(gzip.compress(msgspec.json.encode(self), 1))


def load(path: Path) -> Measured:
    """The measurement in a file that `save` wrote. Raises msgspec.DecodeError or OSError for another file."""
    return wire.decode(gzip.decompress(path.read_bytes()), Measured)


def pool(chunks: Sequence[Measured]) -> Measured:
    """The measurement of a film from those of all its chunks, in any order. Its graph is that of the first chunk.

    Warnings that not all chunks share begin with the time of their chunk. There is at least one chunk.
    """
    chunks = sorted(chunks, key=lambda chunk: chunk.start)
    frames, points, moments = list[tuple[int, dict[str, float]]](), list[tuple[float, float]](), list[Moment]()
    before = 0
    for chunk in chunks:
        frames += [(number + before, metrics) for number, metrics in chunk.scores.frames]
        points += [(seconds + chunk.start, value) for seconds, value in chunk.points]
        moments += [
            moment._replace(frame=moment.frame + before, seconds=moment.seconds + chunk.start)
            for moment in chunk.moments
        ]
        before += chunk.frames
    return chunks[0]._replace(
        scores=Scores(chunks[0].scores.version, frames),
        frames=before,
        pairs=sum(chunk.pairs for chunk in chunks),
        points=points,
        moments=_worst(moments, frames[-1][0], points),
        warnings=_warnings(chunks),
    )


def _worst(moments: Sequence[Moment], last: int, points: Sequence[tuple[float, float]]) -> list[Moment]:
    """The worst of the moments of all chunks, the worst first, as far apart as those of a film with that last frame."""
    by_frame = {moment.frame: moment for moment in moments}
    seconds = points[-1][0] - points[0][0]
    distance = results.apart(last, last / seconds if seconds > 0 else 1.0)
    numbers = results.worst({frame: moment.score for frame, moment in by_frame.items()}, distance)
    return [by_frame[number] for number in numbers]


def _warnings(chunks: Sequence[Measured]) -> list[str]:
    counts = Counter(warning for chunk in chunks for warning in set(chunk.warnings))
    texts = [
        warning if counts[warning] == len(chunks) else f"From {html_report.clock(chunk.start)} on: {warning}"
        for chunk in chunks
        for warning in chunk.warnings
    ]
    return list(dict.fromkeys(texts))


def write_reports(measured: Measured, profile: Vmaf, input_uri: str, origin_uri: str, folder: Path) -> Scored:
    """The summary of a measurement, and its reports in `folder`."""
    quality = results.summarize(measured.scores, profile, measured.warnings, measured.pairs)
    scored = Scored(quality, folder / "report.json", folder / "report.html", tuple(measured.moments))
    measurement = {"input": input_uri, "origin": origin_uri, "filter": measured.graph, "profile": profile}
    seconds = [at for at, _ in measured.points]
    scored.report.write_bytes(results.json_report(measured.scores, quality, measurement, seconds))
    html = html_report.render(
        input=input_uri,
        origin=origin_uri,
        figures=_figures(quality),
        points=measured.points,
        moments=measured.moments,
        measured=_described(quality, profile, measured),
        warnings=quality.warnings,
        passed=quality.passed,
    )
    scored.html.write_text(html, encoding="utf-8")
    return scored


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


def _described(quality: Quality, profile: Vmaf, measured: Measured) -> Mapping[str, str]:
    """The measurement as the HTML report describes it, by labels."""
    vmaf = quality.vmaf
    sample = f", one in {vmaf.subsample}" if vmaf.subsample > 1 else ""
    return {
        "Model": vmaf.model,
        "Frames scored": f"{vmaf.frames} of {vmaf.pairedFrames}{sample}",
        "Scale": "both at {}x{}".format(*measured.size),
        "Required minimum": f"VMAF mean {profile.min:g}" if profile.min is not UNSET else "none",
        "libvmaf": measured.scores.version,
        "Filter graph": measured.graph,
    }
