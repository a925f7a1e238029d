"""ffmpeg's filter graph and arguments for a quality score. Pure: nothing here starts a process.

ffmpeg decodes both files once, side by side. One graph brings the pictures of each side to those that are compared,
prints when each frame is shown, scales both sides alike, measures VMAF, PSNR and SSIM, writes thumbnails of some frames
(see `alignment`), and scores a few frames in both directions. ffmpeg runs in the job's folder, so the graph names files
without a path.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from elasticrecode.media.profiles import BANDING_SIDE, Vmaf, finds_banding, libvmaf_model, vmaf_model
from worker.media import colour
from worker.media.demuxers import input_options
from worker.media.video import Video
from worker.quality.alignment import THUMB, WINDOW, thumbnail_period
from worker.quality.pairing import Pairing
from worker.sandbox.limits import JobLimits

VMAF_LOG, PSNR_LOG, SSIM_LOG = "vmaf.log", "psnr.log", "ssim.log"
FORWARD_LOG, REVERSED_LOG = "forward.log", "reversed.log"
THUMBS = {"input": "input.thumbs", "origin": "origin.thumbs"}
TIMES = {"input": "input.times", "origin": "origin.times"}
"""Files of the times at which the frames of each side are shown. See `results.frame_times`."""
TICKS = 1_000_000
"""Ticks of a second in them."""
_EVERY_FRAME = ("-fps_mode", "passthrough", "-enc_time_base", "filter")
_COUNT = "settb=1/1000,setpts=N"
_FEW_FRAMES = 8
_GLANCE_FRAMES = 2 * WINDOW
_STILL_WIDTH = 960


class Side(NamedTuple):
    """One of the two videos of a score: its file, and the filters from a decoded picture to one that is compared.

    `size` is the width and height of the compared pictures in square pixels, before they are scaled. `options` are
    ffmpeg's before the file.
    """

    video: Video
    path: str
    filters: tuple[str, ...]
    size: tuple[int, int]
    options: tuple[str, ...] = ()


class Sampling(NamedTuple):
    """How many frames there are from one window of thumbnails to the next, and to the next frame scored both ways.

    `both_ways` is false where no frame is. `lead` is the number of frames that the measurement gets in front of a
    chunk: copies of its second one. libvmaf takes motion from the frame before, and would else find none in the first.
    """

    step: int = WINDOW
    few: int = 1
    both_ways: bool = True
    lead: int = 0


def sampling(frames: int, *, both_ways: bool) -> Sampling:
    """The sampling of about so many frames."""
    return Sampling(thumbnail_period(frames), max(1, frames // _FEW_FRAMES), both_ways)


def lead(frames: int, first: int, every: int) -> int:
    """Frames in front of a chunk of so many frames, of which `first` are before it, so that one in `every` is scored.

    0 where there would be none to score.
    """
    count = 1 + (first - 1) % every
    scored = math.ceil((count + frames) / every) - math.ceil(count / every)
    return count if frames > 1 and scored else 0


def is_on(switch: object) -> bool:
    """Whether a profile enables a metric."""
    return switch == "enable"


def raster(profile: Vmaf, size: tuple[int, int]) -> tuple[int, int]:
    """Width and height at which pictures of a size are compared: the profile's scale, turned for upright pictures."""
    width, height = profile.size
    return (height, width) if size[0] < size[1] and width > height else (width, height)


