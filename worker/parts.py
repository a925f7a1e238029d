"""The parts of a divided job in one worker's hands: it claims its share, encodes it at once, and stores the results.

Two workers use this. `Parts` is for the one that holds the whole job: it divides the job, takes its share of the parts,
takes over those of vanished workers, waits for the rest, and has all results in the end. `Helper` is for one that has
received the message of a part.

A result is an object in the bucket for parts, below a prefix of the job. Its key names the attempt, so a worker that
was frozen replaces no result.
"""

import hashlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from elasticrecode.clock import now_ms
from elasticrecode.errors import Unavailable
from elasticrecode.jobs.claims import Claim
from elasticrecode.jobs.commits import NotRunning
from elasticrecode.jobs.events import Progress
from elasticrecode.jobs.job import Job, plays_early
from elasticrecode.jobs.record import Division
from elasticrecode.parts.part import Part, PartFile, PartJob, PartKind, StoredPart, whole_of
from elasticrecode.parts.progress import overall
from worker.errors import ClaimLost, PermanentError
from worker.films import ladder_uri, plan_uris
from worker.holding import Encode, Encoded, Hands, Holder, remove, result_uris, settle

_log = logging.getLogger(__name__)


_POLL_SECONDS = 3.0
_PARTS_OF_A_POLL = 120
"""More parts that have not finished are read less often, 400 every 10 s."""
_CHECK_SECONDS = 0.2
_LOST_AGAIN_SECONDS = 10.0


class Helper:
    """A worker with the claim of one part, which encodes that and its share of the others."""

    def __init__(self, holder: Holder, job: PartJob, attempt: int) -> None:
        self._holder, self._job, self._attempt = holder, job, attempt
        self._whole_id, self._divided_by, self._number = whole_of(job.jobid)

    def work(self, encode: Encode) -> None:
        """Encode the part, of rungs also a share of the others until none is left, and store the results.

        A chunk is all that a worker takes by one message, so that the jobs of other users get their turn.
        Raises JobError and Interrupted; then the further parts are free again, and that of the message is the caller's.
        """
        holder = self._holder
        whole = holder.table.whole(self._whole_id)
        division = whole.division
        if not division or division.attempt != self._divided_by or not whole.wants(division):
            holder.table.cancel([self._job.jobid])
            raise ClaimLost(f"the job of the part is {whole.state}")
        hands = Hands(holder, self._whole_id, division)
        hands.keep(self._number, self._attempt)

        def check() -> None:
            if not (now := holder.table.whole(self._whole_id)).wants(division):
                holder.table.cancel(map(hands.id_of, hands.numbers))
                raise ClaimLost(f"the job of the parts is {now.state}")

        holder.lease.watch(check)
        try:
            if division.kind == "chunk":
                hands.deliver(self._job.part, encode([self._number])[self._number])
                return
            settle(hands.read()[1], holder.runner)
            parts = hands.claim_share()
            while hands.numbers:
                self._encode(hands, encode, {each.part.number: each.part for each in parts})
                hands.claim_share()
        finally:
            hands.release(but=self._job.jobid)

    def _encode(self, hands: Hands, encode: Encode, parts: Mapping[int, Part]) -> None:
        numbers = hands.numbers
        encoded = encode(numbers)
        for number in numbers:
            hands.deliver(parts[number], encoded[number])

    def stored(self) -> list[StoredPart]:
        """The parts of the job as they are now."""
        whole = self._holder.table.whole(self._whole_id)
        return self._holder.table.read(self._whole_id, whole.division)[1] if whole.division else []

    def report(self, progress: Progress) -> None:
        """Store the progress of the parts in hand at the next renewal of their leases."""
        self._holder.lease.check()
        self._holder.lease.progress = progress


class Place(NamedTuple):
    """The queue to which `dispatch` sends the parts of a job, and the start of the URIs of all results."""

    queue: str
    prefix: str


