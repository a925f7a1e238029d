"""Presets by name: built in, of the deployment, or stored in the registry table."""

import logging
import time
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import msgspec

from elasticrecode.aws.dynamodb import Item, Table, document, key_of, text
from elasticrecode.contract.tables import REGISTRY_KEYS
from elasticrecode.errors import Refused, Unavailable
from elasticrecode.media.presets import BUILT_IN

_log = logging.getLogger(__name__)

REFRESH_SECONDS = 3.0
"""How old what a function knows of stored presets may be."""
_PARTITION = "preset"
PRESETS_STORED = 200
"""Stored presets at the most: so few are one small read."""


class Presets(Mapping[str, Any]):
    """Name of a preset → its profile as it was given: the deployment's, built in, or stored, the first that there is.

    Stored ones are as they were at most REFRESH_SECONDS ago, or longer where AWS refuses. Raises Unavailable when it
    does and nothing is known.
    """

    def __init__(self, table: str, deployment: Mapping[str, Any]) -> None:
        self._table = Table(table)
        self._deployment = deployment
        self._fixed = {**BUILT_IN, **deployment}
        self._stored: dict[str, Any] = {}
        self._read_at = 0.0

    def source(self, name: str) -> Literal["deployment", "built-in", "stored"]:
        """Where a preset is from."""
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
        """All presets, with those that are stored now."""
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
        """Store a preset; whether there was none of that name. Refused where it can't be."""
        self._check_own(name)
        self.read()
        if name not in self._stored and len(self._stored) >= PRESETS_STORED:
            raise Refused(f"At most {PRESETS_STORED} presets are stored; remove one first.")
        item = {**_key(name), "profile": document(profile)}
        before = self._table.put(item, "storing the preset", ReturnValues="ALL_OLD")
        self._stored[name] = profile
        return "Attributes" not in before

    def remove(self, name: str) -> bool:
        """Remove a stored preset; False when there is none. Refused where it is not a stored one."""
        self._check_own(name)
        before = self._table.delete(_key(name), "removing the preset", ReturnValues="ALL_OLD")
        self._stored.pop(name, None)
        return "Attributes" in before

    def _check_own(self, name: str) -> None:
        """Refused where a name is not for presets that are stored."""
        if name in self._deployment:
            raise Refused(f"{name} is a preset of the deployment, which its option presets changes.")
        if name in self._fixed:
            raise Refused(f"{name} is built in; choose another name. The deployment's option presets can replace it.")

    def _refresh(self, *, anew: bool = False) -> None:
        if not anew and self._read_at >= time.time() - REFRESH_SECONDS:
            return
        try:
            self.read()
        except Unavailable:
            if anew or not self._read_at:
                raise
            _log.exception("presets could not be read; what was known of them is used")
            self._read_at = time.time()


def _key(name: str) -> Item:
    return key_of(REGISTRY_KEYS, _PARTITION, name)
