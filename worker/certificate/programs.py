"""The exact versions of the programs that made an output, and of the encoders in them."""

import hashlib
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from msgspec import Struct

from worker.sandbox.runner import Runner, last_lines
from worker.sandbox.steps import Step

_SECONDS = 60
_LIBRARY = re.compile(r"^(lib\w+) +([\d. ]+) /")
_ENCODERS = {
    "libx264": re.compile(r"\] 264 - (core \d+[^-]*?) - "),
    "libx265": re.compile(r"HEVC encoder version (\S+)"),
    "libsvtav1": re.compile(r"SVT-AV1 Encoder Lib (\S+)"),
}
"""Encoder of ffmpeg → its version in the words of its log."""


class Program(Struct, frozen=True, omit_defaults=True):
    """A program: its first line about itself, the SHA-256 of its file in hex, and versions of libraries in it."""

    name: str
    version: str
    sha256: str
    libraries: dict[str, str] = {}


_KNOWN: dict[tuple[str, str, int, int], Program] = {}


def programs(steps: Iterable[Step], paths: dict[str, str], folder: Path, runner: Runner) -> list[Program]:
    """The programs of these runs, each by its path, with the video encoders that they used.

    `paths` has the path of each program by its name in the runs, and of others to tell. A program is looked at once in
    the life of the worker. Raises as `Runner.run`.
    """
    every = list(steps)
    encoders = sorted({word for step in every for word in step.arguments if word in _ENCODERS})
    return [
        _described(name, path, encoders if name == "ffmpeg" else [], folder, runner) for name, path in paths.items()
    ]


def digest_of(file: Path) -> str:
    """The SHA-256 of a file in hex. Raises OSError."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _described(name: str, path: str, encoders: list[str], folder: Path, runner: Runner) -> Program:
    file = Path(shutil.which(path) or path).resolve()
    facts = file.stat()
    key = str(file), name, facts.st_size, facts.st_mtime_ns
    if key not in _KNOWN:
        digest = digest_of(file)
        lines: list[str] = []
        log = folder / "version.log"
        runner.run([path, "-version"], folder, log, seconds=_SECONDS, on_line=lambda line, _: lines.append(line))
        lines += last_lines(log, folder)
        libraries = {match[1]: match[2].replace(" ", "") for line in lines if (match := _LIBRARY.match(line))}
        _KNOWN[key] = Program(name, next((line.strip()[:200] for line in lines if line.strip()), ""), digest, libraries)
    known = _KNOWN[key]
    for encoder in encoders:
        if encoder not in known.libraries:
            known.libraries[encoder] = _encoder(path, encoder, folder, runner)
    unused = _ENCODERS.keys() - set(encoders)
    return Program(*_fields(known), {k: v for k, v in known.libraries.items() if k not in unused})


def _fields(program: Program) -> tuple[str, str, str]:
    return program.name, program.version, program.sha256


def _encoder(ffmpeg: str, encoder: str, folder: Path, runner: Runner) -> str:
    """The version of an encoder, which only its log tells; `unknown` where it does not."""
    log, written = folder / "version.log", folder / "version.mp4"
    picture = ("-f", "lavfi", "-i", "color=size=64x64:rate=25", "-frames:v", "1")
    command = [ffmpeg, "-hide_banner", "-nostdin", "-nostats", "-v", "info", *picture, "-c:v", encoder]
    runner.run([*command, "-f", "mp4", f"file:{written}"], folder, log, seconds=_SECONDS)
    written.unlink(missing_ok=True)
    match = _ENCODERS[encoder].search("\n".join(last_lines(log, folder)))
    return match[1] if match else "unknown"
