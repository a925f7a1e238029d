"""Scoring: ffmpeg's filter graph and arguments, and what its logs say. Pure: nothing here starts a process.

Both files are decoded once, side by side. One graph scales them alike, measures VMAF, PSNR and SSIM, keeps small grey
copies of some frames (see `alignment`), and scores a few frames the wrong way round. ffmpeg runs in the job's folder,
so the graph names files without a path.
"""

import math
from collections.abc import Iterator, Sequence
from statistics import fmean, quantiles
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw, Struct

from elasticrecode import wire
from elasticrecode.jobs.events import MeanScore, Quality, VmafScore
from elasticrecode.media.profiles import Vmaf, vmaf_model
from worker.media.plan import reading
from worker.quality.alignment import THUMB, WINDOW, Film, Pairing, period
from worker.sandbox.limits import Limits

VMAF_LOG, PSNR_LOG, SSIM_LOG, REVERSED_LOG = "vmaf.log", "psnr.log", "ssim.log", "reversed.log"
THUMBS = {"input": "input.thumbs", "origin": "origin.thumbs"}
MOMENTS = 5
_MODELS = {"v0.6.1": "vmaf_v0.6.1", "v0.6.1neg": "vmaf_v0.6.1neg", "4k": "vmaf_4k_v0.6.1"}
_DETAIL = ("integer_adm2", "integer_vif_scale")
"""How the features begin that tell how much of the reference's detail is there; a model may add to their names."""
_REVERSED_FRAMES = 8
_IDENTICAL_DB = 100.0
"""What PSNR is taken for where two pictures are the same, which is infinite."""
_PICTURE_WIDTH = 960


def is_on(switch: object) -> bool:
    """Whether a metric of a profile is asked for."""
    return switch == "enable"


