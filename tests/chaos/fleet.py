"""A fleet of real workers as threads over the stack on moto, which die or freeze at chosen events.

An event is a call to AWS or the start of a program. Each happens at a stage of the work on a film, by the functions
that are running. A worker that dies makes no further call and starts no further program; one that freezes does nothing
for longer than its lease, and then goes on as if nothing had been.
"""

import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import boto3
import msgspec
import pytest
from botocore.client import BaseClient

from elasticrecode.aws import clients
from elasticrecode.parts.part import Part
from tests.aws.test_publication import record
from tests.fakes.stack import Stack
from tests.sizes import sized
from worker.chunks import ChunkEncoder
from worker.errors import ClaimLost
from worker.holding import Encoded, Hands
from worker.loop import Worker
from worker.sandbox.runner import Runner
from worker.settings import Settings

LEASE_SECONDS, _CALM_LEASE_SECONDS = sized(12, 4, 4), 24
"""While blows are to come, and where a claim that is lost would be this machine's fault. A machine that runs tests all
the time may stand still for longer than a short lease, of workers that no blow has struck."""
_STAGES = {
    ("publication", ""): "publishing",
    ("holding", "deliver"): "delivering",
    ("assembling", "hear"): "sound",
    ("assembling", "_rest"): "sound",
    ("assembling", "finish"): "joining",
    ("films", "store"): "planning",
    ("chunks", "_encode"): "chunk",
    ("dividing", "_store_parts"): "planning",
    ("dividing", "find_division"): "opening",
    ("parts", "clean"): "cleaning",
    ("parts", "run"): "waiting",
    ("loop", "_claim"): "claiming",
    ("loop", "_run"): "reporting",
}
"""Files of the worker and functions in them, empty for any, and their stage; the innermost function counts."""
STAGES = tuple(dict.fromkeys(_STAGES.values()))


class Killed(BaseException):
    """A process that is killed: no code of the worker catches it."""


class Blow(NamedTuple):
    """What happens to the worker that makes the nth event of a stage, before or after AWS or the system has done it."""

    stage: str
    n: int
    kind: Literal["killed", "frozen"]
    after: bool


def _stage() -> str:
    frame = sys._getframe(2)
    while frame:
        path, function = frame.f_code.co_filename, frame.f_code.co_name
        if "/worker/" in path:
            file = path.rpartition("/")[2].removesuffix(".py")
            stage = _STAGES.get((file, function)) or _STAGES.get((file, ""))
            if stage:
                return stage
        frame = frame.f_back  # type: ignore[assignment]
    return ""


class Mortal:
    """One worker in a thread of its own."""

    def __init__(self, fleet: "Fleet", settings: Settings) -> None:
        self.fleet, self.pod, self.worker = fleet, settings.pod, Worker(settings)
        self.is_dead = False
        self._frozen_until = 0.0
        self._patience = threading.Lock()
        self.thread = threading.Thread(target=self._live, name=self.pod)

    def _live(self) -> None:
        _own.mortal = self
        _own.is_main = True
        try:
            while not (self.is_dead or self.fleet.stopping):
                self.worker.poll()
                time.sleep(0.03)
        except Killed:
            pass
        except BaseException as error:
            self.fleet.errors.append(error)
            raise

    def die(self) -> None:
        """End all threads and programs of the worker."""
        self.is_dead = True
        if runner := self.worker._runner:
            runner.stop(ClaimLost("killed"))

    def freeze(self) -> None:
        """Do nothing until well after the lease."""
        self._frozen_until = time.monotonic() + 1.4 * LEASE_SECONDS

    def pause(self) -> None:
        """Wait while frozen; end here when dead."""
        while time.monotonic() < self._frozen_until and not self.is_dead:
            time.sleep(0.02)
        if self.is_dead:
            if _own.is_main:
                raise Killed
            raise ClaimLost("killed")

    def event(self, stage: str, *, after: bool) -> None:
        """Let an event happen, with what the fleet has in store for it."""
        self.pause()
        blow = self.fleet.blow_at(stage, after=after)
        if not blow:
            return
        self.fleet.struck.append((self.pod, blow))
        if blow.kind == "killed":
            self.die()
        else:
            self.freeze()


