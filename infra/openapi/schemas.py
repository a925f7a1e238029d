"""JSON Schemas of the types that read requests and answer them, with the rules that the readers check beside them."""

from collections.abc import Iterable, Mapping, Sequence
from inspect import cleandoc
from typing import Any, get_args, get_origin

import msgspec
from msgspec import UNSET, structs

from elasticrecode.api.answers import ProblemDetails
from elasticrecode.batches import request as batches
from elasticrecode.batches.request import SOURCES
from elasticrecode.jobs.events import Event, Notice, Output, Quality
from elasticrecode.jobs.job import Job
from elasticrecode.jobs.record import JobRecord
from elasticrecode.jobs.title_ladder import TitleLadder
from elasticrecode.media.codecs import AUDIO_EXTENSIONS, CODECS, PLATFORMS
from elasticrecode.media.profiles import Profile
from elasticrecode.plans.plan import PlanRecord
from elasticrecode.webhooks import request as webhooks
from elasticrecode.webhooks.answers import GivenUp
from infra.openapi.operation import Json, Operation

_REF = "#/components/schemas/{name}"
_RAW_FIELDS: Mapping[type, Mapping[str, Any]] = {
    JobRecord: {
        "profile": Profile,
        "outputs": list[Output] | None,
        "quality": Quality | None,
        "ladder": TitleLadder | None,
        "warnings": list[Notice] | None,
    },
    PlanRecord: {"profile": Profile},
    Event: {"job": Job, "batch": dict[str, Any]},
    GivenUp: {"event": Event},
}
"""Types of the fields that functions pass on as stored, without reading them."""

TRUNCATED: Mapping[str, Json] = {
    "truncated": {
        "enum": [True],
        "description": "It is too long for one frame: its job and most of its log are left out.",
    },
    "full": {"type": "string", "description": "The path of the whole event."},
}
"""Further fields of events as watchers and webhooks get them."""

_RATES = {"bitrate": ("quality", "maxBitrate"), "quality": ("bitrate", "buffersize")}
"""Field that decides the rate of an encode → the fields that do not go with it."""

_AUDIO = "Audio {}"
_COPIED = _AUDIO.format("copy")
"""Title of the audio that a package can't have, as its segments need their own cuts."""

_FORMAT_RULES = {
    name: f"{rule[0].upper()}{rule[1:]}." for name, (_, rule) in {**batches.FORMATS, **webhooks.FORMATS}.items()
} | {
    "transcode-preset": "A preset that transcodes; GET /v1/presets lists them.",
    "score-preset": "A preset that only scores; GET /v1/presets lists them.",
    "webhook-secret": "Empty, or whsec_ and 24 to 64 bytes in base64.",
}


def schema(kind: Any) -> Json:
    """The schema of one type, as a reference where it has a name."""
    (reference,), _ = msgspec.json.schema_components([kind], ref_template=_REF)
    return reference


def schemas(operations: Iterable[Operation]) -> dict[str, Json]:
    """The schemas of all types that operations read or answer, by name."""
    operations = list(operations)
    answered = [
        *_RAW_FIELDS,
        *(struct for each in operations for struct in map(_struct, each.answers.values()) if struct),
    ]
    read = [kind for each in operations if each.body for kind in each.body.kinds]
    nested = [kind for fields in _RAW_FIELDS.values() for kind in fields.values()]
    _, components = msgspec.json.schema_components([*read, *answered, *nested, ProblemDetails], ref_template=_REF)
    for kind in answered:
        if not kind.__struct_config__.omit_defaults:
            components[kind.__name__]["required"] = [
                field.encode_name for field in structs.fields(kind) if field.default is not UNSET
            ]
        for name, raw in _RAW_FIELDS.get(kind, {}).items():
            components[kind.__name__]["properties"][name] = schema(raw)
    components["Vmaf"]["dependentRequired"] = {"onFail": ["min"]}
    _split_audio(components)
    transcodes = [*_transcodes(components), _package(components), _sound(components)]
    del components["AudioTracks"]
    score = _closed(components["VmafProfile"], ("vmaf", "ec2"))
    for name, choices in (
        ("FfmpegProfile", [*transcodes, _preset("transcode-preset")]),
        ("VmafProfile", [score, _preset("score-preset")]),
    ):
        components[name] = {"description": components[name]["description"], "anyOf": choices}
    components["PresetRequest"]["properties"]["profile"] = {"anyOf": [*transcodes, score]}
    components["BatchRequest"] = _batch_requests(components["BatchRequest"])
    for component in components.values():
        component["description"] = cleandoc(component["description"])
    _describe_formats(components)
    return components


def _struct(kind: Any) -> Any:
    """The struct that an answer, or each entry of it, is; None where it is anything else."""
    inner = get_args(kind)[-1] if get_origin(kind) else kind
    return inner if isinstance(inner, type) and issubclass(inner, msgspec.Struct) else None


