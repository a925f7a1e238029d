"""What is in a file, by ffprobe."""

import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from worker.failures import Hopeless
from worker.ffmpeg import DEMUXERS

_SECONDS = 60


class Video(NamedTuple):
    """The first moving picture of a file. Duration in seconds, bitrate in bits per second; None where unknown.

    Frames are counted where the file was read through, else told by the container or estimated.
    """

    demuxer: str
    stream: int
    codec: str
    width: int
    height: int
    duration: float | None
    bitrate: int | None
    frames: int | None


def video(ffprobe: str, path: Path, *, count: bool = False) -> Video:
    """Probe a local file; `count` reads all packets to count frames. Hopeless when there is no video to be had."""
    arguments = [
        *(ffprobe, "-v", "error", "-protocol_whitelist", "file", "-format_whitelist", ",".join(DEMUXERS)),
        *("-print_format", "json", "-show_format", "-show_streams", *(("-count_packets",) if count else ())),
        *("-i", f"file:{path}"),
    ]
    try:
        said = subprocess.run(arguments, capture_output=True, timeout=_SECONDS, check=False, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        raise Hopeless("input-corrupt", f"It could not be probed within {_SECONDS} s.") from None
    log = said.stderr.decode(errors="replace").replace(str(path.parent), "").splitlines()
    if said.returncode:
        raise Hopeless("input-not-video", f"It is no video in a container that is read ({', '.join(DEMUXERS)}).", log)
    return read(msgspec.json.decode(said.stdout))


def read(probed: dict[str, Any]) -> Video:
    """The video in ffprobe's JSON. Cover art is a picture, not a video."""
    pictures = [stream for stream in probed.get("streams", ()) if stream.get("codec_type") == "video"]
    moving = [stream for stream in pictures if not stream.get("disposition", {}).get("attached_pic")]
    if not moving or not moving[0].get("width"):
        raise Hopeless("input-no-video", "It holds no video stream that can be decoded.")
    stream, format_ = moving[0], probed.get("format", {})
    duration = _number(stream.get("duration")) or _number(format_.get("duration"))
    frames = _number(stream.get("nb_read_packets")) or _number(stream.get("nb_frames"))
    return Video(
        demuxer=format_.get("format_name", "").split(",")[0],
        stream=stream["index"],
        codec=stream.get("codec_name", ""),
        width=stream["width"],
        height=stream["height"],
        duration=duration,
        bitrate=int(_number(stream.get("bit_rate")) or _number(format_.get("bit_rate")) or 0) or None,
        frames=round(frames or (duration or 0) * _rate(stream.get("avg_frame_rate", ""))) or None,
    )


def _rate(text: str) -> float:
    """Frames per second of a fraction such as `30000/1001`; 0 where it is unknown."""
    above, _, below = text.partition("/")
    top, bottom = _number(above), _number(below)
    return top / bottom if top and bottom else 0.0


def _number(text: object) -> float | None:
    try:
        return float(str(text))
    except ValueError:
        return None