class _Own(threading.local):
    """What a thread belongs to."""

    mortal: Mortal | None = None
    stage = ""
    is_main = False


_own = _Own()


def acting() -> str:
    """The name of the worker whose thread this is; empty in others."""
    return _own.mortal.pod if _own.mortal else ""


class Fleet:
    """Workers on one stack, and all that they have done."""

    def __init__(self, stack: Stack, patch: pytest.MonkeyPatch, size: int = 3, **environment: str) -> None:
        self.stack, self.size = stack, size
        self.environment = environment
        self.mortals: list[Mortal] = []
        self.errors: list[BaseException] = []
        self.stopping = False
        self.begun: list[tuple[str, str, int]] = []
        self.delivered: list[tuple[str, str, int]] = []
        """Chunks by worker, job and number."""
        self.struck: list[tuple[str, Blow]] = []
        self.blows: list[Blow] = []
        self.events: Counter[str] = Counter()
        self.at_chunk: Callable[[str, int], None] = lambda pod, number: None
        self._count = 0
        self._lock, self._turn = threading.Lock(), threading.RLock()
        self._patch(patch)

    # What workers do

    def blow_at(self, stage: str, *, after: bool) -> Blow | None:
        """Count an event, and take the blow that is due at it."""
        with self._lock:
            if not after:
                self.events[stage] += 1
            for blow in self.blows:
                if (blow.stage, blow.n, blow.after) == (stage, self.events[stage], after):
                    self.blows.remove(blow)
                    return blow
        return None

    def _patch(self, patch: pytest.MonkeyPatch) -> None:
        fleet = self
        start, call, program = threading.Thread.start, BaseClient._make_api_call, Runner._start  # type: ignore[attr-defined]
        encode, deliver = ChunkEncoder._encode, Hands.deliver

        def start_owned(thread: threading.Thread) -> None:
            mortal, run = _own.mortal, thread.run
            if not mortal:
                start(thread)
                return
            stage = _own.stage or _stage()

            def owned() -> None:
                _own.mortal, _own.stage = mortal, "lease" if thread.name == "lease" else stage or "other"
                run()

            thread.run = owned  # type: ignore[method-assign]
            start(thread)

        def make(client: Any, operation: str, arguments: dict[str, Any]) -> Any:
            mortal = _own.mortal
            stage = _own.stage or _stage()
            if mortal and stage not in ("", "lease"):
                mortal.event(stage, after=False)
            if mortal:
                mortal.pause()
            with fleet._turn:
                answer = call(client, operation, arguments)
            if mortal and stage not in ("", "lease"):
                mortal.event(stage, after=True)
            if mortal:
                mortal.pause()
            return answer

        def begin(runner: Runner, *arguments: Any) -> Any:
            mortal, stage = _own.mortal, _own.stage or _stage()
            if mortal:
                mortal.event(stage, after=False)
                mortal.pause()
            started = program(runner, *arguments)
            if mortal and not mortal.is_dead:
                blow = fleet.blow_at(stage, after=True)
                if blow:
                    fleet.struck.append((mortal.pod, blow))
                    (mortal.die if blow.kind == "killed" else mortal.freeze)()
            return started

        def encoded(encoder: ChunkEncoder, number: int) -> Encoded:
            pod = encoder.settings.pod
            fleet.begun.append((pod, encoder.job.jobid.partition(".")[0], number))
            fleet.at_chunk(pod, number)
            return encode(encoder, number)

        def delivered(hands: Hands, part: Part, result: Encoded) -> bool:
            is_taken = deliver(hands, part, result)
            if is_taken:
                fleet.delivered.append((hands._holder.worker, hands._job_id, part.number))
            return is_taken

        patch.setattr(threading.Thread, "start", start_owned)
        patch.setattr(BaseClient, "_make_api_call", make)
        patch.setattr(Runner, "_start", begin)
        patch.setattr(ChunkEncoder, "_encode", encoded)
        patch.setattr(Hands, "deliver", delivered)

    # What happens around them

    def keep(self) -> None:
        """Start workers in place of those that have died."""
        for mortal in [each for each in self.mortals if not each.thread.is_alive()]:
            self.mortals.remove(mortal)
        while len(self.mortals) < self.size and not self.stopping:
            self.add()

    def add(self, **environment: str) -> Mortal:
        """Start one more worker."""
        self._count += 1
        with self._turn:  # a new worker watches the clients, in no call of another
            lease = {} if self.blows else {"LEASE_SECONDS": str(_CALM_LEASE_SECONDS)}
            mortal = Mortal(self, settings(f"w{self._count}", **lease | self.environment | environment))
        self.mortals.append(mortal)
        mortal.thread.start()
        return mortal

    def control(self) -> None:
        """Let the control plane do what there is to do."""
        self.stack.flow()
        for message in self.stack.messages("control_plane"):
            refused = self.stack.say(message["Body"])
            assert not refused, message["Body"]

    def until_ended(self, job_ids: Sequence[str], seconds: float = 600, *, replace: bool = True) -> None:
        """Let workers and control plane run until the jobs have ended and all workers have ended what they do."""
        until, reconciled = time.monotonic() + seconds, time.monotonic()
        try:
            while not all(record(self.stack, each)["state"] in ("finished", "failed", "cancelled") for each in job_ids):
                if replace:
                    self.keep()
                self.control()
                if time.monotonic() > reconciled + 1:
                    self.stack.reconcile({}, None)
                    reconciled = time.monotonic()
                assert not self.errors, self.errors
                assert time.monotonic() < until, [record(self.stack, each) for each in job_ids]
                time.sleep(0.05)
        finally:
            self.stop()
        self.control()
        assert not self.errors, self.errors

    def stop(self) -> None:
        """Let each worker end what it does, and then none run."""
        self.stopping = True
        for mortal in self.mortals:
            mortal.thread.join(90)
            assert not mortal.thread.is_alive(), mortal.pod
        self.mortals.clear()
        self.stopping = False