def _transcodes(components: Mapping[str, Json]) -> list[Json]:
    """The profiles of transcodes: by each way to name a platform, with which its encoder must agree, and by rate."""
    default, *others = PLATFORMS
    profiles = []
    for platform, named_by in ((default, ""), *((other, part) for other in others for part in ("ffmpeg", "ec2"))):
        codecs = [word for word, codec in CODECS.items() if platform in codec.encoders]
        encoders = [*codecs, *(CODECS[word].encoders[platform].name for word in codecs)]
        for rate, absent in _RATES.items():
            profile = _closed(components["FfmpegProfile"])
            encode = _narrowed(components["Ffmpeg"], platform=[platform], codec=encoders)
            encode = _closed(encode, [name for name in encode["properties"] if name not in absent])
            encode["required"] = [*encode["required"], rate]
            profile["properties"] |= {"ffmpeg": encode, "ec2": _narrowed(components["Ec2"], platform=[platform])}
            profile["required"] = ["ffmpeg"]
            if named_by:
                part = profile["properties"][named_by]
                part["required"] = [*part.get("required", ()), "platform"]
                profile["required"] = sorted({"ffmpeg", named_by})
            title = f"Transcode on {platform}" + (f", by {named_by}" if named_by else "") + f", with a {rate}"
            profiles.append({"title": title, **profile})
    return profiles


def _package(components: Mapping[str, Json]) -> Json:
    """The profile of a package alone, whose rungs are encoded on the default platform."""
    fields = components["FfmpegProfile"]["properties"]
    profile = _closed(components["FfmpegProfile"], [name for name in fields if name != "ffmpeg"])
    profile["properties"] |= {
        "audio": {"anyOf": [kind for kind in components["Audio"]["anyOf"] if kind["title"] != _COPIED]},
        "ec2": _narrowed(components["Ec2"], platform=[PLATFORMS[0]]),
    }
    return {"title": "A package alone", **profile, "required": ["package"]}


def _sound(components: Mapping[str, Json]) -> Json:
    """The profile of sound alone."""
    profile = _closed(components["FfmpegProfile"], ("audio", "ec2"))
    profile["properties"]["audio"] = _narrowed(components["AudioTracks"], codec=sorted(AUDIO_EXTENSIONS))
    return {"title": "Sound alone", **profile, "required": ["audio"]}


def _split_audio(components: dict[str, Json]) -> None:
    """Describe what `copy` and `none` leave out beside them."""
    audio = components["AudioTracks"] = {**components["Audio"], "title": "AudioTracks"}
    encoded = _narrowed(_closed(audio), codec=sorted(AUDIO_EXTENSIONS))
    kinds = [{"title": "Encoded audio", **encoded}]
    for codec, fields in (("copy", ("codec", "tracks")), ("none", ("codec",))):
        kind = _narrowed(_closed(audio, fields), codec=[codec])
        kinds.append({"title": _AUDIO.format(codec), **kind, "required": ["codec"]})
    components["Audio"] = {"description": audio["description"], "anyOf": kinds}


def _batch_requests(request: Json) -> Json:
    """Batches of each kind of source; `suffixes` goes with `prefix` only."""
    kinds = []
    for name in SOURCES:
        others = {*SOURCES, "suffixes"} - {name} - ({"suffixes"} if name == "prefix" else set())
        kind = _closed(request, [field for field in request["properties"] if field not in others])
        kinds.append({"title": f"Batch of {name}", **kind, "required": [*request["required"], name]})
    return {"description": request["description"], "anyOf": kinds}


def _preset(format_name: str) -> Json:
    return {
        "title": "The name of a preset",
        "type": "object",
        "properties": {"preset": {"type": "string", "format": format_name}},
        "required": ["preset"],
        "additionalProperties": False,
    }


def _narrowed(struct: Json, **choices: list[str]) -> Json:
    """The schema of a struct with fewer choices for some fields."""
    fields = {
        name: {**field, "enum": choices[name]} if name in choices else field
        for name, field in struct["properties"].items()
    }
    return {**struct, "properties": fields}


def _closed(struct: Json, fields: Sequence[str] = ()) -> Json:
    """The schema of a struct without its title, with these fields, or all of them."""
    properties = {name: struct["properties"][name] for name in fields or struct["properties"]}
    return {**{key: value for key, value in struct.items() if key != "title"}, "properties": properties}


def _describe_formats(node: Any) -> None:
    """Add the rule of each named format as its description, anywhere below `node`."""
    if isinstance(node, dict):
        if node.get("format") in _FORMAT_RULES and "description" not in node:
            node["description"] = _FORMAT_RULES[node["format"]]
        for below in node.values():
            _describe_formats(below)
    elif isinstance(node, list):
        for below in node:
            _describe_formats(below)
