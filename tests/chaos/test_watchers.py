"""(c) Watchers come, go and resume while AWS fails: each sees every event that is for it, once and in the feed's order.

Other functions run in the middle of each: before any AWS call and any frame, whatever may happen at once happens.
"""

import base64
import json
import random
import time
import zlib
from binascii import crc32
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any, NamedTuple

import msgspec
import pytest
from botocore.client import BaseClient
from botocore.exceptions import BotoCoreError, ClientError

from elasticrecode.contract import tables
from elasticrecode.errors import Unavailable
from elasticrecode.jobs.events import Event, submitted
from elasticrecode.jobs.items import latest_of
from elasticrecode.jobs.streams import FEED
from elasticrecode.watch import feed as feeding
from elasticrecode.watch import subscription as watching
from elasticrecode.watch.sockets import Ended, Outcome
from elasticrecode.watch.streams import CHUNKS, REPLAY
from elasticrecode.watch.subscription import Cursor
from tests.conftest import Tell
from tests.fakes.clock import Clock
from tests.fakes.faults import Died, Faults
from tests.fakes.memory import Aws
from tests.fakes.stack import selected
from tests.fakes.turns import call_in_turn
from tests.fakes.wiring import wired
from tests.sizes import SEED, sized
from tests.support import function

RECONNECTS = sized(150, 300, 10_000)
RECONNECTS_A_WORLD = 100
RETENTION_SECONDS = 900
LATEST = 10
_RATE = 0.02
_STRAY_SECONDS = 30
_AT_ONCE = 0.15
_AT_THE_SEAM = 0.3
_READERS = {"jobs": ("append",), "feed": ("push", "publish"), "connections": ("replay",)}
_FILTERS = {"jobs": FEED, "feed": CHUNKS, "connections": REPLAY}
_SHARDS = {"jobs": 2, "feed": 1, "connections": 2}
_EXPECTED = (Unavailable, ClientError, BotoCoreError)
_HAND_OVERS = {
    (watching.JOINING, watching.LIVE): "hand-overs",
    (watching.JOINING, watching.CATCHING_UP): "hand-overs taken back",
    (watching.LIVE, watching.CATCHING_UP): "watchers that fell behind",
}
_USERS = ("ann", "bob", "cid")
_ACTIONS = ("JobStart", "JobProgress", "JobFinished", "JobFailed")


class Storm(Faults):
    """Faults, among them a write that botocore makes again because its answer got lost."""

    def __call__(self, real: Aws, client: Any, operation: str, arguments: dict[str, Any]) -> Any:
        if operation == "UpdateItem" and not self._dead and self.rng.random() < self.rate:
            self.counts["writes made twice"] += 1
            real(client, operation, arguments)
        return super().__call__(real, client, operation, arguments)

    def may_die(self, chance: float) -> None:
        """A process dies between two frames, too, and where it is worst."""
        if self._dead or self.rng.random() < self.rate * chance:
            self._dead = True
            raise Died


class Entry(NamedTuple):
    """An event of the feed."""

    cursor: Cursor
    event: dict[str, Any]
    expires: int

    @property
    def id(self) -> str:
        return str(self.event["eventID"])


class Socket:
    """A connection: frames lie in `inbox` until the client reads them; strays come late."""

    def __init__(self) -> None:
        self.opens = float("inf")
        self.closed = False
        self.slow_until = 0.0
        self.inbox: list[bytes] = []
        self.strays: list[tuple[float, bytes]] = []

    def is_open(self) -> bool:
        return not self.closed and time.time() >= self.opens


class _Bus:
    """An event bus that takes everything."""

    def put(self, events: Sequence[bytes]) -> dict[str, str]:
        return {}


