"""What can be told from the files of a divided film and of the undivided one."""

import json
import subprocess
from fractions import Fraction
from pathlib import Path
from typing import Any

from tests.media.case import FFMPEG, FFPROBE
from worker.media.bucket import overflow


def shown(path: Path, *options: str) -> Any:
    """What ffprobe tells of a file, with a digest of each packet."""
    command = [FFPROBE, "-v", "error", *options, "-show_data_hash", "md5", "-of", "json", str(path)]
    return json.loads(subprocess.run(command, capture_output=True, check=True).stdout)


def pictures(path: Path) -> list[dict[str, Any]]:
    """The packets of the film, in the order of the file."""
    found: list[dict[str, Any]] = shown(path, "-select_streams", "v:0", "-show_packets")["packets"]
    return found


def sounds_and_texts(path: Path) -> dict[int, list[tuple[Any, ...]]]:
    """Times and digests of the packets of all other tracks."""
    tracks: dict[int, list[tuple[Any, ...]]] = {}
    for each in shown(path, "-show_packets")["packets"]:
        if each["codec_type"] != "video":
            what = (each.get("pts"), each.get("dts"), each.get("duration"), each["data_hash"], each["flags"])
            tracks.setdefault(each["stream_index"], []).append(what)
    return tracks


def described(path: Path) -> Any:
    """All that the file's heads tell, but for bytes.

    Of HEVC the bytes of the head are left out for `parameter_sets`: x265 writes its options into the head as text, and
    a transport stream begins its messages with `00 00 01` or with `00 00 00 01`.
    """
    told = shown(path, "-show_streams", "-show_format", "-show_chapters")
    told["format"] = {k: v for k, v in told["format"].items() if k not in ("filename", "size", "bit_rate")}
    for stream in told["streams"]:
        is_hevc = stream.get("codec_name") == "hevc"
        for name in ("bit_rate", "max_bit_rate", *(("extradata_hash", "extradata_size") if is_hevc else ())):
            stream.pop(name, None)
        for name in ("BPS", "NUMBER_OF_BYTES"):
            stream.get("tags", {}).pop(name, None)
    return told


def parameter_sets(path: Path) -> set[bytes]:
    """Every parameter set of HEVC that a film has anywhere."""
    filters = "hevc_mp4toannexb,filter_units=pass_types=32-34"
    command = [FFMPEG, "-v", "error", "-i", str(path), "-map", "0:v:0", "-c", "copy", "-bsf:v", filters, "-f", "hevc"]
    units = subprocess.run([*command, "-"], capture_output=True, check=True).stdout.split(b"\0\0\1")
    return {unit.rstrip(b"\0") for unit in units} - {b""}


def light(path: Path) -> list[dict[str, Any]]:
    """Colour, mastering display and content light level of each decoded picture."""
    entries = "frame=color_range,color_space,color_primaries,color_transfer,pix_fmt:frame_side_data_list"
    frames = shown(path, "-select_streams", "v:0", "-show_entries", entries)["frames"]
    for frame in frames:  # the words of x264 and x265 about their options
        side = frame.get("side_data_list", ())
        frame["side_data_list"] = [each for each in side if "Unregistered" not in each["side_data_type"]]
    return list(frames)


def frame_digests(path: Path) -> str:
    """The times and digests of all decoded pictures."""
    command = [FFMPEG, "-v", "error", "-i", str(path), "-map", "0:v", "-fps_mode", "passthrough", "-f", "framemd5", "-"]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout


def film_times(path: Path) -> list[tuple[int, bool]]:
    """When each frame is shown, and whether it is a keyframe."""
    return sorted((each["pts"], "K" in each["flags"]) for each in pictures(path))


def spilled(path: Path, rate: int, buffer: int = 0) -> int:
    """Bits by which a film exceeds a rate with a buffer of so many bits, of one second where it is 0.

    Matroska has no decoding times: a picture is decoded when the one is shown that is the encoder's delay before it.
    """
    film, packets = shown(path, "-select_streams", "v:0", "-show_streams")["streams"][0], pictures(path)
    base = Fraction(film["time_base"])
    order = sorted(each["pts"] for each in packets)
    delay = max(number - order.index(each["pts"]) for number, each in enumerate(packets))
    lead = order[delay] - order[0]
    derived = [*(time - lead for time in order[:delay]), *order]
    times = [each.get("dts", time) for each, time in zip(packets, derived, strict=False)]
    sizes = [int(each["size"]) for each in packets]
    coded = ((time * base.numerator, size) for time, size in zip(times, sizes, strict=True))
    return overflow(coded, base.denominator, rate, buffer or rate)
