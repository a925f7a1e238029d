"""Filters of the streams of the feed and of the connections table, for their readers."""

from elasticrecode.jobs.streams import Filters
from elasticrecode.watch.subscription import CATCHING_UP

CHUNKS: Filters = ({"eventName": ["INSERT"], "dynamodb": {"Keys": {"feed": {"S": ["events"]}}}},)
"""New chunks of the feed."""

REPLAY: Filters = ({"eventName": ["INSERT", "MODIFY"], "dynamodb": {"NewImage": {"state": {"S": [CATCHING_UP]}}}},)
"""Connections that are catching up."""