class View:
    """What a client has seen since it began somewhere; it goes on from connection to connection by its cursor."""

    def __init__(self, query: dict[str, str], entries: int, indexed: int) -> None:
        self.query = query
        self.entries = entries
        """How long the feed was."""
        self.indexed = indexed
        """How much of it was in the history index, of which the latest are taken where there is one."""
        self.now_ms = 0
        self.first = 0
        """How long the feed was when the first event came."""
        self.seen: dict[str, tuple[Cursor, float]] = {}
        """The events by their ids: where each was in the feed, and when it came."""
        self.gaps: set[int] = set()
        """How many had come when it was told of a gap."""
        self.last = self.furthest = Cursor(0)

    def wants(self, entry: Entry) -> bool:
        """Whether an event is for it."""
        query, event = self.query, entry.event
        return (
            "batchID" not in query
            and all(query[name] == event[name] for name in ("userID", "jobID") if name in query)
            and ("actions" not in query or event["action"] in query["actions"].split(","))
        )

    def hear(self, event: dict[str, Any], entries: int) -> None:
        """An event, or the word of a gap, has come."""
        if event["action"] == "Gap":
            self.gaps.add(len(self.seen))
            return
        self.last = Cursor.read(event["cursor"])
        self.first = self.first or entries
        self.furthest = max(self.furthest, self.last)
        self.seen.setdefault(event["eventID"], (self.last, time.time()))

    def fault(self, log: Sequence[Entry], *, whole: bool) -> str:
        """What is wrong with what was seen, beside the feed; `whole` when all should have come."""
        due, seen = self._due(log)
        place = 0
        told: set[str] = set()
        for n, id_, (cursor, when) in seen:
            while place < len(due) and due[place].cursor != cursor:
                if not (due[place].id in told or self._is_lost(due[place], when, n)):
                    return f"{due[place].cursor} is missing before {id_}"
                place += 1
            if place == len(due):
                return f"{id_} is none of its events, or comes too late"
            told.add(id_)
        for entry in due[place:] if whole else ():
            if not (entry.id in told or self._is_lost(entry, time.time(), len(self.seen))):
                return f"{entry.cursor} never came"
        return ""

    def _is_lost(self, entry: Entry, when: float, n: int) -> bool:
        """Whether an event had expired, and it was told so."""
        since = self._since_ms()
        return entry.expires <= when and (n in self.gaps or (since is not None and entry.cursor.seq <= since))

    def _since_ms(self) -> int | None:
        text = self.query.get("lastMod")
        return round(float(text) * 1000) if text and float(text) else None

    def _due(self, log: Sequence[Entry]) -> tuple[list[Entry], list[tuple[int, str, tuple[Cursor, float]]]]:
        """The events that are to come, from its begin on, and those that came, without what may come or not."""
        since, seen = self._since_ms(), [(n, *pair) for n, pair in enumerate(self.seen.items())]
        if since is not None:
            chosen = {entry.id for entry in log if entry.event["tsMs"] > since}
            due = [e for e in log if self.wants(e) and e.id in chosen and e.cursor > Cursor(since - 60_000)]
            other = {entry.id for entry in log} - chosen
            return due, [what for what in seen if what[1] not in other]
        if "lastMod" in self.query:
            return self._due_of_latest(log), seen
        late = {e.id for e in log[self.entries :] if e.cursor <= Cursor(self.now_ms)}  # stored while it connected
        due = [e for e in log if self.wants(e) and e.cursor > Cursor(self.now_ms) and e.id not in late]
        return due, [what for what in seen if what[1] not in late]

    def _due_of_latest(self, log: Sequence[Entry]) -> list[Entry]:
        """The latest were chosen between the connect and the first event."""
        by_index = any(name in self.query for name in ("userID", "jobID", "batchID"))
        known = [entry for entry in log[: self.entries] if self.wants(entry)]
        indexed = [entry for entry in log[: self.indexed] if self.wants(entry)] if by_index else known
        later = [entry for entry in log[self.entries : self.first] if self.wants(entry)]
        wanted = [entry for entry in log if self.wants(entry)]
        earliest = max(0, len(indexed) - LATEST)
        if not self.seen:
            return [entry for entry in wanted[earliest:] if entry.expires > time.time()]
        first, when = next(iter(self.seen.values()))
        fresh = next((n for n, entry in enumerate(wanted) if entry.expires > when), len(wanted))
        latest = max(earliest, len(known) + len(later) - LATEST, fresh)
        begin = next((n for n, entry in enumerate(wanted) if entry.cursor == first), 0)
        return wanted[min(max(begin, earliest), latest) :]


