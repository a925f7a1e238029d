"""GET routes about the API itself: version, health, the words of a profile, the OpenAPI document. Uses no AWS API."""

from functools import cached_property
from pathlib import Path

import msgspec

from elasticrecode import __version__
from elasticrecode.api import http
from elasticrecode.api.answers import Health, Server
from elasticrecode.contract.routes import HEALTH, OPENAPI, SCHEMA, SERVER, VERSION
from elasticrecode.contract.settings import SchemaSettings
from elasticrecode.media import profiles
from elasticrecode.runtime import compose

DOCUMENT = Path(__file__).with_name("openapi.json")
"""The OpenAPI document, which the stack writes beside this file."""


class Description:
    """Answers that deployment fixes."""

    def __init__(self, settings: SchemaSettings, document: Path = DOCUMENT) -> None:
        self._settings = settings
        self._document = document
        self._version = f"v{__version__}"

    def server(self, request: http.Request) -> http.Response:
        """The server's name, version, build and commit, and the caller."""
        caller, settings = request.caller, self._settings
        return http.Response(
            Server(
                "ElasticRecode/Controlplane",
                self._version,
                settings.build,
                settings.commit,
                caller.userID,
                caller.operator,
            )
        )

    def health(self, _: http.Request) -> http.Response:
        """That the API takes requests."""
        return http.Response(Health("ok", self._version))

    def words(self, _: http.Request) -> http.Response:
        """The words that a profile may use."""
        return http.Response(profiles.SCHEMA)

    def openapi(self, _: http.Request) -> http.Response:
        """The OpenAPI document."""
        return http.Response(self._openapi)

    @cached_property
    def _openapi(self) -> msgspec.Raw:
        """The document as JSON, with the place to sign in, which only the deployed stack knows."""
        document = self._document.read_bytes()
        if self._settings.sign_in is None:
            return msgspec.Raw(document)
        content = msgspec.json.decode(document)
        content["components"]["securitySchemes"]["token"]["x-cognito"] = self._settings.sign_in
        return msgspec.Raw(msgspec.json.encode(content))


def build(settings: SchemaSettings, document: Path = DOCUMENT) -> http.LambdaHandler:
    """The Lambda handler. `document` is the file with the OpenAPI document."""
    description = Description(settings, document)
    return http.handler(
        {
            SERVER: description.server,
            VERSION: description.server,
            SCHEMA: description.words,
            HEALTH: description.health,
            OPENAPI: description.openapi,
        },
        settings,
    )


handler = compose(build, SchemaSettings)
