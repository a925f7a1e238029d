"""Faults of deployment options beside each other, and of presets and drops, which the schema does not check."""

import json
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

import msgspec

from elasticrecode.access import prefixes
from elasticrecode.access.prefixes import Prefixes
from elasticrecode.drops import rules
from elasticrecode.drops.rules import Drop
from elasticrecode.errors import Fault, Invalid, Malformed
from elasticrecode.jobs.requests import read_preset
from elasticrecode.media import presets
from elasticrecode.media.presets import BUILT_IN, ProfileBody
from elasticrecode.validation import Body
from infra.option_formats import listed

_ENVIRONMENT_BYTES = 4096 - 1024
"""Lambda's limit of a function's environment, less room for variables that options do not fill."""
_PREFIX_BYTES = 2000
"""The share of prefixes, so that there is room for queues."""
_BUCKET_NAME = 63
_QUEUE_BYTES = 80
"""The bytes of a queue's URL, beside its name, which the setting holds twice."""
_QUEUE_LISTS = ("cpuQueues", "gpuQueues", "vmafQueues")


def in_all(given: dict[str, Any]) -> list[Fault]:
    """The faults of options of any type; names of presets in drops are replaced by their profiles."""
    return [*_preset_faults(given), *_name_presets(given), *_faults(given)]


def parse_presets(chosen: dict[str, Any]) -> list[Fault]:
    """Replace presets from the command line, which are JSON, by their content; the faults in it."""
    try:
        body = Body(chosen["presets"].encode())
    except Malformed as error:
        chosen["presets"] = {}
        return [Fault("/presets", f"must be a JSON object, name to profile: {error.detail}")]
    chosen["presets"] = body.content
    return [Fault(f"/presets{fault.pointer}", fault.detail) for fault in body.faults]


def _preset_faults(given: Mapping[str, Any]) -> Iterator[Fault]:
    """Faults of the deployment's presets."""
    named = given.get("presets")
    if not isinstance(named, dict):
        return
    for name, profile in named.items():
        if not presets.NAME.fullmatch(name):
            yield Fault(f"/presets/{name}", f"must be named by {presets.NAME_RULE}")
        try:
            read_preset(Body(json.dumps({"profile": profile}).encode()))
        except Invalid as error:
            for fault in error.faults:
                yield Fault(f"/presets/{name}{fault.pointer.removeprefix('/profile')}", fault.detail)
    size = len(json.dumps(named, separators=(",", ":")))
    queues = {entry.rsplit(":", 1)[-1] for option in _QUEUE_LISTS for entry in listed(str(given.get(option, "")))}
    room = _ENVIRONMENT_BYTES - len(str(given.get("cors", ""))) - _prefix_bytes(given)
    room -= len(str(given.get("firstGenerationQueues", "")))
    room -= sum(_QUEUE_BYTES + 2 * len(queue) for queue in queues)
    if named and size > room:
        detail = f"are {size} bytes, and Lambda's environment has room for {room} beside the queues and userPrefixes"
        yield Fault("/presets", f"{detail}: store some with PUT /api/v1/presets/{{name}} instead")


def _name_presets(given: dict[str, Any]) -> Iterator[Fault]:
    """Replace names of presets in drops by their profiles; faults of the names."""
    named, listed_drops = given.get("presets"), given.get("drops")
    known = {**BUILT_IN, **(named if isinstance(named, dict) else {})}
    if not isinstance(listed_drops, list):
        return
    given["drops"] = [dict(entry) if isinstance(entry, dict) else entry for entry in listed_drops]
    for n, entry in enumerate(given["drops"]):
        profile = entry.get("profile") if isinstance(entry, dict) else None
        if not (isinstance(profile, dict) and "preset" in profile):
            continue
        body = ProfileBody(json.dumps({"profile": profile}).encode(), known)
        yield from (Fault(f"/drops/{n}{fault.pointer}", fault.detail) for fault in body.faults)
        # After a wrong name any profile serves, so that the rest of the drop is checked, too.
        entry["profile"] = next(iter(BUILT_IN.values())) if body.faults else body.fields["profile"]


