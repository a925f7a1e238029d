"""The API's description, OpenAPI 3.1, made of the routes and of the types that read requests and answer them.

Said here and nowhere else is what a route is for, how it may refuse, and how one answer leads to the next request.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, get_args, get_origin

import msgspec
from msgspec import UNSET, structs

from elasticrecode import __version__, ids
from elasticrecode.api import answers, examples
from elasticrecode.api.answers import ProblemDetails
from elasticrecode.api.http import CURSOR, CURSOR_LENGTH, PAGE, PAGE_DEFAULT, PARAMETER_LENGTH
from elasticrecode.batches import request as batches
from elasticrecode.batches.progress import BatchRecord, BatchTaken
from elasticrecode.batches.request import SOURCES, BatchRequest
from elasticrecode.contract import auth as signing
from elasticrecode.contract.auth import SignIn
from elasticrecode.contract.routes import (
    ADD_WEBHOOK,
    BATCH,
    CANCEL,
    CANCEL_BATCH,
    HEALTH,
    JOB_EVENTS,
    JOB_STATUS,
    JOBS,
    OPENAPI,
    OPERATOR_ROUTES,
    PAUSE_QUEUE,
    PRESETS,
    PUBLIC_ROUTES,
    PUT_PRESET,
    REMOVE_PRESET,
    REMOVE_WEBHOOK,
    RESUME_QUEUE,
    RETRY,
    RETRY_FAILED,
    RETRY_WEBHOOK,
    ROUTES,
    SCHEMA,
    SERVER,
    SOCKET_TICKET,
    SUBMIT,
    SUBMIT_BATCH,
    SUBMIT_VMAF,
    USER_EVENTS,
    USER_LOGS,
    VERSION,
    WEBHOOK_FAILURES,
    WEBHOOKS,
    WORKER_BACKLOG,
    WORKER_DEPLOYMENTS,
    WORKER_QUEUES,
)
from elasticrecode.jobs.answers import Retried, SubmittedJob, SubmittedScore
from elasticrecode.jobs.events import Event, Output, Quality
from elasticrecode.jobs.job import Job, Kind
from elasticrecode.jobs.lifecycle import STATES
from elasticrecode.jobs.record import JobRecord
from elasticrecode.jobs.requests import (
    BATCH_LIMIT,
    IDEMPOTENCY_KEY,
    JobRequest,
    JobsRequest,
    PresetRequest,
    RetryRequest,
    VmafRequest,
)
from elasticrecode.media import profiles
from elasticrecode.media.codecs import CODECS, PLATFORMS
from elasticrecode.media.presets import NAME, NAME_RULE
from elasticrecode.media.profiles import Profile
from elasticrecode.webhooks import request as webhooks
from elasticrecode.webhooks.answers import GivenUp, NewWebhook, Sent, WebhookRecord, WebhookRemoved
from elasticrecode.webhooks.request import WebhookRequest
from elasticrecode.workers.answers import DeploymentRecord, QueueBacklog, QueuePause, Queues
from elasticrecode.workers.fleet import LISTED, NAMED

Json = dict[str, Any]

_DESCRIPTION = """\
A control plane for transcoding video and scoring its quality on a fleet of workers.

