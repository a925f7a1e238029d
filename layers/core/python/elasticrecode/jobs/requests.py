"""Requests for jobs, and their readers.

A reader checks a whole request before anything is stored: it returns resolved jobs, or raises Invalid with every fault.
"""

import re
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType

from elasticrecode import ids
from elasticrecode.access.prefixes import UNRESTRICTED, Prefixes
from elasticrecode.contract.settings import Prices
from elasticrecode.errors import Fault
from elasticrecode.jobs.formats import FORMATS, ObjectURI, PrefixURI, Priority, UserID
from elasticrecode.jobs.job import Job, Limits
from elasticrecode.jobs.uris import TOO_LONG, Outputs, is_object, is_prefix
from elasticrecode.media import rules
from elasticrecode.media.presets import BUILT_IN, POINTER, ProfileBody, Profiles
from elasticrecode.media.profiles import FfmpegProfile, Profile, VmafProfile, resolve
from elasticrecode.validation import Body, Reader

REQUEST_JOBS = 1000
"""Jobs in one request: as many as an invocation stores well within API Gateway's 29 s. A batch may have more."""

FREE = Prices(0.0, 0.0)
"""Prices of tests and readers that need none."""

BODY_LIMIT = 2 * 1024 * 1024
"""Bytes of a request body. REQUEST_JOBS inputs with the longest keys of S3 fit."""

IDEMPOTENCY_KEY = re.compile(r"[ -~]{1,255}")
"""The form of the header Idempotency-Key."""


class JobRequest(Struct, forbid_unknown_fields=True):
    """One transcode. The wire contract has `batchInputs` beside `input` ignored."""

    userid: UserID
    input: ObjectURI
    output: PrefixURI
    profile: FfmpegProfile
    priority: Priority = 0
    budget: Limits | UnsetType = UNSET
    batchInputs: Any = UNSET


class JobsRequest(Struct, forbid_unknown_fields=True):
    """Several transcodes with one profile into one output prefix. Each has the `budget` for itself."""

    userid: UserID
    batchInputs: Annotated[list[ObjectURI], Meta(min_length=1, max_length=REQUEST_JOBS)]
    output: PrefixURI
    profile: FfmpegProfile
    priority: Priority = 0
    budget: Limits | UnsetType = UNSET


class VmafRequest(Struct, forbid_unknown_fields=True):
    """One quality score of `input` against `origin`."""

    userid: UserID
    input: ObjectURI
    origin: ObjectURI
    output: PrefixURI
    profile: VmafProfile
    priority: Priority | UnsetType = UNSET


class RetryRequest(Struct, forbid_unknown_fields=True):
    """A retry of all failed jobs of a user, or of those of one batch."""

    userID: UserID
    batchID: Annotated[str, Meta(min_length=1, max_length=128)] | UnsetType = UNSET


class PresetRequest(Struct, forbid_unknown_fields=True):
    """The profile of a preset to store."""

    profile: Profile


_job = Reader(JobRequest, FORMATS)
_jobs = Reader(JobsRequest, FORMATS)
_vmaf = Reader(VmafRequest, FORMATS)


def read_jobs(
    text: bytes,
    presets: Profiles = BUILT_IN,
    prefixes: Prefixes = UNRESTRICTED,
    *,
    prices: Prices = FREE,
) -> list[Job]:
    """The resolved jobs of a `POST /v1/jobs` body, 1 to REQUEST_JOBS, with new ids. Raises Malformed or Invalid.

    A job with a budget gets its price.
    """
    body = ProfileBody(text, presets, {"batchInputs": REQUEST_JOBS}, "; POST /v1/batches takes batches of any size")
    request: JobRequest | JobsRequest
    if "input" in body.fields or "batchInputs" not in body.fields:
        given = [("/input", body.fields.get("input"))]
        request = _job.read(body, job_faults(body, given, prefixes))
        inputs = [request.input]
    else:
        listed = body.fields["batchInputs"]
        numbered = enumerate(listed[:REQUEST_JOBS] if isinstance(listed, list) else ())
        given = [(f"/batchInputs/{n}", uri) for n, uri in numbered]
        request = _jobs.read(body, job_faults(body, given, prefixes))
        inputs = request.batchInputs
    profile = resolve(request.profile)
    return [
        Job(
            userid=request.userid,
            jobid=ids.new(),
            input=uri,
            output=request.output,
            priority=request.priority,
            profile=profile,
            budget=request.budget,
            price=price_of(profile, prices) if request.budget else UNSET,
        )
        for uri in inputs
    ]


def read_vmaf(text: bytes, presets: Profiles = BUILT_IN, prefixes: Prefixes = UNRESTRICTED) -> list[Job]:
    """The one resolved job of a `POST /v1/vmaf` body, with a new id. Raises Malformed or Invalid."""
    body = ProfileBody(text, presets)
    inputs = [(f"/{field}", body.fields.get(field)) for field in ("input", "origin")]
    request = _vmaf.read(body, [*_scoring_faults(body), *prefix_faults(body, inputs, prefixes)])
    return [
        Job(
            userid=request.userid,
            jobid=ids.new(),
            input=request.input,
            origin=request.origin,
            output=request.output,
            priority=request.priority,
            profile=resolve(request.profile),
        )
    ]


