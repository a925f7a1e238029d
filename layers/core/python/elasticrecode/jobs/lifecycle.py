"""The life of a job: its states, its moves, and the condition of each move.

Every change of state is one conditional write on state and attempt. The condition fails for an event that is late,
doubled, out of order, or from a worker that has lost its claim: such an event changes nothing, and is stored.
"""

import random
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Literal, NamedTuple, get_args

from elasticrecode.contract.tables import STATE_KEYS
from elasticrecode.jobs.events import Action

State = Literal["accepted", "queued", "running", "finished", "failed", "cancelled"]
STATES: tuple[State, ...] = get_args(State)
CANCELLED: State = "cancelled"


class Step(StrEnum):
    """A move that no event causes, such as a claim. Clients see the new state only."""

    CLAIM = "claim"
    ADOPT = "adopt"
    POSTPONE = "postpone"
    RESUME = "resume"
    HOLD = "hold"
    EXHAUST = "exhaust"
    BURY = "bury"


Claimed = Literal["claimed", "unclaimed", "either", "committed"]
"""The claim that a move requires on the record: one on the attempt that the action names, none (the job of a
first-generation worker, which never claims and names no attempt), or either. With `committed` the named attempt has
committed its outputs, whoever holds it. It does not say who acts: another worker or `reconcile` sends JobLost."""


class Move(NamedTuple):
    """From any of `sources` to `target`.

    `commit` is whether the job's attempt must have committed its outputs (`jobs.commits`); None where it may have.
    """

    action: Action | Step
    sources: tuple[State, ...]
    target: State
    claim: Claimed
    meaning: str
    commit: bool | None = None


MOVES = (
    Move(Step.POSTPONE, ("queued",), "accepted", "either", "it has no message: no queue took it, or it got lost"),
    Move(Step.HOLD, ("accepted",), "accepted", "either", "all queues that serve it are paused"),
    Move(Step.RESUME, ("accepted",), "queued", "either", "`reconcile` hands it to a queue"),
    Move(Step.CLAIM, ("queued",), "running", "either", "a worker begins the next attempt", commit=False),
    Move(
        Step.ADOPT, ("queued",), "running", "either", "a worker completes the publication of the attempt", commit=True
    ),
    Move(Step.CLAIM, ("running",), "running", "unclaimed", "a first-generation worker let its message come back"),
    Move(Action.JOB_START, ("queued",), "running", "unclaimed", "a first-generation worker begins"),
    Move(Action.JOB_FINISHED, ("running",), "finished", "claimed", "its output is published"),
    Move(Action.JOB_FINISHED, ("queued", "running"), "finished", "unclaimed", "its output is published"),
    Move(
        Action.JOB_FINISHED,
        ("queued",),
        "finished",
        "committed",
        "it was lost after its output was published",
        commit=True,
    ),
    Move(Action.JOB_FAILED, ("running",), "failed", "claimed", "it can never succeed"),
    Move(
        Action.JOB_FAILED, ("queued",), "failed", "committed", "it was lost after its output was published", commit=True
    ),
    Move(Action.JOB_FAILED, ("queued", "running"), "failed", "unclaimed", "a first-generation worker gave up"),
    Move(Action.JOB_RETURNED, ("running",), "queued", "claimed", "its worker returned it"),
    Move(Action.JOB_LOST, ("running",), "queued", "claimed", "another worker or `reconcile` found its lease expired"),
    Move(
        Step.EXHAUST, ("running",), "failed", "claimed", "it was lost or returned with an error too often", commit=False
    ),
    Move(
        Step.BURY,
        ("accepted", "queued", "running"),
        "failed",
        "either",
        "its message is a dead letter, and no worker has it",
    ),
    Move(
        Action.JOB_CANCELLED,
        ("accepted", "queued", "running"),
        "cancelled",
        "either",
        "its user or an operator cancels it",
        commit=False,
    ),
    Move(Action.JOB_RETRIED, ("failed", "cancelled"), "queued", "either", "its user or an operator retries it"),
)

ENDED: tuple[State, ...] = ("finished", "failed", "cancelled")

