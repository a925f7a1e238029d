"""Commits: from a commit on it is decided which bytes a job publishes, and who replaces whom.

A worker uploads its outputs by multipart uploads, which nobody sees until they are completed. When all parts are
stored, it commits: one transaction stores the uploads on the job's record, if the attempt still runs and no other has
committed, and makes the job the publisher of its output keys. Only then it completes the uploads. So a worker that was
frozen at any point can complete only what the record has decided, and a worker that adopts the job completes the same.

    jobID               item     content
    ──────────────────  ───────  ────────────────────────────────────────────────────────────────────────────
    output#<SHA-256>    output   an output key: `owner`, the job that produces it; that job's user and sources;
                                 `publisher`, the last job that committed to it

Jobs of one user with the same sources may follow each other on a key: the record of the replaced one gets `replacedBy`
in the transaction, and that of the other `replaces`. All others are refused.
"""

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType

from elasticrecode.aws.dynamodb import ConditionFailed, Conflict, Item, Table, is_current, key_of, number, text
from elasticrecode.contract.tables import JOBS_KEYS, TTL
from elasticrecode.jobs.events import Failure, Result
from elasticrecode.jobs.items import record_key
from elasticrecode.jobs.job import Job, sources
from elasticrecode.jobs.lifecycle import COMMIT, ENDED

_OUTPUT = "output"


class Ending(Struct, omit_defaults=True):
    """How a job ends: the content of its last event."""

    action: str
    msg: str = ""
    result: Result | UnsetType = UNSET
    error: Failure | UnsetType = UNSET


class Upload(Struct):
    """A multipart upload whose parts are stored; `bytes` is the size of the object that it becomes."""

    uri: str
    uploadID: str
    bytes: int


class Commit(Struct):
    """The uploads that a job publishes, in the order of their completion, and how it ends when they are completed.

    `publishers` are the jobs that published to the output keys before, by URI. `version` is the folder of a package's
    version, a URI that ends in `/`: what is in it are no output keys, since no other attempt writes there.
    """

    uploads: list[Upload]
    ending: Ending
    publishers: dict[str, str] = {}
    version: str = ""

    def holds(self, uri: str) -> bool:
        """Whether an object is in the version's folder."""
        return bool(self.version) and uri.startswith(self.version)

    @property
    def members(self) -> list[Upload]:
        """The uploads to the version's folder."""
        return [upload for upload in self.uploads if self.holds(upload.uri)]

    @property
    def outputs(self) -> list[Upload]:
        """The uploads to output keys."""
        return [upload for upload in self.uploads if not self.holds(upload.uri)]


class OutputTaken(Exception):
    """An output key belongs to another job. `job_id` is empty if that is another user's."""

    def __init__(self, uri: str, job_id: str) -> None:
        super().__init__(f"{uri} is the output of {job_id or 'another user'}")
        self.uri, self.job_id = uri, job_id


class NotRunning(Exception):
    """The attempt does not run any more. `state` is the job's, `forgotten` when it has no record."""

    def __init__(self, state: str) -> None:
        super().__init__(f"the job is {state}")
        self.state = state


