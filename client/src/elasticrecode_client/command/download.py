"""Gets the outputs of a job into a folder, by links of S3."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from elasticrecode_client.command.displays import Transfer
from elasticrecode_client.command.output import name_of
from elasticrecode_client.command.session import Session
from elasticrecode_client.problems import TransferFailed

if TYPE_CHECKING:
    from elasticrecode_client.types import JobRecord

_CHUNK = 1 << 20
_SECONDS = 30.0


def download(session: Session, record: JobRecord, folder: Path) -> list[Path]:
    """The files of a finished job, below its output's prefix as they lie there. Raises TransferFailed."""
    links = {link["uri"]: link["url"] for link in session.client.links(record["jobID"])["links"]}
    outputs = record["outputs"] or []
    rest = [output["uri"] for output in outputs if output["uri"] not in links]
    for start in range(0, len(rest), 200):
        some = session.client.package_links(record["jobID"], rest[start : start + 200])
        links |= {link["uri"]: link["url"] for link in some["links"]}
    paths = []
    for output in outputs:
        path = folder / _place(output["uri"], record["output"])
        fetch(session, links[output["uri"]], path, output["bytes"])
        paths.append(path)
    return paths


def _place(uri: str, prefix: str) -> str:
    """Where a file lies below the folder: a key that leads out of it is brought back to its name."""
    inside = uri.removeprefix(prefix) if uri.startswith(prefix) else name_of(uri)
    parts = [part for part in inside.split("/") if part]
    return name_of(uri) if any(part in (".", "..") for part in parts) or not parts else "/".join(parts)


def fetch(session: Session, url: str, path: Path, total: int) -> None:
    """Get a file. A partial one of an earlier try is gone on with. Raises TransferFailed."""
    import httpx

    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    with Transfer(session.out, f"downloaded {path}", total) as bar:
        done = part.stat().st_size if part.exists() else 0
        headers = {"Range": f"bytes={done}-"} if done else {}
        try:
            with httpx.stream("GET", url, headers=headers, timeout=_SECONDS) as answer:
                if answer.status_code not in (200, 206):
                    raise TransferFailed(f"{path.name}: S3 answers {answer.status_code}.")
                done = done if answer.status_code == 206 else 0
                with part.open("ab" if done else "wb") as file:
                    for chunk in answer.iter_bytes(_CHUNK):
                        file.write(chunk)
                        done += len(chunk)
                        bar.update(done)
        except httpx.HTTPError as error:
            raise TransferFailed(f"{path.name}: {error or type(error).__name__}") from None
        if done != total:
            part.unlink(missing_ok=True)
            raise TransferFailed(f"{path.name} has {done} bytes, not {total}: it has changed meanwhile.")
        part.replace(path)