def read_preset(body: Body) -> Profile:
    """The resolved profile of a preset's definition, `{"profile": …}`. Raises Invalid when no job may have it.

    It changes `body`: the name of another preset is reported and taken out.
    """
    profile = body.fields.get("profile")
    if isinstance(profile, dict):
        parts = {part: value for part, value in profile.items() if f"/profile/{part}" != POINTER}
        if len(parts) < len(profile):
            body.faults.append(Fault(POINTER, "is not allowed in the definition of a preset: write out its profile"))
        elif not {"ffmpeg", "package", "vmaf", "audio"} & parts.keys():
            body.faults.append(Fault("/profile", "must hold ffmpeg, package or vmaf, or audio alone"))
        body.content = {**body.fields, "profile": parts}
    given = body.part("profile") or {}
    return resolve(_preset().read(body, [*rules.faults(given), *rules.key_faults(given)]).profile)


@cache
def _preset() -> Reader[PresetRequest]:
    """The reader, made at its first use: few functions read presets."""
    return Reader(PresetRequest, FORMATS)


def _scoring_faults(body: Body) -> Iterator[Fault]:
    """Faults between the fields of a request for a score."""
    uri, output = body.fields.get("input"), body.fields.get("output")
    if isinstance(uri, str) and is_object(uri) and isinstance(output, str) and is_prefix(output):
        reports = Outputs(scores=True)
        if not reports.fit(output, uri):
            yield Fault("/input", TOO_LONG)
        for field in ("input", "origin"):
            if body.fields.get(field) in [output + each for each in reports.names(uri)]:
                yield Fault(f"/{field}", "a report would overwrite it: choose another output prefix")
    profile = body.part("profile") or {}
    if "ffmpeg" in profile:
        yield Fault("/profile/ffmpeg", "is not for a score alone: POST /v1/jobs transcodes and then scores")
    for name in sorted({"package", "audio", "subtitles", "images", "split"} & profile.keys()):
        yield Fault(f"/profile/{name}", "is not for a score alone")
    yield from rules.faults({name: part for name, part in profile.items() if name in ("vmaf", "ec2")})


def transcode_faults(body: Body, inputs: Iterable[tuple[str, object]] = ()) -> Iterator[Fault]:
    """Faults between the fields of the profile of a transcode, and of the containers that `inputs` would become.

    `inputs` are pointers with their URIs.
    """
    profile = body.part("profile")
    if profile is None:
        return
    if not {"ffmpeg", "package", "audio"} & profile.keys():
        yield Fault("/profile/ffmpeg", "is required")
    yield from rules.faults(profile, inputs)


def job_faults(body: Body, inputs: list[tuple[str, object]], prefixes: Prefixes) -> list[Fault]:
    """Faults between the fields of a request for transcodes; `inputs` are pointers with their URIs."""
    return [
        *transcode_faults(body, inputs),
        *output_faults(body, inputs),
        *prefix_faults(body, inputs, prefixes),
        *budget_faults(body),
    ]


def budget_faults(body: Body) -> Iterator[Fault]:
    """Faults of the budget in the body of a job."""
    budget = body.part("budget")
    if budget is None:
        return
    if not budget:
        yield Fault("/budget", "must hold dollars, seconds or both")
    profile = body.part("profile") or {}
    parts = (part for name in ("ffmpeg", "ec2") if isinstance(part := profile.get(name), dict))
    if "dollars" in budget and any(part.get("platform") == "gpu" for part in parts):
        yield Fault("/budget/dollars", "is for cpu workers, whose price the deployment knows: give seconds")


def prefix_faults(body: Body, inputs: Iterable[tuple[str, object]], prefixes: Prefixes) -> Iterator[Fault]:
    """Faults of inputs that the request's user may not read, and of an output that the user may not write.

    `inputs` are pointers with their URIs.
    """
    user_id = body.fields.get("userid")
    yield from prefixes.faults(user_id, "read", inputs)
    yield from prefixes.faults(user_id, "write", [("/output", body.fields.get("output"))])


def output_faults(body: Body, inputs: Iterable[tuple[str, object]]) -> Iterator[Fault]:
    """Faults of inputs whose outputs would overwrite an input or another output, or would have too long a key.

    `inputs` are pointers with their URIs.
    """
    output = body.fields.get("output")
    if not (isinstance(output, str) and is_prefix(output)):
        return  # the schema reports it, and joining a huge one to every input would cost much
    written, taken = Outputs.of(body.part("profile") or {}), dict[str, tuple[str, str]]()
    for pointer, uri in inputs:
        if not (isinstance(uri, str) and is_object(uri)):
            continue
        targets = [output + each for each in written.claims(uri)]
        if uri in targets:
            yield Fault(pointer, "its output would overwrite it: choose another output prefix")
        if not written.fit(output, uri):
            yield Fault(pointer, TOO_LONG)
        earlier = [taken.setdefault(target, (pointer, uri)) for target in targets]
        first = next((place for place, other in earlier if other != uri), "")
        if first:
            yield Fault(pointer, f"its output would overwrite that of {first}, which has the same name")


def price_of(profile: Profile, prices: Prices) -> float:
    """What a worker for this profile costs, in dollars per hour."""
    return prices.spot if profile.ec2 and profile.ec2.priceModel == "spot" else prices.normal
