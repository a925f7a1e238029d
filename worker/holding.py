"""The parts of one job that a worker holds: claiming them, storing their results, releasing them."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from botocore.exceptions import BotoCoreError, ClientError
from msgspec import Raw

from elasticrecode.clock import now_ms
from elasticrecode.errors import Unavailable
from elasticrecode.ids import part_id
from elasticrecode.jobs.claims import Claim, Claims
from elasticrecode.jobs.record import Division
from elasticrecode.jobs.uris import split
from elasticrecode.parts.part import Part, PartFile, PartResult, StoredPart, Whole
from elasticrecode.parts.sharing import share
from elasticrecode.parts.store import PartsTable
from worker.lease import Lease
from worker.sandbox.runner import Runner
from worker.storage import Storage
from worker.uploads import Uploads

_log = logging.getLogger(__name__)


SETTLE_SECONDS = 3.0
"""Time from the storing of parts until they are shared. By then idle workers have taken their messages."""
_CHECK_SECONDS = 0.2
_REMOVALS = 10
"""Objects that are removed at a time."""


class Encoded(NamedTuple):
    """The result of one part: its files in the job's folder, and figures about them that JSON can hold."""

    files: tuple[Path, ...]
    figures: Mapping[str, Any]


Encode = Callable[[Sequence[int]], Mapping[int, Encoded]]
"""Encodes the parts of these numbers in one decode of the source; the result of each."""


class Holder(NamedTuple):
    """A worker with a claim: its name, and the means by which it keeps jobs, reads and writes objects, and stops."""

    worker: str
    table: PartsTable
    claims: Claims
    lease: Lease
    storage: Storage
    runner: Runner


class Hands:
    """The parts of one division that a worker holds."""

    def __init__(self, holder: Holder, job_id: str, division: Division) -> None:
        self._holder, self._job_id, self._division = holder, job_id, division
        self._held: dict[int, int] = {}
        self._parts: list[StoredPart] = []

    @property
    def numbers(self) -> list[int]:
        """The numbers of the held parts."""
        return sorted(self._held)

    def id_of(self, number: int) -> str:
        """The id of a part."""
        return part_id(self._job_id, self._division.attempt, number)

    def read(self) -> tuple[Whole, list[StoredPart]]:
        """The whole job and its parts."""
        whole, self._parts = self._holder.table.read(self._job_id, self._division, self._parts)
        return whole, self._parts

    def keep(self, number: int, attempt: int) -> None:
        """Hold a part that is claimed already."""
        self._held[number] = attempt
        self._holder.lease.hold(self.id_of(number), attempt)

    def claim_share(self) -> list[StoredPart]:
        """Claim the parts that are this worker's share of those that nobody holds; all parts, as they were before.

        Of rungs, a share is so many that all workers end at one time, as they take one decode; of chunks, it is one.
        """
        holder, now = self._holder, now_ms()
        whole, parts = self.read()
        costs = {each.part.number: each.part.cost for each in parts}
        holders = {each.part.number: each.worker for each in parts if each.is_held(now)}
        unclaimed = {each.part.number: each for each in parts if each.state in ("accepted", "queued")}
        if self._division.kind == "chunk":
            shared = sorted(unclaimed, key=lambda each: unclaimed[each].part.turn)
        else:
            shared = share(costs, holders, unclaimed, {whole.worker} - {""}, holder.worker)
        for number in shared:
            job_id = self.id_of(number)
            if unclaimed[number].state == "accepted":
                holder.table.resume(job_id)
            claim = holder.claims.claim(job_id, holder.worker)
            if isinstance(claim, Claim):
                self.keep(number, claim.attempt)
                holder.claims.detach(job_id, claim.attempt)
                if self._division.kind == "chunk":
                    break
        return parts

    def deliver(self, part: Part, encoded: Encoded) -> bool:
        """Store the result of a held part; False when another worker has the part now."""
        holder, job_id, attempt = self._holder, self.id_of(part.number), self._held[part.number]
        uploads = Uploads(holder.storage, job_id, attempt, holder.runner)
        start = _result_start(part, attempt)
        files: list[PartFile] = []
        try:
            for n, file in enumerate(encoded.files):
                files.append(_store(uploads, file, f"{start}{n}{file.suffix}"))
        except Exception:  # nobody else knows of those that are stored
            remove(holder.storage, [file.uri for file in files])
            raise
        del self._held[part.number]
        is_held = holder.lease.let_go(job_id)
        result = PartResult(files, Raw(msgspec.json.encode(encoded.figures)))
        if is_held and holder.table.finish(job_id, attempt, result, holder.worker):
            return True
        _log.info("part %s is another worker's now: its result is discarded", job_id)
        remove(holder.storage, [file.uri for file in files])
        return False

    def release(self, but: str = "") -> None:
        """Let other workers claim the held parts at once, as far as AWS takes that; that with the id `but` stays."""
        for number, attempt in tuple(self._held.items()):
            job_id = self.id_of(number)
            if job_id == but:
                continue
            del self._held[number]
            if self._holder.lease.let_go(job_id):
                with suppress(Unavailable):
                    self._holder.claims.release(job_id, attempt)


def result_uris(stored: StoredPart) -> list[str]:
    """The URIs of the result of a part, and of what attempts before it may have left when they died."""
    part, files = stored.part, stored.result.files if stored.result else []
    return [
        f"{_result_start(part, attempt)}{n}{Path(file.uri).suffix}"
        for attempt in range(1, stored.attempt + 1)
        for n, file in enumerate(files)
    ]


def _result_start(part: Part, attempt: int) -> str:
    return f"{part.prefix}{part.number}-{attempt}-"


def _store(uploads: Uploads, file: Path, uri: str) -> PartFile:
    """Store a file of a result as an object."""
    upload = uploads.begin(uri, file.stat().st_size)
    try:
        digest = uploads.send(file, upload)
    except BaseException:
        uploads.abort(upload)
        raise
    uploads.complete(upload, "")
    return PartFile(uri, upload.bytes, digest)


def settle(parts: Sequence[StoredPart], runner: Runner) -> None:
    """Wait until idle workers have taken the messages of new parts. Raises what `Runner.check` raises."""
    stored = min((each.queued_ms for each in parts), default=0)
    wait = min(SETTLE_SECONDS, stored / 1000 + SETTLE_SECONDS - now_ms() / 1000)
    until = time.monotonic() + wait
    while time.monotonic() < until:
        runner.check()
        time.sleep(_CHECK_SECONDS)


def remove(storage: Storage, uris: Sequence[str]) -> None:
    """Remove objects, as far as S3 lets it."""
    client = storage.s3

    def delete(uri: str) -> None:
        bucket, key = split(uri)
        try:
            client.delete_object(Bucket=bucket, Key=key)
        except (BotoCoreError, ClientError) as error:
            _log.warning("cannot remove %s: %s", uri, error)

    with ThreadPoolExecutor(_REMOVALS) as threads:
        list(threads.map(delete, uris))
