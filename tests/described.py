"""Messages checked against the AsyncAPI document: each is one that it describes, without a field that it lacks."""

import json
from collections.abc import Iterable
from functools import cache
from typing import Any

import jsonschema_rs

from infra.asyncapi.document import document

PONG = b"pong"


@cache
def described() -> dict[str, Any]:
    """The document, with no room in its types for fields that it does not name."""
    content: dict[str, Any] = json.loads(json.dumps(document("none")))
    for schema in content["components"]["schemas"].values():
        if "properties" in schema:
            schema["additionalProperties"] = False
    return content


@cache
def _validator(message: str) -> jsonschema_rs.Validator:
    content = described()
    payload = content["components"]["messages"][message]["payload"]
    return jsonschema_rs.Draft7Validator({**payload, "components": content["components"]})


def validate(content: Any, channel: str, prefix: str = "") -> None:
    """Fail unless a message is one of those that a channel has, by its action."""
    names = described()["channels"][channel]["messages"]
    named = f"{prefix}{content['action']}"
    name = named if named in names else f"{prefix}Other"
    faults = [f"{list(fault.instance_path)}: {fault.message}" for fault in _validator(name).iter_errors(content)]
    assert not faults, f"docs/asyncapi.json describes {name} otherwise: {faults}"


def frames(sent: Iterable[bytes | str], stand_in: Any = None) -> None:
    """Fail unless each frame is one that watchers get. `stand_in` is used for jobs that tests store without profile."""
    for frame in sent:
        if frame in (PONG, PONG.decode()):
            continue
        content = json.loads(frame)
        for event in content if isinstance(content, list) else [content]:
            stands_in = stand_in and "profile" not in event.get("job", stand_in)
            validate(event | {"job": stand_in} if stands_in else event, "watch")


def job(body: str) -> None:
    """Fail unless a text is a job as workers get it."""
    content = json.loads(body)
    _validator("PartJob" if "part" in content else "Job").validate(content)


def report(body: str) -> None:
    """Fail unless a text is an event as workers report it."""
    validate(json.loads(body), "controlQueue", "Worker")
