"""The figures of a quality score: reading ffmpeg's logs, summaries, and the JSON report. Pure."""

import math
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from statistics import fmean, quantiles
from typing import NamedTuple

import msgspec
from msgspec import Raw, Struct

from elasticrecode import wire
from elasticrecode.jobs.events import MeanScore, Quality, VmafScore
from elasticrecode.media.profiles import Vmaf, libvmaf_model
from worker.media.numbers import number_of
from worker.quality.filters import TICKS

MOMENTS = 5
"""Worst moments that a report shows."""
_DETAIL = ("integer_adm2", "integer_vif_scale")
"""Prefixes of v0.6.1's features that measure how much of the reference's detail is left."""
_DEFAULT_RATE = 25.0
_IDENTICAL_DB = 100.0
"""PSNR of identical pictures, which is infinite."""


class _Frame(Struct):
    frameNum: int
    metrics: dict[str, float | None]

    @property
    def defined(self) -> dict[str, float]:
        """The metrics with a value: MS-SSIM of pictures that have nothing in common has none."""
        return {name: value for name, value in self.metrics.items() if value is not None}


class _Log(Struct):
    version: str
    frames: list[_Frame]


class Scores(NamedTuple):
    """A measurement: libvmaf's version, and the number and metrics of each scored frame, ascending."""

    version: str
    frames: list[tuple[int, dict[str, float]]]

    def mean(self, metric: str) -> MeanScore | None:
        """The mean over the frames that have the metric; None if none has."""
        values = [metrics[metric] for _, metrics in self.frames if metric in metrics]
        return MeanScore(round(fmean(values), 6)) if values else None


def parse_logs(vmaf: bytes, psnr: str | None, ssim: str | None, lead: int = 0) -> Scores:
    """The scores in the logs of a run; None for a metric that was not measured.

    The first `lead` frames of the logs are left out, and the others count from there. Raises msgspec.DecodeError or
    ValueError if a log is malformed.
    """
    log = wire.decode(vmaf, _Log)
    frames = {frame.frameNum - lead: frame.defined for frame in log.frames if frame.frameNum >= lead}
    for text, names in ((psnr, {"psnr_avg": "psnr", "psnr_y": "psnr_y"}), (ssim, {"All": "ssim", "Y": "ssim_y"})):
        for number, values in _rows(text or ""):
            if number - 1 - lead in frames:  # these filters count frames from 1, libvmaf from 0
                frames[number - 1 - lead] |= {new: values[old] for old, new in names.items() if old in values}
    return Scores(log.version, sorted(frames.items()))


def frame_times(lines: Iterable[str], rate: float) -> "array[float]":
    """Seconds at which frames are shown, as a side's chain of filters printed them, in the order of the frames.

    Frames without a time are spaced by `rate` frames per second; 0 means unknown.
    """
    times = array("d")
    for line in lines:
        if line.startswith("frame:"):
            ticks = number_of(line.partition(" pts:")[2].partition(" ")[0])
            after = times[-1] + 1 / (rate or _DEFAULT_RATE) if times else 0.0
            times.append(after if ticks is None else ticks / TICKS)
    return times


def summarize(scores: Scores, profile: Vmaf, warnings: Sequence[str], pairs: int | None = None) -> Quality:
    """The summary for the job's record, of so many pairs of frames. `passed` is None if the profile sets no minimum."""
    values = [metrics["vmaf"] for _, metrics in scores.frames]
    mean = fmean(values)
    return Quality(
        vmaf=VmafScore(
            mean=round(mean, 6),
            harmonicMean=round(len(values) / sum(1 / (value + 1) for value in values) - 1, 6),
            min=round(min(values), 6),
            p5=round(quantiles(values, n=20, method="inclusive")[0] if len(values) > 1 else values[0], 6),
            model=libvmaf_model(profile),
            frames=len(values),
            pairedFrames=pairs,
            subsample=profile.subsample or 1,
        ),
        psnr=scores.mean("psnr"),
        ssim=scores.mean("ssim"),
        msSsim=scores.mean("float_ms_ssim"),
        passed=mean >= profile.min if profile.min or profile.min == 0 else None,
        warnings=list(warnings),
    )


def json_report(
    scores: Scores, quality: Quality, measurement: Mapping[str, object], seconds: Sequence[float] = ()
) -> bytes:
    """The full report as JSON: how it was measured, the summary, and the metrics of every frame.

    `seconds` are the times at which the frames are shown, in their order; further frames have none.
    """
    frames: list[dict[str, object]] = [
        {"frameNum": number} | ({} if at is None else {"seconds": round(at, 6)}) | {"metrics": metrics}
        for (number, metrics), at in zip_longest(scores.frames, seconds[: len(scores.frames)])
    ]
    head = {"libvmaf": scores.version, **measurement, "quality": quality}
    return msgspec.json.encode({**head, "frames": Raw(msgspec.json.encode(frames))})


def worst_frames(scores: Scores, rate: float) -> list[int]:
    """Up to 5 frames with the lowest VMAF, the worst first, a second apart if the film is long enough.

    `rate` is in frames per second.
    """
    return worst({number: metrics["vmaf"] for number, metrics in scores.frames}, apart(scores.frames[-1][0], rate))


def apart(last: int, rate: float) -> int:
    """Frames from one of the worst moments to the next in a film with that last frame."""
    return max(1, min(round(rate), last // (2 * MOMENTS)))


def worst(frames: Mapping[int, float], distance: int) -> list[int]:
    """Up to 5 frames with the lowest VMAF, the worst first, so many frames apart. `frames` has the VMAF of each."""
    chosen: list[int] = []
    for number in sorted(frames, key=lambda number: (frames[number], number)):
        if all(abs(number - other) >= distance for other in chosen):
            chosen.append(number)
        if len(chosen) == MOMENTS:
            break
    return chosen


def detail_both_ways(forward: bytes, backward: bytes) -> tuple[float, float]:
    """Mean share of detail of the same frames, the input scored against the origin and the reverse, each 0 to about 1.

    Takes libvmaf's logs of both runs. Both are 0 if no frame was scored both ways.
    """
    ahead, back = (
        {frame.frameNum: _detail(frame.defined) for frame in wire.decode(log, _Log).frames}
        for log in (forward, backward)
    )
    both = ahead.keys() & back.keys()
    return (fmean(ahead[n] for n in both), fmean(back[n] for n in both)) if both else (0.0, 0.0)


def _rows(text: str) -> Iterator[tuple[int, dict[str, float]]]:
    """The frame number and values of each line of a PSNR or SSIM log."""
    for line in text.splitlines():
        fields = dict(field.split(":", 1) for field in line.split() if ":" in field)
        values = {name: _decibels(value) for name, value in fields.items()}
        if "n" not in values:
            raise ValueError(f"a line of the log has no frame number: {line:.80}")
        yield int(values["n"]), values


def _decibels(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _IDENTICAL_DB


def _detail(metrics: dict[str, float]) -> float:
    """The share of the reference's detail that a frame has, 0 to about 1: the mean of VIF and ADM."""
    return fmean(value for name, value in metrics.items() if name.startswith(_DETAIL))
