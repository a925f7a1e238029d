"""Makes the files of a certificate again: the recorded runs, with their exact arguments, on the same source."""

import hashlib
import os
import shutil
import zlib
from base64 import b64decode
from collections.abc import Iterable, Mapping
from pathlib import Path

from elasticrecode import wire
from worker.certificate.document import VERSION, Certificate
from worker.certificate.evidence import FilmPart, FilmRecord
from worker.cuts.index import Index, join_rest, make_cut, make_rest, open_index
from worker.cuts.movie import MovieIndex
from worker.cuts.objects import LocalFile
from worker.joining.chunks import ChunkFile
from worker.joining.join import join
from worker.sandbox.runner import Runner, last_lines
from worker.sandbox.steps import Step
from worker.settings import Settings

REST = "rest"
_INPUT = "input"
_SKIPPED = ("package",)
"""Runs that move coded pictures from one file to another. A package may be encrypted: no certificate has the key."""
_SECONDS = 24 * 3600
_GZIP = 31
_MOST_TEXT = 16 << 20
"""The longest text that a certificate can hold."""


class Unlike(Exception):
    """The source, or the certificate, is not one from which the files can be made again. The message says why."""


def read(path: Path) -> Certificate:
    """The certificate in a file. Raises Unlike."""
    try:
        certificate = wire.decode(path.read_bytes(), Certificate)
    except ValueError as error:
        raise Unlike(f"{path} is no certificate: {error}") from error
    if certificate.certificate != VERSION:
        raise Unlike(f"{path} has version {certificate.certificate}; this program reads {VERSION}")
    return certificate


def make_again(certificate: Certificate, source: Path, folder: Path, settings: Settings, runner: Runner) -> list[Path]:
    """Run what the certificate records on the source, in an empty folder, and return the files that come out.

    Each run is confined as a worker's. Raises Unlike for another source, a run that ends in another way, or a program
    that is not known; JobError.
    """
    check_source(certificate, source)
    if any(folder.iterdir()):
        raise Unlike(f"{folder} is not empty")
    place = _Folder(certificate, source, folder, settings, runner)
    try:
        if certificate.film:
            place.make_film(certificate.film)
        else:
            _link(source, folder / _INPUT)
        place.run(certificate.steps)
    finally:
        (folder / _INPUT).unlink(missing_ok=True)
    joined = [each.target for each in certificate.film.joins] if certificate.film else []
    names = [*joined, *(name for step in certificate.steps for name in step.outputs)]
    return [path for path in (folder / name for name in dict.fromkeys(names)) if path.exists()]


def check_source(certificate: Certificate, source: Path) -> None:
    """Raise Unlike for a source of another size or, where the certificate knows it, another SHA-256."""
    size = source.stat().st_size
    if size != certificate.input.bytes:
        raise Unlike(f"{source} has {size} bytes, not {certificate.input.bytes}")
    if certificate.input.sha256:
        with source.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != certificate.input.sha256:
            raise Unlike(f"{source} has the SHA-256 {digest}, not {certificate.input.sha256}")


class _Folder:
    """A folder in which the runs are repeated."""

    def __init__(
        self, certificate: Certificate, source: Path, folder: Path, settings: Settings, runner: Runner
    ) -> None:
        self._files, self._source, self._path = certificate.files, source, folder
        self._settings, self._runner = settings, runner
        self._programs = {"ffmpeg": settings.ffmpeg, "packager": settings.packager}

    def run(self, steps: Iterable[Step]) -> None:
        """Repeat runs, in their order."""
        for step in steps:
            if step.name in _SKIPPED:
                continue
            if step.program not in self._programs:
                raise Unlike(f"the certificate names a program {step.program!r}")
            self._write(step.files)
            log = self._path / "again.log"
            command = [self._programs[step.program], *step.arguments]
            self._runner.run(command, self._path, log, seconds=_SECONDS)
            missing = [name for name in step.outputs if "%" not in name and not (self._path / name).exists()]
            if missing:
                raise Unlike(f"{step.name} made no {missing[0]}: {' '.join(last_lines(log, self._path)[-3:])}")

    def _write(self, files: Mapping[str, str]) -> None:
        for name, digest in files.items():
            if Path(name).name != name or digest not in self._files:
                raise Unlike(f"the certificate lacks the text {name!r}")
            text = zlib.decompressobj(_GZIP).decompress(b64decode(self._files[digest]), _MOST_TEXT)
            (self._path / name).write_bytes(text)

    def make_film(self, film: FilmRecord) -> None:
        """Make the parts of a divided film from their cuts, join them, and leave the rest of the film in its file."""
        source = LocalFile(self._source, self._runner)
        inspected, index = open_index(source, self._path, self._settings, self._runner)
        del inspected
        if not film.has_rest:
            make_rest(index, source, self._path / REST)
        pieces = [self._make_part(part, film, index, source) for part in film.parts]
        if film.has_rest:
            self._join_rest(index, [piece for piece in pieces if piece.exists() and piece.stat().st_size])
        for each in film.joins:
            chunks = [
                ChunkFile(self._path / part.file, part.name, part.start, part.end, part.frames) for part in each.parts
            ]
            target = self._path / each.target
            join(chunks, target, each.ticks, self._settings.ffprobe, self._runner, edited=each.edited)

    def _make_part(self, part: FilmPart, film: FilmRecord, index: Index, source: LocalFile) -> Path:
        """Make the outputs of a part, and return the file of its piece of the rest."""
        if not part.steps:
            raise Unlike(f"the certificate does not tell how part {part.name} was made")
        for name in (part.cut, *(output.file for output in part.outputs.values())):
            if Path(name).name != name:
                raise Unlike(f"the certificate names a file {name!r}")
        cut, piece = self._path / part.cut, self._path / f"{REST}-{part.cut}"
        recipe = index.recipe(part.start, part.end, film.lead)
        make_cut(index.film, recipe, source, cut, self._runner, piece if film.has_rest else None)
        self.run(part.steps)
        cut.unlink()
        return piece

    def _join_rest(self, index: Index, pieces: list[Path]) -> None:
        target = self._path / REST
        if isinstance(index, MovieIndex):
            index.rest_of(pieces, target)
        else:
            join_rest(index.film, pieces, target)


def _link(source: Path, target: Path) -> None:
    """Put the source into the folder, without a copy where the disk allows that."""
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)
