"""Downloads the outputs of a job into a folder. What is there and whole is kept, and no other file is replaced."""

from __future__ import annotations

import errno
import hashlib
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from elasticrecode_client.calls import Answer, Call, Flow, NotSent, Pause
from elasticrecode_client.exchange import Exchange, delay, is_private
from elasticrecode_client.problems import TransferFailed
from elasticrecode_client.types import JobRecord, Links, Output

_EARLY_SECONDS = 120
_LINKS = 200
_TRIES = 6
_TAKEN = (200, 206)
_ENTRIES = ("/master.m3u8", "/manifest.mpd")
_LIST = "files.txt"
_UNSAFE = re.compile(r"[\\\x00-\x1f\x7f]" if os.name == "posix" else r'[\\\x00-\x1f\x7f:*?"<>|]')


class Received(NamedTuple):
    """How far a file is: its bytes that are here, also from an earlier process, and all. A kept one begins with all."""

    path: Path
    received: int
    total: int


Progress = Callable[[Received], None]


class Fetch(NamedTuple):
    """Add the bytes behind `start` to a partial file: `Answer` without content, or `NotSent`. The URL is a secret."""

    url: str
    part: Path
    start: int
    moved: Callable[[int], None]

    def __repr__(self) -> str:
        return f"Fetch({self.part})"

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers of the request."""
        return {"Accept-Encoding": "identity"} | ({"Range": f"bytes={self.start}-"} if self.start else {})

    @contextmanager
    def writing(self, status: int) -> Iterator[Callable[[bytes], None]]:
        """A function that adds bytes of the answer with this status to the file; those of a refusal go nowhere."""
        if status not in _TAKEN:
            yield lambda piece: None
            return
        with self.part.open("ab" if status == 206 else "wb") as file:

            def write(piece: bytes) -> None:
                file.write(piece)
                self.moved(file.tell())

            yield write


class Digest(NamedTuple):
    """Read a file: its SHA-256 in hex."""

    path: Path

    def read(self) -> str:
        """The digest. Raises OSError."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


def download(exchange: Exchange, job_id: str, folder: Path, progress: Progress | None = None) -> Flow[list[Path]]:
    """The files of a finished job, below the folder as they lie below its output's prefix. Raises TransferFailed.

    Where one of them would take another file's place, all lie in a folder of the job. Raises FileExistsError where that
    place is taken, too.
    """
    record = yield from exchange.call(Call[JobRecord]("GET /v1/jobs/{jobID}/status", path={"jobID": job_id}))
    if record["state"] != "finished":
        raise TransferFailed(f"The job {job_id} is {record['state']}; only one that is finished has files.")
    outputs = record["outputs"] or []
    places = [place(output["uri"], record["output"]) for output in outputs]
    kept: set[str] = set()
    for output, at in zip(outputs, places, strict=True):
        whole = yield from _is_whole(folder / at, output)
        if not whole and _is_taken(folder, at):
            folder /= _UNSAFE.sub("_", _name(record["jobID"]).replace(".", "_"))
            kept.clear()
            break
        kept |= {at} if whole else set()
    links = _Links(exchange, record)
    paths = [folder / at for at in places]
    for output, at, path in zip(outputs, places, paths, strict=True):
        show = partial(_show, progress, path, output["bytes"])
        if at in kept or (yield from _is_whole(path, output)):
            show(output["bytes"])
        else:
            yield from _get(links, output, path, part_of(record, output, path), show)
    files = {output["uri"]: path for output, path in zip(outputs, paths, strict=True)}
    yield from _get_members(links, record["output"], files, folder, progress)
    return list(files.values())


def _get_members(
    links: _Links, prefix: str, files: dict[str, Path], folder: Path, progress: Progress | None
) -> Flow[None]:
    """Get the files of packages that are no outputs, and add them: the list in the folder of a version names them."""
    entries = {uri.rpartition("/")[0] for uri in files if uri.endswith(_ENTRIES)}
    versions = {uri.rpartition("/")[0] for uri in files if uri.rpartition("/")[0].rpartition("/")[0] in entries}
    for version in sorted(versions):
        members = [f"{version}/{_LIST}"]
        links.know(members)
        for uri in members:  # the list comes first, and adds the others
            path = files[uri] = folder / place(uri, prefix)
            yield from _get_member(links, uri, path, partial(_show, progress, path))
            if uri == members[0]:
                names = path.read_text("utf-8").splitlines()
                members += (other for name in names if (other := f"{version}/{name}") not in files)
                links.know(members[1:])


