"""The list of checks, and how they run: side by side, each for a limited time, none able to stop another."""

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from concurrent.futures import TimeoutError as Late
from typing import Any, NamedTuple

from elasticrecode_client.doctor.deployment import Deployment, NotReached, explained
from elasticrecode_client.doctor.results import Finding, Result, Verdict, failed, skipped

_AT_ONCE = 8


class Check(NamedTuple):
    """A check: its id, what it looks at, the function that does it, and how many seconds it may take.

    It begins once the check `after` has ended, where that one runs too.
    """

    id: str
    title: str
    run: Callable[[Deployment], Verdict]
    seconds: float
    after: str = ""


CHECKS: list[Check] = []
"""Every check, in the order of the report."""


def check(
    id_: str, title: str, *, seconds: float = 60, after: str = ""
) -> Callable[[Callable[[Deployment], Verdict]], Check]:
    """Add a function to the checks."""

    def add(run: Callable[[Deployment], Verdict]) -> Check:
        CHECKS.append(Check(id_, title, run, seconds, after))
        return CHECKS[-1]

    return add


def chosen(names: Collection[str]) -> list[Check]:
    """The checks with these ids; all for none. Raises ValueError for an id that no check has."""
    unknown = set(names) - {each.id for each in CHECKS}
    if unknown:
        known = ", ".join(each.id for each in CHECKS)
        raise ValueError(f"There is no check {', '.join(sorted(unknown))}. The checks are {known}.")
    return [each for each in CHECKS if not names or each.id in names]


def run_all(checks: Sequence[Check], deployment: Deployment) -> Iterator[Result]:
    """The results, in the order of the checks, each as soon as it and those before it are there."""
    pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="doctor")
    try:
        started: dict[str, Future[tuple[Verdict, float]]] = {}
        for each in checks:
            started[each.id] = pool.submit(_timed, each, deployment, started.get(each.after))
        for each in checks:
            yield _result(each, started[each.id])
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _timed(each: Check, deployment: Deployment, first: "Future[Any] | None") -> tuple[Verdict, float]:
    if first:
        wait([first], each.seconds)
    started = time.monotonic()
    try:
        verdict = each.run(deployment)
    except Exception as error:  # noqa: BLE001 - a check that breaks must not stop the others
        verdict = Verdict("not checked", (_broken(each, error),))
    return verdict, time.monotonic() - started


def _broken(each: Check, error: Exception) -> Finding:
    reason = error if isinstance(error, NotReached) else explained(error)
    if reason:
        finding = failed if reason.is_fault else skipped
        return finding(reason.part, str(reason), reason.remedy)
    sentence = f"The check itself broke: {type(error).__name__}: {error}"[:400]
    return failed(each.id, sentence, "Report this as a bug, with the output of --json.")


def _result(each: Check, future: "Future[tuple[Verdict, float]]") -> Result:
    try:
        # A check waits for a free thread first, so its time and that of all before it may pass.
        verdict, seconds = future.result(timeout=2 * each.seconds)
    except Late:
        late = failed(each.id, f"The check did not end within {2 * each.seconds:.0f} s.", "")
        return Result(each.id, each.title, Verdict("not checked", (late,)), 2 * each.seconds)
    return Result(each.id, each.title, verdict, seconds)