NEEDS_MESSAGE: tuple[State, ...] = tuple(
    sorted({source for move in MOVES if move.target == "queued" and move.claim == "either" for source in move.sources})
)
"""A job that becomes queued from one of these has no message on its queue; from `running` the message comes back."""


def find(action: str, attempt: int | None) -> tuple[Move, ...]:
    """The moves of an action that names `attempt`, or no attempt. Empty for actions that change no state."""
    claims = ("either", "unclaimed") if attempt is None else ("either", "claimed", "committed")
    return tuple(move for move in MOVES if move.action == action and move.claim in claims)


def write(
    action: str,
    attempt: int | None,
    now_ms: int,
    details: Mapping[str, str | int],
    max_strikes: int | None = None,
    because: str = "",
    *,
    after_start: bool = False,
) -> dict[str, Any]:
    """The update of a record that makes an action's move if it is allowed: arguments of DynamoDB's UpdateItem.

    `details` are further attributes to set. With `max_strikes` the condition of a move that counts a strike fails when
    it would be the last strike allowed, and the condition of Step.EXHAUST when it would not; `because` is the action
    that exhausts. With `after_start` it fails before the JobStart of the attempt has been shown. Every move adds one to
    `moves`, so that a reader of several images knows which is the latest.
    Raises ValueError for an action that makes no move.
    """
    moves = find(action, attempt)
    if not moves:
        raise ValueError(f"{action} moves no job")
    target = moves[0].target
    words = _Words()
    further = [f"attribute_exists({words.name(LATEST_AT)})"] if after_start else []
    conditions = [_condition(words, move, attempt, now_ms, max_strikes, because, further) for move in moves]
    sets = {"state": target, STATE_KEYS[2]: random.choice(state_shards(target)), _STAMPS[target]: now_ms, **details}  # noqa: S311
    if target in WATCHED_AFTER_MS:
        sets["due"] = now_ms + WATCHED_AFTER_MS[target]
    if action == Action.JOB_RETRIED:
        sets["strikes"] = 0
    if action == Step.ADOPT:
        sets[LATEST_AT] = _NO_MORE
    assignments = [f"{words.name(name)} = {words.value(value)}" for name, value in sets.items()]
    left_behind = (*_LEFT_BEHIND[target], *((COMMIT,) if action in _PUBLISHED else ()))
    left_behind += REPLACEMENTS if action == Step.CLAIM else (DIVISION, SPENT) if action == Action.JOB_RETRIED else ()
    removed = [words.name(name) for name in left_behind if name not in sets]
    counters = [f"{words.name('moves')} {words.value(1)}"]
    if target == "running" and action != Step.ADOPT:
        counters.append(f"{words.name('attempt')} {words.value(1)}")
    if is_strike(action, details):
        counters.append(f"{words.name('strikes')} {words.value(1)}")
    expression = f"SET {', '.join(assignments)}"
    expression += f" REMOVE {', '.join(removed)}" if removed else ""
    expression += f" ADD {', '.join(counters)}"
    return {
        "UpdateExpression": expression,
        "ConditionExpression": " OR ".join(conditions),
        "ExpressionAttributeNames": words.names,
        "ExpressionAttributeValues": words.values,
    }


def _condition(
    words: "_Words",
    move: Move,
    attempt: int | None,
    now_ms: int,
    max_strikes: int | None,
    because: str,
    further: Sequence[str],
) -> str:
    """The condition of one move, in parentheses. The arguments are those of `write`, and `further` terms."""
    terms = [f"{words.name('state')} IN ({', '.join(words.value(source) for source in move.sources)})"]
    if move.claim == "committed":
        terms.append(f"{words.name('attempt')} = {words.value(attempt or 0)}")
    else:
        terms += further
    if move.claim == "claimed":
        terms.append(
            f"attribute_exists({words.name('lease')}) AND {words.name('attempt')} = {words.value(attempt or 0)}"
        )
    elif move.claim == "unclaimed":
        terms.append(f"attribute_not_exists({words.name('lease')})")
    if move.commit is not None:
        terms.append(f"attribute_{'' if move.commit else 'not_'}exists({words.name(COMMIT)})")
    if Action.JOB_LOST in (move.action, because):
        terms.append(f"{words.name('lease')} < {words.value(now_ms)}")
    if move.action == Step.BURY:
        lease = words.name("lease")
        terms.append(f"(attribute_not_exists({lease}) OR {lease} < {words.value(now_ms)})")
    if max_strikes is not None:
        strikes, last = words.name("strikes"), words.value(max_strikes - 1)
        if move.action == Step.EXHAUST:
            terms.append(f"{strikes} >= {last}")
        else:  # a committed attempt has done its work, and only has to be completed
            terms.append(f"({strikes} < {last} OR attribute_exists({words.name(COMMIT)}))")
    return f"({' AND '.join(terms)})"


