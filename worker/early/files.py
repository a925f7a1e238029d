"""The objects of what plays early, and when they go."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from elasticrecode.errors import Unavailable
from elasticrecode.jobs.job import Job, plays_early
from elasticrecode.jobs.uris import EARLY, early_folder, package_folder, version_name
from worker.early import playlists
from worker.early.playlists import Part
from worker.errors import JobError, PermanentError, TransientError
from worker.parts import Parts
from worker.sandbox.runner import Runner
from worker.storage import Storage
from worker.uploads import FILES, GROWING, IMMUTABLE, Uploads
from worker.versions import remove_early

_log = logging.getLogger(__name__)

_MOST_BYTES = 1 << 22
"""The longest playlist that is read."""
_AGAIN_SECONDS, _TRIES = 2.0, 15
"""When, and how often in a row, a request is tried again while AWS fails."""


class EarlyFiles:
    """The files of what plays early, by their names in their folder. All raise JobError or Interrupted."""

    def __init__(self, job: Job, attempt: int, storage: Storage, runner: Runner) -> None:
        """`attempt` is that which has divided the film. `runner` stops all writing."""
        self._storage = storage
        self._uploads = Uploads(storage, job.jobid, attempt, runner)
        self._package = job.output + package_folder(job.input)
        self.folder = job.output + early_folder(job.input, version_name(job.jobid, attempt))

    def list_all(self, names: Sequence[str]) -> None:
        """Store the list by which the files are removed. Those that are never written do no harm in it."""
        self._uploads.put(self.folder + FILES, "".join(f"{each}\n" for each in names).encode(), GROWING)

    def put(self, name: str, content: bytes) -> None:
        """Store a file that stays as it is."""
        self._uploads.put(self.folder + name, content, IMMUTABLE)

    def put_playlist(self, name: str, text: str) -> None:
        """Store a playlist in place of the one before."""
        self._uploads.put(self.folder + name, text.encode(), GROWING)

    def put_entry(self, text: str) -> None:
        """Store the file that players open."""
        self._uploads.put(self._package + EARLY, text.encode(), GROWING)

    def relative(self, name: str) -> str:
        """The address of a file in the file that players open."""
        return self.folder.removeprefix(self._package) + name

    def listed(self, name: str) -> list[Part]:
        """The segments in a playlist that this or another worker has stored."""
        _, content = self._storage.read_small(self.folder + name, _MOST_BYTES, "")
        return playlists.parts_of(content.decode(errors="replace"))


def again(act: Callable[[], object], runner: Runner) -> None:
    """Act, and again while AWS cannot serve it now. Raises JobError and Interrupted as `act` does in the end."""
    for tries_left in reversed(range(_TRIES)):
        try:
            act()
        except (TransientError, Unavailable) as error:
            if not tries_left:
                raise
            _log.warning("early playback waits: %s", error)
        else:
            return
        time.sleep(_AGAIN_SECONDS)
        runner.check()


@contextmanager
def removed_on_failure(job: Job, storage: Storage, parts: Parts | None) -> Iterator[None]:
    """Remove what plays early where the work inside fails the job for good, or ends because the job is cancelled.

    Where another worker will go on, it stays.
    """
    try:
        yield
    except BaseException as error:
        division = parts.division if parts else None
        if parts and division and plays_early(job.profile) and (isinstance(error, PermanentError) or not _wants(parts)):
            try:
                remove_early(
                    storage, job, job.output + early_folder(job.input, version_name(job.jobid, division.attempt))
                )
            except JobError as refused:  # it is removed as an old version is
                _log.warning("cannot remove what plays early of job %s yet: %s", job.jobid, refused)
        raise


def _wants(parts: Parts) -> bool:
    try:
        return parts.is_wanted()
    except Unavailable:
        return True
