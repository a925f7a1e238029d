"""Keys, indexes and the TTL attribute of the DynamoDB tables."""

JOBS_KEYS = ("jobID", "item")
USER_INDEX = "user"
USER_KEYS = ("userShard", "at")
USER_PROJECTION = ("event", "job", "userID", "expires")
DUE_INDEX = "due"
DUE_KEYS = ("dueShard", "due")
STATE_INDEX = "state"
STATE_KEYS = ("userID", "kind", "stateShard", "at")
"""Three attributes of the partition key, and the sort key."""
STATE_PROJECTION = ("expires",)
CONNECTIONS_KEYS = ("topic", "connectionID")
CONNECTION_INDEX = "connection"
CONNECTION_KEYS = ("connectionID", "topic")
ENDING_INDEX = "ending"
BATCHES_KEYS = ("batchID", "item")
OWNER_INDEX = "owner"
OWNER_KEYS = ("userID", "at")
OWNER_PROJECTION = ("expires",)
FEED_KEYS = ("feed", "seq")
RATES_KEYS = ("user", "minute")
REGISTRY_KEYS = ("part", "name")
WEBHOOKS_KEYS = ("owner", "item")
TTL = "expires"
"""Attribute with the Unix second from which an item has expired."""
ENDING_KEYS = ("endShard", TTL)