def latest(attempt: int | None, order: int, event: str, *, is_start: bool) -> dict[str, Any]:
    """The update that makes an event the latest of its attempt: arguments of DynamoDB's UpdateItem.

    The attempt must run. A JobStart must be its first event, a tick must follow one and be newer. So neither can come
    after the end of its attempt, in another attempt, or after what its worker sent later.
    """
    words = _Words()
    lease, known = words.name("lease"), words.name(LATEST_AT)
    terms = [f"{words.name('state')} = {words.value('running')}"]
    if attempt is None:
        terms.append(f"attribute_not_exists({lease})")
    else:
        terms.append(f"attribute_exists({lease}) AND {words.name('attempt')} = {words.value(attempt)}")
    terms.append(f"attribute_not_exists({known})" if is_start else f"{known} < {words.value(order)}")
    return {
        "UpdateExpression": f"SET {words.name(LATEST)} = {words.value(event)}, {known} = {words.value(order)}",
        "ConditionExpression": " AND ".join(terms),
        "ExpressionAttributeNames": words.names,
        "ExpressionAttributeValues": words.values,
    }


def while_running(attempt: int) -> dict[str, Any]:
    """An update that changes nothing and fails unless the attempt runs and its JobStart has been shown."""
    words = _Words()
    return _unchanged(words, attempt, "running", f"attribute_exists({words.name(LATEST_AT)})")


def while_released(attempt: int) -> dict[str, Any]:
    """An update that changes nothing and fails unless the job waits since its worker released the attempt."""
    words = _Words()
    return _unchanged(words, attempt, "queued", f"{words.name(RELEASED)} = {words.value(attempt)}")


def _unchanged(words: "_Words", attempt: int, state: State, term: str) -> dict[str, Any]:
    name, value = words.name("attempt"), words.value(attempt)
    return {
        "UpdateExpression": f"SET {name} = {value}",
        "ConditionExpression": f"{words.name('state')} = {words.value(state)} AND {name} = {value} AND {term}",
        "ExpressionAttributeNames": words.names,
        "ExpressionAttributeValues": words.values,
    }


def awaits_start(record: Mapping[str, Any], attempt: int | None) -> bool:
    """Whether an attempt runs whose JobStart has not come yet."""
    if not record or record["state"]["S"] != "running" or LATEST_AT in record:
        return False
    return "lease" in record and int(record["attempt"]["N"]) == attempt


def is_strike(action: str, details: Mapping[str, Any]) -> bool:
    """Whether a move counts towards the attempts that may go wrong.

    A job returned without an error does not count, nor one with a host fault or a service fault.
    """
    if action == Action.JOB_RETURNED:
        return "failure" in details and FAULT not in details
    return action in (Action.JOB_LOST, Step.EXHAUST)


