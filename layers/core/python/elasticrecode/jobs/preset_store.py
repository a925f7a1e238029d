"""The presets of a deployment: built in, of its option `presets`, or stored in the registry table."""

import logging
import time
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import msgspec

from elasticrecode.aws.dynamodb import Item, Table, document, key_of, text
from elasticrecode.contract.tables import REGISTRY_KEYS
from elasticrecode.errors import Refused, Unavailable
from elasticrecode.media.presets import BUILT_IN, STORED_LIMIT

_log = logging.getLogger(__name__)

REFRESH_SECONDS = 3.0
"""Seconds for which a function uses the stored presets that it has read."""
_PARTITION = "preset"


class Presets(Mapping[str, Any]):
    """Name of a preset → its profile. One of the deployment comes before a built-in one, that before a stored one.

    Stored presets are at most REFRESH_SECONDS old, or older while AWS refuses. Raises Unavailable when AWS refuses and
    none were read before.
    """

    def __init__(self, table: str, deployment: Mapping[str, Any]) -> None:
        self._table = Table(table)
        self._deployment = deployment
        self._fixed = {**BUILT_IN, **deployment}
        self._stored: dict[str, Any] = {}
        self._read_at = 0.0

    def source(self, name: str) -> Literal["deployment", "built-in", "stored"]:
        """The source of a preset, which must exist."""
        if name in self._fixed:
            return "deployment" if name in self._deployment else "built-in"
        return "stored"

    def __getitem__(self, name: str) -> Any:
        if name in self._fixed:
            return self._fixed[name]
        self._refresh(anew=name not in self._stored)
        return self._stored[name]

    def __iter__(self) -> Iterator[str]:
        self._refresh()
        return iter({**self._stored, **self._fixed})

    def __len__(self) -> int:
        return len(list(iter(self)))

    def read(self) -> dict[str, Any]:
        """All presets, the stored ones read anew. Raises Unavailable when AWS refuses."""
        rows = self._table.query_all(
            "reading the presets",
            KeyConditionExpression=f"{REGISTRY_KEYS[0]} = :part",
            ExpressionAttributeValues={":part": text(_PARTITION)},
            ConsistentRead=True,
        )
        self._stored = {row[REGISTRY_KEYS[1]]["S"]: msgspec.json.decode(row["profile"]["S"]) for row in rows}
        self._read_at = time.time()
        return {**self._stored, **self._fixed}

    def put(self, name: str, profile: Mapping[str, Any]) -> bool:
        """Store a preset; True when its name is new.

        Raises Refused for a name that is not for stored presets and beyond STORED_LIMIT, Unavailable when AWS refuses.
        """
        self._check_own(name)
        self.read()
        if name not in self._stored and len(self._stored) >= STORED_LIMIT:
            raise Refused(f"A deployment stores at most {STORED_LIMIT} presets; remove one first.")
        item = {**_key(name), "profile": document(profile)}
        before = self._table.put(item, "storing the preset", ReturnValues="ALL_OLD")
        self._stored[name] = profile
        return "Attributes" not in before

    def remove(self, name: str) -> bool:
        """Remove a stored preset; False when there is none of that name.

        Raises Refused for a name that is not for stored presets, Unavailable when AWS refuses.
        """
        self._check_own(name)
        before = self._table.delete(_key(name), "removing the preset", ReturnValues="ALL_OLD")
        self._stored.pop(name, None)
        return "Attributes" in before

    def _check_own(self, name: str) -> None:
        """Raise Refused for the name of a built-in preset or one of the deployment."""
        if name in self._deployment:
            raise Refused(f"{name} is a preset of the deployment; change it with the option presets.")
        if name in self._fixed:
            raise Refused(
                f"{name} is built in; choose another name, or replace it with the deployment's option presets."
            )

    def _refresh(self, *, anew: bool = False) -> None:
        if not anew and self._read_at >= time.time() - REFRESH_SECONDS:
            return
        try:
            self.read()
        except Unavailable:
            if anew or not self._read_at:
                raise
            _log.exception("presets could not be read; the ones read before stay in use")
            self._read_at = time.time()


def _key(name: str) -> Item:
    return key_of(REGISTRY_KEYS, _PARTITION, name)