class Client:
    """Somebody who watches, with the same filters for ever."""

    def __init__(self, filters: dict[str, str], *, careful: bool) -> None:
        self.filters = filters
        self.careful = careful
        """Whether it resumes behind the furthest event instead of the last one."""
        self.view: View | None = None
        self.socket: Socket | None = None
        self.connection = ""
        self.asked = Cursor(0)


class World:
    """Tables, streams, functions, sockets and clients."""

    def __init__(self, rng: random.Random, clock: Clock, patch: pytest.MonkeyPatch) -> None:
        self.rng, self.clock, self.patch = rng, clock, patch
        self.aws, self.faults = Aws(rng), Storm(rng)
        self.counts: Counter[str] = Counter()
        self.inside, self.depth = False, 0
        self.seam = False
        """Whether the last call changed a connection."""
        self.numbers = count(1)
        self.jobs: dict[str, str] = {}
        self.summits: dict[str, Event] = {}
        self.records: dict[str, dict[str, Any]] = {}
        self.log: list[Entry] = []
        self.chunks: list[tuple[int, int]] = []
        self.sockets: dict[str, Socket] = {}
        self.clients = [self.client() for _ in range(10)]
        self.faulty: list[tuple[str, dict[str, str]]] = []
        indexes = [{"IndexName": tables.CONNECTION_INDEX, "KeySchema": _schema(tables.CONNECTION_KEYS)}]
        for name, keys in {
            "jobs": tables.JOBS_KEYS,
            "feed": tables.FEED_KEYS,
            "connections": tables.CONNECTIONS_KEYS,
            "webhooks": tables.WEBHOOKS_KEYS,
        }.items():
            asked = {"TableName": name, "KeySchema": _schema(keys), "GlobalSecondaryIndexes": indexes}
            self.aws(None, "CreateTable", asked if name == "connections" else asked | {"GlobalSecondaryIndexes": []})
        self.read = dict.fromkeys(_READERS, 0)
        self.pending: dict[str, list[dict[str, Any]]] = {
            f"{reader}{n}": [] for table, shards in _SHARDS.items() for n in range(shards) for reader in _READERS[table]
        }
        self.running: set[str] = set()
        random.seed(rng.random())
        call_in_turn(patch)
        patch.setattr(BaseClient, "_make_api_call", lambda *call: self.call(*call))
        patch.setattr(time, "monotonic", clock.seconds)
        patch.setattr(time, "sleep", self.sleep)
        patch.setattr(feeding, "_CHUNK_BYTES", 1500)
        patch.setattr(feeding, "_PAGE", 3)
        patch.setattr(watching, "FRAME_BYTES", 4000)
        self.handlers = {name: self.built(name) for name in (*self.pending, "sockets")}

    # The machinery

    def built(self, name: str) -> Callable[[dict[str, Any], Any], Any]:
        """A function in a new process."""
        function_name = name.rstrip("0123456789")
        module = function(function_name)
        seconds = self.rng.choice((12.0, 30.0))  # in which a late watcher is given up, or is not
        changed = {"Poster": lambda _: self, "LATEST": LATEST, "_RUN_SECONDS": seconds}
        changed |= {"_ROUND_CHUNKS": 6, "_ROUND_EVENTS": 12}
        changed["_MISSED_CHUNKS"] = self.rng.choice((2, 40))  # how far behind a watcher may be that is taken over
        changed["Bus"] = lambda _: _Bus()
        for constant in sorted(changed.keys() & vars(module).keys()):
            setattr(module, constant, changed[constant])
        wiring = wired(socket_management_url="https://ws", event_retention_seconds=RETENTION_SECONDS)
        handler: Callable[[dict[str, Any], Any], Any] = module.build(wiring.settings_of(function_name))
        return handler

    def call(self, client: Any, operation: str, arguments: dict[str, Any]) -> Any:
        """An AWS call."""
        if not self.inside:
            return self.aws(client, operation, arguments)
        seam, self.seam = operation == "UpdateItem" or self.seam, operation == "UpdateItem"
        if seam and self.faults.rate and self.rng.random() < _AT_THE_SEAM:
            self.rush()
            self.faults.may_die(5)
        self.meanwhile()
        return self.faults(self.aws, client, operation, arguments)

    def sleep(self, seconds: float) -> None:
        self.clock.ahead += seconds

    def meanwhile(self) -> None:
        """Something happens at the same time."""
        if self.depth < 2 and not self.faults._dead and self.rng.random() < _AT_ONCE * (self.faults.rate > 0):
            with self.outside():
                self.depth += 1
                self.step()
                self.depth -= 1

    def rush(self) -> None:
        """Something is stored and pushed between two calls of a function."""
        with self.outside():
            self.append()
            for name in ("append0", "append1", "push0"):
                self.look()
                for _ in range(3):
                    if self.pending[name] and name not in self.running:
                        self.hand_over(name)

    @contextmanager
    def outside(self) -> Iterator[None]:
        """Calls are the world's own."""
        inside, self.inside = self.inside, False
        yield
        self.inside = inside

    def run(self, name: str, event: dict[str, Any]) -> Any:
        """Let a function run; None when it failed."""
        self.running.add(name)
        inside, self.inside = self.inside, True
        answer = None
        crashes = self.faults.counts["crashes"]
        depth = self.depth
        with self.faults.process():
            try:
                answer = self.handlers[name](event, None) or {}
            except _EXPECTED:
                self.counts["failed invocations"] += 1
        self.depth, self.inside = depth, inside
        self.running.discard(name)
        if self.faults.counts["crashes"] > crashes and self.rng.random() < 0.3:
            self.handlers[name] = self.built(name)
        return answer

    # What the functions post to

    def post(
        self, frames: Mapping[str, Sequence[bytes]], seconds: float, expires: Mapping[str, float]
    ) -> dict[str, Outcome]:
        """The poster."""
        outcomes = {
            name: self.post_to(self.sockets[name], bodies) if time.time() < expires[name] else Outcome(0, "late")
            for name, bodies in frames.items()
        }
        if any(outcome.ended == "late" for outcome in outcomes.values()):
            self.clock.ahead += seconds
        return outcomes

    def post_to(self, socket: Socket, bodies: Sequence[bytes]) -> Outcome:
        """Frames to one connection: some come, some come late, some are said not to have come."""
        for n, body in enumerate(bodies):
            self.meanwhile()
            self.faults.may_die(0.1)
            self.counts["posts"] += 1
            if not socket.is_open():
                self.counts["posts to nobody"] += 1
                return Outcome(n, "gone")
            if time.time() < socket.slow_until or self.rng.random() < self.faults.rate * 2:
                self.counts["posts that are late"] += 1
                fate = self.rng.randrange(3)
                socket.inbox += [body] * (fate == 0)
                socket.strays += [(time.time() + _STRAY_SECONDS, body)] * (fate == 1)
                return Outcome(n, "late")
            socket.inbox.append(body)
        ended: Ended = ""
        return Outcome(len(bodies), ended)

    def delete(self, connection: str) -> None:
        """The poster ends a connection."""
        self.counts["watchers given up"] += 1
        self.sockets[connection].closed = True

    # What happens

    def live(self, reconnects: int) -> None:
        """Things happen in any order; then all is brought to an end in peace, and judged."""
        for user in _USERS:
            self.submit(user)
        self.faults.rate = _RATE
        while self.counts["reconnects"] < reconnects:
            self.step()
            if self.rng.random() < 0.02:
                self.rest()
                if self.rng.random() < 0.3:
                    self.expire()
        self.rest()

    def rest(self) -> None:
        """For once nothing fails; everybody has everything then."""
        self.faults.rate = 0.0
        self.settle()
        for client in self.clients:
            self.judge(client, whole=True)
        self.faults.rate = _RATE

    def step(self) -> None:
        """One thing happens."""
        weights: dict[Callable[[], None], float] = {self.append: 4, self.deliver: 8}
        if "sockets" not in self.running:
            weights |= {self.come: 5, self.hear: 4, self.leave: 2, self.wait: 1, self.become_slow: 0.1}
        (act,) = self.rng.choices(list(weights), list(weights.values()))
        act()

    def client(self) -> Client:
        """Somebody with some filters."""
        filters: dict[str, str] = {}
        if self.rng.random() < 0.5:
            filters["userID"] = self.rng.choice(_USERS)
        if self.rng.random() < 0.4:
            filters["jobID"] = f"j{self.rng.randint(1, 6)}"
        if self.rng.random() < 0.3:
            filters["actions"] = ",".join(self.rng.sample(("JobSummit", *_ACTIONS), 3))
        if self.rng.random() < 0.3:
            filters["pack"] = "1"
        if self.rng.random() < 0.03:
            filters["batchID"] = "b"
        return Client(filters, careful=self.rng.random() < 0.5)

    def submit(self, user: str) -> None:
        """There is a new job."""
        job_id = f"j{len(self.jobs) + 1}"
        self.jobs[job_id] = user
        event = submitted(b"{}", user, job_id, self.clock.ms())
        job = json.dumps({"userid": user, "jobid": job_id})
        self.summits[job_id], self.records[job_id] = event, {"item": {"S": "job"}, "job": {"S": job}}
        self.store(event, self.records[job_id])

    def append(self) -> None:
        """Some events are stored."""
        if self.rng.random() < 0.1 and len(self.jobs) < 6:
            self.submit(self.rng.choice(_USERS))
        for _ in range(self.rng.choice((1, 1, 2, 12))):
            job_id, action = self.rng.choice(list(self.jobs)), self.rng.choice(_ACTIONS)
            now_ms = self.clock.ms() + self.rng.randint(-3000, 3000)
            long = self.rng.random() < 0.02
            event = Event(
                ts=now_ms // 1000,
                userID=self.jobs[job_id],
                jobID=job_id,
                action=action,
                msg="x" * (5000 if long else 50),
                eventID=f"e{next(self.numbers)}",
                tsMs=now_ms,
            )
            if action in ("JobStart", "JobProgress"):
                self.store(self.summits[job_id], self.records[job_id] | {"latest": {"S": latest_of(event)}})
            else:
                event_json = msgspec.json.encode(event).decode()
                self.store(event, {"item": {"S": f"log#{event.position}"}, "event": {"S": event_json}})

    def store(self, event: Event, item: dict[str, Any]) -> None:
        """An item of the jobs table."""
        common = {"jobID": event.jobID, "userID": event.userID, "at": event.position}
        stored = {name: {"S": value} for name, value in common.items()} | {tables.TTL: {"N": str(10**11)}} | item
        self.aws(None, "PutItem", {"TableName": "jobs", "Item": stored})

    def deliver(self) -> None:
        """A stream hands some of its records to a function that does not run, and again when it fails, cut anywhere."""
        self.look()
        idle = [name for name, records in self.pending.items() if records and name not in self.running]
        if self.faults.rate and self.rng.random() < 0.6:
            idle = [name for name in idle if name != "push0"]  # it lags behind
        if "sockets" in self.running:
            idle = [name for name in idle if name.startswith("append")]  # nobody is kept waiting for long
        if idle:
            self.hand_over(self.rng.choice(idle))

    def hand_over(self, name: str) -> None:
        """Some records of a shard."""
        records = self.pending[name]
        batch = records[: self.rng.choice((1, 2, 5, 20, 100))]
        if self.run(name, {"Records": batch}) is None:
            self.counts["batches again"] += 1
        elif self.rng.random() > self.faults.rate:
            del records[: len(batch)]

    def look(self) -> None:
        """What is new in the streams."""
        for table, readers in _READERS.items():
            iterator = f"{table} {self.read[table]}"
            records = self.aws(None, "GetRecords", {"ShardIterator": iterator})["Records"]
            self.read[table] += len(records)
            self.counts += Counter(filter(None, map(_hand_over, records if table == "connections" else ())))
            for record in selected(records, _FILTERS[table]):
                keys = [next(iter(key.values())) for key in record["dynamodb"]["Keys"].values()]
                if table == "feed":
                    record = self.noted(record)
                for reader in readers:
                    self.pending[f"{reader}{crc32(keys[0].encode()) % _SHARDS[table]}"].append(record)

    def noted(self, record: dict[str, Any]) -> dict[str, Any]:
        """A chunk is noted in the log; its record is in Lambda's shape."""
        image = record["dynamodb"]["NewImage"]
        seq, expires = int(image["seq"]["N"]), int(image["expires"]["N"])
        assert int(image["before"]["N"]) == (self.chunks[-1][0] if self.chunks else 0)
        self.chunks.append((seq, expires))
        events = json.loads(zlib.decompress(image["document"]["B"]))
        self.log += (Entry(Cursor(seq, n), event, expires) for n, event in enumerate(events))
        text = {"B": base64.b64encode(image["document"]["B"]).decode()}
        return {**record, "dynamodb": {**record["dynamodb"], "NewImage": {**image, "document": text}}}

    def come(self) -> None:
        """A client connects, mostly to go on where it was."""
        away = [client for client in self.clients if not client.socket]
        if away:
            self.connect(self.rng.choice(away))

    def connect(self, client: Client) -> None:
        self.look()
        view, query = client.view, client.filters
        if view and view.seen and self.rng.random() < 0.9:
            cursor = view.furthest if client.careful else view.last
            client.asked = cursor
            query = query | {"after": str(cursor)}
        else:
            self.judge(client, whole=False)
            past = time.time() - self.rng.uniform(-20, 2 * RETENTION_SECONDS)
            start = self.rng.choice(({}, {"lastMod": "0"}, {"lastMod": f"{past:.3f}"}))
            client.asked = Cursor(round(past * 1000) - 60_000 if start.get("lastMod", "0") != "0" else 0)
            query = query | start
            client.view = view = View(query, len(self.log), self.indexed())
        client.connection = f"c{next(self.numbers)}"
        socket = self.sockets[client.connection] = Socket()
        self.counts["reconnects" if "after" in query else "connects"] += 1
        answer = self.ask("CONNECT", client.connection, query)
        if answer is None or answer["statusCode"] != 200:
            socket.closed = True
            return
        socket.opens = time.time() + self.rng.choice((0, 0, 0.1, 3))
        client.socket = socket
        for item in self.aws._tables["connections"].items.values():
            if item["connectionID"]["S"] == client.connection and item["at"]["S"].startswith("now "):
                view.now_ms = int(item["at"]["S"].removeprefix("now "))

    def indexed(self) -> int:
        """How many entries of the log are in the history index."""
        head = self.aws._tables["feed"].items.get(("indexed", "0"))
        last = int(head["last"]["N"]) if head else 0
        return sum(entry.cursor.seq <= last for entry in self.log)

    def ask(self, kind: str, connection: str, query: dict[str, str] | None = None) -> Any:
        request = {"requestContext": {"eventType": kind, "connectionId": connection}, "queryStringParameters": query}
        return None if "sockets" in self.running else self.run("sockets", request)

    def leave(self) -> None:
        """A client's connection ends; what it had not read is lost, and AWS may not tell."""
        there = [client for client in self.clients if client.socket]
        if there:
            client = self.rng.choice(there)
            self.drop(client)
            if self.rng.random() < 0.7:
                self.ask("DISCONNECT", client.connection)

    def drop(self, client: Client) -> None:
        if client.socket:
            client.socket.closed = True
        client.socket = None

    def hear(self) -> None:
        """A client reads some frames."""
        there = [client for client in self.clients if client.socket]
        if there:
            client = self.rng.choice(there)
            self.hear_some(client, self.rng.choice((1, 5, 100)))

    def hear_some(self, client: Client, frames: int) -> None:
        socket, view = client.socket, client.view
        assert socket
        assert view
        self.look()
        if socket.strays and (not socket.inbox or self.rng.random() < 0.3):
            until, stray = socket.strays.pop(0)
            socket.inbox += [stray] * (time.time() < until)
        for body in socket.inbox[:frames]:
            found = json.loads(body)
            assert isinstance(found, list) == (client.filters.get("pack") == "1" and b'"Gap"' not in body)
            assert len(body) <= watching.FRAME_BYTES + 2
            for event in found if isinstance(found, list) else [found]:
                self.counts["gaps" if event["action"] == "Gap" else "events"] += 1
                self.check(client, event)
                view.hear(event, len(self.log))
        del socket.inbox[:frames]
        if not socket.inbox and socket.closed:
            self.drop(client)

    def check(self, client: Client, event: dict[str, Any]) -> None:
        """A gap is only told of where a chunk has expired; an event says where it is."""
        if event["action"] == "Gap":
            now = time.time()
            if not any(expires <= now and seq >= client.asked.seq for seq, expires in self.chunks):
                self.faulty.append(("a gap where nothing has expired", client.filters))
        elif "truncated" not in event:
            assert event["job"] == {"userid": event["userID"], "jobid": event["jobID"]}

    def wait(self) -> None:
        """Time passes."""
        self.clock.ahead += self.rng.choice((0.01, 0.5, 5, 20))

    def become_slow(self) -> None:
        """A connection takes nothing for a while."""
        there = [client.socket for client in self.clients if client.socket]
        if there:
            self.rng.choice(there).slow_until = time.time() + self.rng.choice((3, 20, 100))

    def expire(self) -> None:
        """Much time passes while nobody is there, or only comes; some of what has expired is deleted."""
        for client in self.clients:
            self.drop(client)
            if self.rng.random() < 0.2:
                self.connect(client)
        self.clock.ahead += RETENTION_SECONDS * self.rng.choice((0.3, 0.9, 1.1))
        table, now = self.aws._tables["feed"], time.time()
        for key, item in list(table.items.items()):
            if tables.TTL in item and int(item[tables.TTL]["N"]) <= now and self.rng.random() < 0.5:
                table.put(None, key)

    def settle(self) -> None:
        """In peace everything that is on its way arrives."""
        assert not self.running
        for _ in range(300):
            for client in self.clients:
                if not client.socket:
                    self.connect(client)
            for known in self.sockets.values():
                known.slow_until = 0.0
            self.clock.ahead += 1
            self.look()
            for name in self.pending:
                while self.pending[name]:
                    self.hand_over(name)
                    self.look()
            for client in self.clients:
                while (socket := client.socket) and (socket.inbox or socket.strays or socket.closed):
                    self.hear_some(client, 1000)
            if all(client.socket and client.socket.is_open() for client in self.clients) and not any(
                self.pending.values()
            ):
                break
        else:
            self.faulty.append(("never at rest", {}))

    def judge(self, client: Client, *, whole: bool) -> None:
        """What a client has seen is what it was to see."""
        if client.view:
            self.counts["views"] += 1
            fault = client.view.fault(self.log, whole=whole)
            if fault:
                self.faulty.append((f"{client.connection}: {fault}", client.view.query))


def _hand_over(record: dict[str, Any]) -> str:
    """What a change of a connection is counted as."""
    stored = record["dynamodb"]
    moved = tuple(stored.get(image, {}).get("state", {}).get("S") for image in ("OldImage", "NewImage"))
    return _HAND_OVERS.get(moved, "")


def _schema(keys: tuple[str, str]) -> list[dict[str, str]]:
    return [{"AttributeName": key} for key in keys]


@pytest.mark.timeout(sized(300, 600, 7200))
def test_every_watcher_sees_every_event_once_and_in_order(clock: Clock, tell: Tell) -> None:
    counts: Counter[str] = Counter()
    for n in count():
        clock.ahead = 0.0
        with pytest.MonkeyPatch.context() as patch:
            world = World(random.Random(SEED + n), clock, patch)
            world.live(RECONNECTS_A_WORLD)
            counts += world.counts + world.faults.counts
            assert not world.faulty, (SEED + n, world.faulty)
        if counts["reconnects"] >= RECONNECTS:
            break
    tell("watchers", {name: counts[name] for name in sorted(counts)})
