"""The AsyncAPI 3 document: the servers, what is sent and received where, and the types."""

from collections.abc import Iterable, Mapping

from elasticrecode import __version__
from elasticrecode.contract.auth import Kind
from elasticrecode.watch.subscription import (
    ACTION,
    ACTIONS_LIMIT,
    CURSOR,
    IDENTIFIER,
    LATEST,
    PARAMETERS,
    SECONDS,
)
from infra.asyncapi import messages
from infra.asyncapi.schemas import schemas
from infra.openapi.operation import Json

_DESCRIPTION = """\
What ElasticRecode sends by itself: the events of jobs, to watchers of its WebSocket, and jobs, to the queues of
workers, which report on the control queue. `GET /v1/openapi.json` describes the REST API and the deliveries of
webhooks.
"""
_SERVERS: Mapping[str, Json] = {
    "front": {
        "host": "{host}",
        "protocol": "wss",
        "description": "The product's address; `ws` on one machine.",
        "variables": {
            "host": {
                "default": "localhost:8080",
                "description": "The host of the output `Url`, and its port if it has one.",
            }
        },
    },
    "queues": {
        "host": "sqs.{region}.amazonaws.com",
        "protocol": "sqs",
        "description": "Amazon SQS, as AWS's SDKs reach it.",
        "variables": {"region": {"default": "us-east-1", "description": "The region of the deployment."}},
    },
}
_TICKET: Json = {
    "type": "httpApiKey",
    "in": "query",
    "name": "ticket",
    "description": "A ticket of `POST /v1/socket-tickets`, which opens one WebSocket within a minute.",
}
_TOKEN: Json = {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
_SCHEMES: Mapping[Kind, Mapping[str, Json]] = {
    "none": {},
    "cognito": {"token": _TOKEN, "ticket": _TICKET},
    "jwt": {"token": _TOKEN, "ticket": _TICKET},
    "iam": {"ticket": _TICKET},
}
"""Option `auth` → how watchers prove who they are: by any one of these."""

_NAME: Json = {"type": "string", "pattern": f"^(?:{IDENTIFIER.pattern})$"}
_QUERY: Mapping[str, Json] = {
    "lastMod": {
        "type": "string",
        "pattern": f"^(?:{SECONDS.pattern})?$",
        "description": "Begin with every retained event after this time (Unix seconds, fractions allowed), then live. "
        f"0 begins with the latest {LATEST} events that match the filters. Without it, live events only.",
    },
    "after": {
        "type": "string",
        "pattern": f"^(?:{CURSOR.pattern})?$",
        "description": "Resume behind the event with this `cursor`. Not beside `lastMod`.",
    },
    "userID": {**_NAME, "description": "Send only events of this user. For anyone but operators, their own."},
    "jobID": {**_NAME, "description": "Send only events of this job."},
    "batchID": {**_NAME, "description": "Send only events of this batch and of its jobs."},
    "actions": {
        "type": "string",
        "pattern": f"^(?:{ACTION.pattern}(?:,{ACTION.pattern}){{0,{ACTIONS_LIMIT - 1}}})?$",
        "description": f"Send only events with one of these actions: at most {ACTIONS_LIMIT}, separated by commas.",
    },
    "pack": {"enum": ["", "0", "1"], "description": "With 1, a frame may hold a JSON array of events."},
    "ticket": {"type": "string", "description": "A ticket, for browsers, which send no header with a WebSocket."},
}
_REFUSALS = {
    "400": "A parameter is wrong (403 from the embedded AWS). API Gateway does not pass on the reason.",
    "401": "There is neither a token nor a ticket.",
    "403": "The token or ticket cannot be used, or the caller may not watch this user's events.",
    "429": "The user's allowance for this minute is used up, or the deployment's rate limit is reached.",
}
_CLOSES = {
    "1000": "ElasticRecode has disconnected the watcher: its token has expired, or it took no frame for 30 seconds.",
    "1001": "API Gateway ends the connection: after two hours, or after ten minutes without a message.",
    "1009": "The watcher has sent a message that is too long.",
}


def document(auth: Kind) -> Json:
    """The document for a deployment with this option `auth`."""
    channels = {"watch": _watch(), "workerQueue": _worker_queue(), "controlQueue": _control_queue()}
    sent = {name: message for channel in channels.values() for name, message in channel["messages"].items()}
    schemes = _SCHEMES[auth]
    secured = {"security": [{"$ref": f"#/components/securitySchemes/{name}"} for name in schemes]} if schemes else {}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "ElasticRecode events",
            "version": __version__,
            "description": _DESCRIPTION,
            "license": {"name": "Apache 2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {name: {**server, **(secured if name == "front" else {})} for name, server in _SERVERS.items()},
        "channels": {
            name: {
                **channel,
                "messages": {each: {"$ref": f"#/components/messages/{each}"} for each in channel["messages"]},
            }
            for name, channel in channels.items()
        },
        "operations": {
            "sendEvents": {
                **_operation("send", "watch", (name for name in messages.frames() if name != "Pong")),
                "summary": "Send events to watchers, all in the order of the feed",
            },
            "answerPing": {
                **_operation("receive", "watch", messages.texts()),
                "summary": "Answer any text, by which a watcher keeps its connection",
                "reply": {"channel": {"$ref": "#/channels/watch"}, "messages": _references("watch", ["Pong"])},
            },
            "sendJobs": {**_operation("send", "workerQueue", messages.jobs()), "summary": "Send jobs to workers"},
            "receiveReports": {
                **_operation("receive", "controlQueue", messages.reports()),
                "summary": "Receive what workers report of their jobs",
            },
        },
        "components": {
            "messages": sent,
            "schemas": schemas(),
            **({"securitySchemes": dict(schemes)} if schemes else {}),
        },
    }


def _watch() -> Json:
    return {
        "address": "/ws",
        "title": "Watch events",
        "description": "A WebSocket that sends every event as one JSON text. To resume after a lost connection, "
        "connect with `after=` the `cursor` of the last event that you processed: you then miss no event and see none "
        "out of order. One can come twice, with the same `eventID`.",
        "servers": [{"$ref": "#/servers/front"}],
        "messages": {**messages.frames(), **messages.texts()},
        "bindings": {
            "ws": {
                "method": "GET",
                "query": {
                    "type": "object",
                    "properties": {name: _QUERY[name] for name in PARAMETERS},
                    "additionalProperties": False,
                },
                "bindingVersion": "0.1.0",
            }
        },
        "x-refusals": _REFUSALS,
        "x-close-codes": _CLOSES,
    }


def _worker_queue() -> Json:
    return {
        "address": "{queue}",
        "title": "Take jobs",
        "description": "The SQS queue of a group of workers. A worker takes one message at a time and hides it "
        "while it works. It deletes the message last, after the final event.",
        "servers": [{"$ref": "#/servers/queues"}],
        "parameters": {"queue": {"description": "The name of the queue; `GET /v1/worker/queues` lists them."}},
        "messages": messages.jobs(),
    }


def _control_queue() -> Json:
    return {
        "address": "{queue}",
        "title": "Report on jobs",
        "description": "The SQS queue to which all workers send their events. The control plane takes each event once, "
        "by its `eventID`, in any order.",
        "servers": [{"$ref": "#/servers/queues"}],
        "parameters": {
            "queue": {"description": "The control queue: the option `controlQueue`.", "default": "control_plane"}
        },
        "messages": messages.reports(),
    }


def _operation(action: str, channel: str, names: Iterable[str]) -> Json:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "messages": _references(channel, names),
    }


def _references(channel: str, names: Iterable[str]) -> list[Json]:
    return [{"$ref": f"#/channels/{channel}/messages/{name}"} for name in names]