class Parts:
    """A worker with the claim of a whole job, which divides it and has all its parts in the end."""

    def __init__(
        self,
        holder: Holder,
        job: Job,
        claim: Claim,
        place: Place,
        report: Callable[[Progress], None],
        lost: Callable[[PartJob, int], None],
    ) -> None:
        """`report` takes the progress of the whole; `lost` reports the part of a vanished worker, and its attempt."""
        self._holder, self._job, self._claim = holder, job, claim
        self._place, self._report, self._lost = place, report, lost
        division = claim.division
        self._division = division if division and division.parts else None
        self._hands: Hands | None = None
        self._parts: list[StoredPart] = []
        self._read_at = 0.0
        self._reported: dict[tuple[str, int], float] = {}
        self.sound_seconds = 0.0
        """Seconds that the sound takes after the last part."""

    @property
    def division(self) -> Division | None:
        """The division of the job, by this attempt or an earlier one; None while the job has no parts."""
        return self._division

    @property
    def stored(self) -> list[StoredPart]:
        """The parts as they were at the last look."""
        return self._parts

    def undivided(self, seconds: float, reason: str) -> None:
        """Store that the job is not divided. `seconds` is the estimated time of one worker. Raises ClaimLost."""
        division = Division(parts=0, kind=None, estimatedSeconds=seconds, reason=reason, attempt=self._claim.attempt)
        try:
            self._holder.table.decide(self._job, self._claim.attempt, division)
        except NotRunning as lost:
            raise ClaimLost(f"the claim is lost: {lost}") from None

    @property
    def attempt(self) -> int:
        """The attempt of this worker's claim."""
        return self._claim.attempt

    def start(self, attempt: int) -> str:
        """The start of the URIs of the objects of a division by an attempt."""
        return f"{self._place.prefix}{self._job.jobid}/{attempt}/"

    def divide(self, kind: PartKind, names: Sequence[str], costs: Sequence[float], seconds: float, reason: str) -> None:
        """Store a part for each name, with its cost in CPU seconds, as far as they are not stored.

        Raises ClaimLost when this attempt is over.
        """
        division = self._division or Division(
            parts=len(names), kind=kind, estimatedSeconds=seconds, reason=reason, attempt=self._claim.attempt
        )
        start, in_order = self.start(division.attempt), kind == "chunk" and plays_early(self._job.profile)
        parts = [
            Part(
                number=number,
                kind=kind,
                name=name,
                cost=cost,
                prefix=start,
                urgency=len(names) - number if in_order else 0,
            )
            for number, (name, cost) in enumerate(zip(names, costs, strict=True))
        ]
        try:
            self._holder.table.divide(self._job, self._claim.attempt, division, parts, self._place.queue)
        except NotRunning as lost:
            raise ClaimLost(f"the claim is lost: {lost}") from None
        self._division = division

    def read(self) -> list[StoredPart]:
        """The parts as they are now. Raises Unavailable."""
        return self._holder.table.read(self._job.jobid, self._division)[1] if self._division else []

    def is_wanted(self) -> bool:
        """Whether the job still needs its parts. Raises Unavailable."""
        return bool(self._division and self._holder.table.whole(self._job.jobid).wants(self._division))

    def run(self, encode: Encode, folder: Path) -> dict[int, Encoded]:
        """Have all parts encoded, some of them here; the result of each, with its file in `folder`.

        Raises PermanentError when a part has failed, with its error; JobError and Interrupted. The parts in hand are
        free again then.
        """
        if not self._division:
            raise ValueError("the job has no parts")
        self._hands = Hands(self._holder, self._job.jobid, self._division)
        results: dict[int, Encoded] = {}
        try:
            while len(results) < self._division.parts:
                self._step(self._hands, encode, folder, results)
        except BaseException:
            self._hands.release()
            raise
        return results

    @contextmanager
    def cleaned(self) -> Iterator[None]:
        """Cancel the parts and remove their objects when the job has ended, failed or been cancelled."""
        try:
            yield
        except PermanentError:
            self.clean()
            self._forget_ladder()
            raise
        except BaseException:
            with suppress(Unavailable):
                if not self.is_wanted():
                    self.clean()
            raise
        self.clean()
        self._forget_ladder()

    def _step(self, hands: Hands, encode: Encode, folder: Path, results: dict[int, Encoded]) -> None:
        """Encode what is this worker's, or fetch what others have finished, or wait a little."""
        runner, division = self._holder.runner, self._division
        self._refresh()
        _raise_failure(self._parts)
        self._report_lost()
        if division and division.kind == "rung":
            settle(self._parts, runner)
        self._parts = hands.claim_share()
        if hands.numbers:
            numbers = hands.numbers
            encoded = self._encoded(encode, numbers)
            by_number = {each.part.number: each.part for each in self._parts}
            for number in numbers:
                results[number] = encoded[number]
                hands.deliver(by_number[number], encoded[number])
            return
        known = {each.part.number: each for each in self._parts}
        for number in range(division.parts if division else 0):
            if number not in results and self._fetch(known.get(number), number, folder, encode, results):
                return
        self._show(None)
        until = time.monotonic() + self._poll_seconds
        while len(results) < len(self._parts) and time.monotonic() < until:
            runner.check()
            time.sleep(_CHECK_SECONDS)

    def _fetch(
        self, stored: StoredPart | None, number: int, folder: Path, encode: Encode, results: dict[int, Encoded]
    ) -> bool:
        """Download the result of a finished part, or encode one here that can come from nowhere else."""
        if stored and stored.result:
            files = tuple(
                folder / f"part-{number}-{n}{Path(file.uri).suffix}" for n, file in enumerate(stored.result.files)
            )
            if all(map(self._download, stored.result.files, files)):
                results[number] = Encoded(files, msgspec.json.decode(stored.result.figures))
                return True
        elif stored and stored.state != "cancelled":
            return False
        results |= self._encoded(encode, [number])
        return True

    def _encoded(self, encode: Encode, numbers: Sequence[int]) -> Mapping[int, Encoded]:
        """Encode parts here. What goes wrong names them, as it does where another worker has them."""
        names = {each.part.number: each.part.name for each in self._parts}
        place = f"Part {', '.join(names.get(number, f'{number}') for number in numbers)}"
        try:
            return encode(numbers)
        except PermanentError as error:
            failure = error.failure
            raise PermanentError(failure.code, f"{place}: {failure.message}", failure.log) from error
        except Exception as error:
            error.add_note(place)
            raise

    def _download(self, source: PartFile, target: Path) -> bool:
        """Download a result; False when it is gone or damaged."""
        try:
            self._holder.storage.download(source.uri, target, self._holder.runner)
        except PermanentError as error:
            _log.warning("the result of a part is gone and is encoded again: %s", error)
            return False
        with target.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != source.sha256:
            _log.warning("the result of a part is not what its worker has stored: %s", source.uri)
        return digest == source.sha256

    def report(self, progress: Progress) -> None:
        """Report the progress of the whole, given that of the parts in hand."""
        self._holder.lease.progress = progress
        if time.monotonic() > self._read_at + self._poll_seconds:
            try:
                self._refresh()
            except Unavailable as error:
                _log.warning("cannot read the parts: %s", error)
            else:
                self._report_lost()
        self._show(progress)

    def _show(self, own: Progress | None) -> None:
        numbers = self._hands.numbers if self._hands else []
        in_hand = dict.fromkeys(numbers, own) if own else {}
        self._report(overall(self._parts, in_hand, now_ms(), self.sound_seconds))

    @property
    def _poll_seconds(self) -> float:
        left = sum(each.state != "finished" for each in self._parts)
        return _POLL_SECONDS * max(1.0, left / _PARTS_OF_A_POLL)

    def _refresh(self) -> None:
        if self._division:
            whole, self._parts = self._holder.table.read(self._job.jobid, self._division, self._parts)
            self._read_at = time.monotonic()
            if not whole.wants(self._division):
                raise ClaimLost(f"the claim is lost: the job is {whole.state}")

    def _report_lost(self) -> None:
        """Report the parts of vanished workers, so that they can be claimed again."""
        now = now_ms()
        for each in self._parts:
            key = each.job.jobid, each.attempt
            if each.is_lost(now) and time.monotonic() > self._reported.get(key, 0.0) + _LOST_AGAIN_SECONDS:
                self._reported[key] = time.monotonic()
                try:
                    self._lost(each.job, each.attempt)
                except (BotoCoreError, ClientError) as error:
                    _log.warning("cannot report that part %s is lost: %s", each.job.jobid, error)

    def clean(self) -> None:
        """Cancel the parts that have not ended, and remove the objects of the others, as far as AWS takes that.

        What stays is removed by the rule of the bucket.
        """
        if not self._division:
            return
        try:
            _, parts = self._holder.table.read(self._job.jobid, self._division)
            self._holder.table.cancel(each.job.jobid for each in parts if each.state not in ("finished", "failed"))
        except Unavailable as error:
            _log.warning("cannot cancel the parts of job %s: %s", self._job.jobid, error)
            parts = self._parts
        if self._division.kind == "chunk":
            for attempt in range(1, self._division.attempt + 1):  # one may have died between its plan and its parts
                remove(self._holder.storage, plan_uris(self.start(attempt), self._division.parts))
        remove(self._holder.storage, [uri for each in parts for uri in result_uris(each)])

    def _forget_ladder(self) -> None:
        """Remove the ladder that an attempt has found for the title."""
        package = self._job.profile.package
        if package and package.ladder == "auto":
            attempts = range(1, self._claim.attempt + 1)
            remove(self._holder.storage, [ladder_uri(self.start(attempt)) for attempt in attempts])


def _raise_failure(parts: Sequence[StoredPart]) -> None:
    """Raise the error of a part that has failed."""
    for each in parts:
        if each.state == "failed":
            failure = each.failure
            code = failure.code if failure else "worker-failed"
            message = failure.message if failure else "Its worker gave no reason."
            raise PermanentError(code, f"Part {each.part.name}: {message}", failure.log if failure else [])
