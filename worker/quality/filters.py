"""ffmpeg's filter graph and arguments for a quality score. Pure: nothing here starts a process.

ffmpeg decodes both files once, side by side. One graph scales them alike, measures VMAF, PSNR and SSIM, writes
thumbnails of some frames (see `alignment`), and scores a few frames with the sides swapped. ffmpeg runs in the job's
folder, so the graph names files without a path.
"""

from collections.abc import Mapping, Sequence

from elasticrecode.media.profiles import Vmaf, vmaf_model
from worker.media.demuxers import input_options
from worker.quality.alignment import THUMB, WINDOW, thumbnail_period
from worker.quality.pairing import Film, Pairing
from worker.sandbox.limits import JobLimits

VMAF_LOG, PSNR_LOG, SSIM_LOG, REVERSED_LOG = "vmaf.log", "psnr.log", "ssim.log", "reversed.log"
THUMBS = {"input": "input.thumbs", "origin": "origin.thumbs"}
MODELS = {"v0.6.1": "vmaf_v0.6.1", "v0.6.1neg": "vmaf_v0.6.1neg", "4k": "vmaf_4k_v0.6.1"}
"""Word of a profile → libvmaf's name of the model."""
_REVERSED_FRAMES = 8
_STILL_WIDTH = 960


def is_on(switch: object) -> bool:
    """Whether a profile enables a metric."""
    return switch == "enable"


def reversed_period(frames: int) -> int:
    """Frames from one that is also scored with the sides swapped to the next."""
    return max(1, frames // _REVERSED_FRAMES)


def filter_graph(profile: Vmaf, pairing: Pairing, threads: int) -> str:
    """The filter graph over `[0]`, the input, and `[1]`, the origin. `score_arguments` maps its outputs.

    `threads` is libvmaf's number of threads.
    """
    width, height = profile.size
    depth = "10le" if pairing.bits > 8 else ""
    scaled = f"scale={width}:{height}:flags=bicubic:out_range=limited,format=yuv420p{depth}"
    clock = "setpts=PTS-STARTPTS" if pairing.by_time else "settb=1/1000,setpts=N"
    sync = "shortest=1:ts_sync_mode=nearest" if pairing.by_time else "shortest=1"
    libvmaf = f"libvmaf=model=version={MODELS[vmaf_model(profile)]}:n_threads={threads}"
    metrics = _metrics(profile, libvmaf, sync)
    windows, few = thumbnail_period(pairing.frames), reversed_period(pairing.frames)
    thumbs = (
        f"select='lt(mod(n,{windows}),{WINDOW})',extractplanes=y,scale={THUMB[0]}:{THUMB[1]}:flags=area,format=gray"
    )
    chains = []
    for side, number, skip in (("d", "0", pairing.skip_input), ("r", "1", pairing.skip_origin)):
        skipped = f"trim=start_frame={skip}," if skip else ""
        count = len(metrics) if side == "r" else 1
        pads = "".join(f"[{side}{n}]" for n in range(count))
        chains.append(f"[{number}:v]{skipped}{clock},{scaled},split={count + 2}{pads}[{side}t][{side}x]")
        chains.append(f"[{side}t]{thumbs}[{side}thumbs]")
        chains.append(f"[{side}x]select='not(mod(n,{few}))'[{side}few]")
    source = "[d0]"
    for n, metric in enumerate(metrics):
        target = f"[m{n}]" if n < len(metrics) - 1 else "[scored]"
        chains.append(f"{source}[r{n}]{metric}{target}")
        source = target
    chains.append(f"[rfew][dfew]{libvmaf}:log_fmt=json:log_path={REVERSED_LOG}:{sync}[reversed]")
    return ";".join(chains)


def score_arguments(
    graph: str, pairing: Pairing, films: Mapping[str, Film], paths: Mapping[str, str], limits: JobLimits
) -> list[str]:
    """Arguments of ffmpeg for a measurement, without the program's name. `films` and `paths` have the two sides."""
    return [
        *("-hide_banner", "-nostdin", "-y", "-loglevel", "warning", "-nostats", "-progress", "pipe:1"),
        *_inputs(films, paths, limits, as_coded=pairing.as_coded),
        *("-filter_complex", _with_streams(graph, films)),
        *("-map", "[scored]", "-fps_mode", "passthrough", "-f", "null", "-"),
        *("-map", "[reversed]", "-fps_mode", "passthrough", "-f", "null", "-"),
        *("-map", "[dthumbs]", "-fps_mode", "passthrough", "-f", "rawvideo", f"file:{THUMBS['input']}"),
        *("-map", "[rthumbs]", "-fps_mode", "passthrough", "-f", "rawvideo", f"file:{THUMBS['origin']}"),
    ]


def still_arguments(
    profile: Vmaf,
    pairing: Pairing,
    films: Mapping[str, Film],
    paths: Mapping[str, str],
    frames: Mapping[str, Sequence[int]],
    limits: JobLimits,
) -> list[str]:
    """Arguments of ffmpeg that write frames of each side as JPEG, in one decode of each.

    `frames` has the frame numbers of each side. They are written in ascending order, each once, as `<side>-1.jpg`
    and so on, up to 960 pixels wide.
    """
    width = min(_STILL_WIDTH, profile.size[0])
    height = round(width * profile.size[1] / profile.size[0] / 2) * 2
    chains, outputs = [], []
    for number, side in enumerate(("input", "origin")):
        chosen = "+".join(f"eq(n,{frame})" for frame in sorted(set(frames[side])))
        chains.append(f"[{number}:v]select='{chosen}',scale={width}:{height}:flags=bicubic,format=yuvj420p[{side}]")
        count = ["-frames:v", str(len(set(frames[side])))]
        outputs += ["-map", f"[{side}]", "-fps_mode", "passthrough", *count, "-q:v", "4", f"{side}-%d.jpg"]
    return [
        *("-hide_banner", "-nostdin", "-y", "-loglevel", "warning"),
        *_inputs(films, paths, limits, as_coded=pairing.as_coded),
        *("-filter_complex", _with_streams(";".join(chains), films)),
        *outputs,
    ]


def _metrics(profile: Vmaf, libvmaf: str, sync: str) -> list[str]:
    """The filters that measure, in the order in which the input passes through them."""
    more = ":feature=name=float_ms_ssim" if is_on(profile.ms_ssim) else ""
    return [
        *([f"psnr=stats_file={PSNR_LOG}:{sync}"] if is_on(profile.psnr) else ()),
        *([f"ssim=stats_file={SSIM_LOG}:{sync}"] if is_on(profile.ssim) else ()),
        f"{libvmaf}{more}:n_subsample={profile.subsample or 1}:log_fmt=json:log_path={VMAF_LOG}:{sync}",
    ]


def _inputs(films: Mapping[str, Film], paths: Mapping[str, str], limits: JobLimits, *, as_coded: bool) -> list[str]:
    arguments: list[str] = []
    for side in ("input", "origin"):
        arguments += ["-noautorotate"] if as_coded else []
        arguments += [*input_options(limits), "-f", films[side].video.demuxer, "-i", f"file:{paths[side]}"]
    return arguments


def _with_streams(graph: str, films: Mapping[str, Film]) -> str:
    """The graph with the indexes of the video streams that probing found."""
    for number, side in enumerate(("input", "origin")):
        graph = graph.replace(f"[{number}:v]", f"[{number}:{films[side].video.stream}]")
    return graph
