"""Presets by name: built in, of the deployment, or stored in the registry table."""

import logging
import time
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, Literal

import msgspec

from elasticrecode.aws.clients import client, refusals
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
        self._table = table
        self._deployment = deployment
        self._fixed = {**BUILT_IN, **deployment}
        self._stored: dict[str, Any] = {}
        self._read_at = 0.0

    @cached_property
    def _dynamodb(self) -> Any:
        """Made when a stored preset is first asked for, as most requests name none."""
        return client("dynamodb")

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
        pages = self._dynamodb.get_paginator("query").paginate(
            TableName=self._table,
            KeyConditionExpression=f"{REGISTRY_KEYS[0]} = :part",
            ExpressionAttributeValues={":part": {"S": _PARTITION}},
            ConsistentRead=True,
        )
        with refusals("reading the presets"):
            rows = [row for page in pages for row in page["Items"]]
        self._stored = {row[REGISTRY_KEYS[1]]["S"]: msgspec.json.decode(row["profile"]["S"]) for row in rows}
        self._read_at = time.time()
        return {**self._stored, **self._fixed}

    def put(self, name: str, profile: Mapping[str, Any]) -> bool:
        """Store a preset; whether there was none of that name. Refused where it can't be."""
        self._check_own(name)
        self.read()
        if name not in self._stored and len(self._stored) >= PRESETS_STORED:
            raise Refused(f"At most {PRESETS_STORED} presets are stored; remove one first.")
        item = {**_key(name), "profile": {"S": msgspec.json.encode(profile).decode()}}
        with refusals("storing the preset"):
            before = self._dynamodb.put_item(TableName=self._table, Item=item, ReturnValues="ALL_OLD")
        self._stored[name] = profile
        return "Attributes" not in before

    def remove(self, name: str) -> bool:
        """Remove a stored preset; False when there is none. Refused where it is not a stored one."""
        self._check_own(name)
        with refusals("removing the preset"):
            before = self._dynamodb.delete_item(TableName=self._table, Key=_key(name), ReturnValues="ALL_OLD")
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


def _key(name: str) -> dict[str, Any]:
    return {REGISTRY_KEYS[0]: {"S": _PARTITION}, REGISTRY_KEYS[1]: {"S": name}}
