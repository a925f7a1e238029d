"""Presets: what there is to name in a profile, and the stored ones, which are put and removed here."""

from typing import Any

import msgspec

from elasticrecode.api import http
from elasticrecode.api.answers import PresetRecord, PresetRemoved
from elasticrecode.contract.routes import PRESETS, PUT_PRESET, REMOVE_PRESET
from elasticrecode.contract.settings import PresetsSettings
from elasticrecode.errors import BadParameter, Invalid, NotFound
from elasticrecode.jobs.preset_store import Presets
from elasticrecode.jobs.requests import read_preset
from elasticrecode.log import logger
from elasticrecode.media.presets import NAME, NAME_RULE
from elasticrecode.media.profiles import Profile
from elasticrecode.runtime import compose
from elasticrecode.validation import Body

_BODY_LIMIT = 8192


def build(settings: PresetsSettings) -> http.LambdaHandler:
    """The handler over the registry."""
    presets = Presets(settings.registry_table, settings.presets)

    def listing(request: http.Request) -> http.Response:
        limit, after = request.page(cursor=NAME)
        known = presets.read()
        found = sorted(name for name in known if name > after)
        more = found[limit - 1] if len(found) > limit else ""
        shown = [_shown(name, known[name], _resolved(name, known[name])) for name in found[:limit]]
        return http.Response(shown, headers=request.next_link(more))

    def put(request: http.Request) -> http.Response:
        name = request.parameters["name"]
        if not NAME.fullmatch(name):
            raise BadParameter(f"The name of a preset must be {NAME_RULE}.")
        body = Body(request.body(_BODY_LIMIT))
        resolved = read_preset(body)
        profile = body.fields["profile"]
        is_new = presets.put(name, profile)
        logger.info("preset stored", extra={"preset": name, "profile": profile})
        return http.Response(_shown(name, profile, resolved), 201 if is_new else 200)

    def remove(request: http.Request) -> http.Response:
        name = request.parameters["name"]
        if not presets.remove(name):
            raise NotFound(f"There is no stored preset {name}; GET /v1/presets lists them.")
        logger.info("preset removed", extra={"preset": name})
        return http.Response(PresetRemoved(name))

    def _resolved(name: str, profile: dict[str, Any]) -> Profile | None:
        """None where an earlier version stored what can't be used any more."""
        try:
            return read_preset(Body(msgspec.json.encode({"profile": profile})))
        except Invalid:
            logger.exception("preset %s can't be used", name)
            return None

    def _shown(name: str, profile: dict[str, Any], resolved: Profile | None) -> PresetRecord:
        return PresetRecord(name, profile, resolved, presets.source(name))

    return http.handler({PRESETS: listing, PUT_PRESET: put, REMOVE_PRESET: remove}, settings)


handler = compose(build, PresetsSettings)
