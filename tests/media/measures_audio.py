"""Measures of sound, from the files of a transcode."""

import json
import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

from tests.media.case import FFMPEG, FFPROBE, Made
from tests.media.measures import streams


def sounds(made: Made) -> list[Any]:
    """ffprobe's reports on the output's audio tracks."""
    return streams(made.target, "audio")


def layouts(made: Made) -> object:
    """Layouts of the output's audio tracks."""
    return [track.get("channel_layout", "unknown") for track in sounds(made)]


def sound_codecs(made: Made) -> object:
    """Codecs of the output's audio tracks."""
    return [track["codec_name"] for track in sounds(made)]


def sample_rates(made: Made) -> object:
    """Sample rates of the output's audio tracks."""
    return [int(track["sample_rate"]) for track in sounds(made)]


def languages(made: Made) -> object:
    """Languages of the output's audio tracks."""
    return [track.get("tags", {}).get("language", "") for track in sounds(made)]


def titles(made: Made) -> object:
    """Titles of the output's audio tracks."""
    return [track.get("tags", {}).get("title", track.get("tags", {}).get("name", "")) for track in sounds(made)]


def default_sound(made: Made) -> object:
    """Which of the output's audio tracks players take by themselves."""
    return [number for number, track in enumerate(sounds(made)) if track["disposition"]["default"]]


def sound_rate(made: Made) -> object:
    """Bits per second of the output's first audio track."""
    return int(sounds(made)[0]["bit_rate"])


def channel_configuration(made: Made) -> object:
    """The AAC channel configuration of the first audio track, from its AudioSpecificConfig; 0 means a PCE."""
    command = [FFPROBE, "-v", "error", "-select_streams", "a:0", "-show_entries", "stream=extradata", "-show_data"]
    shown = subprocess.run([*command, "-of", "json", str(made.target)], capture_output=True, text=True, check=True)
    data = json.loads(shown.stdout)["streams"][0]["extradata"]
    first = int(re.sub(r"\s", "", data.split(":", 1)[1])[:4], 16)
    return first >> 3 & 15


@cache
def _measured(path: Path, changed: int, track: int, channel: str) -> str:
    pan = f"pan=mono|c0={channel}," if channel else ""
    command = [FFMPEG, "-hide_banner", "-nostdin", "-i", str(path), "-map", f"0:a:{track}"]
    filters = f"{pan}ebur128=peak=true:framelog=quiet,astats"
    run = subprocess.run([*command, "-af", filters, "-f", "null", "-"], capture_output=True, text=True)
    return run.stderr


def _summary(made: Made, pattern: str, track: int = 0, channel: str = "") -> float:
    log = _measured(made.target, made.target.stat().st_mtime_ns, track, channel)
    return float(re.findall(pattern, log)[-1])


def loudness(made: Made) -> object:
    """Integrated loudness of the output's first audio track, in LUFS."""
    return _summary(made, r"I: +(-?[\d.]+) LUFS")


def true_peak(made: Made) -> object:
    """True peak of the output's first audio track, in dBTP."""
    return _summary(made, r"Peak: +(-?[\d.]+|-inf) dBFS")


def level(channel: int, track: int = 0) -> Any:
    """A measure: the RMS level of one channel of an audio track of the output, in dBFS."""

    def measure(made: Made) -> object:
        return _summary(made, r"RMS level dB: (-?[\d.]+|-inf)", track, f"c{channel}")

    measure.__name__ = f"level_of_channel_{channel}" + (f"_of_track_{track}" if track else "")
    return measure


def track_seconds(made: Made) -> object:
    """Length of each audio track of the output, decoded."""
    lengths = []
    for number in range(len(sounds(made))):
        log = _measured(made.target, made.target.stat().st_mtime_ns, number, "")
        rate = int(sounds(made)[number]["sample_rate"])
        lengths.append(round(int(re.findall(r"Number of samples: (\d+)", log)[-1]) / rate, 2))
    return lengths
