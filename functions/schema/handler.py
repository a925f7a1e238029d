"""GET routes about the API itself: version, health, the words of a profile, its two documents. Uses no AWS API."""

from functools import cached_property
from pathlib import Path

import msgspec

from elasticrecode import __version__
from elasticrecode.api import http
from elasticrecode.api.answers import Health, Server
from elasticrecode.contract.routes import ASYNCAPI, HEALTH, OPENAPI, SCHEMA, SERVER, VERSION
from elasticrecode.contract.settings import SchemaSettings
from elasticrecode.media import profiles
from elasticrecode.runtime import compose

DOCUMENTS = Path(__file__).parent
"""Where the stack writes `openapi.json` and `asyncapi.json`: beside this file."""


class Description:
    """Answers that deployment fixes."""

    def __init__(self, settings: SchemaSettings, documents: Path = DOCUMENTS) -> None:
        self._settings = settings
        self._documents = documents
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

    def asyncapi(self, _: http.Request) -> http.Response:
        """The AsyncAPI document."""
        return http.Response(self._asyncapi)

    @cached_property
    def _asyncapi(self) -> msgspec.Raw:
        return msgspec.Raw((self._documents / "asyncapi.json").read_bytes())

    @cached_property
    def _openapi(self) -> msgspec.Raw:
        """The document as JSON, with the place to sign in, which only the deployed stack knows."""
        document = (self._documents / "openapi.json").read_bytes()
        if self._settings.sign_in is None:
            return msgspec.Raw(document)
        content = msgspec.json.decode(document)
        content["components"]["securitySchemes"]["token"]["x-cognito"] = self._settings.sign_in
        return msgspec.Raw(msgspec.json.encode(content))


def build(settings: SchemaSettings, documents: Path = DOCUMENTS) -> http.LambdaHandler:
    """The Lambda handler. `documents` is the folder with the documents."""
    description = Description(settings, documents)
    return http.handler(
        {
            SERVER: description.server,
            VERSION: description.server,
            SCHEMA: description.words,
            HEALTH: description.health,
            OPENAPI: description.openapi,
            ASYNCAPI: description.asyncapi,
        },
        settings,
    )


handler = compose(build, SchemaSettings)
