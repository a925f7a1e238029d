"""Transport streams with several programs."""

from pathlib import Path

from tests.media.case import Case, ffmpeg
from tests.media.measures import failure, frames, size, warnings
from tests.media.measures_audio import layouts

SMALL = {"ffmpeg": {"codec": "h264", "scale": "360p", "bitrate": "1M", "speed": "fast"}}


def _two_programs(folder: Path) -> Path:
    """Program 1: a small picture with stereo sound. Program 2: a larger picture with mono sound."""
    inputs: list[object] = []
    for size_, layout in (("320x180", "stereo"), ("640x360", "mono")):
        inputs += ["-f", "lavfi", "-i", f"testsrc2=s={size_}:r=25:d=2"]
        inputs += ["-f", "lavfi", "-i", f"aevalsrc=0.1*sin(3000*t):d=2,aformat=channel_layouts={layout}"]
    maps = [word for number in range(4) for word in ("-map", number)]
    programs = ("-program", "program_num=1:st=0:st=1", "-program", "program_num=2:st=2:st=3")
    coded = ("-c:v", "libx264", "-preset", "ultrafast", "-c:a", "aac")
    return ffmpeg(folder, "x.ts", *inputs, *maps, *coded, *programs)


CASES = (
    Case(
        "two programs: the sound is that of the picture's program",
        _two_programs,
        SMALL,
        {failure: "", frames: 50, size: "640x360", layouts: ["mono"], warnings: ["programs-left-out"]},
    ),
    Case(
        "two programs: all tracks are those of the picture's program",
        _two_programs,
        {**SMALL, "audio": {"tracks": "all"}},
        {failure: "", frames: 50, size: "640x360", layouts: ["mono"], warnings: ["programs-left-out"]},
    ),
)
