"""`python -m tests.media.peers [WORD…]`: the corpus through peers that are installed, measured as our own outputs.

Peers are plain ffmpeg (PEER_FFMPEG, by default /usr/bin/ffmpeg) and HandBrakeCLI, each called as a careful user would:
the size to fit into, the rate, the encoder. Prints one Markdown row for each case that a peer gets wrong, with its
figures. Words choose cases by their names. What a request asks for beyond size, rate and codec is not asked of peers.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from elasticrecode.media.profiles import Profile, bits, resolve
from tests.media.case import Case, Made, make
from tests.media.table import cases

_FFMPEG = os.environ.get("PEER_FFMPEG", "/usr/bin/ffmpeg")
_HANDBRAKE = shutil.which("HandBrakeCLI")
_ENCODERS = {"libx264": "x264", "libx265": "x265", "libsvtav1": "svt_av1"}
_OURS_ALONE = {"failure", "warnings"}
"""Measures of the job's own words."""
_ASKED = {"codec", "scale", "bitrate", "fit", "speed", "profile", "platform"}
"""Fields that peers are asked for too."""


def _plain_ffmpeg(source: Path, target: Path, profile: Profile) -> list[str]:
    encode = profile.ffmpeg
    assert encode
    fit = ":force_original_aspect_ratio=decrease:force_divisible_by=2" if not encode.fit else ""
    scale = [] if encode.scale == "source" else ["-vf", f"scale={encode.scale}{fit}"]
    rate = ["-b:v", encode.bitrate] if encode.bitrate else []
    codec = encode.codec if encode.codec in ("libx264", "libx265") else "libx264"
    return [_FFMPEG, "-v", "error", "-nostdin", "-y", "-i", str(source), *scale, "-c:v", codec, *rate, str(target)]


def _handbrake(source: Path, target: Path, profile: Profile) -> list[str]:
    encode = profile.ffmpeg
    assert encode
    width, _, height = encode.scale.partition(":")
    size = [] if encode.scale == "source" else ["--maxWidth", width, "--maxHeight", height]
    rate = ["-b", str(bits(encode.bitrate) // 1000)] if encode.bitrate else []
    encoder = ["-e", _ENCODERS.get(encode.codec, "x264"), "--encoder-preset", "veryfast"]
    command = [str(_HANDBRAKE), "-i", str(source), "-o", str(target), "-f", "av_mp4", *encoder, *size, *rate]
    return [*command[:-2], "9", *command[-1:]] if encode.codec == "libsvtav1" and not rate else command


def wrong_figures(case: Case, measured: Callable[[], Made]) -> str:
    """The figures that are not right, in words; empty when all are."""
    try:
        result = measured()
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        return f"fails with status {getattr(error, 'returncode', 'none: it does not end')}"
    wrong = []
    for measure, right in case.right.items():
        if measure.__name__ in _OURS_ALONE:
            continue
        try:
            value = measure(result)
        except (LookupError, ValueError, TypeError) as error:
            value = f"not to be measured ({type(error).__name__})"
        if value != right:
            wrong.append(f"{measure.__name__.replace('_', ' ')} {value}")
    return "; ".join(wrong)


def _by(
    command: Callable[[Path, Path, Profile], list[str]], source: Path, folder: Path, profile: Profile
) -> Callable[[], Made]:
    def run() -> Made:
        target = folder / "peer.mp4"
        target.unlink(missing_ok=True)
        subprocess.run(command(source, target, profile), check=True, capture_output=True, timeout=120)
        if not target.exists():
            raise subprocess.CalledProcessError(0, "no output")
        return Made(source, target, None, [], [], "")

    return run


def main(words: list[str]) -> None:
    """Print the table and the counts."""
    peers = {"plain ffmpeg": _plain_ffmpeg, **({"HandBrake": _handbrake} if _HANDBRAKE else {})}
    counts = dict.fromkeys(["ours", *peers], 0)
    total = 0
    print(f"| source | {' | '.join(peers)} | ours |\n|---|{'---|' * (len(peers) + 1)}")
    for _, case in cases():
        profile = resolve(msgspec.convert(case.profile, Profile))
        if any(word not in case.name for word in words) or not profile.ffmpeg:
            continue
        if case.right.get(next((m for m in case.right if m.__name__ == "failure"), None), ""):  # type: ignore[arg-type]
            continue  # a source that cannot come out right has nothing to compare
        total += 1
        with TemporaryDirectory() as path:
            folder = Path(path)
            for name in ("source", "job"):
                (folder / name).mkdir()
            source = case.make(folder / "source")
            found = {"ours": wrong_figures(case, lambda: make(folder / "job", source, case.profile))}  # noqa: B023
            found |= {name: wrong_figures(case, _by(peer, source, folder, profile)) for name, peer in peers.items()}
        for name, wrong in found.items():
            counts[name] += not wrong
        if any(found.values()):
            beyond = sorted(set(map(str, case.profile.get("ffmpeg", {}))) - _ASKED) + sorted(
                set(case.profile) - {"ffmpeg"}
            )
            note = f" (asks for {', '.join(beyond)})" if beyond else ""
            row = " | ".join(found[name] or "right" for name in peers)
            print(f"| {case.name}{note} | {row} | {found['ours'] or 'right'} |", flush=True)
    print(f"\nRight of {total}: " + ", ".join(f"{name} {count}" for name, count in counts.items()))


if __name__ == "__main__":
    main(sys.argv[1:])
