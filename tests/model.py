"""The life of a job as a plain function: what the conditional writes must come to."""

from elasticrecode.jobs.lifecycle import State, find


def after(action: str, named: int | None, state: State, attempt: int, *, claimed: bool) -> State | None:
    """The state an action leads to from a record's state, attempt and claim; None when it changes nothing."""
    for move in find(action, named):
        holds = {"anyone": True, "claimed": claimed and named == attempt, "unclaimed": not claimed}
        if state in move.sources and holds[move.holder]:
            return move.target
    return None
