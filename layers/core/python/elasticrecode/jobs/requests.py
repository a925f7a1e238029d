"""Jobs as clients ask for them and as workers are told them.

Requests are checked here, whole, before anything happens: a reader gives resolved jobs or every fault at once.
"""

import re
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType

from elasticrecode import ids
from elasticrecode.access.prefixes import EVERYWHERE, Prefixes
from elasticrecode.errors import Fault
from elasticrecode.jobs.formats import FORMATS, ObjectURI, PrefixURI, Priority, UserID
from elasticrecode.jobs.job import Job
from elasticrecode.jobs.uris import SCORE_FILES, TOO_LONG, fits, is_object, is_prefix, name, output_name
from elasticrecode.media import profiles
from elasticrecode.media.codecs import CODECS
from elasticrecode.media.presets import BUILT_IN, POINTER, Asked, Profiles
from elasticrecode.media.profiles import FfmpegProfile, Profile, VmafProfile, resolve
from elasticrecode.validation import Body, Reader

BATCH_LIMIT = 1000
"""Jobs in one immediate batch: what one invocation stores well within API Gateway's 29 s. Others are for `batches`."""

BODY_LIMIT = 2 * 1024 * 1024
"""Bytes of a request body: a full batch of the longest keys S3 allows fits."""

IDEMPOTENCY_KEY = re.compile(r"[ -~]{1,255}")
"""What a client may call a request that it may make again."""


class JobRequest(Struct, forbid_unknown_fields=True):
    """One transcode. A `batchInputs` beside `input` is ignored, as the contract has it."""

    userid: UserID
    input: ObjectURI
    output: PrefixURI
    profile: FfmpegProfile
    priority: Priority = 0
    batchInputs: Any = UNSET


class JobsRequest(Struct, forbid_unknown_fields=True):
    """Several transcodes with one profile into one output prefix."""

    userid: UserID
    batchInputs: Annotated[list[ObjectURI], Meta(min_length=1, max_length=BATCH_LIMIT)]
    output: PrefixURI
    profile: FfmpegProfile
    priority: Priority = 0


class VmafRequest(Struct, forbid_unknown_fields=True):
    """One quality score of `input` against `origin`."""

    userid: UserID
    input: ObjectURI
    origin: ObjectURI
    output: PrefixURI
    profile: VmafProfile
    priority: Priority | UnsetType = UNSET


class RetryRequest(Struct, forbid_unknown_fields=True):
    """Whose failed jobs are to run again; with `batchID` those of that batch."""

    userID: UserID
    batchID: Annotated[str, Meta(min_length=1, max_length=128)] | UnsetType = UNSET


class PresetRequest(Struct, forbid_unknown_fields=True):
    """A profile to be called by a name."""

    profile: Profile


_job = Reader(JobRequest, FORMATS)
_batch = Reader(JobsRequest, FORMATS)
_vmaf = Reader(VmafRequest, FORMATS)


def read_jobs(text: bytes, presets: Profiles = BUILT_IN, prefixes: Prefixes = EVERYWHERE) -> list[Job]:
    """The resolved jobs of a POST /v1/jobs body, single or batch, with new ids. Malformed or Invalid."""
    body = Asked(text, presets, {"batchInputs": BATCH_LIMIT}, "; POST /v1/batches takes batches of any size")
    request: JobRequest | JobsRequest
    if "input" in body.fields or "batchInputs" not in body.fields:
        places = [("/input", body.fields.get("input"))]
        request = _job.read(body, _faults(body, places, prefixes))
        inputs = [request.input]
    else:
        listed = body.fields["batchInputs"]
        numbered = enumerate(listed[:BATCH_LIMIT] if isinstance(listed, list) else ())
        places = [(f"/batchInputs/{n}", uri) for n, uri in numbered]
        request = _batch.read(body, _faults(body, places, prefixes))
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
        )
        for uri in inputs
    ]


def read_vmaf(text: bytes, presets: Profiles = BUILT_IN, prefixes: Prefixes = EVERYWHERE) -> list[Job]:
    """The one resolved job of a POST /v1/vmaf body, with a new id. Malformed or Invalid."""
    body = Asked(text, presets)
    places = [(f"/{side}", body.fields.get(side)) for side in ("input", "origin")]
    request = _vmaf.read(body, [*_scoring_faults(body), *place_faults(body, places, prefixes)])
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
    """The resolved profile of `{"profile": …}`, which is to be a preset. Invalid when a request could not say it."""
    profile = body.fields.get("profile")
    if isinstance(profile, dict):
        parts = {part: value for part, value in profile.items() if f"/profile/{part}" != POINTER}
        if len(parts) < len(profile):
            body.faults.append(Fault(POINTER, "is not for a preset's own profile: write that out"))
        elif not {"ffmpeg", "vmaf"} & parts.keys():
            body.faults.append(Fault("/profile", "must hold ffmpeg, vmaf or both"))
        body.content = {**body.fields, "profile": parts}
    return resolve(_preset().read(body, profile_faults(body)).profile)


