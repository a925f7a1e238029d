"""Measures of the picture's shape: where things are in it, and what has become of its corners."""

import re
import subprocess
from itertools import pairwise

from tests.media.case import FFMPEG, FFPROBE, Made
from tests.media.measures import film

_NAMES = {
    (1, 0, 0): "red",
    (0, 1, 0): "green",
    (0, 0, 1): "blue",
    (1, 1, 1): "white",
    (0, 0, 0): "black",
    (1, 1, 0): "yellow",
}


def pixels(made: Made, seconds: float, filters: str, size: tuple[int, int]) -> bytes:
    """The first picture of the output from a time on, as RGB behind filters that give it this size."""
    picked = f"trim=start={seconds},format=rgb24,{filters}"
    command = [FFMPEG, "-v", "error", "-i", str(made.target), "-vf", picked, "-frames:v", "1", "-f", "rawvideo", "-"]
    rgb = subprocess.run(command, capture_output=True, check=True).stdout
    assert len(rgb) == size[0] * size[1] * 3
    return rgb


def _colours(made: Made, seconds: float) -> list[str]:
    """The names of the colours around the middle: top left, top right, bottom left, bottom right."""
    rgb = pixels(made, seconds, "crop=iw/4:ih/4,scale=2:2:flags=area", (2, 2))
    levels = [int(level > 127) for level in rgb]
    return [_NAMES.get((levels[n], levels[n + 1], levels[n + 2]), "other") for n in range(0, 12, 3)]


def quarters(made: Made) -> object:
    """Colours of the quarters of the first picture: top left, top right, bottom left, bottom right."""
    return " ".join(_colours(made, 0.0))


def last_quarters(made: Made) -> object:
    """Colours of the quarters of a picture near the end."""
    return " ".join(_colours(made, float(film(made)["duration"]) - 0.3))


def display_aspect(made: Made) -> object:
    """Width of the shown picture divided by its height."""
    stream = film(made)
    above, _, below = stream.get("sample_aspect_ratio", "1:1").partition(":")
    return stream["width"] / stream["height"] * int(above) / int(below)


def _bars(made: Made, seconds: float) -> str:
    stream = film(made)
    width, height = stream["width"], stream["height"]
    rgb = pixels(made, seconds, "null", (width, height))

    def is_black(x: int, y: int) -> bool:
        return max(rgb[3 * (y * width + x) : 3 * (y * width + x) + 3]) < 40

    def run(points: list[tuple[int, int]]) -> int:
        return next((number for number, point in enumerate(points) if not is_black(*point)), len(points))

    rows, columns = range(height), range(width)
    left, right = (run([(x, height // 2 + 4) for x in order]) for order in (columns, columns[::-1]))
    top, bottom = (run([(width // 2 + 4, y) for y in order]) for order in (rows, rows[::-1]))
    return f"{left} {right} {top} {bottom}"


def bars(made: Made) -> object:
    """Black pixels at the left, right, top and bottom edge of the first picture."""
    return _bars(made, 0.0)


def last_bars(made: Made) -> object:
    """Black pixels at the left, right, top and bottom edge of a picture near the end."""
    return _bars(made, float(film(made)["duration"]) - 0.3)


def roundness(made: Made) -> object:
    """Width of the white disc in the middle of the first picture divided by its height, as shown in square pixels."""
    stream = film(made)
    width, height = stream["width"], stream["height"]
    rgb = pixels(made, 0.0, "null", (width, height))
    across = sum(rgb[3 * (height // 2 * width + x) + 1] > 127 for x in range(width))
    down = sum(rgb[3 * (y * width + width // 2) + 1] > 127 for y in range(height))
    above, _, below = stream.get("sample_aspect_ratio", "1:1").partition(":")
    return across / down * int(above) / int(below)


def combed_frames(made: Made) -> object:
    """Frames of the output that idet takes for two fields of different moments.

    At its default threshold it takes some of testsrc2's whole pictures for those, too.
    """
    command = [
        FFMPEG,
        "-v",
        "info",
        "-nostats",
        "-i",
        str(made.target),
        "-vf",
        "idet=intl_thres=1.2",
        "-f",
        "null",
        "-",
    ]
    log = subprocess.run(command, capture_output=True, check=True, text=True).stderr
    counts = re.findall(r"Single frame detection: TFF: *(\d+) BFF: *(\d+)", log)[-1]
    return sum(map(int, counts))


def field_order(made: Made) -> object:
    """The order of fields that the output's flags tell."""
    return film(made).get("field_order", "unknown")


def _similarity(made: Made, filters: str) -> float:
    """SSIM of the output to its source behind these filters, frame by frame."""
    stream = film(made)
    size = f"{stream['width']}:{stream['height']}"
    clock = "settb=AVTB,setpts=N"
    first = f"[0:v]{filters},scale={size},setsar=1,format=yuv420p,{clock}[a]"
    graph = f"{first};[1:v]format=yuv420p,setsar=1,{clock}[b];[a][b]ssim"
    inputs = ("-i", str(made.source), "-i", str(made.target))
    command = [FFMPEG, "-v", "info", "-nostats", *inputs, "-filter_complex", graph, "-f", "null", "-"]
    log = subprocess.run(command, capture_output=True, check=True, text=True).stderr
    return float(re.findall(r"All:([\d.]+)", log)[-1])


def similarity_to_bwdif(made: Made) -> object:
    """SSIM of the output to its source after `bwdif=send_frame`."""
    return _similarity(made, "bwdif=mode=send_frame:deint=all")


def similarity_to_fields(made: Made) -> object:
    """SSIM of the output to its source after `bwdif=send_field`."""
    return _similarity(made, "bwdif=mode=send_field:deint=all")


def similarity(made: Made) -> object:
    """SSIM of the output to its source as it is."""
    return _similarity(made, "null")


def longest_step(made: Made) -> object:
    """The longest time between two frames of the output, in milliseconds."""
    times = _times(made)
    return max(after - before for before, after in pairwise(times)) * 1000


def shortest_step(made: Made) -> object:
    """The shortest time between two frames of the output, in milliseconds."""
    times = _times(made)
    return min(after - before for before, after in pairwise(times)) * 1000


def _times(made: Made) -> list[float]:
    shown = ("-select_streams", "v", "-show_entries", "packet=pts_time", "-of", "csv=p=0")
    lines = subprocess.run([FFPROBE, "-v", "error", *shown, str(made.target)], capture_output=True, text=True).stdout
    return sorted(float(line.strip(",")) for line in lines.split())
