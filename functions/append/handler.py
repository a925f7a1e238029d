"""Reader of the jobs table's stream: appends each new event to the feed.

The stream delivers the changes of a job in order, and delivers its records again until the invocation succeeds. So
every stored event is in the feed at least once, and twice at most after a failure.
"""

from collections.abc import Callable
from typing import Any

from elasticrecode.contract.settings import AppendSettings
from elasticrecode.jobs.items import new_events
from elasticrecode.runtime import compose
from elasticrecode.watch.feed import Feed


class FeedWriter:
    """Appends the events in stream records to the feed."""

    def __init__(self, settings: AppendSettings) -> None:
        self._feed = Feed(settings.feed_table, settings.event_retention_seconds)

    def handle(self, event: dict[str, Any], context: Any) -> None:
        """Append the events in stream records, in their order."""
        self._feed.append([new for record in event["Records"] for new in new_events(record)])


def build(settings: AppendSettings) -> Callable[[dict[str, Any], Any], None]:
    """The Lambda handler."""
    return FeedWriter(settings).handle


handler = compose(build, AppendSettings)
