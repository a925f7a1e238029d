"""A source that is not like the sample, the transcode that is wanted of it, and the right outcome in figures.

Every module of `tests/media/sources` has CASES. `test_corpus` makes each source, transcodes it as a worker does, and
measures the output itself; `python -m tests.media.table` writes the table in docs/sources.md.
"""

import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from elasticrecode.jobs.events import Notice, Output, Progress
from elasticrecode.jobs.uris import audio_name, output_name
from elasticrecode.media.codecs import AUDIO_MUXERS, CONTAINERS
from elasticrecode.media.profiles import Profile, resolve
from local.place import TOOLS
from worker.errors import JobError
from worker.media.encode import transcode
from worker.media.images import Stills
from worker.media.recording import extract
from worker.sandbox.runner import Runner
from worker.settings import Settings

FFMPEG, FFPROBE = str(TOOLS / "bin" / "ffmpeg"), str(TOOLS / "bin" / "ffprobe")
BUNNY = TOOLS / "media" / "bigbuckbunny.mp4"
"""1280x720, 25 frames per second, 132 frames, AAC 5.1. Big Buck Bunny (CC BY 3.0, Blender Foundation)."""
SETTINGS = Settings("ffmpeg", "CPU", "q", "c", "", 30.0, "node", "pod", FFMPEG, FFPROBE)


class Made(NamedTuple):
    """A transcode that has ended. The files exist; `failure` is the error's code, empty for a success."""

    source: Path
    target: Path
    output: Output | None
    notices: list[Notice]
    progress: list[Progress]
    failure: str
    stills: Stills | None = None


Measure = Callable[[Made], object]
"""Measures a figure from the files of a transcode. Its name is the figure's name in the table."""


class Case(NamedTuple):
    """A source with its right outcome.

    `name` describes the source; `make` writes it into a folder and returns its path; `profile` is as in a request;
    `right` has the expected value of each measure, which may be a `Between`.
    """

    name: str
    make: Callable[[Path], Path]
    profile: Mapping[str, Any]
    right: Mapping[Measure, object]


class Between(NamedTuple):
    """Equal to every number from `low` to `high`."""

    low: float
    high: float

    def __eq__(self, other: object) -> bool:
        return isinstance(other, int | float) and self.low <= other <= self.high

    def __ne__(self, other: object) -> bool:  # that of a tuple would compare it with a tuple
        return not self == other

    def __hash__(self) -> int:
        return hash((self.low, self.high))

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}"


def about(value: float, tolerance: float) -> Between:
    """Equal to every number at most `tolerance` away from `value`."""
    return Between(value - tolerance, value + tolerance)


def ffmpeg(folder: Path, name: str, *arguments: object) -> Path:
    """Run ffmpeg with these arguments; it writes the file of that name in the folder."""
    target = folder / name
    command = [FFMPEG, "-v", "error", "-nostdin", "-y", *map(str, arguments), str(target)]
    subprocess.run(command, check=True, capture_output=True, text=True, cwd=folder)
    return target


def make(folder: Path, source: Path, profile: Mapping[str, Any]) -> Made:
    """Transcode a source as a worker does, without AWS. `folder` is empty, and gets the files of the job."""
    request = resolve(msgspec.convert(profile, Profile))
    local, target, progress = folder / "input", folder / "output", list[Progress]()
    shutil.copy(source, local)
    if not request.ffmpeg:
        return _sound(local, target, source.name, request)
    name = output_name(f"s3://b/{source.name}", request.ffmpeg.codec)
    muxer = CONTAINERS[name.rpartition(".")[2].lower()]
    try:
        encoded = transcode(
            local, target, f"s3://b/out/{name}", muxer, request, request.ffmpeg, SETTINGS, Runner(), progress.append,
            then_score=False,
        )  # fmt: skip
    except JobError as error:
        return Made(local, target, None, [], progress, error.failure.code)
    return Made(local, target, encoded.output, encoded.notices, progress, "", encoded.stills)


def _sound(local: Path, target: Path, name: str, request: Profile) -> Made:
    """A job for sound alone."""
    progress = list[Progress]()
    named = audio_name(f"s3://b/{name}", (request.audio and request.audio.codec) or "aac")
    muxer = AUDIO_MUXERS[named.rpartition(".")[2]]
    try:
        output, notices = extract(
            local, target, f"s3://b/out/{named}", muxer, request, SETTINGS, Runner(), progress.append
        )
    except JobError as error:
        return Made(local, target, None, [], progress, error.failure.code)
    return Made(local, target, output, notices, progress, "")
