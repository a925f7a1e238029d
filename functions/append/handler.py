"""The jobs table's stream, events: each goes into the feed, behind all others.

The stream hands over what was stored, in the order of each job, and again until it succeeds. So an event that was
stored is in the feed, twice at the worst.
"""

from collections.abc import Callable
from typing import Any

from elasticrecode.contract.settings import AppendSettings
from elasticrecode.jobs.store import event_of
from elasticrecode.runtime import compose
from elasticrecode.watch.feed import Feed


def build(settings: AppendSettings) -> Callable[[dict[str, Any], Any], None]:
    """The handler over the feed."""
    feed = Feed(settings.feed_table, settings.event_retention_seconds)

    def append(batch: dict[str, Any], context: Any) -> None:
        stored = (event_of(record["dynamodb"]["NewImage"]) for record in batch["Records"])
        feed.append([event for event in stored if event])

    return append


handler = compose(build, AppendSettings)
