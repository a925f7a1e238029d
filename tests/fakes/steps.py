"""Every order of the calls that several programs make to AWS, by the product's own code.

A program is a tree: after these answers it makes that call. The real code runs only to learn the next call after
answers that no run of it had before; it is run from its begin, with the known answers, and cut off at the new call.
So a state of the whole is plain data: the world, and where each program is in its tree. A program that is frozen or
dies is one that makes no further call, and every state is also that of a crash.
"""

import hashlib
import marshal
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError, ReadTimeoutError

BEGIN_SECONDS = 1_900_000_000.0
"""What `time.time` says: it decides about expired items only, and none expires here."""


class Cut(BaseException):
    """The program has made a call whose answer is not known yet, and goes no further."""


class Request(NamedTuple):
    """A call of a program. The operation Now reads the clock."""

    operation: str
    arguments: dict[str, Any]


class Answer(NamedTuple):
    """What a call returns or, with a code, raises; `lost` if nobody knows whether it was done."""

    content: dict[str, Any] = {}  # noqa: RUF012
    code: str = ""

    def give(self, client: Any, operation: str) -> dict[str, Any]:
        """Return or raise it."""
        if not self.code:
            return self.content
        if self.code == "lost":
            raise ReadTimeoutError(endpoint_url="aws")
        error: Any = {"Error": {"Code": self.code, "Message": "no"}, **self.content}
        kind = getattr(client.exceptions, self.code, ClientError) if self.code.endswith("Exception") else ClientError
        raise kind(error, operation)


class World(Protocol):
    """What programs share. Never changed: `answered` and `moves` return new ones."""

    def key(self) -> Any:
        """Equal for equal worlds; of plain values."""

    def answered(self, request: Request) -> tuple["World", Answer] | None:
        """The world after a call, and its answer; None while it waits."""

    def alone(self, request: Request) -> bool:
        """Whether it makes no difference to anybody when a call is made: then other orders need not be tried."""

    def moves(self) -> Iterator[tuple[str, "World"]]:
        """What happens besides the calls of programs: each with its name."""

    def flaw(self) -> str:
        """What is wrong here; empty when nothing is."""

    def outcome(self) -> str:
        """How things stand, in a few words, to count the ends."""


class _Node:
    """Where a program is: what it calls next, None at its end, and what comes after each answer."""

    def __init__(self, number: int, path: tuple[tuple[str, Answer], ...], request: Request | None) -> None:
        self.number, self.path, self.request = number, path, request
        self.children: dict[str, _Node] = {}


class Program:
    """Real code as a tree of its calls. Calls that `constant` answers are not steps: all is the same without them."""

    def __init__(
        self, name: str, body: Callable[[], None], constant: Callable[[Request], Answer | None] = lambda _: None
    ) -> None:
        self.name, self._body, self._constant = name, body, constant
        self.nodes = 0
        self._answers: tuple[tuple[str, Answer], ...] = ()
        self._given = 0
        self._next: Request | None = None
        self.begin = self._after(())

    def _after(self, path: tuple[tuple[str, Answer], ...]) -> _Node:
        """Run the code with these answers to calls of these operations, up to the call after them."""
        self._answers, self._given, self._next = path, 0, None
        running.append(self)
        try:
            self._body()
        except Cut:
            pass
        finally:
            running.pop()
        self.nodes += 1
        return _Node(self.nodes, path, self._next)

    def call(self, client: Any, request: Request) -> dict[str, Any]:
        """A call of the code: the known answer, or the end of the run."""
        if self._next:
            raise Cut
        answer = self._constant(request)
        if answer is None:
            if self._given == len(self._answers):
                self._next = request
                raise Cut
            operation, answer = self._answers[self._given]
            assert operation == request.operation, "the program is another in each run: a clock, or chance, is left"
            self._given += 1
        return answer.give(client, request.operation)

    def follow(self, node: _Node, answer: Answer) -> _Node:
        """Where the program is after an answer."""
        key = repr(answer)
        if key not in node.children:
            assert node.request
            node.children[key] = self._after((*node.path, (node.request.operation, answer)))
        return node.children[key]


