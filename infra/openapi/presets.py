"""Operations on presets."""

from elasticrecode.api.answers import PresetRecord, PresetRemoved
from elasticrecode.contract.routes import PRESETS, PUT_PRESET, REMOVE_PRESET
from elasticrecode.jobs.requests import PresetRequest
from elasticrecode.media.presets import NAME, STORED_LIMIT
from infra.openapi import examples
from infra.openapi.operation import Area, Body, Link, Operation

AREA = Area(
    "Presets",
    "Profiles with a name. A request may name one as `profile.preset`.",
    {
        PRESETS: Operation(
            "listPresets",
            "List presets",
            "Lists the built-in presets, those of the deployment and the stored ones, by name.",
            {200: list[PresetRecord]},
            (503,),
            cursor=NAME.pattern,
        ),
        PUT_PRESET: Operation(
            "putPreset",
            "Store a preset",
            f"Stores a preset: 201 for a new one, 200 for one that is replaced. Answers 409 for the name of a built-in "
            f"preset or one of the deployment, and for more than {STORED_LIMIT} stored presets.",
            {201: PresetRecord, 200: PresetRecord},
            (409, 503),
            body=Body((PresetRequest,), {"preset": examples.PRESET}),
            links=[Link(REMOVE_PRESET, "name", "$request.path.name")],
        ),
        REMOVE_PRESET: Operation(
            "removePreset",
            "Remove a preset",
            "Removes a stored preset. Answers 409 for a built-in preset or one of the deployment.",
            {200: PresetRemoved},
            (409, 503),
        ),
    },
)
