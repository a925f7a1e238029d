"""schemathesis over the whole API, by its OpenAPI document: every check, every phase, links included."""

import base64
import re
import string
from collections import Counter
from collections.abc import Callable
from itertools import count
from typing import Any, NamedTuple

import schemathesis
from hypothesis import strategies as st
from schemathesis.config import SchemathesisConfig
from schemathesis.core.failures import Failure
from schemathesis.engine import events, from_schema
from schemathesis.generation.case import Case
from schemathesis.hooks import HookContext
from schemathesis.schemas import BaseSchema

from elasticrecode import ids
from elasticrecode.api.http import CURSOR
from elasticrecode.batches.request import FORMATS as BATCH_FORMATS
from elasticrecode.errors import Invalid
from elasticrecode.files.links import LinksRequest
from elasticrecode.files.uploads import FORMATS as UPLOAD_FORMATS
from elasticrecode.files.uploads import PartLinksRequest
from elasticrecode.jobs.formats import FORMATS as JOB_FORMATS
from elasticrecode.jobs.job import Budget
from elasticrecode.jobs.lifecycle import STATES
from elasticrecode.jobs.requests import IDEMPOTENCY_KEY, REQUEST_JOBS
from elasticrecode.lists.filters import TIME
from elasticrecode.media import rules
from elasticrecode.media.formats import FORMATS
from elasticrecode.media.presets import BUILT_IN
from elasticrecode.media.profiles import MS_SSIM_SIDE, SCALES, SOURCE, Audio, Package, Profile, Target
from elasticrecode.validation import Reader
from tests.sizes import sized

_KEPT = ("showJob", "listJobEvents", "listParts", "linkJob", "linkPackage", "showBatch")
"""Operations that still answer 200 after DELETE, which cancels and removes nothing."""


_TWINS = sized(("submitBatch", "submitScore", "putPreset"), (), ())
"""Operations with the same profile as submitJobs, with thousands of boundary cases each: not in a sample."""


class Outcome(NamedTuple):
    """The result of a run: requests by phase and by status, links followed, checks, and failures."""

    requests: Counter[str]
    statuses: Counter[str]
    links: Counter[str]
    checks: Counter[str]
    failures: list[str]

    def counts(self) -> dict[str, int]:
        """Requests by phase and by status, and the counts of the rest."""
        totals = {"checks": self.checks.total(), "links": self.links.total(), "failures": len(self.failures)}
        return {"requests": self.requests.total(), **totals, **self.requests, **self.statuses}


def configuration(examples: int, phases: dict[str, Any], seed: int) -> SchemathesisConfig:
    """The configuration for all checks, with that many examples for an operation."""
    options: dict[str, Any] = {
        "generation": {"max-examples": examples, "mode": "all", "database": "none", "allow-x00": True},
        "phases": phases,
        "checks": {"enabled": True, "response_schema_conformance": {"enabled": True, "validate-formats": False}},
        "operations": [
            {"include-operation-id": list(_KEPT), "checks": {"use_after_free": {"enabled": False}}},
            *({"include-operation-id": [name], "phases": {"coverage": {"enabled": False}}} for name in _TWINS),
        ],
        "suppress-health-check": ["all"],
        "continue-on-failure": True,
        "request-timeout": 29,  # API Gateway's limit, in seconds
        "seed": seed,
    }
    return SchemathesisConfig.from_dict(options)


def run(schema: BaseSchema) -> Outcome:
    """Run all phases against the API."""
    outcome = Outcome(Counter(), Counter(), Counter(), Counter(), [])
    for event in from_schema(schema).execute():
        match event:
            case events.ScenarioFinished():
                _count(event, outcome)
            case events.NonFatalError():
                outcome.failures.append(f"{event.phase} {event.label}: {event.value!r}")
            case events.FatalError():
                raise event.exception
    return outcome