class OutputKeys:
    """The output keys of one attempt of a job. Raises Unavailable when AWS refuses.

    `expires`, in Unix seconds, is the TTL of the job's record: the keys are kept as long.
    """

    def __init__(self, table: str, job: Job, attempt: int, expires: int) -> None:
        self._table = Table(table)
        self._job, self._attempt, self._expires = job, attempt, expires
        self._publishers: dict[str, str] = {}
        self._values: dict[str, Any] = {
            ":job": text(job.jobid),
            ":user": text(job.userid),
            ":sources": text(msgspec.json.encode(sources(job)).decode()),
        }

    def reserve(self, uris: Iterable[str]) -> None:
        """Become the owner of output keys. Raises OutputTaken; one call a key."""
        for uri in uris:
            freed: str | None = ""
            while freed is not None:
                freed = self._reserve(uri, freed)

    def _reserve(self, uri: str, freed: str) -> str | None:
        """Reserve one key; None when done. Another owner that needs it no more is returned, to be taken over."""
        try:
            answer = self._table.update(
                _output_key(uri),
                "reserving an output key",
                UpdateExpression="SET #owner = :job, userID = :user, #sources = :sources, uri = :uri, expires = :until",
                ConditionExpression="attribute_not_exists(#owner) OR #owner IN (:job, :freed)"
                " OR (userID = :user AND #sources = :sources)",
                ExpressionAttributeNames={"#owner": "owner", "#sources": "sources"},
                ExpressionAttributeValues={
                    **self._values,
                    ":uri": text(uri),
                    ":until": number(self._expires),
                    ":freed": text(freed),
                },
                ReturnValues="ALL_OLD",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except ConditionFailed as failed:
            holder = self._holder(failed.item)
            if holder is None:
                return str(failed.item["owner"]["S"])
            raise OutputTaken(uri, holder if failed.item["userID"] == self._values[":user"] else "") from None
        before = answer.get("Attributes", {})
        self._publishers[uri] = before.get("publisher", {}).get("S", "")
        if int(before.get(TTL, number(0))["N"]) > self._expires:  # it is kept as long as the record of any of its jobs
            self._keep_until(uri, before[TTL])
        return None

    def _keep_until(self, uri: str, expires: Mapping[str, Any]) -> None:
        self._table.update(
            _output_key(uri),
            "reserving an output key",
            UpdateExpression="SET expires = :until",
            ExpressionAttributeValues={":until": expires},
        )

    def _holder(self, item: Item) -> str | None:
        """The job that needs an output key: one that has not ended, or the one that published the object."""
        publisher = item.get("publisher", {}).get("S", "")
        job_ids = sorted({item["owner"]["S"], publisher} - {""})
        records = self._table.get_all([record_key(job_id) for job_id in job_ids], "reading jobs")
        holders = (
            record["jobID"]["S"]
            for record in records
            if is_current(record) and (record["jobID"]["S"] == publisher or _needs_outputs(record))
        )
        return next(holders, None)

    def commit(self, commit: Commit, wait: Callable[[], None]) -> None:
        """Commit to the uploads, after any other job that is publishing to one of the keys has finished that.

        Calls `wait` before each new try, which may raise. Raises NotRunning, and OutputTaken when the job lost a key.
        """
        uris = [upload.uri for upload in commit.outputs]
        replaced = self._replaced(uris)
        while True:
            commit.publishers = {uri: self._publishers[uri] for uri in uris if self._publishers.get(uri)}
            document = msgspec.json.encode(commit).decode()
            try:
                self._table.transact(self._writes(document, uris, replaced), "committing the outputs")
            except ConditionFailed:
                rivals = self._read_again(document, uris)
                if rivals is None:
                    return
                replaced = rivals
            except Conflict:  # the lease is renewed, or another job commits
                pass
            else:
                return
            wait()

    def _replaced(self, uris: Iterable[str]) -> set[str]:
        """The other jobs that published to the keys before."""
        return {self._publishers.get(uri, "") for uri in uris} - {"", self._job.jobid}

    def _writes(self, document: str, uris: Iterable[str], replaced: set[str]) -> list[dict[str, Any]]:
        """The writes of the transaction: the record, the keys, and the records of the jobs that are replaced."""
        names = {"#state": "state", "#commit": COMMIT}
        values = {":running": text("running"), ":attempt": number(self._attempt), ":commit": text(document)}
        change = "SET #commit = :commit"
        if replaced:
            change += ", replaces = :replaces"
            values[":replaces"] = _names(replaced)
        record = {
            "UpdateExpression": f"{change} REMOVE replacedBy",
            "ConditionExpression": "#state = :running AND attempt = :attempt AND attribute_exists(lease)"
            " AND attribute_not_exists(#commit)",
            "ExpressionAttributeNames": names,
            "ExpressionAttributeValues": values,
        }
        updates: list[tuple[Item, dict[str, Any]]] = [(record_key(self._job.jobid), record)]
        for uri in uris:
            publisher = self._publishers.get(uri, "")
            key = {
                "UpdateExpression": "SET publisher = :job",
                "ConditionExpression": "userID = :user AND #sources = :sources"
                " AND (attribute_not_exists(publisher) OR publisher IN (:job, :publisher))",
                "ExpressionAttributeNames": {"#sources": "sources"},
                "ExpressionAttributeValues": {**self._values, ":publisher": text(publisher)},
            }
            updates.append((_output_key(uri), key))
        for job_id in sorted(replaced):
            other = {
                "UpdateExpression": "SET replacedBy = :job",
                "ConditionExpression": "attribute_exists(jobID) AND attribute_not_exists(#commit)",
                "ExpressionAttributeNames": {"#commit": COMMIT},
                "ExpressionAttributeValues": {":job": self._values[":job"]},
            }
            updates.append((record_key(job_id), other))
        return [{"Update": {"TableName": self._table.name, "Key": key, **update}} for key, update in updates]

    def _read_again(self, document: str, uris: Sequence[str]) -> set[str] | None:
        """The jobs to replace, as records and keys are now; None when the commit is stored after all."""
        keys = [record_key(self._job.jobid), *map(_output_key, uris)]
        items = {item["jobID"]["S"]: item for item in self._table.get_all(keys, "reading the output keys")}
        record = items.get(self._job.jobid, {})
        if record.get(COMMIT) == text(document):  # the answer that said so got lost
            return None
        if record.get("state") != text("running") or record["attempt"] != number(self._attempt) or COMMIT in record:
            raise NotRunning(record.get("state", {}).get("S", "forgotten"))
        for uri in uris:
            item = items.get(_output_key(uri)["jobID"]["S"], {})
            if (item.get("userID"), item.get("sources")) != (self._values[":user"], self._values[":sources"]):
                is_own = item.get("userID") == self._values[":user"]
                raise OutputTaken(uri, item["owner"]["S"] if is_own else "")
            self._publishers[uri] = item.get("publisher", {}).get("S", "")
        job_ids = sorted(self._replaced(uris))
        records = self._table.get_all([record_key(job_id) for job_id in job_ids], "reading jobs")
        return {record["jobID"]["S"] for record in records if is_current(record)}

    def withdraw(self, commit: Commit, completed: Collection[str]) -> None:
        """Take a commit back whose uploads are gone: no worker can complete them any more.

        The output keys go back to their publishers before, but for those in `completed`. Raises NotRunning.
        """
        published = {commit.publishers.get(uri, "") for uri in completed}
        for job_id in sorted(set(commit.publishers.values()) - published - {self._job.jobid}):
            with suppress(ConditionFailed):
                self._table.update(
                    record_key(job_id),
                    "withdrawing the commit",
                    UpdateExpression="REMOVE replacedBy",
                    ConditionExpression="replacedBy = :job",
                    ExpressionAttributeValues={":job": self._values[":job"]},
                )
        writes = [self._withdrawal(published - {"", self._job.jobid})]
        writes += [
            self._return(upload.uri, commit.publishers.get(upload.uri, ""))
            for upload in commit.outputs
            if upload.uri not in completed
        ]
        try:
            self._table.transact(writes, "withdrawing the commit")
        except ConditionFailed:
            record = self._table.get(record_key(self._job.jobid), "reading the job") or {}
            raise NotRunning(record.get("state", {}).get("S", "forgotten")) from None

    def _withdrawal(self, replaced: Collection[str]) -> dict[str, Any]:
        """The write that removes the commit from the record. `replaced` jobs stay replaced."""
        change = {
            "UpdateExpression": f"{'SET replaces = :replaces ' if replaced else ''}REMOVE #commit"
            + ("" if replaced else ", replaces"),
            "ConditionExpression": "#state = :running AND attempt = :attempt AND attribute_exists(#commit)",
            "ExpressionAttributeNames": {"#commit": COMMIT, "#state": "state"},
            "ExpressionAttributeValues": {":running": text("running"), ":attempt": number(self._attempt)}
            | ({":replaces": _names(replaced)} if replaced else {}),
        }
        return {"Update": {"TableName": self._table.name, "Key": record_key(self._job.jobid), **change}}

    def _return(self, uri: str, publisher: str) -> dict[str, Any]:
        """The write that gives an output key back to its publisher before, if any."""
        change = {
            "UpdateExpression": "SET publisher = :publisher" if publisher else "REMOVE publisher",
            "ConditionExpression": "publisher = :job",
            "ExpressionAttributeValues": {":job": self._values[":job"]}
            | ({":publisher": text(publisher)} if publisher else {}),
        }
        return {"Update": {"TableName": self._table.name, "Key": _output_key(uri), **change}}


def _names(job_ids: Collection[str]) -> dict[str, Any]:
    return text(msgspec.json.encode(sorted(job_ids)).decode())


def _output_key(uri: str) -> Item:
    """The key of the item of an output key, whose URI may be longer than a key of the table."""
    return key_of(JOBS_KEYS, f"output#{hashlib.sha256(uri.encode()).hexdigest()}", _OUTPUT)


def _needs_outputs(record: Item) -> bool:
    """Whether a job may still publish to its output keys."""
    return record["state"]["S"] not in ENDED or COMMIT in record