def _get_member(links: _Links, uri: str, path: Path, show: Callable[[int, int], None]) -> Flow[None]:
    """Get a file of unknown size. One that is there must be the same: raises FileExistsError, and TransferFailed."""
    part = path.with_name(f".{hashlib.sha256(uri.encode()).hexdigest()[:16]}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    for tries in range(_TRIES):
        if tries:
            yield Pause(delay(tries + 1))
        url = yield from links.url(uri, is_new=tries > 0)
        outcome = yield Fetch(url, part, 0, lambda size: None)
        if isinstance(outcome, Answer) and outcome.status in _TAKEN:
            break
    else:
        raise TransferFailed(f"{path.name}: {_reason(outcome)}")
    size, is_new = _size(part), not os.path.lexists(path)
    if is_new:
        part.replace(path)
        show(size, 0)
    else:
        fetched, present = (yield Digest(part)), (yield Digest(path)) if path.is_file() else None
        part.unlink()
        if fetched != present:
            _check_free(path)
    show(size, size)


def _show(progress: Progress | None, path: Path, total: int, received: int) -> None:
    if progress:
        progress(Received(path, received, total))


def place(uri: str, prefix: str) -> str:
    """Where a file lies below the folder: a key that leads out of it is brought back to its name."""
    inside = uri.removeprefix(prefix) if uri.startswith(prefix) else _name(uri)
    parts = [_UNSAFE.sub("_", part) for part in inside.split("/") if part]
    if any(part in (".", "..") for part in parts):
        parts = [part for part in parts[-1:] if part not in (".", "..")]
    return "/".join(parts) or "output"


def _name(uri: str) -> str:
    return uri.rstrip("/").rpartition("/")[2] or uri


def part_of(record: JobRecord, output: Output, path: Path) -> Path:
    """The file that holds the first bytes of an output: of this attempt of this job, and of no other."""
    identity = f"{record['jobID']} {record['attempt']} {output['uri']} {output['bytes']}"
    return path.with_name(f".{hashlib.sha256(identity.encode()).hexdigest()[:16]}.part")


def _is_whole(path: Path, output: Output) -> Flow[bool]:
    """Whether a file is there and has the bytes of an output, as far as its record tells them."""
    if not path.is_file() or path.stat().st_size != output["bytes"]:
        return False
    digest: str = yield Digest(path)
    return digest == (output.get("sha256") or digest)


def _is_taken(folder: Path, at: str) -> bool:
    """Whether something is in the place of an output, or a file in that of a folder above it."""
    above = (folder / each for each in PurePosixPath(at).parents)
    return os.path.lexists(folder / at) or any(os.path.lexists(each) and not each.is_dir() for each in above)


class _Links:
    """The links to the outputs of a job; S3 takes each for 15 minutes."""

    def __init__(self, exchange: Exchange, record: JobRecord) -> None:
        self._exchange, self._where = exchange, {"jobID": record["jobID"]}
        self._uris = [output["uri"] for output in record["outputs"] or ()]
        self._urls: dict[str, str] = {}
        self._end = 0.0

    def know(self, uris: Sequence[str]) -> None:
        """Further files, whose links are read together."""
        self._uris += uris

    def url(self, uri: str, *, is_new: bool) -> Flow[str]:
        """The link to an output; a new one if `is_new`, or if its time is nearly over. Raises TransferFailed."""
        if is_new or self._exchange.now() > self._end - _EARLY_SECONDS:
            self._urls = {}
            links = yield from self._read(Call[Links]("GET /v1/jobs/{jobID}/links", path=self._where))
            self._end = links["expiresAt"]
        if uri not in self._urls:
            rest = [each for each in self._uris[self._uris.index(uri) :] if each not in self._urls]
            body: dict[str, Any] = {"uris": rest[:_LINKS]}
            yield from self._read(Call[Links]("POST /v1/jobs/{jobID}/links", path=self._where, body=body))
        if uri not in self._urls:
            raise TransferFailed(f"{_name(uri)}: the deployment has no link to it.")
        if is_private(self._exchange.url) and not is_private(self._urls[uri]):
            raise TransferFailed("The deployment names a plain http address for the file; it is not read there.")
        return self._urls[uri]

    def _read(self, call: Call[Links]) -> Flow[Links]:
        links = yield from self._exchange.call(call)
        self._urls |= {link["uri"]: link["url"] for link in links["links"]}
        return links


def _get(links: _Links, output: Output, path: Path, part: Path, show: Callable[[int], None]) -> Flow[None]:
    """Get a file. A partial one of an earlier try is gone on with. Raises TransferFailed and FileExistsError."""
    _check_free(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    total, tries = output["bytes"], 0
    show(_size(part))
    while not part.exists() or _size(part) < total:
        url = yield from links.url(output["uri"], is_new=tries > 0)
        outcome = yield Fetch(url, part, _size(part), show)
        if isinstance(outcome, Answer) and outcome.status in _TAKEN:
            break
        tries += 1
        if tries == _TRIES:
            raise TransferFailed(f"{path.name}: {_reason(outcome)}")
        yield Pause(delay(tries + 1))
    digest = yield Digest(part)
    if part.stat().st_size != total or digest != (output.get("sha256") or digest):
        part.unlink()
        raise TransferFailed(f"{path.name} is not what the job has written: it has changed meanwhile.")
    _check_free(path)
    part.replace(path)


def _check_free(path: Path) -> None:
    if os.path.lexists(path):
        raise FileExistsError(errno.EEXIST, "is another file; move it away, or name another folder", str(path))


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _reason(outcome: Answer | NotSent) -> str:
    return outcome.reason if isinstance(outcome, NotSent) else f"S3 answers {outcome.status}."
