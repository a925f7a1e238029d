"""A clip that tells its time: each frame shows its number, each language has a pitch, each caption its second."""

import subprocess
from collections.abc import Iterable
from pathlib import Path

from local.place import TOOLS
from worker.packaging.tracks import Thumbnails, Track

RATE = 25
"""Frames per second."""
PITCHES = {"en": 440, "fr": 1320}
"""Language → Hz."""
CUE_SECONDS, CUE_SHOWN = 4, 3
"""Seconds between the starts of captions, and that one is shown."""
_ENCODERS = {
    "h264": ["-c:v", "libx264", "-preset", "veryfast", "-crf", "20", "-x264-params", "scenecut=0:open-gop=0"],
    "av1": ["-c:v", "libsvtav1", "-preset", "11", "-crf", "30", "-svtav1-params", "scd=0"],
    "h265": ["-c:v", "libx265", "-preset", "ultrafast", "-tag:v", "hvc1", "-x265-params", "scenecut=0:open-gop=0"],
}
_BLOCKS = r"geq=lum='if(bitand(N\,pow(2\,X+4*Y))\,235\,16)'"


def clip(path: Path, seconds: int, width: int = 426, height: int = 240) -> Path:
    """Write an MP4 whose frames are 4 x 4 blocks, the bits of their number, with two languages."""
    captions = {language: _captions(path.with_suffix(f".{language}.srt"), language, seconds) for language in PITCHES}
    picture = f"color=size=4x4:rate={RATE},format=gray,{_BLOCKS},scale={width}:{height}:flags=neighbor"
    picture += ",setsar=1,format=yuv420p"
    arguments = ["-f", "lavfi", "-i", picture]
    for pitch in PITCHES.values():
        arguments += ["-f", "lavfi", "-i", f"sine=frequency={pitch}:sample_rate=48000"]
    for file in captions.values():
        arguments += ["-i", str(file)]
    for stream in range(1 + 2 * len(PITCHES)):
        arguments += ["-map", str(stream)]
    for kind in "as":
        for index, language in enumerate(PITCHES):
            code = {"en": "eng", "fr": "fra"}[language]
            arguments += [f"-metadata:s:{kind}:{index}", f"language={code}"]
    codecs = ["-c:v", "libx264", "-preset", "superfast", "-crf", "12", "-c:a", "aac", "-c:s", "mov_text"]
    _ffmpeg(*arguments, *codecs, "-t", seconds, path)
    return path


def cue(language: str, second: int) -> str:
    """The caption that starts at a second."""
    return f"{language} at {second} s"


def _captions(path: Path, language: str, seconds: int) -> Path:
    cues = [
        f"{n + 1}\n{_clock(start)},000 --> {_clock(start + CUE_SHOWN)},000\n{cue(language, start)}\n"
        for n, start in enumerate(range(0, seconds - CUE_SECONDS, CUE_SECONDS))
    ]
    path.write_text("\n".join(cues))
    return path


def _clock(second: int) -> str:
    return f"{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}"


def encoded(source: Path, folder: Path, codec: str, sizes: Iterable[tuple[int, int]]) -> list[Track]:
    """The tracks of a package of a clip: a video of each size with a key frame every two seconds, audio, captions."""
    tracks = []
    for width, height in sizes:
        path = folder / f"{codec}-{height}p.encoded.mp4"
        scale = f"scale={width}:{height}:flags=neighbor,setsar=1"
        _ffmpeg("-i", source, "-map", "0:v", *_ENCODERS[codec], "-g", 2 * RATE, "-vf", scale, path)
        tracks.append(Track(path, f"{codec}-{height}p", "video"))
    for index, language in enumerate(PITCHES):
        audio, text = folder / f"{language}.encoded.mp4", folder / f"{language}.encoded.vtt"
        _ffmpeg("-i", source, "-map", f"0:a:{index}", "-c", "copy", audio)
        _ffmpeg("-i", source, "-map", f"0:s:{index}", text)
        tracks.append(
            Track(audio, f"audio-{language}", "audio", language, channels=1, is_default=not index, group="mono")
        )
        tracks.append(Track(text, f"subtitles-{language}", "text", language))
    return tracks


def sprites(source: Path, folder: Path, seconds: int) -> Thumbnails:
    """Sprites of 5 by 5 pictures, one for each 4 seconds of the clip."""
    picture = "fps=1/4:start_time=0:round=near,scale=160:90:flags=neighbor,setsar=1,tile=5x5"
    _ffmpeg("-i", source, "-vf", picture, "-qscale:v", 2, folder / "sprite-%d.encoded.jpg")
    files = tuple(sorted(folder.glob("sprite-*.encoded.jpg")))
    return Thumbnails(files, 160, 90, 5, 5, 4)


def _ffmpeg(*arguments: object) -> None:
    command = [str(TOOLS / "bin" / "ffmpeg"), "-v", "error", "-y", *map(str, arguments)]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
