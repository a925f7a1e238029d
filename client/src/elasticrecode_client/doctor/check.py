"""The list of checks, and how they run: side by side, each for a limited time, none able to stop another."""

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future, wait
from concurrent.futures import TimeoutError as Late
from contextlib import nullcontext
from functools import partial
from threading import Semaphore, Thread
from typing import Any, NamedTuple, TypeVar

from elasticrecode_client.doctor.deployment import Deployment, NotReached, explained
from elasticrecode_client.doctor.results import Finding, Result, Verdict, failed, skipped

T = TypeVar("T")

_AT_ONCE = 8


class Check(NamedTuple):
    """A check: its id, what it looks at, the function that does it, and how many seconds it may take.

    It begins once the check `after` has ended, where that one runs too. One with `jobs` waits for jobs, too, as long as
    the options allow.
    """

    id: str
    title: str
    run: Callable[[Deployment], Verdict]
    seconds: float
    after: str = ""
    jobs: bool = False

    def limit(self, deployment: Deployment) -> float:
        """Seconds after which nobody waits for it: it waits for a free thread first, while others take their time."""
        return 2 * self.seconds + (deployment.options.job_seconds if self.jobs else 0)


CHECKS: list[Check] = []
"""Every check, in the order of the report."""


def check(
    id_: str, title: str, *, seconds: float = 60, after: str = "", jobs: bool = False
) -> Callable[[Callable[[Deployment], Verdict]], Check]:
    """Add a function to the checks."""

    def add(run: Callable[[Deployment], Verdict]) -> Check:
        CHECKS.append(Check(id_, title, run, seconds, after, jobs))
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
    """The results, in the order of the checks, each as soon as it and those before it are there.

    A check that hangs keeps no process from its end. Whoever interrupts waits for those that run, which tidy up.
    """
    free = Semaphore(_AT_ONCE)
    started: dict[str, Future[tuple[Verdict, float]]] = {}
    try:
        for each in checks:
            started[each.id] = begin(partial(_timed, each, deployment, started.get(each.after)), free)
        for each in checks:
            yield _result(each, started[each.id], each.limit(deployment))
    except BaseException:
        running = [each for each in checks if each.id in started and not started[each.id].cancel()]
        wait([started[each.id] for each in running], max((each.limit(deployment) for each in running), default=0))
        raise


def begin(do: Callable[[], T], free: Semaphore | None = None) -> "Future[T]":
    """What `do` will return, from a thread that ends with the process; it begins once there is room in `free`."""
    future: Future[T] = Future()

    def run() -> None:
        with free or nullcontext():
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(do())
            except Exception as error:  # noqa: BLE001 - whoever waits for the result gets it
                future.set_exception(error)

    Thread(target=run, name="doctor", daemon=True).start()
    return future


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


def _result(each: Check, future: "Future[tuple[Verdict, float]]", limit: float) -> Result:
    try:
        verdict, seconds = future.result(timeout=limit)
    except Late:
        late = failed(each.id, f"The check did not end within {limit:.0f} s.", "")
        return Result(each.id, each.title, Verdict("not checked", (late,)), limit)
    return Result(each.id, each.title, verdict, seconds)