def _faults(given: Mapping[str, Any]) -> list[Fault]:
    """Faults of options beside each other."""
    faults = []
    discovering = given.get("discovery") is True
    control = str(given.get("controlQueue"))
    if discovering and any(fnmatchcase(control, pattern) for pattern in listed(str(given.get("discoveredQueues", "")))):
        faults.append(Fault("/discoveredQueues", f"must not fit {control}, which is controlQueue's"))
    if discovering and not listed(str(given.get("clusters", ""))):
        faults.append(Fault("/clusters", "must name a cluster, or a tag of clusters, while discovery is true"))
    if not discovering and given.get("clusters"):
        faults.append(Fault("/clusters", "must be empty while discovery is false"))
    if not discovering and not any(listed(str(given.get(name, ""))) for name in _QUEUE_LISTS):
        faults.append(
            Fault("/discovery", "is false, so at least one of cpuQueues, gpuQueues and vmafQueues must name a queue")
        )
    faults += [*_auth_faults(given), *_queue_faults(given), *_region_faults(given), *_platform_faults(given)]
    kept, remembered = given.get("retentionDays"), given.get("idempotencyDays")
    if isinstance(kept, int) and isinstance(remembered, int) and 0 < kept < remembered:
        detail = f"is {remembered}, more than retentionDays, {kept}: the answer to a repeated request would name jobs"
        faults.append(Fault("/idempotencyDays", f"{detail} that have expired"))
    faults += _serving_faults(given)
    if given.get("frontDoor") == "none":
        if given.get("domains"):
            faults.append(Fault("/domains", "must be empty while frontDoor is none"))
        if ":global/" in str(given.get("webAcls", "")):
            faults.append(
                Fault("/webAcls", "must not name a global web ACL while frontDoor is none: it protects nothing")
            )
    taken = {str(given.get("controlQueue")): "controlQueue"}
    for option in _QUEUE_LISTS:
        for name in {entry.rsplit(":", 1)[-1] for entry in listed(str(given.get(option, "")))}:
            other = taken.setdefault(name, option)
            if other != option:
                faults.append(Fault(f"/{option}", f"must not name {name}, which is {other}'s already"))
    for name in listed(str(given.get("firstGenerationQueues", ""))):
        if taken.get(name, "controlQueue") == "controlQueue":
            faults.append(Fault("/firstGenerationQueues", f"names {name}, which {', '.join(_QUEUE_LISTS)} do not"))
    faults += [
        Fault(f"/userPrefixes{fault.pointer}", fault.detail) for fault in prefixes.faults(given.get("userPrefixes"))
    ]
    size = _prefix_bytes(given)
    if size > _PREFIX_BYTES:
        faults.append(Fault("/userPrefixes", f"take {size} bytes; a function's settings have room for {_PREFIX_BYTES}"))
    return faults + [Fault(f"/drops{fault.pointer}", fault.detail) for fault in _drop_faults(given)]


def _serving_faults(given: Mapping[str, Any]) -> Iterator[Fault]:
    """Faults of options of the two distributions."""
    for option in ("domains", "mediaDomain"):
        if given.get(option) and not given.get("certificate"):
            yield Fault(f"/{option}", "must be empty while certificate is")
    if given.get("certificate") and not (given.get("domains") or given.get("mediaDomain")):
        yield Fault("/certificate", "must be empty while domains is")
    access = str(given.get("serveMedia")).partition(":")[0]
    if access == "off" and given.get("mediaDomain"):
        yield Fault("/mediaDomain", "must be empty while serveMedia is off")
    if len(listed(str(given.get("mediaDomain", "")))) > 1:
        yield Fault("/mediaDomain", "must be one domain name")
    if (access == "signed") != bool(given.get("mediaKey")):
        detail = "must be given with serveMedia=signed:…" if access == "signed" else "is for serveMedia=signed:…"
        yield Fault("/mediaKey", detail)


def _prefix_bytes(given: Mapping[str, Any]) -> int:
    """The bytes of prefixes in a function's environment."""
    named = list(prefixes.read(given.get("userPrefixes")).values())
    named += [prefixes.UPLOADS] if named else []
    return len(msgspec.json.encode([each.with_bucket("-" * _BUCKET_NAME) for each in named]))