def filter_graph(profile: Vmaf, pairing: Pairing, sides: Mapping[str, Side], chosen: Sampling, threads: int) -> str:
    """The filter graph over both sides. `score_arguments` maps its outputs. `threads` are those of libvmaf."""
    width, height = raster(profile, sides["origin"].size)
    depth = "10le" if pairing.bits > 8 or finds_banding(vmaf_model(profile)) else ""
    scaled = f"scale={width}:{height}:flags=bicubic:out_range=limited,format=yuv420p{depth}"
    clock = "setpts=PTS-STARTPTS" if pairing.by_time else _COUNT
    front = 0 if pairing.by_time else chosen.lead
    sync = "shortest=1:ts_sync_mode=nearest" if pairing.by_time else "shortest=1"
    metrics = _metrics(profile, _model(profile, sides["input"]), sync, threads)
    thumbs = f"select='lt(mod(n,{chosen.step}),{WINDOW})',extractplanes=y,"
    thumbs += f"scale={THUMB[0]}:{THUMB[1]}:flags=area,format=gray"
    chains = []
    for letter, number, side, skip in (
        ("d", 0, "input", pairing.skip_input),
        ("r", 1, "origin", pairing.skip_origin),
    ):
        steps = [*sides[side].filters, f"settb=1/{TICKS}", "metadata=add:key=e:value=1"]
        steps += [f"metadata=print:key=e:file={TIMES[side]}", *([f"trim=start_frame={skip}"] if skip else ())]
        measured = [f"[{letter}{n}]" for n in range(len(metrics) if letter == "r" else 1)]
        pads = [f"[{letter}m]"] if front else measured
        pads = [*pads, f"[{letter}t]", *([f"[{letter}x]"] if chosen.both_ways else ())]
        stream = f"[{number}:{sides[side].video.stream}]"
        chains.append(f"{stream}{','.join(steps)},{clock},{scaled},split={len(pads)}{''.join(pads)}")
        chains += _led(letter, measured, front) if front else ()
        chains.append(f"[{letter}t]{thumbs}[{letter}thumbs]")
        if chosen.both_ways:
            chains.append(f"[{letter}x]select='not(mod(n,{chosen.few}))',split[{letter}f][{letter}b]")
    source = "[d0]"
    for n, metric in enumerate(metrics):
        target = f"[m{n}]" if n < len(metrics) - 1 else "[scored]"
        chains.append(f"{source}[r{n}]{metric}{target}")
        source = target
    if chosen.both_ways:
        detail = f"libvmaf=n_threads={threads}:log_fmt=json:{sync}:log_path="
        chains += [f"[df][rf]{detail}{FORWARD_LOG}[forward]", f"[rb][db]{detail}{REVERSED_LOG}[reversed]"]
    return ";".join(chains)


def _led(letter: str, pads: Sequence[str], lead: int) -> list[str]:
    """Chains from [<letter>m] to `pads`, which get so many copies of the second frame in front of the first."""
    more = f",tpad=start={lead - 1}:start_mode=clone" if lead > 1 else ""
    return [
        f"[{letter}m]split[{letter}n][{letter}o]",
        f"[{letter}n]trim=start_frame=1:end_frame=2{more}[{letter}p]",
        f"[{letter}p][{letter}o]concat,{_COUNT},split={len(pads)}{''.join(pads)}",
    ]


def score_arguments(graph: str, sides: Mapping[str, Side], chosen: Sampling, limits: JobLimits) -> list[str]:
    """Arguments of ffmpeg for a measurement, without the program's name."""
    measured = ["scored", *(("forward", "reversed") if chosen.both_ways else ())]
    thumbs = {"dthumbs": THUMBS["input"], "rthumbs": THUMBS["origin"]}
    return [
        *("-hide_banner", "-nostdin", "-y", "-loglevel", "level+verbose", "-nostats", "-progress", "pipe:1"),
        *_inputs(sides, limits),
        *("-filter_complex", graph),
        *(word for pad in measured for word in ("-map", f"[{pad}]", *_EVERY_FRAME, "-f", "null", "-")),
        *(
            word
            for pad, name in thumbs.items()
            for word in ("-map", f"[{pad}]", *_EVERY_FRAME, "-f", "rawvideo", f"file:{name}")
        ),
    ]


def glance_arguments(sides: Mapping[str, Side], limits: JobLimits) -> list[str]:
    """Arguments of ffmpeg that write thumbnails of the first frames of both sides alone."""
    chains, outputs = [], []
    for number, (side, of_side) in enumerate(_both(sides)):
        thumbs = f"extractplanes=y,scale={THUMB[0]}:{THUMB[1]}:flags=area,format=gray"
        steps = (f"trim=end_frame={_GLANCE_FRAMES}", *of_side.filters, "format=yuv420p", thumbs)
        chains.append(f"[{number}:{of_side.video.stream}]{','.join(steps)}[{side}]")
        outputs += ["-map", f"[{side}]", *_EVERY_FRAME, "-f", "rawvideo", f"file:{THUMBS[side]}"]
    return [
        *("-hide_banner", "-nostdin", "-y", "-loglevel", "level+warning"),
        *_inputs(sides, limits),
        *("-filter_complex", ";".join(chains)),
        *outputs,
    ]


