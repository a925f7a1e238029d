"""Removes versions of packages that no entry file refers to any more. Nothing else deletes objects."""

import logging
import time
from collections.abc import Callable

from botocore.exceptions import ClientError

from elasticrecode.clock import now_ms
from elasticrecode.jobs.job import Job
from elasticrecode.jobs.uris import EARLY, early_folder, package_folder, split
from elasticrecode.jobs.versions import OldVersion, Versions
from worker.aws_faults import as_job_errors
from worker.errors import JobError
from worker.sandbox.runner import Runner
from worker.storage import Storage
from worker.uploads import ENTRY_FILES, FILES, Uploads

_log = logging.getLogger(__name__)

_EVERY_SECONDS = 600.0
_AT_ONCE = 10
"""Versions that one sweep removes."""
_POSTPONED_MS = 3_600_000
"""When a version that could not be removed is due again."""
_KEYS_A_CALL = 1000
_MISSING = {"403", "404", "AccessDenied", "NoSuchBucket", "NoSuchKey"}
"""S3's codes for a missing object; "forbidden" to callers that may not list the bucket."""


class VersionRemoval:
    """Removes the versions that are due on one queue. `storage_of` returns the storage of a job."""

    def __init__(self, versions: Versions, storage_of: Callable[[Job], Storage]) -> None:
        self._versions, self._storage_of = versions, storage_of
        self._next = 0.0

    def sweep(self) -> None:
        """Remove a few versions, at most every ten minutes. Raises Unavailable when DynamoDB refuses."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _EVERY_SECONDS
        for retired in self._versions.due(now_ms(), _AT_ONCE):
            try:
                self._settle(retired)
            except JobError as error:
                _log.warning("cannot remove %s yet: %s", retired.folder, error)
                self._versions.retire(retired.folder, retired.job, now_ms() + _POSTPONED_MS)

    def _settle(self, retired: OldVersion) -> None:
        """Remove a version, unless entry files refer to it, or are about to."""
        if self._versions.is_committed(retired):
            self._versions.retire(retired.folder, retired.job, now_ms() + _POSTPONED_MS)
            return
        storage = self._storage_of(retired.job)
        if is_early(retired.job, retired.folder):
            count = remove_early(storage, retired.job, retired.folder)
            _log.info("removed %s files of %s", count, retired.folder)
            self._versions.forget(retired, now_ms())
            return
        parent = retired.folder[: retired.folder.rindex("/", 0, -1) + 1]
        uploads = Uploads(storage, retired.job.jobid, 0, Runner())
        present = [uploads.present(parent + name) for name in ENTRY_FILES]
        if not any(entry and f"{parent}{entry.version}/" == retired.folder for entry in present):
            count = remove(storage, retired.folder)
            _log.info("removed %s files of %s", count, retired.folder)
        self._versions.forget(retired, now_ms())


def is_early(job: Job, folder: str) -> bool:
    """Whether a folder holds what plays before a package is whole."""
    return folder.startswith(job.output + early_folder(job.input, "").removesuffix("/"))


def remove_early(storage: Storage, job: Job, folder: str) -> int:
    """Delete what plays early from a folder, first of all the file that players open; how many. Raises JobError."""
    entry = job.output + package_folder(job.input) + EARLY
    present = Uploads(storage, job.jobid, 0, Runner()).present(entry)
    is_there = present is not None and job.output + early_folder(job.input, present.version) == folder
    if is_there:
        bucket, key = split(entry)
        with as_job_errors("output", entry):
            storage.s3.delete_object(Bucket=bucket, Key=key)
    return remove(storage, folder) + is_there


def remove(storage: Storage, folder: str) -> int:
    """Delete the files of a version, its list of them last; how many. Raises JobError."""
    bucket, prefix = split(folder + FILES)
    with as_job_errors("output", folder):
        try:
            listed = storage.s3.get_object(Bucket=bucket, Key=prefix)["Body"].read().decode().splitlines()
        except ClientError as error:
            if error.response["Error"]["Code"] in _MISSING:
                return 0
            raise
        keys = [split(folder + name)[1] for name in listed if name]
        calls = [keys[start : start + _KEYS_A_CALL] for start in range(0, len(keys), _KEYS_A_CALL)]
        for some in [*calls, [prefix]]:
            objects = [{"Key": key} for key in some]
            answer = storage.s3.delete_objects(Bucket=bucket, Delete={"Objects": objects, "Quiet": True})
            for refused in answer.get("Errors", ()):
                raise ClientError({"Error": refused}, "DeleteObjects")
    return len(keys) + 1
