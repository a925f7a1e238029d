"""Watching: from stored events to the feed, and from the feed to WebSocket connections.

jobs table ─stream─▶ append ─▶ feed ─stream─▶ push ─▶ WebSocket connections ◀─ replay
                                                          ▲                      ▲
                                       sockets ─▶ connections table ───stream────┘
"""

from aws_cdk.aws_apigatewayv2 import IWebSocketRouteAuthorizer

from elasticrecode.contract import tables
from elasticrecode.contract.auth import Kind
from elasticrecode.jobs.streams import FEED
from elasticrecode.watch.streams import CHUNKS, REPLAY
from infra.functions import Functions
from infra.socket_api import SocketApi
from infra.sources import follow
from infra.storage import Storage

_REPLAYS_PER_SHARD = 10


class Watch:
    """The functions of watchers: `append`, `push` and `replay` follow streams."""

    def __init__(self, functions: Functions, storage: Storage, api: SocketApi) -> None:
        self._functions, self._storage, self._api = functions, storage, api
        self.append = functions.make("append")
        storage.feed.grant(self.append, "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem")
        follow(self.append, storage.jobs, FEED)
        self.push, self.replay = functions.make("push", seconds=60), functions.make("replay", seconds=60)
        for sender in (self.push, self.replay):
            storage.jobs.grant(sender, "dynamodb:BatchGetItem")
            sender.add_to_role_policy(api.may_post())
        storage.feed.grant(self.push, "dynamodb:Query")
        storage.connections.grant(
            self.push, "dynamodb:BatchGetItem", "dynamodb:Query", "dynamodb:UpdateItem", "dynamodb:DeleteItem"
        )
        follow(self.push, storage.feed, CHUNKS)
        storage.feed.grant(self.replay, "dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:Query")
        storage.connections.grant(self.replay, "dynamodb:GetItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem")
        self.replay.add_to_role_policy(api.may_end())
        follow(self.replay, storage.connections, REPLAY, at_once=_REPLAYS_PER_SHARD)

    def serve(self, kind: Kind, authorizer: IWebSocketRouteAuthorizer | None) -> None:
        """Answer the routes of the WebSocket API; where tokens expire, end connections whose token has."""
        sockets = self._functions.make("sockets")
        self._storage.connections.grant(sockets, "dynamodb:PutItem", "dynamodb:DeleteItem")
        self._storage.connections.let_query(sockets, tables.CONNECTION_INDEX)
        sockets.add_to_role_policy(self._api.may_post())
        self._storage.let_count(sockets)
        self._api.serve(sockets, authorizer)
        if kind in ("cognito", "jwt"):
            disconnect = self._functions.make("disconnect", seconds=50)
            self._storage.connections.grant(disconnect, "dynamodb:DeleteItem")
            self._storage.connections.let_query(disconnect, tables.ENDING_INDEX)
            disconnect.add_to_role_policy(self._api.may_end())
            self._functions.run_each_minute(disconnect)
