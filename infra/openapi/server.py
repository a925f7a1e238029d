"""Operations about the API itself."""

from typing import Any

from elasticrecode.api import answers
from elasticrecode.contract.routes import ASYNCAPI, HEALTH, OPENAPI, SCHEMA, SERVER, VERSION
from elasticrecode.media import profiles
from infra.openapi.operation import Area, Operation

AREA = Area(
    "Server",
    "The API itself: its version, its health and the words that profiles take.",
    {
        SERVER: Operation(
            "showServer",
            "Show the version",
            "Answers the server's name, its version, and the build and commit that are deployed.",
            {200: answers.Server},
        ),
        VERSION: Operation(
            "showVersion",
            "Show the version",
            "Answers the same as the root of the API.",
            {200: answers.Server},
        ),
        SCHEMA: Operation(
            "listWords",
            "List the words of a profile",
            "Lists the words that each field of a profile takes, and the ranges of bitrates (Mbit/s) and priorities.",
            {200: answers.Words},
            examples={"words": profiles.SCHEMA},
        ),
        HEALTH: Operation(
            "showHealth",
            "Check the health",
            "Answers 200 while API Gateway and Lambda take requests. It does not check the tables and queues behind.",
            {200: answers.Health},
        ),
        OPENAPI: Operation(
            "describe", "Get this document", "Answers this document, as OpenAPI 3.1.", {200: dict[str, Any]}
        ),
        ASYNCAPI: Operation(
            "describeEvents",
            "Get the AsyncAPI document",
            "Answers the description of the WebSocket and of the workers' queues, as AsyncAPI 3.0.",
            {200: dict[str, Any]},
        ),
    },
)