def graph(asked: Vmaf, pairing: Pairing, threads: int) -> str:
    """The filter graph over `[0]`, the input, and `[1]`, the origin; see `arguments` for what it puts out."""
    width, height = asked.size
    scaled = (
        f"scale={width}:{height}:flags=bicubic:out_range=limited,format=yuv420p{'10le' if pairing.bits > 8 else ''}"
    )
    clock = "setpts=PTS-STARTPTS" if pairing.by_time else "settb=1/1000,setpts=N"
    sides = {"d": ("0", pairing.skip_input), "r": ("1", pairing.skip_origin)}
    sync = "shortest=1:ts_sync_mode=nearest" if pairing.by_time else "shortest=1"
    metrics = [
        *([f"psnr=stats_file={PSNR_LOG}:{sync}"] if is_on(asked.psnr) else ()),
        *([f"ssim=stats_file={SSIM_LOG}:{sync}"] if is_on(asked.ssim) else ()),
    ]
    more = ":feature=name=float_ms_ssim" if is_on(asked.ms_ssim) else ""
    libvmaf = f"libvmaf=model=version={_MODELS[vmaf_model(asked)]}:n_threads={threads}"
    metrics.append(f"{libvmaf}{more}:n_subsample={asked.subsample or 1}:log_fmt=json:log_path={VMAF_LOG}:{sync}")
    some, few = period(pairing.frames), max(1, pairing.frames // _REVERSED_FRAMES)
    copies = f"select='lt(mod(n,{some}),{WINDOW})',extractplanes=y,scale={THUMB[0]}:{THUMB[1]}:flags=area,format=gray"
    chains = []
    for side, (number, skip) in sides.items():
        skipped = f"trim=start_frame={skip}," if skip else ""
        count = len(metrics) if side == "r" else 1
        pads = "".join(f"[{side}{n}]" for n in range(count))
        chains.append(f"[{number}:v]{skipped}{clock},{scaled},split={count + 2}{pads}[{side}t][{side}x]")
        chains.append(f"[{side}t]{copies}[{side}thumbs]")
        chains.append(f"[{side}x]select='not(mod(n,{few}))'[{side}few]")
    taken = "[d0]"
    for n, metric in enumerate(metrics):
        made = f"[m{n}]" if n < len(metrics) - 1 else "[scored]"
        chains.append(f"{taken}[r{n}]{metric}{made}")
        taken = made
    reverse = f"{libvmaf}:log_fmt=json:log_path={REVERSED_LOG}:{sync}"
    chains.append(f"[rfew][dfew]{reverse}[reversed]")
    return ";".join(chains)


def arguments(
    graph_: str, pairing: Pairing, films: dict[str, Film], paths: dict[str, str], limits: Limits
) -> list[str]:
    """Ffmpeg's arguments, its own name not included, for the sides `input` and `origin`."""
    return [
        *("-hide_banner", "-nostdin", "-y", "-loglevel", "warning", "-nostats", "-progress", "pipe:1"),
        *_inputs(films, paths, limits, as_coded=pairing.as_coded),
        *("-filter_complex", _placed(graph_, films)),
        *("-map", "[scored]", "-fps_mode", "passthrough", "-f", "null", "-"),
        *("-map", "[reversed]", "-fps_mode", "passthrough", "-f", "null", "-"),
        *("-map", "[dthumbs]", "-fps_mode", "passthrough", "-f", "rawvideo", f"file:{THUMBS['input']}"),
        *("-map", "[rthumbs]", "-fps_mode", "passthrough", "-f", "rawvideo", f"file:{THUMBS['origin']}"),
    ]


def _inputs(films: dict[str, Film], paths: dict[str, str], limits: Limits, *, as_coded: bool) -> list[str]:
    found: list[str] = []
    for side in ("input", "origin"):
        found += ["-noautorotate"] if as_coded else []
        found += [*reading(limits), "-f", films[side].video.demuxer, "-i", f"file:{paths[side]}"]
    return found


def _placed(graph_: str, films: dict[str, Film]) -> str:
    """The graph on the streams that were probed."""
    for number, side in enumerate(("input", "origin")):
        graph_ = graph_.replace(f"[{number}:v]", f"[{number}:{films[side].video.stream}]")
    return graph_


class _Frame(Struct):
    frameNum: int
    metrics: dict[str, float | None]

    @property
    def known(self) -> dict[str, float]:
        """The metrics that are defined: MS-SSIM of pictures that have nothing in common is not."""
        return {name: value for name, value in self.metrics.items() if value is not None}


class Log(Struct):
    """libvmaf's own log."""

    version: str
    frames: list[_Frame]


class Scores(NamedTuple):
    """What was measured: libvmaf's version, and for each frame that was scored its number and metrics."""

    version: str
    frames: list[tuple[int, dict[str, float]]]

    def mean(self, metric: str) -> MeanScore | None:
        """Over the frames that have the metric; None when none has."""
        values = [metrics[metric] for _, metrics in self.frames if metric in metrics]
        return MeanScore(round(fmean(values), 6)) if values else None


def read(vmaf: bytes, psnr: str | None, ssim: str | None) -> Scores:
    """The logs of a run, by frame. Filters count frames from 1, libvmaf from 0."""
    log = wire.decode(vmaf, Log)
    frames = {frame.frameNum: frame.known for frame in log.frames}
    for text, names in ((psnr, {"psnr_avg": "psnr", "psnr_y": "psnr_y"}), (ssim, {"All": "ssim", "Y": "ssim_y"})):
        for number, values in _rows(text or ""):
            if number - 1 in frames:
                frames[number - 1] |= {mine: values[theirs] for theirs, mine in names.items() if theirs in values}
    return Scores(log.version, sorted(frames.items()))


def _rows(text: str) -> Iterator[tuple[int, dict[str, float]]]:
    for line in text.splitlines():
        fields = dict(field.split(":", 1) for field in line.split() if ":" in field)
        values = {name: _decibels(value) for name, value in fields.items()}
        if "n" not in values:
            raise ValueError(f"a line without a frame's number: {line:.80}")
        yield int(values["n"]), values


def _decibels(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _IDENTICAL_DB


def _detail(metrics: dict[str, float]) -> float:
    """The part of the reference's detail that a frame has, 0 to about 1: the mean of VIF and ADM."""
    return fmean(value for name, value in metrics.items() if name.startswith(_DETAIL))


def detail_both_ways(forward: Scores, backward: bytes, frames: int) -> tuple[float, float]:
    """The same frames' detail as scored, and the wrong way round. Equal where nothing was scored both ways."""
    few = max(1, frames // _REVERSED_FRAMES)
    there = {number: _detail(metrics) for number, metrics in forward.frames}
    frames_back = wire.decode(backward, Log).frames
    back = {frame.frameNum * few: _detail(frame.known) for frame in frames_back}
    both = there.keys() & back.keys()
    return (fmean(there[n] for n in both), fmean(back[n] for n in both)) if both else (0.0, 0.0)


def quality(scores: Scores, asked: Vmaf, warnings: Sequence[str]) -> Quality:
    """What is kept on the job's record."""
    values = [metrics["vmaf"] for _, metrics in scores.frames]
    mean = fmean(values)
    return Quality(
        vmaf=VmafScore(
            mean=round(mean, 6),
            harmonicMean=round(len(values) / sum(1 / (value + 1) for value in values) - 1, 6),
            min=round(min(values), 6),
            p5=round(quantiles(values, n=20, method="inclusive")[0] if len(values) > 1 else values[0], 6),
            model=_MODELS[vmaf_model(asked)],
            frames=len(values),
        ),
        psnr=scores.mean("psnr"),
        ssim=scores.mean("ssim"),
        msSsim=scores.mean("float_ms_ssim"),
        passed=mean >= asked.min if asked.min or asked.min == 0 else None,
        warnings=list(warnings),
    )


def report(scores: Scores, quality_: Quality, told: dict[str, Any]) -> bytes:
    """The full report as JSON: how it was measured, the figures, and every frame."""
    frames = [{"frameNum": number, "metrics": metrics} for number, metrics in scores.frames]
    head = {"libvmaf": scores.version, **told, "quality": quality_}
    return msgspec.json.encode({**head, "frames": Raw(msgspec.json.encode(frames))})


def worst(scores: Scores, rate: float) -> list[int]:
    """The frames of the lowest scores, the worst first, a second apart where the film is long enough for that."""
    last = scores.frames[-1][0]
    apart = max(1, min(round(rate), last // (2 * MOMENTS)))
    chosen: list[int] = []
    for number, _ in sorted(scores.frames, key=lambda frame: (frame[1]["vmaf"], frame[0])):
        if all(abs(number - other) >= apart for other in chosen):
            chosen.append(number)
        if len(chosen) == MOMENTS:
            break
    return chosen


def picture_arguments(
    asked: Vmaf,
    pairing: Pairing,
    films: dict[str, Film],
    paths: dict[str, str],
    frames: dict[str, Sequence[int]],
    limits: Limits,
) -> list[str]:
    """Ffmpeg's arguments that write these frames of each side as `<side>-1.jpg` and so on, in one decode of each."""
    width = min(_PICTURE_WIDTH, asked.size[0])
    height = round(width * asked.size[1] / asked.size[0] / 2) * 2
    chains, outputs = [], []
    for number, side in enumerate(("input", "origin")):
        chosen = "+".join(f"eq(n,{frame})" for frame in sorted(set(frames[side])))
        chains.append(f"[{number}:v]select='{chosen}',scale={width}:{height}:flags=bicubic,format=yuvj420p[{side}]")
        last = ["-frames:v", str(len(set(frames[side])))]
        outputs += ["-map", f"[{side}]", "-fps_mode", "passthrough", *last, "-q:v", "4", f"{side}-%d.jpg"]
    return [
        *("-hide_banner", "-nostdin", "-y", "-loglevel", "warning"),
        *_inputs(films, paths, limits, as_coded=pairing.as_coded),
        *("-filter_complex", _placed(";".join(chains), films)),
        *outputs,
    ]