def settings(pod: str, **environment: str) -> Settings:
    """The settings of a worker that divides every film into chunks of a second."""
    read = Settings.read(
        {
            "WORKER_TYPE": "ffmpeg",
            "QUEUE_NAME": "ffmpeg_job",
            "CONTROL_PLANE": "control_plane",
            "JOBS_TABLE": "jobs",
            "PARTS_BUCKET": "parts",
            "LEASE_SECONDS": str(LEASE_SECONDS),
            "CHUNK_SECONDS": "1",
            "POD_NAME": pod,
        }
        | environment
    )
    return read._replace(divide_seconds=-1.0)  # tiny films take no time


def one_client(patch: pytest.MonkeyPatch) -> None:
    """One client for each service, since a client can be used by threads, but is not made by several at once."""
    for place, name in ((boto3, "client"), (clients._session, "create_client")):
        known: dict[tuple[str, str | None], Any] = {}
        patch.setattr(place, name, _cached(getattr(place, name), known))


def _cached(make: Callable[..., Any], known: dict[tuple[str, str | None], Any]) -> Callable[..., Any]:
    lock = threading.Lock()

    def cached(service: str, *rest: Any, **more: Any) -> Any:
        key = service, more.get("endpoint_url")
        with lock:
            if key not in known:
                known[key] = make(service, *rest, **more)
            return known[key]

    return cached


def parts_of(stack: Stack, job_id: str) -> list[dict[str, Any]]:
    """The records of a job's parts as they are stored."""
    return [
        item for item in stack.items() if item["jobID"]["S"].startswith(f"{job_id}.") and item["item"]["S"] == "job"
    ]


def printed(value: Any) -> str:
    """JSON of a value, for messages."""
    return msgspec.json.encode(value, enc_hook=str).decode()