_STAMPS = {
    "accepted": "postponedMs",
    "queued": "queuedMs",
    "running": "startedMs",
    "finished": "endedMs",
    "failed": "endedMs",
    "cancelled": "endedMs",
}
LATEST, LATEST_AT = "latest", "latestAt"
"""Attributes of a record: the last JobStart or JobProgress of the running attempt, and its `Event.order`."""
COMMIT = "commit"
"""Attribute of a record whose attempt has committed its outputs: what is left is to complete their uploads."""
REPLACEMENTS = ("replaces", "replacedBy")
"""Attributes of a record: whose outputs the job's outputs replaced, and whose replaced them."""
_PUBLISHED = (Action.JOB_FINISHED, Action.JOB_FAILED)
"""Events that a worker sends when no upload that the job committed to can be completed any more."""
_NO_MORE = 10**16
"""The order behind which no JobStart or tick comes: those of an adopted attempt have been shown."""
RELEASED = "released"
"""Attribute of a record: the attempt that a worker returned by itself, before its JobReturned arrives."""
FAULT = "fault"
"""Attribute of a record: whose fault its last attempt was, where it was no strike."""
DIVISION, PART_PROGRESS, PART_RESULT = "division", "progress", "result"
"""Attributes of a record: how its job is divided into parts; of the record of a part: its progress, and its result. A
later attempt keeps the division and goes on with the parts; a retried job is divided anew."""
COUNTED = "counted"
"""Attribute of a record whose moves the overview counts: one of before, or of a plan, has none."""
PLANNED = "planned"
"""Attribute of the record of a plan: what its worker has planned."""
SPENT = "spentMs"
"""Attribute of a record with a budget: the time that workers have spent on the job. A retried job begins anew."""
_FAILURE = ("failure", FAULT)
_ATTEMPT = ("lease", "worker", LATEST, LATEST_AT, PART_PROGRESS)
_LEFT_BEHIND: dict[State, tuple[str, ...]] = {
    "accepted": (),
    "queued": (
        *(*_ATTEMPT, RELEASED, "startedMs", "endedMs"),
        *("outputs", "copyOf", "quality", "ladder", "warnings", PLANNED, *_FAILURE),
    ),
    "running": (*_ATTEMPT, *_FAILURE),
    "finished": (*_ATTEMPT, "due", *_FAILURE),
    "failed": (*_ATTEMPT, "due", FAULT),
    "cancelled": (*_ATTEMPT, "due", FAULT),
}
"""Attributes that a move into a state removes, unless it sets them."""

WATCHED_AFTER_MS: dict[State, int] = {"accepted": 20_000, "queued": 60_000}
"""Milliseconds for which a job may stay in a state before `reconcile` looks at it. A running job
keeps the time that it got when queued."""


_BULK: tuple[State, ...] = ("accepted", "queued")
"""States into which a batch brings jobs faster than a partition of an index takes them."""
_BULK_SHARDS = 4


def state_shards(state: State) -> list[str]:
    """The partitions of the index `state` for the jobs of one user and kind in a state."""
    return [f"{state}#{shard}" for shard in range(_BULK_SHARDS if state in _BULK else 1)]


class _Words:
    """Placeholders of a DynamoDB expression, each name and value once."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self.values: dict[str, dict[str, str]] = {}

    def name(self, name: str) -> str:
        self.names[f"#{name}"] = name
        return f"#{name}"

    def value(self, value: str | int) -> str:
        typed = {"S": value} if isinstance(value, str) else {"N": str(value)}
        for placeholder, known in self.values.items():
            if known == typed:
                return placeholder
        placeholder = f":v{len(self.values)}"
        self.values[placeholder] = typed
        return placeholder


def as_seen(state: State, lease: float | None, now: float) -> State:
    """The state that clients see. A running job whose lease has run out waits for a worker again, so it is queued."""
    return "queued" if state == "running" and lease is not None and lease < now else state


_SKETCH = (
    "submitted ─▶ accepted ⇄ queued ⇄ running ─▶ finished or failed",
    "accepted, queued or running ─▶ cancelled",
    "failed or cancelled ─JobRetried─▶ queued",
)
"""The main moves; the table has all."""


def page() -> str:
    """The moves as the page `docs/reference/lifecycle.md`: a sketch of the main ones, and a table of all."""
    lines = [
        "# The life of a job",
        "",
        "```text",
        *_SKETCH,
        "```",
        "",
        "| move | from | to | requires | meaning |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {move.action} | {', '.join(move.sources)} | {move.target} | {_required(move)} | {move.meaning} |"
        for move in MOVES
    ]
    return "\n".join(lines) + "\n"


def _required(move: Move) -> str:
    """What a move requires besides the state, for the page."""
    claim = {"either": "", "claimed": "a claim on this attempt", "unclaimed": "no claim", "committed": "this attempt"}[
        move.claim
    ]
    commit = {None: "", True: "a commit", False: "no commit"}[move.commit]
    return ", ".join(filter(None, (claim, commit))) or "–"
