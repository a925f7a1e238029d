"""Chunks of a film that is made here, encoded as a worker encodes it, and the undivided encode of it."""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.media.case import FFMPEG, FFPROBE, ffmpeg
from worker.joining.chunks import ChunkFile
from worker.media import timing
from worker.media.encoders import encoder_options
from worker.media.plan import Plan, arguments
from worker.sandbox.machine import cores

FILM = "testsrc2=size=128x72:rate=25:duration=8"
EVEN = "settb=1/90000,setpts=N*3600"
UNEVEN = "settb=1/90000,setpts=2000+N*3600+mod(N*N\\,7)*311"


def packets(path: Path, kind: str = "v", *options: str) -> list[dict[str, Any]]:
    """The packets of a file's tracks of a kind, in the order of the file, with digests of their bytes."""
    wanted = "packet=stream_index,pts,dts,duration,size,flags,data_hash:packet_side_data"
    command = [FFPROBE, "-v", "error", "-select_streams", kind, *options, "-show_data_hash", "sha256"]
    shown = [*command, "-show_entries", wanted, "-of", "json", str(path)]
    listed: list[dict[str, Any]] = json.loads(subprocess.run(shown, capture_output=True, check=True).stdout)["packets"]
    return listed


def times(path: Path) -> list[tuple[int | None, int | None, int]]:
    """PTS, DTS and duration of each packet of the film."""
    return [(each.get("pts"), each.get("dts"), each.get("duration", 0)) for each in packets(path)]


def clock(plan: Plan) -> tuple[int, str]:
    """Ticks a second of an output, and the filters up to frames with times in them."""
    ticks = timing.ticks(plan.source.video, plan.picture.encode)
    return ticks, f"{','.join(plan.picture.filters)},settb=1/{ticks}"


def frame_times(plan: Plan, source: Sequence[object]) -> list[int]:
    """When the output shows the frames of a source, in ticks of its clock."""
    ticks, filters = clock(plan)
    shown = ("-map", "0:v:0", "-vf", f"{filters},scale=2:2", "-fps_mode", "passthrough", "-enc_time_base", f"1/{ticks}")
    command = [FFMPEG, "-v", "error", *map(str, source), *shown, "-f", "framecrc", "-"]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [int(line.split(",")[2]) for line in text.splitlines() if not line.startswith("#")]


def encode_chunks(
    folder: Path, plan: Plan, source: Sequence[object], seams: Sequence[int], every: Sequence[int]
) -> list[ChunkFile]:
    """Chunks of a source by a plan: the film between seams, in ticks of the output's clock. The last has no end.

    `every` are the times of all frames. Seams are on the grid of keyframes, or where a chunk of one frame begins.
    """
    ticks, filters = clock(plan)
    chunks = []
    for start, end in zip(seams, [*seams[1:], None], strict=True):
        span = f"start_pts={start}" + (f":end_pts={end}" if end else "")
        shown = [time for time in every if time >= start and (end is None or time < end)]
        options = encoder_options(
            *(plan.picture.encode, plan.picture.signal, plan.picture.rate, "mp4", cores()),
            late=(shown[0] - max(start, every[0])) / ticks,
        )
        # x265 takes its own log's level from ffmpeg's, and writes it into the file
        file = ffmpeg(
            folder, f"chunk-{start}.mp4", "-loglevel", "level+verbose", *source, "-map", "0:v:0",
            "-vf", f"{filters},trim={span},setpts=PTS-{start}", *options, "-map_metadata", -1, "-map_chapters", -1,
            "-fps_mode:v", "passthrough", "-enc_time_base:v", f"1/{ticks}",
            "-movie_timescale", ticks, "-video_track_timescale", ticks,
            *timing.last_frame_options(plan.source.video, plan.picture.encode),
        )  # fmt: skip
        chunks.append(ChunkFile(file, f"{start / ticks:g} s", start, end, len(shown)))
    return chunks


def encode_of(codec: str, crf: float = 30, **options: Any) -> dict[str, Any]:
    """A profile's encode by constant quality."""
    return {"codec": codec, "scale": "source", "quality": {"crf": crf}, "speed": "fast", **options}


def encode_whole(folder: Path, plan: Plan, source: Path) -> Path:
    """The undivided encode of a plan, by the command of a worker."""
    target = folder / "whole"
    command = [FFMPEG, *arguments(plan, str(source), str(target), threads=cores())]
    subprocess.run(command, check=True, capture_output=True, cwd=folder)
    return target
