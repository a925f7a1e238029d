"""What the API is and which words it knows: GET / and /v1, GET /v1/schema. No AWS behind it."""

from elasticrecode import __version__, http, profiles
from elasticrecode.settings import SCHEMA, SERVER, VERSION, SchemaSettings, compose


def build(settings: SchemaSettings) -> http.LambdaHandler:
    """The handler; its answers are fixed at deployment."""
    version = http.Response(
        {
            "server": "ElasticRecode/Controlplane",
            "version": f"v{__version__}",
            "build": settings.build,
            "commit": settings.commit,
        }
    )
    schema = http.Response(profiles.SCHEMA)
    routes = {SERVER: lambda _: version, VERSION: lambda _: version, SCHEMA: lambda _: schema}
    return http.handler(routes, settings)


handler = compose(build, SchemaSettings)