Errors are problem details (RFC 9457); those of a body list every fault in `errors`. Lists come in pages: while there is
more, the header `Link` leads to the next one. What happens to jobs can be watched by WebSocket at `/ws`, which this
description does not cover; docs/reference/api.md does.
"""
_TAGS = {
    "Server": "What the API is and which words it knows.",
    "Jobs": "Transcodes and quality scores, one or a thousand at a time.",
    "Events": "What has happened to jobs.",
    "Batches": "Up to a million jobs of a list, a manifest or a prefix.",
    "Workers": "Queues, what they hold, and the Deployments behind them.",
    "Webhooks": "Events sent to addresses of users.",
    "Presets": "Profiles that are called by a name.",
}
_BEARER = {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
_SCHEMES: Mapping[signing.Kind, Json] = {
    "cognito": _BEARER,
    "jwt": _BEARER,
    "iam": {
        "type": "apiKey",
        "in": "header",
        "name": "Authorization",
        "x-amazon-apigateway-authtype": "awsSigv4",
    },
}
"""Option `auth` → how requests say who sends them; without one, nobody is asked."""

_REFUSALS = {
    400: "Not understood: no JSON, or a parameter out of range.",
    401: "Nobody is known by the token, or there is none.",
    403: "Not for this caller, or refused by the deployment's firewall.",
    404: "There is no such thing, or it has expired.",
    409: "Refused as things stand.",
    413: "The body is too large.",
    415: "Not JSON, by its Content-Type.",
    422: "The body says something impossible; `errors` lists every fault. Nothing was stored or sent.",
    429: "Too many requests.",
    500: "The fault is ours.",
    502: "The fault is ours.",
    503: "AWS could not take it. Nothing was stored that the answer does not name.",
    504: "No answer in time. What was asked may have happened.",
}
_REF = "#/components/schemas/{name}"
_WORDS = {
    name: f"{words[0].upper()}{words[1:]}." for name, (_, words) in {**batches.FORMATS, **webhooks.FORMATS}.items()
} | {
    "transcode-preset": "A preset that transcodes; GET /v1/presets lists them.",
    "score-preset": "A preset that only scores; GET /v1/presets lists them.",
    "webhook-secret": "Empty, or whsec_ and 24 to 64 bytes in base64.",
}
_EVERYWHERE = (400, 403, 429, 500, 502, 504)
_RETRIED_AFTER = (409, 429, 503)


class _Body(NamedTuple):
    """What a request may be, any of several types, with examples by name."""

    kinds: Sequence[type]
    examples: Mapping[str, Json]


class _Query(NamedTuple):
    """A parameter of the query."""

    name: str
    description: str
    schema: Json
    required: bool = False


class _Link(NamedTuple):
    """A request that an answer leads to: the parameter that a place in it, or in the request, gives."""

    route: str
    parameter: str
    source: str


class _Operation(NamedTuple):
    """A route: what it is for, what it answers by status, how else it refuses, and what it is given.

    A list in pages has a `cursor`, and `limit` entries on a page unless another number is asked for.
    """

    id: str
    tag: str
    summary: str
    answers: Mapping[int, Any]
    refusals: Sequence[int] = ()
    query: Sequence[_Query] = ()
    body: _Body | None = None
    has_key: bool = False
    cursor: str = ""
    limit: int = PAGE_DEFAULT
    links: Sequence[_Link] = ()
    examples: Mapping[str, Any] = {}


def _whole(pattern: str) -> str:
    return f"^(?:{pattern})$"


def _name(**more: Any) -> Json:
    """A name that something may be asked for by."""
    return {"type": "string", "minLength": 1, "maxLength": PARAMETER_LENGTH, **more}


_PATH: Mapping[str, tuple[str, Json]] = {
    "jobID": ("A job, by its id.", _name()),
    "userID": ("A user.", _name()),
    "batchID": ("A batch, by its id.", _name()),
    "queue": ("A queue, by its name.", _name()),
    "webhookID": ("A webhook, by its id.", _name()),
    "name": (f"A preset: {NAME_RULE}.", {"type": "string", "pattern": _whole(NAME.pattern)}),
}
_KEY: Json = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "The same key and body from the same user give the same answer, and nothing is made twice.",
    "schema": {"type": "string", "pattern": _whole(IDEMPOTENCY_KEY.pattern)},
}
_USER = _Query("userID", "Whose.", _name(), required=True)
_FILTERS = (
    _USER,
    _Query("state", "Only jobs in this state.", {"type": "string", "enum": list(STATES)}),
    _Query("kind", "Only jobs of this kind.", {"type": "string", "enum": list(get_args(Kind))}),
    _Query("batchID", "Only jobs of this batch.", _name()),
)


def _of_job(pointer: str) -> list[_Link]:
    routes = (JOB_STATUS, JOB_EVENTS, CANCEL, RETRY)
    return [_Link(route, "jobID", f"$response.body#{pointer}") for route in routes]


def _of_batch() -> list[_Link]:
    return [_Link(route, "batchID", "$response.body#/batchID") for route in (BATCH, CANCEL_BATCH)] + [
        _Link(JOBS, "batchID", "$response.body#/batchID")
    ]


def _of_webhook(pointer: str) -> list[_Link]:
    routes = (WEBHOOK_FAILURES, RETRY_WEBHOOK, REMOVE_WEBHOOK)
    return [_Link(route, "webhookID", f"$response.body#{pointer}") for route in routes]


_EVENTS = {200: list[Event]}
_OPERATIONS: Mapping[str, _Operation] = {
    SERVER: _Operation("showServer", "Server", "Server, version, build and commit", {200: answers.Server}),
    VERSION: _Operation("showVersion", "Server", "Server, version, build and commit", {200: answers.Server}),
    SCHEMA: _Operation(
        "listWords",
        "Server",
        "The words that a profile may use",
        {200: answers.Words},
        examples={"words": profiles.SCHEMA},
    ),
    HEALTH: _Operation(
        "showHealth",
        "Server",
        "Whether the API takes requests; what lies behind it is not looked at",
        {200: answers.Health},
    ),
    OPENAPI: _Operation("describe", "Server", "This description", {200: dict[str, Any]}),
    SUBMIT: _Operation(
        "submitJobs",
        "Jobs",
        f"One job of `input`, or up to {BATCH_LIMIT} of `batchInputs`, with one profile",
        {200: list[SubmittedJob]},
        (409, 503),
        body=_Body((JobRequest, JobsRequest), {"job": examples.JOB, "jobs": examples.JOBS}),
        has_key=True,
        links=_of_job("/0/jobid"),
        examples={"jobs": examples.SUBMITTED},
    ),
    SUBMIT_VMAF: _Operation(
        "submitScore",
        "Jobs",
        "One quality score of `input` against `origin`",
        {200: SubmittedScore},
        (409, 503),
        body=_Body((VmafRequest,), {"score": examples.VMAF}),
        has_key=True,
        links=_of_job("/jobid"),
        examples={"score": examples.VMAF_SUBMITTED},
    ),
    JOB_EVENTS: _Operation(
        "listJobEvents", "Events", "The job's events, oldest first", _EVENTS, (409, 503), cursor=CURSOR.pattern
    ),
    USER_EVENTS: _Operation(
        "listUserEvents", "Events", "The events of all jobs of a user", _EVENTS, (409, 503), cursor=CURSOR.pattern
    ),
    USER_LOGS: _Operation(
        "listUserLogs", "Events", "The events of all jobs of a user", _EVENTS, (409, 503), cursor=CURSOR.pattern
    ),
    JOB_STATUS: _Operation(
        "showJob", "Jobs", "Where the job stands", {200: JobRecord}, (503,), links=_of_job("/jobID")
    ),
    JOBS: _Operation(
        "listJobs",
        "Jobs",
        "A user's jobs, or those of one batch, newest first",
        {200: list[JobRecord]},
        (503,),
        query=_FILTERS,
        cursor=f"{CURSOR.pattern}|{ids.JOB.pattern}",
        links=_of_job("/0/jobID"),
    ),
    CANCEL: _Operation("cancelJob", "Jobs", "Cancels the job; refused when it has ended", {202: JobRecord}, (409, 503)),
    RETRY: _Operation("retryJob", "Jobs", "Runs a failed or cancelled job again", {202: JobRecord}, (409, 503)),
    RETRY_FAILED: _Operation(
        "retryJobs",
        "Jobs",
        "Runs all failed jobs of a user again, or those of a batch",
        {202: Retried},
        (404, 503),
        body=_Body((RetryRequest,), {"all": examples.RETRY}),
    ),
    SUBMIT_BATCH: _Operation(
        "submitBatch",
        "Batches",
        "Takes a batch in; its inputs are looked through afterwards",
        {202: BatchTaken},
        (409, 503),
        body=_Body((BatchRequest,), {"manifest": examples.BATCH}),
        has_key=True,
        links=_of_batch(),
    ),
    BATCH: _Operation("showBatch", "Batches", "How a batch stands", {200: BatchRecord}, (503,), links=_of_batch()),
    CANCEL_BATCH: _Operation(
        "cancelBatch", "Batches", "Cancels the batch; refused when it has ended", {202: BatchRecord}, (409, 503)
    ),
    WORKER_QUEUES: _Operation(
        "listQueues",
        "Workers",
        "The queues by group of workers",
        {200: Queues},
        (503,),
        links=[_Link(route, "queue", "$response.body#/cpu/0") for route in (PAUSE_QUEUE, RESUME_QUEUE)],
        examples={"queues": examples.QUEUES},
    ),
    WORKER_DEPLOYMENTS: _Operation(
        "listDeployments",
        "Workers",
        "The discovered Deployments by name; refused where discovery is off",
        {200: dict[str, DeploymentRecord]},
        (409, 503),
        cursor=NAMED.pattern,
        limit=LISTED,
    ),
    WORKER_BACKLOG: _Operation(
        "listBacklog",
        "Workers",
        "What each queue holds, who serves it, and what is wrong with it",
        {200: list[QueueBacklog]},
        (503,),
        cursor=NAMED.pattern,
        limit=LISTED,
    ),
    PAUSE_QUEUE: _Operation("pauseQueue", "Workers", "No new jobs for a queue", {200: QueuePause}, (503,)),
    RESUME_QUEUE: _Operation("resumeQueue", "Workers", "Jobs for a queue again", {200: QueuePause}, (503,)),
    ADD_WEBHOOK: _Operation(
        "addWebhook",
        "Webhooks",
        "Makes a webhook; its secret is shown this once",
        {201: NewWebhook},
        (409, 503),
        body=_Body((WebhookRequest,), {}),
        links=_of_webhook("/webhookID"),
    ),
    WEBHOOKS: _Operation(
        "listWebhooks",
        "Webhooks",
        "A user's webhooks and how they fare",
        {200: list[WebhookRecord]},
        (503,),
        query=(_USER,),
        links=_of_webhook("/0/webhookID"),
    ),
    REMOVE_WEBHOOK: _Operation("removeWebhook", "Webhooks", "Removes a webhook", {200: WebhookRemoved}, (503,)),
    WEBHOOK_FAILURES: _Operation(
        "listFailures",
        "Webhooks",
        "What could not be delivered, by the time of the events",
        {200: list[GivenUp]},
        (503,),
        cursor=CURSOR.pattern,
    ),
    RETRY_WEBHOOK: _Operation(
        "retryFailures", "Webhooks", "Sends that again, and enables the webhook", {202: Sent}, (503,)
    ),
    SOCKET_TICKET: _Operation(
        "makeTicket",
        "Events",
        "A ticket with which a WebSocket can be opened, once and within a minute",
        {200: answers.SocketTicket},
        (503,),
    ),
    PRESETS: _Operation(
        "listPresets",
        "Presets",
        "The presets by name",
        {200: list[answers.PresetRecord]},
        (503,),
        cursor=NAME.pattern,
    ),
    PUT_PRESET: _Operation(
        "putPreset",
        "Presets",
        "Stores a preset; refused for a name that is built in or the deployment's",
        {201: answers.PresetRecord, 200: answers.PresetRecord},
        (409, 503),
        body=_Body((PresetRequest,), {"preset": examples.PRESET}),
        links=[_Link(REMOVE_PRESET, "name", "$request.path.name")],
    ),
    REMOVE_PRESET: _Operation(
        "removePreset", "Presets", "Removes a stored preset", {200: answers.PresetRemoved}, (409, 503)
    ),
}
_HELD: Mapping[type, Mapping[str, Any]] = {
    JobRecord: {"profile": Profile, "outputs": list[Output] | None, "quality": Quality | None},
    Event: {"job": Job, "batch": dict[str, Any]},
    GivenUp: {"event": Event},
}
"""What is in fields that are handed on as they were stored, unread."""


def document(auth: signing.Kind, sign_in: SignIn | None = None) -> Json:
    """The description of a deployment with this option `auth`: cognito, jwt, iam or none.

    With cognito it tells where people sign in, as `x-cognito` of the security scheme.
    """
    described = {route: _operation(route, auth) for route in _routes()}
    paths: dict[str, Json] = {}
    for route, operation in described.items():
        method, path = route.split(" ")
        paths.setdefault(path, {})[method.lower()] = operation
    secured: Json = {"security": [{"token": []}]} if auth in _SCHEMES else {}
    place: Json = {"x-cognito": msgspec.to_builtins(sign_in)} if sign_in else {}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "ElasticRecode",
            "version": __version__,
            "description": _DESCRIPTION,
            "license": {"name": "Apache 2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/api"}],
        "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
        **secured,
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "responses": {str(status): _refusal(status) for status in _REFUSALS},
            "parameters": {"IdempotencyKey": _KEY},
            **({"securitySchemes": {"token": {**_SCHEMES[auth], **place}}} if secured else {}),
        },
    }


def _routes() -> Iterator[str]:
    return (route for served in ROUTES.values() for route in served)


def _operation(route: str, auth: signing.Kind) -> Json:
    told = _OPERATIONS[route]
    names = re.findall(r"{(\w+)}", route)
    parameters = [
        {"name": name, "in": "path", "required": True, "description": _PATH[name][0], "schema": _PATH[name][1]}
        for name in names
    ]
    parameters += [
        {"name": name, "in": "query", "required": required, "description": description, "schema": schema}
        for name, description, schema, required in (*told.query, *(_paging(told) if told.cursor else ()))
    ]
    if told.has_key:
        parameters.append({"$ref": "#/components/parameters/IdempotencyKey"})
    refusals = {*_EVERYWHERE, *told.refusals}
    if names:
        refusals.add(404)
    if told.body:
        refusals |= {413, 415, 422}
    secured = auth in _SCHEMES and route not in PUBLIC_ROUTES
    if secured:
        refusals.add(401)
    return {
        "operationId": told.id,
        "tags": [told.tag],
        "summary": told.summary,
        **({"description": "Operators only."} if secured and route in OPERATOR_ROUTES else {}),
        **({"security": []} if auth in _SCHEMES and not secured else {}),
        **({"parameters": parameters} if parameters else {}),
        **({"requestBody": _request(told.body)} if told.body else {}),
        "responses": {str(status): _answer(told, kind) for status, kind in told.answers.items()}
        | {str(status): {"$ref": f"#/components/responses/{status}"} for status in sorted(refusals)},
    }


def _paging(told: _Operation) -> Iterator[_Query]:
    low, high = PAGE
    limit = {"type": "integer", "minimum": low, "maximum": high, "default": told.limit}
    yield _Query("limit", "The most entries on a page.", limit)
    after = {"type": "string", "maxLength": CURSOR_LENGTH, "pattern": _whole(f"{told.cursor}|")}
    yield _Query("after", "Where the page begins, from the Link header of the one before; empty for the first.", after)


def _request(body: _Body) -> Json:
    kinds = [_schema(kind) for kind in body.kinds]
    content: Json = {"schema": kinds[0] if len(kinds) == 1 else {"anyOf": kinds}}
    return {"required": True, "content": {"application/json": content | _shown(body.examples)}}


def _answer(told: _Operation, kind: Any) -> Json:
    links = {_OPERATIONS[link.route].id: _link(link) for link in told.links}
    return {
        "description": told.summary,
        **({"headers": {"Link": _text('Where the next page is: `<…>; rel="next"`.')}} if told.cursor else {}),
        "content": {"application/json": {"schema": _schema(kind)} | _shown(told.examples)},
        **({"links": links} if links else {}),
    }


def _link(link: _Link) -> Json:
    return {"operationId": _OPERATIONS[link.route].id, "parameters": {link.parameter: link.source}}


def _refusal(status: int) -> Json:
    return {
        "description": _REFUSALS[status],
        **(
            {"headers": {"Retry-After": _text("Seconds after which to try again.")}} if status in _RETRIED_AFTER else {}
        ),
        "content": {"application/problem+json": {"schema": _schema(ProblemDetails)}},
    }


def _text(description: str) -> Json:
    """A header."""
    return {"description": description, "schema": {"type": "string"}}


def _shown(examples_: Mapping[str, Any]) -> Json:
    found = {name: {"value": msgspec.to_builtins(value)} for name, value in examples_.items()}
    return {"examples": found} if found else {}


# Types as schemas


def _schema(kind: Any) -> Json:
    """The schema of a type that requests or answers are of."""
    (found,), _ = msgspec.json.schema_components([kind], ref_template=_REF)
    return found


def _schemas() -> dict[str, Json]:
    """All types by name, with what else the readers of requests check."""
    answering = [
        *_HELD,
        *(kind for told in _OPERATIONS.values() for kind in map(_struct, told.answers.values()) if kind),
    ]
    asked = [kind for told in _OPERATIONS.values() if told.body for kind in told.body.kinds]
    held = [kind for fields in _HELD.values() for kind in fields.values()]
    _, found = msgspec.json.schema_components([*asked, *answering, *held, ProblemDetails], ref_template=_REF)
    for kind in answering:
        if not kind.__struct_config__.omit_defaults:
            found[kind.__name__]["required"] = [
                field.encode_name for field in structs.fields(kind) if field.default is not UNSET
            ]
        for name, held_kind in _HELD.get(kind, {}).items():
            found[kind.__name__]["properties"][name] = _schema(held_kind)
    found["Vmaf"]["dependentRequired"] = {"onFail": ["min"]}
    transcodes = _transcodes(found)
    score = _closed(found["VmafProfile"], ("vmaf", "ec2"))
    found["FfmpegProfile"] = {"anyOf": [*transcodes, _named("transcode-preset")]}
    found["VmafProfile"] = {"anyOf": [score, _named("score-preset")]}
    found["PresetRequest"]["properties"]["profile"] = {"anyOf": [*transcodes, score]}
    found["BatchRequest"] = _batch_requests(found["BatchRequest"])
    for schema in found.values():
        _explain(schema)
    return found


def _struct(kind: Any) -> Any:
    """The type of an answer's entries, or of itself; None where it is anything."""
    inner = get_args(kind)[-1] if get_origin(kind) else kind
    return inner if isinstance(inner, type) and issubclass(inner, msgspec.Struct) else None


