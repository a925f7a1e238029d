"""Small ladders, encoded by ffmpeg as a worker encodes rungs, and packages of them."""

import atexit
import shutil
import subprocess
from collections.abc import Collection, Sequence
from fractions import Fraction
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, NamedTuple

from local.place import TOOLS
from worker.packaging.package import pack
from worker.packaging.tracks import Encrypted, Format, Packaged, Thumbnails, Track
from worker.sandbox.runner import Runner
from worker.settings import Settings

FFMPEG, FFPROBE, PACKAGER = (str(TOOLS / "bin" / name) for name in ("ffmpeg", "ffprobe", "packager"))
BUNNY = str(TOOLS / "media" / "bigbuckbunny.mp4")
SETTINGS = Settings("ffmpeg", "CPU", "q", "c", "", 30.0, "node", "pod", FFMPEG, FFPROBE, packager=PACKAGER)
VERSION = "0123456789"
SECONDS = 16
KEY = bytes.fromhex("000102030405060708090a0b0c0d0e0f")
KEY_ID = bytes.fromhex("a0a1a2a3a4a5a6a7a8a9aaabacadaeaf")
CBCS = Encrypted("cbcs", "https://keys.example/1", KEY, KEY_ID)
AES = Encrypted("aes-128", "https://keys.example/1", KEY)

_H264 = ("libx264", "-preset", "ultrafast", "-bf", "2", "-x264-params", "{gop}:scenecut=0:open-gop=0:log-level=error")
_H265 = (
    "libx265",
    "-preset",
    "ultrafast",
    "-tag:v",
    "hvc1",
    "-x265-params",
    "{gop}:scenecut=0:open-gop=0:log-level=error",
)
_AV1 = ("libsvtav1", "-preset", "12", "-svtav1-params", "scd=0")
_CODECS = {"h264": _H264, "h265": _H265, "av1": _AV1}


def run(*arguments: str) -> None:
    """Run ffmpeg."""
    subprocess.run([FFMPEG, "-v", "error", "-nostdin", "-y", *arguments], check=True, env={"SVT_LOG": "1"})