class _Direct:
    """Code that runs at once, all calls in one step."""

    def __init__(self, world: Any) -> None:
        self.world = world

    def call(self, client: Any, request: Request) -> dict[str, Any]:
        self.world, answer = self.world.answered(request)
        given: dict[str, Any] = answer.give(client, request.operation)
        return given


running: list[Any] = []


def at_once(world: Any, code: Callable[[], object]) -> Any:
    """The world after code that nobody interrupts."""
    direct = _Direct(world)
    running.append(direct)
    try:
        code()
    finally:
        running.pop()
    return direct.world


@contextmanager
def in_steps() -> Iterator[None]:
    """Every call to AWS, and every reading of the clock, is a step of the program that runs."""

    def call(client: Any, operation: str, arguments: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = running[-1].call(client, Request(operation, arguments))
        return answer

    def time_ns() -> int:
        return int(running[-1].call(None, Request("Now", {}))["ns"])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BaseClient, "_make_api_call", call)
        patch.setattr(time, "time_ns", time_ns)
        patch.setattr(time, "time", lambda: BEGIN_SECONDS)
        yield


class Found(NamedTuple):
    """All states that can be reached. `flaw` is the first wrong one, and `story` the steps to it."""

    counts: Counter[str]
    flaw: str
    story: list[str]


def explore(world: Any, programs: list[Program], faults: int = 0) -> Found:
    """Reach every state, the nearest first, or the first that is wrong.

    So many calls are done without an answer, or twice, as when the first answer got lost and the client asked again.
    """
    counts: Counter[str] = Counter()
    begin = (world, tuple(program.begin for program in programs), faults)
    seen: dict[bytes, tuple[bytes, str]] = {_digest(begin): (b"", "")}
    waiting = deque([begin])
    while waiting:
        state = waiting.popleft()
        here = _digest(state)
        counts["states"] += 1
        if flaw := state[0].flaw():
            return Found(counts, flaw, _story(seen, here))
        ended = True
        for label, after in _steps(state, programs):
            ended = False
            counts["transitions"] += 1
            digest = _digest(after)
            if digest not in seen:
                seen[digest] = here, label
                waiting.append(after)
        if ended:
            counts[f"ends {state[0].outcome()}"] += 1
    counts["runs of code"] = sum(program.nodes for program in programs)
    return Found(counts, "", [])


def _steps(state: Any, programs: list[Program]) -> Iterator[tuple[str, Any]]:
    """The states after each possible step."""
    world, nodes, faults = state
    places = [n for n, node in enumerate(nodes) if node.request]
    alone = next((n for n in places if world.alone(nodes[n].request)), None)
    for n in places if alone is None else [alone]:
        program, node = programs[n], nodes[n]
        done = world.answered(node.request)
        if done is None:
            continue
        for how, after, answer in _outcomes(node.request, done, faults):
            follower = program.follow(node, answer)
            moved = (*nodes[:n], follower, *nodes[n + 1 :])
            yield f"{program.name}: {node.request.operation}{how}", (after, moved, faults - bool(how))
    if alone is None:
        for label, after in world.moves():
            yield label, (after, nodes, faults)


def _outcomes(request: Request, done: tuple[Any, Answer], faults: int) -> Iterator[tuple[str, Any, Answer]]:
    after, answer = done
    yield "", after, answer
    if faults and request.operation != "Now":
        yield ", answer lost", after, Answer(code="lost")
        again = after.answered(request)
        if again is not None:
            yield ", done twice", *again


def _digest(state: Any) -> bytes:
    world, nodes, faults = state
    content = marshal.dumps((world.key(), [node.number for node in nodes], faults), 2)
    return hashlib.blake2b(content, digest_size=16).digest()


def _story(seen: dict[bytes, tuple[bytes, str]], at: bytes) -> list[str]:
    steps = []
    while at:
        at, label = seen[at]
        steps.append(label)
    return steps[-2::-1]