def _auth_faults(given: Mapping[str, Any]) -> Iterator[Fault]:
    """Faults of options that belong to another value of `auth`."""
    auth = given.get("auth")
    for option, kind in (("userPool", "cognito"), ("jwtIssuer", "jwt"), ("jwtAudience", "jwt"), ("operators", "iam")):
        if given.get(option) and auth != kind:
            yield Fault(f"/{option}", f"is for auth={kind}, and auth is {auth}")
    for option in ("jwtIssuer", "jwtAudience"):
        if auth == "jwt" and not given.get(option):
            yield Fault(f"/{option}", "must be given with auth=jwt")

    for option, usual in (("jwtUserClaim", "sub"), ("jwtGroupsClaim", "groups")):
        if auth != "jwt" and given.get(option) != usual:
            yield Fault(f"/{option}", f"is for auth=jwt, and auth is {auth}")


def _queue_faults(given: Mapping[str, Any]) -> Iterator[Fault]:
    """Faults of the patterns of discovered queues, beside the stack's own queues."""
    if given.get("discovery") is not True:
        return
    patterns = listed(str(given.get("discoveredQueues", "")))
    if not patterns and not any(listed(str(given.get(name, ""))) for name in _QUEUE_LISTS):
        yield Fault("/discoveredQueues", "must have a pattern while cpuQueues, gpuQueues and vmafQueues are empty")
    own = f"{given.get('stackName')}-"
    for pattern in patterns:
        beginning = pattern.partition("*")[0]
        if own.startswith(beginning) if "*" in pattern else pattern.startswith(own):
            detail = (
                f"{pattern} fits queues of the stack, whose names begin with {own}: discovered workers could use them"
            )
            yield Fault("/discoveredQueues", f"{detail}. Choose a longer pattern, or another stackName")


def _region_faults(given: Mapping[str, Any]) -> Iterator[Fault]:
    """Faults of options that name resources of different Regions, where all must be of the stack's."""
    regions = {option: str(given.get(option, "")).split(":")[3:4] for option in ("alarmTopic",)}
    regions["userPool"] = str(given.get("userPool", "")).split("_")[:1]
    named = [(option, entry) for option in (*_QUEUE_LISTS, "webAcls") for entry in listed(str(given.get(option, "")))]
    for option, entry in named:
        if entry.startswith("arn:") and ":global/" not in entry:
            regions.setdefault(option, []).extend(entry.split(":")[3:4])
    placed = [(option, region) for option, several in regions.items() for region in several if region]
    for option, region in placed[1:]:
        first, other = placed[0]
        if region != other:
            yield Fault(f"/{option}", f"is in {region}, and {first} in {other}: both must be in the stack's Region")


def _platform_faults(given: Mapping[str, Any]) -> Iterator[Fault]:
    """Faults of runtimes and platforms that AWS does not have, but an embedded AWS on this machine may."""
    if not str(given.get("executeApi", "")).startswith("https:"):
        return
    if given.get("lambdaRuntime") == "python3.11":
        detail = "is too old on AWS: it has glibc 2.26, and the pinned packages need 2.28"
        yield Fault("/lambdaRuntime", f"{detail}. Choose python3.12 or newer")
    if str(given.get("lambdaPlatform", "")).endswith("-apple-darwin"):
        yield Fault("/lambdaPlatform", "must be a Linux on AWS, such as aarch64-manylinux_2_28")


def _drop_faults(given: Mapping[str, Any]) -> Iterator[Fault]:
    """Faults of drops beside each other and the prefixes, and of drops too large for their function's environment."""
    yield from rules.faults(given.get("drops"))
    try:
        read = msgspec.convert(given.get("drops", []), list[Drop])
    except msgspec.ValidationError:
        return  # the schema reports it
    allowed = Prefixes([each.with_bucket("") for each in prefixes.read(given.get("userPrefixes")).values()])
    for n, drop in enumerate(read):
        place = drop.with_bucket("")
        yield from allowed.faults(drop.userid, "read", [(f"/{n}/prefix", f"s3://{place.bucket}/{place.prefix}")])
        yield from allowed.faults(drop.userid, "write", [(f"/{n}/output", place.output)])
    named = [entry.rsplit(":", 1)[-1] for option in _QUEUE_LISTS for entry in listed(str(given.get(option, "")))]
    size = len(msgspec.json.encode([drop.with_bucket("-" * _BUCKET_NAME) for drop in read]))
    size += sum(2 * len(name) + _QUEUE_BYTES for name in named)
    if read and size > _ENVIRONMENT_BYTES:
        detail = f"take {size} bytes with the addresses of queues; a function's settings take {_ENVIRONMENT_BYTES}"
        yield Fault("", f"{detail}: name fewer, or with shorter profiles")
