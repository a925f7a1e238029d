"""`download`: the outputs of finished jobs, in a folder; also for `--download` of commands that submit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from elasticrecode_client.command.displays import Transfer, progress_line
from elasticrecode_client.command.exits import Exit
from elasticrecode_client.command.faults import Refusal
from elasticrecode_client.command.frame import Command, Option, with_session
from elasticrecode_client.command.session import Session

if TYPE_CHECKING:
    from elasticrecode_client.downloading import Received
    from elasticrecode_client.types import JobRecord


@click.command(
    cls=Command,
    params=[
        click.Argument(["jobs"], nargs=-1, required=True, metavar="JOB…"),
        Option(["-o", "--folder"], metavar="FOLDER", default=".", help="Where the files go, by default here."),
    ],
    short_help="Get the outputs of finished jobs.",
    examples=("elasticrecode download JOB -o out/", "elasticrecode download JOB --json | jq -r '.[].files[]'"),
)
@with_session
def download(session: Session, jobs: tuple[str, ...], folder: str) -> int:
    """Get all outputs of finished jobs: films, packages with their segments, pictures, subtitles, reports.

    A file that is there and whole is kept, one that broke off goes on, and no other file is replaced: where one would
    be, the job's files go to a folder of the job.
    """
    for record in [session.client.job(job) for job in jobs]:
        if record["state"] != "finished":
            raise _unfinished(record)
    files = {job: get(session, job, Path(folder)) for job in jobs}
    session.out.json([{"jobID": job, "files": [str(path) for path in paths]} for job, paths in files.items()])
    for job, paths in files.items():
        if not paths:
            session.out.message(f"The job {job} has no files.")
    return int(Exit.DONE)


def get(session: Session, job: str, folder: Path) -> list[Path]:
    """Get the outputs of a finished job, with a bar for each file. Raises TransferFailed."""
    session.be_patient()
    with _Bars(session) as bars:
        return session.client.download(job, folder, progress=bars.show)


class _Bars:
    """A bar for the file that comes."""

    def __init__(self, session: Session) -> None:
        self._out = session.out
        self._path: Path | None = None
        self._bar: Transfer | None = None

    def __enter__(self) -> _Bars:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._bar:
            self._bar.__exit__(kind)

    def show(self, at: Received) -> None:
        """Move the bar of a file; a new one for the next file."""
        if at.path != self._path:
            self.__exit__(None)
            self._path, self._bar = at.path, None
            if at.received == at.total:
                self._out.message(f"kept {at.path}, which is whole")
                return
            self._bar = Transfer(self._out, f"downloaded {at.path}", at.total).__enter__()
        if self._bar:
            self._bar.update(at.received)


def _unfinished(record: JobRecord) -> Refusal:
    """Why a job has no files, and what to type."""
    job, error = record["jobID"], record["error"]
    if record["state"] == "failed":
        reason = f": {error['code']}: {error['message']}" if error else "."
        advice = f"`elasticrecode logs {job}` shows why, `elasticrecode retry {job}` runs it again."
        return Refusal(f"The job {job} has failed{reason}", advice, status=Exit.JOB_FAILED)
    if record["state"] == "cancelled":
        advice = f"`elasticrecode retry {job}` runs it again."
        return Refusal(f"The job {job} was cancelled.", advice, status=Exit.JOB_FAILED)
    far = f", {progress_line(record['progress'])}" if record["progress"] else ""
    return Refusal(
        f"The job {job} is {record['state']}{far}: only a job that is finished has files.",
        f"`elasticrecode watch {job}` waits for its end; then repeat this.",
    )