def _count(event: events.ScenarioFinished, outcome: Outcome) -> None:
    recorder = event.recorder
    for case_id, interaction in recorder.interactions.items():
        outcome.requests[event.phase.value] += 1
        if interaction.response is not None:
            outcome.statuses[str(interaction.response.status_code)] += 1
        node = recorder.cases[case_id]
        if node.parent_id and node.transition:
            outcome.links[node.value.operation.label] += 1
    for case_id, nodes in recorder.checks.items():
        for check in nodes:
            outcome.checks[check.name] += 1
            if check.failure_info is not None:
                request = recorder.interactions[case_id].request
                body = (request.body or b"")[:2000]
                answer = recorder.interactions[case_id].response
                content = answer.content[:1000] if answer else b""
                failure: Failure = check.failure_info.failure
                title = f"{check.name}: {failure.title}: {failure.message}"
                outcome.failures.append(f"{title}\n  {request.method} {request.uri}\n  {body!r}\n  {content!r}")


# Rules that a schema cannot express

_numbers, _lists = count(1), count()
_LONG, _LONG_ONES = 2, 2


@schemathesis.hook
def filter_case(context: HookContext, case: Case[Any]) -> bool:
    """Leave out cases that are to violate formats, and do not: schemathesis draws any text for one, and most fit."""
    mutations = getattr(case.meta.phase.data, "mutations", ()) if case.meta else ()
    return not mutations or not all("format" in each.keywords and _fits(case.body, each.path) for each in mutations)


def _fits(body: Any, path: tuple[str | int, ...]) -> bool:
    """Whether the value there, or each one of a list, is of the format of its name."""
    *_, name = path or ("",)
    value = body.get(name) if isinstance(body, dict) else None
    values = value if isinstance(value, list) else [value]
    return name in _TEXTS and all(isinstance(each, str) and _TEXTS[name](each) for each in values)


_TEXTS: dict[str | int, Callable[[Any], bool]] = {
    "userid": BATCH_FORMATS["user"][0],
    "userID": BATCH_FORMATS["user"][0],
    "suffixes": BATCH_FORMATS["suffix"][0],
    "name": UPLOAD_FORMATS["file-name"][0],
}


@schemathesis.hook
def before_call(context: HookContext, case: Case[Any], kwargs: Any) -> None:
    """Make each Idempotency-Key unique, and each cursor one of the list that it is sent to."""
    key = case.headers.get("Idempotency-Key")
    if isinstance(key, str) and IDEMPOTENCY_KEY.fullmatch(key):
        case.headers["Idempotency-Key"] = f"{next(_numbers)}{key}"[:255]
    body = case.body if isinstance(case.body, dict) else {}
    profile = body.get("profile")
    if isinstance(profile, dict):
        if _takes(_shape, profile) and not _takes(_profile, profile):
            profile = body["profile"] = {"vmaf": {"scale": "720p"}} if "vmaf" in case.operation.path else dict(_PLAIN)
        _settle(profile)
        _settle_budget(body, profile)
        if case.operation.path == "/v1/plans":
            _settle_plan(body, profile)
    listed = case.body.get("batchInputs", case.body.get("inputs")) if isinstance(case.body, dict) else None
    if isinstance(listed, list) and _LONG < len(listed) <= REQUEST_JOBS and next(_lists) >= _LONG_ONES:
        del listed[_LONG:]  # the longest lists are tried only twice: moto takes seconds for 1,000 jobs
    if case.operation.path == "/v1/jobs/{jobID}/links" and _takes(_uris, body):
        case.path_parameters["jobID"] = ids.new()  # no job here has a package, whose files alone may be named
    if case.operation.path == "/v1/uploads/{uploadID}/links" and _takes(_parts, body):
        case.body = {"parts": [1]}  # an upload has as many parts as its size needs
    if case.operation.path == "/v1/jobs" and case.method == "GET":
        after, of_batch = str(case.query.get("after")), "batchID" in case.query
        if of_batch and CURSOR.fullmatch(after):
            case.query["after"] = ids.job_id(ids.new(), 7)
        elif not of_batch and ids.JOB.fullmatch(after):
            case.query["after"] = "job"
        times = [str(case.query[name]) for name in ("since", "until") if name in case.query]
        if len(times) == 2 and all(map(TIME.fullmatch, times)) and float(times[0]) >= float(times[1]):
            del case.query["until"]
        if "code" in case.query and case.query.get("state") in STATES:
            case.query["state"] = "failed"


