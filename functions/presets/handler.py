"""Routes about presets: list all, store one, remove a stored one."""

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


class PresetRoutes:
    """The routes about presets."""

    def __init__(self, settings: PresetsSettings) -> None:
        self._presets = Presets(settings.registry_table, settings.presets)

    def list(self, request: http.Request) -> http.Response:
        """A page of the presets, by name."""
        limit, after = request.page(cursor=NAME)
        presets = self._presets.read()
        names = sorted(name for name in presets if name > after)
        last = names[limit - 1] if len(names) > limit else ""
        page = [self._record(name, presets[name], _resolved(name, presets[name])) for name in names[:limit]]
        return http.Response(page, headers=request.next_link(last))

    def put(self, request: http.Request) -> http.Response:
        """Store a preset: 201 for a new one, 200 for one that is replaced."""
        name = request.parameters["name"]
        if not NAME.fullmatch(name):
            raise BadParameter(f"The name of a preset must be {NAME_RULE}.")
        body = Body(request.body(_BODY_LIMIT))
        resolved = read_preset(body)
        profile = body.fields["profile"]
        is_new = self._presets.put(name, profile)
        logger.info("preset stored", extra={"preset": name, "profile": profile})
        return http.Response(self._record(name, profile, resolved), 201 if is_new else 200)

    def remove(self, request: http.Request) -> http.Response:
        """Remove a stored preset."""
        name = request.parameters["name"]
        if not self._presets.remove(name):
            raise NotFound(f"There is no stored preset {name}; GET /v1/presets lists them.")
        logger.info("preset removed", extra={"preset": name})
        return http.Response(PresetRemoved(name))

    def _record(self, name: str, profile: dict[str, Any], resolved: Profile | None) -> PresetRecord:
        return PresetRecord(name, profile, resolved, self._presets.source(name))


def _resolved(name: str, profile: dict[str, Any]) -> Profile | None:
    """The resolved profile; None for one that an earlier version stored and this one cannot use."""
    try:
        return read_preset(Body(msgspec.json.encode({"profile": profile})))
    except Invalid:
        logger.exception("stored preset cannot be used", extra={"preset": name})
        return None


def build(settings: PresetsSettings) -> http.LambdaHandler:
    """The Lambda handler."""
    routes = PresetRoutes(settings)
    return http.handler({PRESETS: routes.list, PUT_PRESET: routes.put, REMOVE_PRESET: routes.remove}, settings)


handler = compose(build, PresetsSettings)
