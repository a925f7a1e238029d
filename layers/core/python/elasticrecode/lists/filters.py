"""Which of a user's jobs a list shows, and in which order."""

import re
from typing import NamedTuple

import msgspec
from msgspec import UNSET, Struct, UnsetType

from elasticrecode.jobs.job import Kind
from elasticrecode.jobs.lifecycle import STATES, State
from elasticrecode.jobs.record import JobRecord

ORDERS = ("newest", "oldest")
TIME = re.compile(r"\d{1,10}(?:\.\d{1,3})?", re.ASCII)
"""Unix seconds in a query."""


class _Addresses(Struct):
    """Of a stored job, what a text is looked for in."""

    jobid: str
    input: str
    output: str
    origin: str | UnsetType = UNSET


class Filter(NamedTuple):
    """The jobs of a list: those of a user, and only those that match what is given beside.

    Jobs were created from `since_ms` on and before `until_ms`, in Unix milliseconds. `text` is case-folded: it begins
    the job's id, and so also that of its batch, or it is anywhere in the URI of its input, origin or output. `code` is
    that of a failure.
    """

    user_id: str
    state: State | None = None
    kind: Kind | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    text: str = ""
    code: str = ""
    oldest_first: bool = False

    @property
    def stored_states(self) -> tuple[State, ...]:
        """The states of the records that may match: a running job whose lease has expired is seen as queued."""
        if self.state == "queued":
            return "queued", "running"
        return (self.state,) if self.state else STATES

    @property
    def is_sifted(self) -> bool:
        """Whether no index has what is looked for, so that a list reads many jobs that do not match."""
        return bool(self.text or self.code)

    @property
    def since(self) -> str:
        """The least sort key of a job in the indexes `user` and `state`; empty where any will do."""
        return _sort_key(self.since_ms)

    @property
    def until(self) -> str:
        """The sort key that those of the jobs are less than; empty where any will do."""
        return _sort_key(self.until_ms)

    def matches(self, record: JobRecord) -> bool:
        """Whether a record is among the jobs."""
        created_ms = round(record.createdAt * 1000)
        return (
            record.userID == self.user_id
            and self.state in (None, record.state)
            and self.kind in (None, record.kind)
            and (self.since_ms is None or created_ms >= self.since_ms)
            and (self.until_ms is None or created_ms < self.until_ms)
            and (not self.code or (record.error is not None and record.error.code == self.code))
            and self._is_in(record.jobID, record.input, record.output, record.origin or "")
        )

    def is_in(self, job: str) -> bool:
        """Whether the text of the filter is in a job, given as it is stored."""
        addresses = msgspec.json.decode(job, type=_Addresses)
        return self._is_in(addresses.jobid, addresses.input, addresses.output, addresses.origin or "")

    def _is_in(self, job_id: str, *uris: str) -> bool:
        return job_id.startswith(self.text) or any(self.text in uri.casefold() for uri in uris)


def _sort_key(at_ms: int | None) -> str:
    """The beginning of the sort keys of a millisecond."""
    return "" if at_ms is None else f"{at_ms:014d}"