def _settle(profile: dict[str, Any]) -> None:
    """Take valid values out of a profile that contradict others; values that are no valid ones stay.

    A valid package beside an encode is taken out, and one alone becomes a plain one: the fuzz of parsers has packages,
    and what they contradict fills a page of rules.
    """
    if _is_package(profile.get("package")):
        if "ffmpeg" in profile:
            del profile["package"]
        else:
            profile["package"] = {"formats": ["dash"]}
    repaired: dict[str, Callable[[Any], bool]] = {
        "/profile/ffmpeg/end": lambda value: 0 < value <= _SECONDS,
        "/profile/ffmpeg/bitDepth": lambda value: value == 10,
        "/profile/ffmpeg/dynamicRange": lambda value: value == "keep",
        "/profile/ffmpeg/fit": lambda value: True,
        "/profile/ffmpeg/quality": _is_target,
        "/profile/audio/bitrate": FORMATS["audio-bitrate"][0],
        "/profile/audio/tracks": _are_languages,
        "/profile/subtitles/tracks": _are_languages,
    }
    for fault in list(rules.faults(profile)):
        _, _, part, name, *_ = [*fault.pointer.split("/"), ""]
        place = f"/profile/{part}/{name}"
        fields = profile[part] if place in repaired else {}
        if name in fields and repaired[place](fields[name]):
            if name == "quality":
                fields[name] = {"crf": 23}
            else:
                del fields[name]


def _settle_budget(body: dict[str, Any], profile: dict[str, Any]) -> None:
    """A valid budget in dollars becomes one in seconds beside another platform than cpu."""
    budget = body.get("budget")
    platforms = [part.get("platform") for name in ("ffmpeg", "ec2") if isinstance(part := profile.get(name), dict)]
    is_for_gpu = "gpu" in platforms or profile.get("preset") in _GPU_PRESETS
    if isinstance(budget, dict) and _takes(_budget, budget) and is_for_gpu and "dollars" in budget:
        body["budget"] = {"seconds": 60}


def _settle_plan(body: dict[str, Any], profile: dict[str, Any]) -> None:
    """A plan is of one input, and of pictures that cpu workers encode."""
    body.pop("batchInputs", None)
    if not {"ffmpeg", "package"} & profile.keys() and "audio" in profile and _takes(_audio, profile["audio"]):
        profile["ffmpeg"] = {"codec": "h264", "scale": "720p", "bitrate": "2M"}
    for name in ("ffmpeg", "ec2"):
        part = profile.get(name)
        if isinstance(part, dict) and part.get("platform") == "gpu":
            part["platform"] = "cpu"
    if profile.get("preset") in _GPU_PRESETS:
        profile["preset"] = "h264-720p"


_SECONDS = 1_000_000
_package = Reader(Package, {})  # the formats of its texts are left to the fuzz of parsers, as all of it is
_parts, _uris = Reader(PartLinksRequest, {}), Reader(LinksRequest, JOB_FORMATS)
_target, _budget, _audio = (Reader(kind, FORMATS) for kind in (Target, Budget, Audio))
_shape, _profile = Reader(Profile, {}), Reader(Profile, FORMATS)
"""Schemathesis takes a few texts that are not of their format for valid ones."""
_PLAIN = {"preset": "h264-720p"}
_GPU_PRESETS = [name for name, each in BUILT_IN.items() if each.get("ffmpeg", {}).get("platform") == "gpu"]


def _takes(reader: Reader[Any], value: object) -> bool:
    """Whether the schema takes a value."""
    try:
        reader.convert(value)
    except Invalid:
        return False
    return True


def _is_package(value: object) -> bool:
    return _takes(_package, value)


def _is_target(value: object) -> bool:
    return _takes(_target, value)


