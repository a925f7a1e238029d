"""The feed's stream: new events go onto the event bus, for webhooks and users' own rules. Progress is not for it."""

from collections.abc import Callable
from typing import Any

from elasticrecode.contract.settings import PublishSettings
from elasticrecode.jobs.events import Action
from elasticrecode.jobs.store import JobsTable
from elasticrecode.runtime import compose
from elasticrecode.watch.feed import Teller, chunk_of
from elasticrecode.webhooks.bus import Bus


def build(settings: PublishSettings) -> Callable[[dict[str, Any], Any], None]:
    """The handler over the bus. When it fails, the stream delivers the same chunks again."""
    teller, bus = Teller(JobsTable(settings.jobs_table)), Bus(settings.event_bus)

    def publish(batch: dict[str, Any], context: Any) -> None:
        chunks = [chunk_of(record["dynamodb"]["NewImage"]) for record in batch["Records"]]
        events = (pair for chunk in chunks for pair in chunk.events if pair[1].action != Action.JOB_PROGRESS)
        refused = bus.put([told.body for told in teller.tell(events)])
        if refused:
            raise RuntimeError(f"{len(refused)} events were not taken: {sorted(set(refused.values()))[:5]}")

    return publish


handler = compose(build, PublishSettings)
