"""Publishes the outputs of one attempt, so that no attempt but the last ever does, whatever freezes when.

    prepare    own the output keys; refuse keys of other jobs, and objects that no job wrote
    upload     store the parts of all outputs: nobody sees them
    commit     one transaction decides that this attempt publishes these uploads (`elasticrecode.jobs.commits`)
    complete   the objects appear

Before the commit a lost claim, a cancel or an error aborts the uploads. After it the outputs are decided: this worker,
or another that adopts the job, completes the same uploads.
"""

import logging
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from msgspec import structs

from elasticrecode.errors import Unavailable
from elasticrecode.jobs.commits import Commit, Ending, NotRunning, OutputKeys, OutputTaken, Upload
from elasticrecode.jobs.events import Output
from elasticrecode.jobs.job import Job, products
from worker.errors import ClaimLost, JobError, PermanentError, TransientError
from worker.sandbox.runner import Runner
from worker.storage import Storage
from worker.uploads import UploadGone, Uploads

_log = logging.getLogger(__name__)

_WAIT_SECONDS = 0.5
_PATIENCE_SECONDS = 60.0
"""How long to wait for another job that is publishing to the same key."""


class Publication:
    """The publication of one attempt. Without `keys`, for a job that is not claimed, there is no commit."""

    def __init__(
        self,
        job: Job,
        attempt: int,
        storage: Storage,
        runner: Runner,
        keys: OutputKeys | None = None,
        watching: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """`watching` is entered while parts are sent: a lost claim stops the runner sooner there."""
        self._job, self._runner, self._keys, self._watching = job, runner, keys, watching
        self._uploads = Uploads(storage, job.jobid, attempt, runner)
        self._etags: dict[str, str] = {}

    def prepare(self) -> None:
        """Own the output keys that the profile tells. Raises PermanentError `output-taken` or `output-exists`."""
        self._own(products(self._job))

    def _own(self, uris: Sequence[str]) -> None:
        if self._keys:
            try:
                self._keys.reserve(uris)
            except OutputTaken as taken:
                raise _taken(taken) from None
        for uri in uris:
            self._etags[uri] = self._uploads.replaceable(uri, self._uploads.present(uri))

    def publish(self, files: Sequence[tuple[Path, Output]], conclude: Callable[[list[Output]], Ending]) -> Ending:
        """Publish local files as outputs. `conclude` returns the job's ending, given the outputs with their checksums.

        Owns first the keys that `prepare` could not know: the source decides how many sprites and subtitles there are.
        Raises JobError or Interrupted; before the commit, then nothing is published.
        """
        uploads: list[Upload] = []
        try:
            with self._watching():
                self._own([output.uri for _, output in files if output.uri not in self._etags])
                outputs = [self._upload(file, output, uploads) for file, output in files]
                commit = Commit(uploads, conclude(outputs))
                self._commit(commit)
        except Unavailable as error:  # it may be committed all the same: then another worker completes the uploads
            raise TransientError("storage-unavailable", "AWS could not be reached to commit the outputs.") from error
        except BaseException:
            for upload in uploads:
                self._uploads.abort(upload)
            raise
        self._complete(commit)
        return commit.ending

    def resume(self, commit: Commit) -> Ending:
        """Complete the publication to which an earlier worker has committed the job."""
        self._complete(commit)
        return commit.ending

    def _upload(self, file: Path, output: Output, uploads: list[Upload]) -> Output:
        upload = self._uploads.begin(output.uri, file.stat().st_size)
        uploads.append(upload)
        return structs.replace(output, sha256=self._uploads.send(file, upload))

    def _commit(self, commit: Commit) -> None:
        """Commit. Raises ClaimLost when the attempt does not run any more."""
        self._runner.check()
        if not self._keys:
            return
        until = time.monotonic() + _PATIENCE_SECONDS

        def wait() -> None:
            time.sleep(_WAIT_SECONDS)
            self._runner.check()
            if time.monotonic() > until:
                raise TransientError("output-busy", "Another job is publishing to the same output.")

        try:
            self._keys.commit(commit, wait)
        except NotRunning as lost:
            raise ClaimLost(f"the claim is lost: {lost}") from None
        except OutputTaken as taken:
            raise _taken(taken) from None

    def _complete(self, commit: Commit) -> None:
        """Complete all uploads. When one can't be completed any more, the commit is withdrawn."""
        completed: set[str] = set()
        try:
            for upload in commit.uploads:
                self._uploads.complete(upload, self._etags.get(upload.uri, ""))
                completed.add(upload.uri)
        except UploadGone as gone:
            message = f"The upload of {gone} was aborted before it was complete, so the work is done again."
            self._withdraw(commit, completed)
            raise TransientError("output-lost", message) from None
        except PermanentError as error:
            if self._keys and error.failure.code != "output-exists":
                raise _passing(error) from error
            self._withdraw(commit, completed)
            raise

    def _withdraw(self, commit: Commit, completed: Collection[str]) -> None:
        for upload in commit.uploads:
            if upload.uri not in completed:
                self._uploads.abort(upload)
        if self._keys:
            try:
                self._keys.withdraw(commit, completed)
            except NotRunning as lost:
                raise ClaimLost(f"the claim is lost: {lost}") from None


def _passing(error: JobError) -> TransientError:
    """The error as one after which the job comes back: its uploads are committed, and may still be completed."""
    return TransientError(error.failure.code, error.failure.message, error.failure.log)


def _taken(taken: OutputTaken) -> PermanentError:
    owner = f"job {taken.job_id}, which has another input or origin" if taken.job_id else "another user's job"
    return PermanentError("output-taken", f"{taken.uri} is the output of {owner}: choose another output prefix.")