def _are_languages(tracks: object) -> bool:
    return tracks == "all" or (isinstance(tracks, list) and all(map(_is_language, tracks)))


def _is_language(value: object) -> bool:
    return isinstance(value, str) and FORMATS["language"][0](value)


def _register() -> None:
    """Register strategies for the named formats, with unusual valid values."""
    visible = st.characters(codec="utf-8", exclude_categories=["Cs", "Cc", "Z"], exclude_characters="/?#%")
    character = st.characters(codec="utf-8", exclude_categories=["Cs"], exclude_characters="\0/")
    printable = st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"], exclude_characters="/")
    name = st.text(character, max_size=200)
    folders = st.lists(st.text(character, min_size=1, max_size=50), max_size=3).map(
        lambda parts: "".join(f"{part}/" for part in parts)
    )
    formats = {
        "user": st.text(visible, min_size=1, max_size=128).filter(lambda text: not re.search(r"\s", text)),
        # Outputs go to another bucket, and their names are as different as the inputs'.
        "s3-object": name.map(lambda text: f"s3://media/in/{text}.mp4"),
        "s3-prefix": folders.map(lambda text: f"s3://media.out/{text}"),
        "s3-folder": folders.map(lambda text: f"s3://media/{text}"),
        "suffix": st.text(printable, min_size=1, max_size=64),
        "bitrate": st.one_of(st.integers(1, 15).map("{}M".format), st.integers(1000, 15_000).map("{}K".format)),
        "buffer": st.one_of(st.integers(1, 500).map("{}M".format), st.integers(1, 500_000).map("{}K".format)),
        "cap": st.one_of(st.integers(1, 200).map("{}M".format), st.integers(50, 200_000).map("{}K".format)),
        "frame-rate": st.one_of(
            st.just(SOURCE),
            st.integers(1, 240).map(str),
            st.sampled_from(["24000/1001", "30000/1001", "60000/1001", "12/5"]),
        ),
        "audio-bitrate": st.one_of(st.just("1M"), st.integers(16, 1024).map("{}K".format)),
        "key": st.binary(min_size=16, max_size=16).map(bytes.hex),
        "key-uri": st.builds(
            "https://127.0.0.{}/{}".format, st.integers(1, 254), st.text(string.ascii_letters, max_size=80)
        ),
        "secret": st.text(f"{string.ascii_letters}{string.digits}/_+=.@-", min_size=1, max_size=480).map(
            lambda name: f"elasticrecode/{name}"
        ),
        "file-name": st.text(min_size=1, max_size=60),
        "language": st.from_regex(r"\A[a-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}\Z"),
        "ffmpeg-scale": st.one_of(st.sampled_from(sorted([*SCALES, SOURCE])), _sizes(16, ":")),
        # At least the sides that MS-SSIM needs, which a profile may enable.
        "vmaf-scale": st.one_of(st.sampled_from(sorted(SCALES)), _sizes(MS_SSIM_SIDE, "x")),
        "webhook-url": st.builds(
            "https://127.0.0.{}:{}/{}".format,
            st.integers(1, 254),
            st.integers(1, 65_535),
            st.text(string.ascii_letters + string.digits + "/?&=-_.~%", max_size=100),
        ),
        "webhook-secret": st.one_of(
            st.just(""), st.binary(min_size=24, max_size=64).map(lambda key: f"whsec_{base64.b64encode(key).decode()}")
        ),
        "transcode-preset": st.sampled_from(
            [name for name, profile in BUILT_IN.items() if {"ffmpeg", "audio"} & profile.keys()]
        ),
        "score-preset": st.sampled_from([name for name, profile in BUILT_IN.items() if set(profile) == {"vmaf"}]),
    }
    for format_name, values in formats.items():
        schemathesis.openapi.format(format_name, values)


def _sizes(least: int, between: str) -> st.SearchStrategy[str]:
    side = st.integers(least // 2, 4096).map(lambda half: 2 * half)
    return st.builds(lambda width, height: f"{width}{between}{height}", side, side)


_register()
