"""Jobs that wait, by the index `due`: for a message, for a worker, or for a queue that is not paused."""

from collections.abc import Callable

from elasticrecode.aws.dynamodb import READ_LIMIT, Table
from elasticrecode.contract.tables import DUE_INDEX, DUE_KEYS
from elasticrecode.jobs.items import NO_QUEUE, SHARDS, Waiting, held_queue, record_key, waiting_of
from elasticrecode.jobs.placement import Group
from elasticrecode.jobs.queries import Query, Reads


class WaitingJobs:
    """Jobs of the table that have not ended. Raises Unavailable when AWS refuses."""

    def __init__(self, name: str) -> None:
        self._table = Table(name)
        self._reads = Reads(self._table)

    def unsent(self, before_ms: int, limit: int, matches: Callable[[Waiting], bool]) -> list[Waiting]:
        """Jobs without a message, due before `before_ms`, longest first in each shard."""
        return self.waiting(NO_QUEUE, before_ms, limit, matches)

    def held(self, group: Group, before_ms: int, limit: int, matches: Callable[[Waiting], bool]) -> list[Waiting]:
        """Held jobs of a group, due before `before_ms`."""
        return self.waiting(held_queue(group), before_ms, limit, matches)

    def waiting(self, queue: str, before_ms: int, limit: int, matches: Callable[[Waiting], bool]) -> list[Waiting]:
        """Up to `limit` matching jobs of a queue that have not ended, due before `before_ms`."""
        chosen: list[Waiting] = []
        for query in _of_queue(queue, str(before_ms)):
            for rows in self._table.query_pages("reading", **query.arguments(), Limit=limit):
                items = self._table.get_all([record_key(row["jobID"]["S"]) for row in rows], "reading jobs")
                chosen += filter(matches, map(waiting_of, items))
                if len(chosen) >= limit:
                    return chosen[:limit]
        return chosen

    def oldest(self, queue: str) -> int | None:
        """The time since which the oldest job of a queue waits for a worker, in milliseconds; None when no job waits.

        Running jobs are in the index too. Where the pages hold only those, the latest of them: no job waits longer.
        """
        pages = [self._reads.read(query, READ_LIMIT // SHARDS) for query in _of_queue(queue, "")]
        rows = [row for page, _ in pages for row in page]
        items = self._table.get_all(
            [record_key(row["jobID"]["S"]) for row in rows], "reading jobs", "#state, queuedMs", {"#state": "state"}
        )
        waiting = [int(item["queuedMs"]["N"]) for item in items if item["state"]["S"] == "queued"]
        if waiting or not any(more for _, more in pages):
            return min(waiting, default=None)
        return max((int(item["queuedMs"]["N"]) for item in items), default=None)


def _of_queue(queue: str, before_ms: str) -> list[Query]:
    """Queries for the jobs of a queue, those that are due before a time."""
    return [Query(DUE_INDEX, DUE_KEYS, (f"{queue}#{shard}",), before_ms) for shard in range(SHARDS)]
