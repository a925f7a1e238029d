"""`elasticrecode doctor`: checks a deployment end to end, and says what is wrong and what to type."""

from collections.abc import Callable, Sequence

from elasticrecode_client.doctor import checks
from elasticrecode_client.doctor.check import CHECKS, begin, chosen, run_all
from elasticrecode_client.doctor.deployment import Deployment, Options
from elasticrecode_client.doctor.results import Finding, Report, Result, Status, Verdict

__all__ = [
    "CHECKS", "Deployment", "Finding", "Options", "Report", "Result", "Status", "Verdict", "checks", "diagnose"
]  # fmt: skip


_SUBJECT_SECONDS = 5
"""The name of a stack that no check has learned by then is left out."""


def diagnose(options: Options, only: Sequence[str] = (), progress: Callable[[Result], None] = lambda _: None) -> Report:
    """Run the checks, or those with the ids in `only`, and report. Raises ValueError for an id that no check has.

    `progress` gets each result as it comes. Nothing that the checks put into the deployment stays there but the records
    of their jobs, which expire as all do.
    """
    selected = chosen(only)
    deployment = Deployment(options)
    results = []
    try:
        for result in run_all(selected, deployment):
            progress(result)
            results.append(result)
        return Report(_subject(deployment), results)
    finally:
        deployment.close()


def _subject(deployment: Deployment) -> str:
    """What was checked, in a line."""
    try:
        name = begin(lambda: deployment.stack["StackName"]).result(_SUBJECT_SECONDS)
        stack = f"stack {name} in {deployment.region}"
    except Exception:  # noqa: BLE001 - the checks report why the stack is not known
        stack = "no stack"
    return f"{stack}, {deployment.options.url or 'at the address of its outputs'}"
