"""Uploads that are not finished, or were of late: items of the jobs table.

jobID            item    content
───────────────  ──────  ──────────────────────────────────────────────
upload#<id>      upload  the `Upload` as JSON; it expires when its parts do
"""

import time

import msgspec

from elasticrecode.aws.dynamodb import ConditionFailed, Item, Table, document, is_current, key_of, number
from elasticrecode.contract.tables import JOBS_KEYS, TTL
from elasticrecode.files.uploads import UPLOAD_SECONDS, Upload

_ITEM = "upload"


class UploadsTable:
    """The stored uploads. Raises Unavailable when AWS refuses."""

    def __init__(self, name: str) -> None:
        self._table = Table(name)

    def put(self, upload: Upload) -> None:
        """Store an upload, also in place of what is stored of it."""
        expires = int(time.time()) + UPLOAD_SECONDS
        self._table.put({**_key(upload.uploadID), _ITEM: document(upload), TTL: number(expires)}, "storing the upload")

    def add(self, upload: Upload) -> Upload:
        """Store a new upload; the one that is stored, where another of its id came first."""
        now = int(time.time())
        item = {**_key(upload.uploadID), _ITEM: document(upload), TTL: number(now + UPLOAD_SECONDS)}
        try:
            self._table.put(
                item,
                "storing the upload",
                ConditionExpression=f"attribute_not_exists({JOBS_KEYS[0]}) OR #expires <= :now",
                ExpressionAttributeNames={"#expires": TTL},
                ExpressionAttributeValues={":now": number(now)},
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except ConditionFailed as error:
            return msgspec.json.decode(error.item[_ITEM]["S"], type=Upload)
        return upload

    def get(self, upload_id: str) -> Upload | None:
        """An upload; None when there is none of this id, or its time is over."""
        item = self._table.get(_key(upload_id), "reading the upload")
        return msgspec.json.decode(item[_ITEM]["S"], type=Upload) if item and is_current(item) else None

    def remove(self, upload: Upload) -> None:
        """Forget an upload."""
        self._table.delete(_key(upload.uploadID), "removing the upload")


def _key(upload_id: str) -> Item:
    return key_of(JOBS_KEYS, f"{_ITEM}#{upload_id}", _ITEM)