def _transcodes(found: Mapping[str, Json]) -> list[Json]:
    """The profiles of transcodes: encoder and platforms agree."""
    default, *others = PLATFORMS
    kinds = []
    for where, required in ((default, ()), *((other, part) for other in others for part in ("ffmpeg", "ec2"))):
        encoders = [*CODECS, *(codec.encoders[where].name for codec in CODECS.values())]
        ffmpeg, ec2 = (
            _narrowed(found["Ffmpeg"], platform=[where], codec=encoders),
            _narrowed(found["Ec2"], platform=[where]),
        )
        profile = _closed(found["FfmpegProfile"])
        profile["properties"] |= {"ffmpeg": ffmpeg, "ec2": ec2}
        if required:
            profile["properties"][required]["required"] = [
                *profile["properties"][required].get("required", ()),
                "platform",
            ]
            profile["required"] = sorted({*profile["required"], required})
        kinds.append({"title": f"Transcode on {where}" + (f", by {required}" if required else ""), **profile})
    return kinds


def _batch_requests(schema: Json) -> Json:
    """Batches of each kind of source; suffixes go with a prefix only."""
    sources = {name: (name, *(("suffixes",) if name == "prefix" else ())) for name in SOURCES}
    kinds = []
    for name, own in sources.items():
        others = {*SOURCES, "suffixes"} - set(own)
        kind = _closed(schema, [field for field in schema["properties"] if field not in others])
        kinds.append({"title": f"Batch of {name}", **kind, "required": [*schema["required"], name]})
    return {"description": schema["description"], "anyOf": kinds}


def _named(kind: str) -> Json:
    return {
        "title": "The name of a preset",
        "type": "object",
        "properties": {"preset": {"type": "string", "format": kind}},
        "required": ["preset"],
        "additionalProperties": False,
    }


def _narrowed(schema: Json, **choices: list[str]) -> Json:
    """A schema of an object, some fields of which have fewer choices."""
    fields = {name: {**field, "enum": choices[name]} if name in choices else field
              for name, field in schema["properties"].items()}  # fmt: skip
    return {**schema, "properties": fields}


def _closed(schema: Json, fields: Sequence[str] = ()) -> Json:
    """A schema of an object, without what names it, of these fields or all of them."""
    properties = {name: schema["properties"][name] for name in fields or schema["properties"]}
    return {**{key: value for key, value in schema.items() if key != "title"}, "properties": properties}


def _explain(schema: Any) -> None:
    """Say in words what a format stands for, wherever it is."""
    if isinstance(schema, dict):
        if schema.get("format") in _WORDS and "description" not in schema:
            schema["description"] = _WORDS[schema["format"]]
        for below in schema.values():
            _explain(below)
    elif isinstance(schema, list):
        for below in schema:
            _explain(below)