@cache
def store() -> Path:
    """The folder of encoded tracks, each encoded once in a session."""
    folder = mkdtemp(prefix="ladders-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


@cache
def video(
    size: str, rate: int, *, codec: str = "h264", fps: str = "25", gop: int = 50, colour: str = "", depth: int = 8
) -> Path:
    """A rung of `size` (W:H) with `rate` kbit/s, a key frame every `gop` frames."""
    path = store() / f"{codec}-{size.replace(':', 'x')}-{rate}-{fps.replace('/', '_')}-{gop}-{colour}.mp4"
    encoder = [part.format(gop=f"keyint={gop}:min-keyint={gop}") for part in _CODECS[codec]]
    tags = {
        "": "bt709:color_trc=bt709:colorspace=bt709",
        "pq": "bt2020:color_trc=smpte2084:colorspace=bt2020nc",
        "hlg": "bt2020:color_trc=arib-std-b67:colorspace=bt2020nc",
    }[colour]
    pixels = "yuv420p10le" if depth == 10 else "yuv420p"
    filters = f"fps={fps},scale={size},setsar=1,format={pixels},setparams=color_primaries={tags}:range=tv"
    bits = (
        ("-b:v", f"{rate}k")
        if codec == "av1"
        else ("-b:v", f"{rate}k", "-maxrate", f"{rate * 1.5:.0f}k", "-bufsize", f"{rate}k")
    )
    source = ("-stream_loop", "-1", "-i", BUNNY, "-t", str(SECONDS))
    run(*source, "-an", "-vf", filters, "-c:v", *encoder, "-g", str(gop), *bits, "-threads", "2", str(path))
    return path


@cache
def sound(channels: int = 2, *, hertz: int = 440, codec: str = "aac", rate: int = 48000, volume: float = 1) -> Path:
    """A sound as long as the videos."""
    path = store() / f"sound-{channels}-{hertz}-{codec}-{rate}-{volume}.mp4"
    layout = {1: "mono", 2: "stereo", 6: "5.1"}[channels]
    source = (
        f"sine=frequency={hertz}:sample_rate={rate}:duration={SECONDS},volume={volume},aformat=channel_layouts={layout}"
    )
    run("-f", "lavfi", "-i", source, "-c:a", codec, "-b:a", f"{64 * channels}k", str(path))
    return path


@cache
def subtitles(words: str = "Hello") -> Path:
    """A WebVTT file."""
    path = store() / f"{words.lower()}.vtt"
    path.write_text(f"WEBVTT\n\n00:01.000 --> 00:03.000\n{words}\n\n00:14.000 --> 00:15.500\nThe end\n")
    return path


@cache
def sprites() -> Thumbnails:
    """Two sprites of 2 x 2 pictures, one each 2 s."""
    pattern = store() / "sheet-%d.jpg"
    run(
        "-stream_loop",
        "-1",
        "-i",
        BUNNY,
        "-t",
        str(SECONDS),
        "-vf",
        "fps=1/2:round=up,scale=160:90,tile=2x2",
        "-start_number",
        "0",
        str(pattern),
    )
    return Thumbnails(tuple(sorted(store().glob("sheet-*.jpg"))), 160, 90, 2, 2, 2.0)


SIZES = (("640:360", 600), ("480:270", 300), ("416:234", 145))
"""The rungs of a ladder, as W:H with their kbit/s."""


def rungs(sizes: Sequence[tuple[str, int]] = SIZES, codec: str = "h264", **options: Any) -> list[Track]:
    """A ladder. Options as of `video`."""
    return [
        Track(video(size, rate, codec=codec, **options), f"{codec}-{size.split(':')[1]}p-{rate}k", "video")
        for size, rate in sizes
    ]


def trick() -> Track:
    """A track of key frames alone, one a second."""
    return Track(video("416:234", 90, fps="1", gop=1), "h264-234p-trick", "trick")


def languages() -> list[Track]:
    """English in stereo and 5.1, French in stereo, and subtitles of each kind."""
    return [
        Track(sound(2), "audio-en-stereo", "audio", "en", "English", 2, is_default=True, group="stereo"),
        Track(sound(2, hertz=880), "audio-fr-stereo", "audio", "fr", "Français", 2, group="stereo"),
        Track(sound(6), "audio-en-5.1", "audio", "en", "English", 6, is_default=True, group="5.1"),
        Track(subtitles(), "subtitles-en", "text", "en", "English"),
        Track(subtitles("Bonjour"), "subtitles-fr-forced", "text", "fr", "Français", is_forced=True),
        Track(subtitles("Bang"), "subtitles-en-sdh", "text", "en", "English SDH", is_sdh=True),
    ]


class Built(NamedTuple):
    """A package laid out as players get it, below `root`, and `pack`'s own word on it."""

    root: Path
    packaged: Packaged
    folder: Path


def build(
    tracks: Sequence[Track],
    folder: Path,
    *,
    formats: Collection[Format] = ("hls", "dash"),
    segment: Fraction = Fraction(6),
    gop: Fraction = Fraction(2),
    encryption: Encrypted | None = None,
    thumbnails: Thumbnails | None = None,
) -> Built:
    """Package tracks in `folder`/job, by a required sandbox, and lay the package out in `folder`/package."""
    job, root = folder / "job", folder / "package"
    job.mkdir(parents=True)
    copied = [track._replace(file=Path(shutil.copy(track.file, job))) for track in tracks]
    packaged = pack(
        copied,
        formats=formats,
        segment=segment,
        gop=gop,
        encryption=encryption,
        thumbnails=thumbnails,
        version=VERSION,
        folder=job,
        settings=SETTINGS,
        runner=Runner(sandbox="required"),
    )
    for path, name in packaged.files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, root / name)
    return Built(root, packaged, job)
