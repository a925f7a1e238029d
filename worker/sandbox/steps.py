"""Runs of programs that outputs came of, as a certificate records them."""

import gzip
from base64 import b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec import Struct

_TEXTS = (".cube", ".ffmetadata", ".srt", ".ass", ".vtt")
"""Files that the worker itself writes for a run: tables of colours, tags and subtitles."""
_MOST_BYTES = 16 << 20


class Step(Struct, frozen=True, omit_defaults=True):
    """A run of a program: what it was for, the program, and the exact arguments, with paths below the job's folder.

    `files` are the texts that it read beside films, by name: gzip in base64.
    """

    name: str
    program: str
    arguments: list[str]
    files: dict[str, str] = {}

    @property
    def bare(self) -> "Step":
        """The run without the texts, for a record that travels to the worker that has them too."""
        return Step(self.name, self.program, self.arguments)

    @property
    def outputs(self) -> list[str]:
        """The files that the run writes: those that are no inputs."""
        named = zip(["", *self.arguments], self.arguments, strict=False)
        return [word.removeprefix("file:") for before, word in named if before != "-i" and word.startswith("file:")]

    def with_texts(self, shared: Mapping[str, str]) -> "Step":
        """The run with those of the texts that it names; its own stay."""
        words = "\n".join(self.arguments)
        named = {name: text for name, text in shared.items() if name in words}
        return Step(self.name, self.program, self.arguments, named | self.files)


def recorded(name: str, command: Sequence[str], folder: Path) -> Step:
    """The record of a run in the job's folder: its program, and its arguments without the folder's path."""
    program, *arguments = (word.replace(f"{folder}/", "") for word in command)
    return Step(name, Path(program).name, arguments, texts(arguments, folder))


def texts(arguments: Sequence[str], folder: Path) -> dict[str, str]:
    """The texts of a folder that arguments name: gzip in base64, by name."""
    words = "\n".join(arguments)
    return {
        path.name: b64encode(gzip.compress(path.read_bytes(), mtime=0)).decode()
        for path in sorted(folder.iterdir())
        if path.suffix in _TEXTS and path.name in words and path.stat().st_size <= _MOST_BYTES
    }