@cache
def _preset() -> Reader[PresetRequest]:
    """Made when it is asked for: only few functions read presets."""
    return Reader(PresetRequest, FORMATS)


def _part(body: Body, name: str) -> dict[str, Any] | None:
    """A part of the body's profile, if there is one."""
    profile = body.fields.get("profile")
    part = profile.get(name) if isinstance(profile, dict) else None
    return part if isinstance(part, dict) else None


def _scoring_faults(body: Body) -> Iterator[Fault]:
    """Faults between fields of a request for a score."""
    uri, output = body.fields.get("input"), body.fields.get("output")
    if isinstance(uri, str) and is_object(uri) and isinstance(output, str) and is_prefix(output):
        if not fits(output, uri, scored=True):
            yield Fault("/input", TOO_LONG)
        for side in ("input", "origin"):
            if body.fields.get(side) in [output + name(uri) + ending for ending in SCORE_FILES]:
                yield Fault(f"/{side}", "a report would overwrite it: choose another output prefix")
    if _part(body, "ffmpeg") is not None:
        yield Fault("/profile/ffmpeg", "is not for a score alone; POST /v1/jobs transcodes and then scores")
    yield from _minimum_faults(body)


def _minimum_faults(body: Body) -> Iterator[Fault]:
    vmaf = _part(body, "vmaf")
    if vmaf is not None and "onFail" in vmaf and "min" not in vmaf:
        yield Fault("/profile/vmaf/min", "is required where onFail is given")
    if vmaf is not None and vmaf.get("ms-ssim") == "enable" and not profiles.fits_ms_ssim(vmaf.get("scale")):
        yield Fault(
            "/profile/vmaf/ms-ssim", f"needs a scale of at least {profiles.MS_SSIM_SIDE}x{profiles.MS_SSIM_SIDE}"
        )


def profile_faults(body: Body) -> Iterator[Fault]:
    """Faults between fields of a profile: an encoder of the other platform, two platforms that disagree."""
    yield from _minimum_faults(body)
    encode, ec2 = _part(body, "ffmpeg"), _part(body, "ec2")
    if encode is None:
        return
    elsewhere = ec2.get("platform") if ec2 else None
    where = encode.get("platform", elsewhere or "cpu")
    if elsewhere not in (None, where):
        yield Fault("/profile/ec2/platform", f"must agree with /profile/ffmpeg/platform, which is {where}")
    for word, codec in CODECS.items():
        for native, encoder in codec.encoders.items():
            if encode.get("codec") == encoder.name and where != native:
                detail = f"{encoder.name} runs on {native}, and the requested platform is {where}: use {word} instead"
                yield Fault("/profile/ffmpeg/codec", detail)


def _faults(body: Body, inputs: list[tuple[str, object]], prefixes: Prefixes) -> list[Fault]:
    """What is wrong between fields of a request for transcodes, its inputs each with its pointer."""
    return [*profile_faults(body), *output_faults(body, inputs), *place_faults(body, inputs, prefixes)]


def place_faults(body: Body, read: Iterable[tuple[str, object]], prefixes: Prefixes) -> Iterator[Fault]:
    """What a request's user may not read, and an output where it may not write."""
    user_id = body.fields.get("userid")
    yield from prefixes.faults(user_id, "read", read)
    yield from prefixes.faults(user_id, "write", [("/output", body.fields.get("output"))])


def output_faults(body: Body, inputs: Iterable[tuple[str, object]]) -> Iterator[Fault]:
    """Outputs that would overwrite an input, or one another."""
    output = body.fields.get("output")
    if not (isinstance(output, str) and is_prefix(output)):
        return  # which is told by the schema; of a longer one there would be a copy for each input
    taken: dict[str, tuple[str, str]] = {}
    for pointer, uri in inputs:
        if not (isinstance(uri, str) and is_object(uri)):
            continue
        target = output + output_name(uri)
        if target == uri:
            yield Fault(pointer, "its output would overwrite it: choose another output prefix")
        if not fits(output, uri, scored=_part(body, "vmaf") is not None):
            yield Fault(pointer, TOO_LONG)
        first, other = taken.setdefault(target, (pointer, uri))
        if other != uri:
            yield Fault(pointer, f"its output would overwrite that of {first}, which would be called the same")
