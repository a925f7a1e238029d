"""Gets the outputs of jobs into a folder, by links of S3."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from elasticrecode_client.command.displays import Transfer
from elasticrecode_client.command.output import name_of
from elasticrecode_client.command.session import Session
from elasticrecode_client.exchange import delay
from elasticrecode_client.problems import TransferFailed

if TYPE_CHECKING:
    from elasticrecode_client.types import JobRecord, Output

_CHUNK = 1 << 20
_SECONDS = 30.0
_EARLY_SECONDS = 120
_LINKS = 200
_TRIES = 6
_UNSAFE = re.compile(r"[\\\x00-\x1f\x7f]" if os.name == "posix" else r'[\\\x00-\x1f\x7f:*?"<>|]')


class Downloads:
    """The downloads of one command into `folder`. No file takes the place of an input, or of an earlier download."""

    def __init__(self, session: Session, folder: Path, inputs: Iterable[Path] = ()) -> None:
        self._session = session
        self._folder = folder
        self._taken = {path.resolve() for path in inputs}

    def get(self, record: JobRecord) -> list[Path]:
        """The files of a finished job, below its output's prefix as they lie there. Raises TransferFailed.

        Where one of them would take another file's place, all lie in a folder of the job.
        """
        outputs = record["outputs"] or []
        places = [place(output["uri"], record["output"]) for output in outputs]
        folder = self._folder
        if self._taken & {(folder / each).resolve() for each in places}:
            folder /= _UNSAFE.sub("_", name_of(record["jobID"]).replace(".", "_"))
        links = _Links(self._session, record["jobID"], [output["uri"] for output in outputs])
        paths = [folder / each for each in places]
        for output, path in zip(outputs, paths, strict=True):
            self._taken.add(path.resolve())
            _fetch(self._session, links, output, path, part_of(record, output, path))
        return paths


class _Links:
    """The links to the outputs of a job; S3 takes each for 15 minutes."""

    def __init__(self, session: Session, job_id: str, uris: list[str]) -> None:
        self._session, self._job_id, self._uris = session, job_id, uris
        self._urls: dict[str, str] = {}
        self._end = 0.0

    def url(self, uri: str, *, is_new: bool) -> str:
        """The link to an output; a new one if `is_new`, or if its time is nearly over. Raises TransferFailed."""
        client = self._session.client
        if is_new or client.exchange.now() > self._end - _EARLY_SECONDS:
            links = client.links(self._job_id)
            self._urls, self._end = {link["uri"]: link["url"] for link in links["links"]}, links["expiresAt"]
        if uri not in self._urls:
            rest = [each for each in self._uris[self._uris.index(uri) :] if each not in self._urls]
            links = client.package_links(self._job_id, rest[:_LINKS])
            self._urls |= {link["uri"]: link["url"] for link in links["links"]}
        if uri not in self._urls:
            raise TransferFailed(f"{name_of(uri)}: the deployment has no link to it.")
        return self._urls[uri]


def place(uri: str, prefix: str) -> str:
    """Where a file lies below the folder: a key that leads out of it is brought back to its name."""
    inside = uri.removeprefix(prefix) if uri.startswith(prefix) else name_of(uri)
    parts = [_UNSAFE.sub("_", part) for part in inside.split("/") if part]
    if any(part in (".", "..") for part in parts):
        parts = [part for part in parts[-1:] if part not in (".", "..")]
    return "/".join(parts) or "output"


def part_of(record: JobRecord, output: Output, path: Path) -> Path:
    """The file that holds the first bytes of an output: of this attempt of this job, and of no other."""
    identity = f"{record['jobID']} {record['attempt']} {output['uri']} {output['bytes']}"
    return path.with_name(f".{sha256(identity.encode()).hexdigest()[:16]}.part")


def _fetch(session: Session, links: _Links, output: Output, path: Path, part: Path) -> None:
    """Get a file. A partial one of an earlier try is gone on with. Raises TransferFailed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    total, fault = output["bytes"], ""
    with Transfer(session.out, f"downloaded {path}", total) as bar:
        for tries in range(_TRIES):
            if tries:
                time.sleep(delay(tries + 1))
            fault = _get_rest(links.url(output["uri"], is_new=tries > 0), part, total, bar.update)
            if not fault:
                break
        else:
            raise TransferFailed(f"{path.name}: {fault}")
        if (size := part.stat().st_size) != total:
            part.unlink()
            raise TransferFailed(f"{path.name} has {size} bytes, not {total}: it has changed meanwhile.")
        part.replace(path)


def _get_rest(url: str, part: Path, total: int, show: Callable[[int], None]) -> str:
    """Get what a partial file lacks. Returns why that failed, empty where it has not."""
    import httpx

    done = part.stat().st_size if part.exists() else 0
    if done >= total:
        part.touch()
        return ""
    try:
        with httpx.stream("GET", url, headers={"Range": f"bytes={done}-"} if done else {}, timeout=_SECONDS) as answer:
            if answer.status_code not in (200, 206):
                return f"S3 answers {answer.status_code}."
            done = done if answer.status_code == 206 else 0
            with part.open("ab" if done else "wb") as file:
                for chunk in answer.iter_bytes(_CHUNK):
                    file.write(chunk)
                    done += len(chunk)
                    show(done)
    except httpx.HTTPError as error:
        return str(error) or type(error).__name__
    return ""
