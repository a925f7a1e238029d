"""Publishes the outputs of one attempt, so that no attempt but the last ever does, whatever freezes when.

    prepare    own the output keys; refuse keys of other jobs, and objects that no job wrote
    upload     store the parts of all outputs: nobody sees them
    commit     one transaction decides that this attempt publishes these uploads (`elasticrecode.jobs.commits`)
    complete   the objects appear

Before the commit a lost claim, a cancel or an error aborts the uploads. After it the outputs are decided: this worker,
or another that adopts the job, completes the same uploads.

A package has many files in the folder of its version, where no other attempt writes, and entry files, which players
open and which refer to that folder. Entry files are the last to appear, so a player that finds one finds everything.
"""

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import NamedTuple

from msgspec import structs

from elasticrecode.clock import now_ms
from elasticrecode.errors import Unavailable
from elasticrecode.jobs.commits import Commit, Ending, NotRunning, OutputKeys, OutputTaken, Upload
from elasticrecode.jobs.events import Output
from elasticrecode.jobs.job import Job, products
from elasticrecode.jobs.uris import name, version_name
from elasticrecode.jobs.versions import GRACE_MS, Versions
from worker.errors import ClaimLost, JobError, PermanentError, TransientError
from worker.sandbox.runner import Runner
from worker.storage import Storage
from worker.uploads import ENTRY_FILES, FILES, Content, Copied, UploadGone, Uploads
from worker.versions import remove

_log = logging.getLogger(__name__)

_WAIT_SECONDS = 0.5
_PATIENCE_SECONDS = 60.0
"""How long to wait for another job that is publishing to the same key."""


class Version(NamedTuple):
    """A version of a package: its folder, a URI that ends in `/`, and the files in it that the record does not list.

    Listed ones are in the folder by their URIs.
    """

    folder: str = ""
    unlisted: Sequence[tuple[Content, str]] = ()


_NO_VERSION = Version()


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
        versions: Versions | None = None,
    ) -> None:
        """`watching` is entered while parts are sent: a lost claim stops the runner sooner there.

        Without `versions`, a version of a package that is replaced stays. `version_name` is the name of the folder of
        this attempt's.
        """
        self._job, self._runner, self._keys, self._watching = job, runner, keys, watching
        self._storage, self._versions = storage, versions
        self._uploads = Uploads(storage, job.jobid, attempt, runner)
        self.attempt = attempt
        self.version_name = version_name(job.jobid, attempt)
        self._etags: dict[str, str] = {}

    @property
    def etags(self) -> dict[str, str]:
        """The ETags of the objects that it has published, by URI."""
        return self._uploads.etags

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

    def publish(
        self,
        files: Sequence[tuple[Content, Output]],
        conclude: Callable[[list[Output]], Ending],
        version: Version = _NO_VERSION,
        certify: Callable[[list[Output]], Sequence[tuple[Path, Output]]] = lambda _: (),
    ) -> Ending:
        """Publish files as outputs. `conclude` returns the job's ending, given the outputs with their checksums.

        `certify` makes the last outputs, given the others with their checksums.

        Owns first the keys that `prepare` could not know: the source decides how many sprites and subtitles there are.
        Raises JobError or Interrupted; before the commit, then nothing is published.
        """
        begun: list[Upload] = []
        try:
            with self._watching():
                outputs = [output for _, output in files]
                sent = _sent(files, version)
                commit = Commit([], Ending(""), version=version.folder)
                self._own([each.uri for each in outputs if not (commit.holds(each.uri) or each.uri in self._etags)])
                outputs = _summed(outputs, self._uploads.send_all(sent, begun, version.folder))
                if last := certify(outputs):
                    sums = self._uploads.send_all([(file, output.uri) for file, output in last], begun)
                    outputs += _summed([output for _, output in last], sums)
                commit.uploads = sorted(begun, key=lambda upload: _turn(commit, upload))
                commit.ending = conclude(outputs)
                self._commit(commit)
        except Unavailable as error:  # it may be committed all the same: then another worker completes the uploads
            raise TransientError("storage-unavailable", "AWS could not be reached to commit the outputs.") from error
        except BaseException:
            for upload in begun:
                self._uploads.abort(upload)
            raise
        self._complete(commit)
        return commit.ending

    def resume(self, commit: Commit) -> Ending:
        """Complete the publication to which an earlier worker has committed the job."""
        self._complete(commit)
        return commit.ending

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
            self._complete_version(commit, completed)
            for upload in commit.outputs:
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

    def _complete_version(self, commit: Commit, completed: set[str]) -> None:
        """Complete the files of a package's version, their list first. Retires the versions that this one replaces."""
        self._uploads.complete_all(commit.members[:1], completed)
        self._uploads.complete_all(commit.members[1:], completed)
        for uri in (each.uri for each in commit.outputs if commit.version and name(each.uri) in ENTRY_FILES):
            present = self._uploads.present(uri)
            if present and present.marked:
                self._etags[uri] = present.etag
                earlier = f"{uri.removesuffix(name(uri))}{present.version}/"
                if earlier != commit.version:
                    self._retire(earlier)

    def _retire(self, folder: str) -> None:
        if self._versions:
            self._versions.retire(folder, self._job, now_ms() + GRACE_MS)

    def _withdraw(self, commit: Commit, completed: Collection[str]) -> None:
        for upload in commit.uploads:
            if upload.uri not in completed:
                self._uploads.abort(upload)
        if self._keys:
            if commit.version:  # in case that this worker dies
                self._retire(commit.version)
            try:
                self._keys.withdraw(commit, completed)
            except NotRunning as lost:
                raise ClaimLost(f"the claim is lost: {lost}") from None
        if commit.version and not any(name(uri) in ENTRY_FILES for uri in completed):
            try:
                remove(self._storage, commit.version)
            except JobError as error:
                _log.warning("cannot remove %s yet: %s", commit.version, error)


def _summed(outputs: Sequence[Output], sums: Mapping[str, str]) -> list[Output]:
    return [structs.replace(output, sha256=sums[output.uri]) for output in outputs]


def _sent(files: Sequence[tuple[Content, Output]], version: Version) -> list[tuple[Content, str]]:
    """Files with their URIs; of a package also the list of its version's files, which is written beside a local one."""
    sent = [(file, output.uri) for file, output in files] + list(version.unlisted)
    if version.folder:
        members = [uri.removeprefix(version.folder) for _, uri in sent if uri.startswith(version.folder)]
        listing = next(file for file, _ in files if not isinstance(file, Copied)).with_name(FILES)
        listing.write_text("".join(f"{member}\n" for member in members))
        sent.append((listing, version.folder + FILES))
    return sent


def _turn(commit: Commit, upload: Upload) -> int:
    """The place of an upload in the order of completion: a version's files, other outputs, entry files."""
    if commit.holds(upload.uri):
        return -1 if upload.uri == commit.version + FILES else 0
    return 1 + ("", *ENTRY_FILES).index(name(upload.uri) if name(upload.uri) in ENTRY_FILES else "")


def _passing(error: JobError) -> TransientError:
    """The error as one after which the job comes back: its uploads are committed, and may still be completed."""
    return TransientError(error.failure.code, error.failure.message, error.failure.log)


def _taken(taken: OutputTaken) -> PermanentError:
    owner = f"job {taken.job_id}, which has another input or origin" if taken.job_id else "another user's job"
    return PermanentError("output-taken", f"{taken.uri} is the output of {owner}: choose another output prefix.")
