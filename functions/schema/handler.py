"""What the API is, which words it knows and how it is used. No AWS behind it."""

from functools import cache

from elasticrecode import __version__
from elasticrecode.api import http
from elasticrecode.api.answers import Health, Server
from elasticrecode.contract.routes import HEALTH, OPENAPI, SCHEMA, SERVER, VERSION
from elasticrecode.contract.settings import SchemaSettings
from elasticrecode.media import profiles
from elasticrecode.runtime import compose


def build(settings: SchemaSettings) -> http.LambdaHandler:
    """The handler; its answers are fixed at deployment."""
    version = f"v{__version__}"
    server = http.Response(Server("ElasticRecode/Controlplane", version, settings.build, settings.commit))
    schema = http.Response(profiles.SCHEMA)
    health = http.Response(Health("ok", version))

    @cache
    def described() -> http.Response:
        """Made when it is first asked for: it takes all types, and few ask."""
        from elasticrecode.api.openapi import document

        return http.Response(document(settings.auth.kind, settings.sign_in))

    routes = {
        SERVER: lambda _: server,
        VERSION: lambda _: server,
        SCHEMA: lambda _: schema,
        HEALTH: lambda _: health,
        OPENAPI: lambda _: described(),
    }
    return http.handler(routes, settings)


handler = compose(build, SchemaSettings)
