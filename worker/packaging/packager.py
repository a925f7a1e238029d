"""Runs Shaka Packager, which turns MP4 tracks into CMAF tracks with a segment index, encrypted where a package is.

It reports in text files what it reads in the bitstreams. Playlists and an MPD it cannot write in the sandbox, where no
file may be replaced.
"""

import re
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

from worker.errors import PermanentError
from worker.packaging.tracks import Encrypted, Track
from worker.sandbox.runner import Runner, last_lines
from worker.sandbox.steps import Step

PREFIX = "package-"
"""The prefix of the package's files in the job's folder."""
_LEFTOVERS = "packager-tempfile-*"
_MARGIN = 1e-9
"""Seconds. Packager rounds down to ticks: 6.006 s could be a tick short, which adds up over the segments."""
_EACH_KEY_FRAME = Fraction(1, 1000)
_SECRET = ("--keys=", "--iv=")
"""Flags that no record shows: the vector follows from the key."""
_FIELD = re.compile(r'^\s*(\w+): "?([^"\n]*)"?$', re.MULTILINE)
_SAMPLE_ENTRIES = {"opus": "Opus", "flac": "fLaC"}
"""Codecs that Packager does not name by their sample entries in MP4, as RFC 6381 has it."""
_TRANSFERS = {16: "PQ", 18: "HLG"}


class Facts(NamedTuple):
    """What Packager reads in a bitstream; 0 and 1 where a kind of track has no such field.

    `codecs` is its RFC 6381 string; `colour` has the code points (ISO/IEC 23091-2) of primaries, transfer and matrix,
    0 where unknown; `aspect` is the pixel aspect ratio.
    """

    codecs: str
    width: int
    height: int
    aspect: tuple[int, int]
    colour: tuple[int, int, int]
    sample_rate: int
    channels: int

    @property
    def video_range(self) -> str:
        """The range in the words of HLS: SDR, PQ or HLG."""
        return _TRANSFERS.get(self.colour[1], "SDR")


def package_file(folder: Path, track: Track) -> Path:
    """The packaged file of a track in the job's folder."""
    return folder / f"{PREFIX}{track.name}.mp4"


def run_packager(
    packager: str,
    tracks: Sequence[Track],
    *,
    segment: Fraction,
    gop: Fraction,
    encryption: Encrypted | None,
    version: str,
    folder: Path,
    runner: Runner,
) -> dict[str, Facts]:
    """Package sounds and videos, which lie in the job's folder, and return the facts of each by its name.

    Raises PermanentError `packaging-failed`; else as `Runner.run`.
    """
    facts: dict[str, Facts] = {}
    for kind, fragment in (("video", gop), ("audio", segment), ("trick", _EACH_KEY_FRAME)):
        if chosen := [track for track in tracks if track.kind == kind]:
            _run(packager, chosen, _flags(segment, fragment, encryption, version), folder, runner, encryption)
            facts |= {track.name: _facts(package_file(folder, track)) for track in chosen}
    return facts


def _flags(segment: Fraction, fragment: Fraction, encryption: Encrypted | None, version: str) -> list[str]:
    flags = [
        f"--segment_duration={float(segment) + _MARGIN:.12f}",
        f"--fragment_duration={float(fragment) + _MARGIN:.12f}",
        "--segment_sap_aligned",
        "--fragment_sap_aligned",
        "--output_media_info",
        "--use_fake_clock_for_muxer",
        "--temp_dir=.",
    ]
    if not encryption or encryption.scheme != "cbcs":
        return flags
    return [
        *flags,
        "--enable_raw_key_encryption",
        "--protection_scheme=cbcs",
        "--crypt_byte_block=1",
        "--skip_byte_block=9",
        "--clear_lead=0",
        f"--iv={encryption.vector(version).hex()}",
        f"--keys=label=:key_id={encryption.key_id.hex()}:key={encryption.key.hex()}",
    ]


def _run(
    packager: str, tracks: Sequence[Track], flags: list[str], folder: Path, runner: Runner, secret: Encrypted | None
) -> None:
    """Run Packager. It reads its flags, with the key, from a file: other processes can see a command line."""
    flag_file, log = folder / f"{PREFIX}flags", folder / f"{PREFIX}log"
    streams = [f"in={track.file.name},stream={track.stream},out={package_file(folder, track).name}" for track in tracks]
    flag_file.touch(mode=0o600)
    flag_file.write_text("".join(f"{flag}\n" for flag in flags), encoding="utf-8")
    try:
        command = [packager, *streams, f"--flagfile={flag_file.name}"]
        status = runner.run(command, folder, log, seconds=runner.limits.timeout_seconds(None))
        shown = [flag for flag in flags if not flag.startswith(_SECRET)]
        runner.steps.append(Step("package", "packager", [*streams, *shown]))
        lines = last_lines(log, folder)
    finally:
        flag_file.unlink()
        log.unlink(missing_ok=True)
        for path in folder.glob(_LEFTOVERS):
            path.unlink()
    if status:
        hidden = secret.key.hex() if secret else ""
        lines = [line.replace(hidden, "…") if hidden else line for line in lines]
        end = f"signal {-status}" if status < 0 else f"status {status}"
        raise PermanentError("packaging-failed", f"Shaka Packager ended with {end}.", lines)


def _facts(path: Path) -> Facts:
    """Read, and remove, the text file that Packager writes beside a track."""
    report = path.with_name(f"{path.name}.media_info")
    fields: dict[str, str] = {}
    for name, value in _FIELD.findall(report.read_text(encoding="utf-8", errors="replace")):
        fields.setdefault(name, value)
    report.unlink()
    aspect = int(fields.get("pixel_width", "1")), int(fields.get("pixel_height", "1"))
    primaries, transfer, matrix, width, height, rate, channels = (
        int(fields.get(name, "0"))
        for name in (
            *("color_primaries", "transfer_characteristics", "matrix_coefficients"),
            *("width", "height", "sampling_frequency", "num_channels"),
        )
    )
    return Facts(
        _SAMPLE_ENTRIES.get(fields["codec"], fields["codec"]),
        width,
        height,
        aspect,
        (primaries, transfer, matrix),
        rate,
        channels,
    )