def still_arguments(
    profile: Vmaf, sides: Mapping[str, Side], frames: Mapping[str, Sequence[int]], limits: JobLimits
) -> list[str]:
    """Arguments of ffmpeg that write frames of each side as JPEG, in one decode of each.

    `frames` has the frame numbers of each side. They are written in ascending order, each once, as `<side>-1.jpg`
    and so on, up to 960 pixels wide.
    """
    size = raster(profile, sides["origin"].size)
    width = min(_STILL_WIDTH, size[0])
    height = round(width * size[1] / size[0] / 2) * 2
    chains, outputs = [], []
    for number, (side, of_side) in enumerate(_both(sides)):
        chosen = "+".join(f"eq(n,{frame})" for frame in sorted(set(frames[side])))
        steps = [*of_side.filters, f"select='{chosen}'", f"scale={width}:{height}:flags=bicubic", "format=yuvj420p"]
        chains.append(f"[{number}:{of_side.video.stream}]{','.join(steps)}[{side}]")
        count = ["-frames:v", str(len(set(frames[side])))]
        outputs += ["-map", f"[{side}]", *_EVERY_FRAME, *count, "-q:v", "4", f"{side}-%d.jpg"]
    return [
        *("-hide_banner", "-nostdin", "-y", "-loglevel", "level+warning"),
        *_inputs(sides, limits),
        *("-filter_complex", ";".join(chains)),
        *outputs,
    ]


def _model(profile: Vmaf, encoded: Side) -> str:
    """The option of libvmaf for its model. Those of version 1 look for banding at the size and depth of the encode."""
    model = f"model=version={libvmaf_model(profile)}"
    if not finds_banding(vmaf_model(profile)) or max(encoded.size) < BANDING_SIDE:
        return model
    video, bits = encoded.video, min(10, encoded.video.bits)
    lies = (video.width < video.height) != (encoded.size[0] < encoded.size[1])
    width, height = (video.height, video.width) if lies else (video.width, video.height)
    options = f"enc_width={width}", f"enc_height={height}", f"enc_bitdepth={bits}"
    return model + "".join(rf"\\:cambi.{option}" for option in options)


def _metrics(profile: Vmaf, model: str, sync: str, threads: int) -> list[str]:
    """The filters that measure, in the order in which the input passes through them."""
    more = ":feature=name=float_ms_ssim" if is_on(profile.ms_ssim) else ""
    sample = f"n_subsample={profile.subsample or 1}:n_threads={threads}"
    return [
        *([f"psnr=stats_file={PSNR_LOG}:{sync}"] if is_on(profile.psnr) else ()),
        *([f"ssim=stats_file={SSIM_LOG}:{sync}"] if is_on(profile.ssim) else ()),
        f"libvmaf={model}{more}:{sample}:log_fmt=json:log_path={VMAF_LOG}:{sync}",
    ]


def _both(sides: Mapping[str, Side]) -> list[tuple[str, Side]]:
    """Both sides in the order in which ffmpeg reads them."""
    return [(side, sides[side]) for side in ("input", "origin")]


def _inputs(sides: Mapping[str, Side], limits: JobLimits) -> list[str]:
    """The inputs. As in a transcode, pictures are turned by the graph alone, which is not rebuilt on the way."""
    return [
        word
        for _, side in _both(sides)
        for word in (
            *colour.decoder(side.video),
            *input_options(limits, is_late=side.video.is_late),
            *side.options,
            *("-noautorotate", "-reinit_filter", "0"),
            *("-f", side.video.demuxer, "-i", f"file:{side.path}"),
        )
    ]
