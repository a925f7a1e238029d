"""Results of checks: findings, the verdict of a check, and the report of them all. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Status(StrEnum):
    """How a check ended. `skipped` says that nothing could be checked, and the finding says why."""

    OK = "ok"
    SKIPPED = "skipped"
    WARNING = "warning"
    FAILED = "failed"


_ORDER = tuple(Status)


@dataclass(frozen=True)
class Finding:
    """One fault, or one reason to skip: in which part, what is wrong in words, and what to type. `remedy` may be ""."""

    status: Status
    where: str
    wrong: str
    remedy: str = ""


def failed(where: str, wrong: str, remedy: str = "") -> Finding:
    """A fault with which the deployment does not work."""
    return Finding(Status.FAILED, where, wrong, remedy)


def warning(where: str, wrong: str, remedy: str = "") -> Finding:
    """A fault with which the deployment works for now."""
    return Finding(Status.WARNING, where, wrong, remedy)


def skipped(where: str, wrong: str, remedy: str = "") -> Finding:
    """A part that could not be checked."""
    return Finding(Status.SKIPPED, where, wrong, remedy)


@dataclass(frozen=True)
class Verdict:
    """The outcome of a check: one line for the table, and its findings."""

    summary: str
    findings: tuple[Finding, ...] = ()

    @classmethod
    def of(cls, summary: str, findings: Iterable[Finding] = ()) -> "Verdict":
        """A verdict from any iterable of findings."""
        return cls(summary, tuple(findings))

    @property
    def status(self) -> Status:
        """The worst status of the findings; `ok` without any."""
        return max((each.status for each in self.findings), key=_ORDER.index, default=Status.OK)


@dataclass(frozen=True)
class Result:
    """A verdict with the id and title of its check, and the seconds it took."""

    check: str
    title: str
    verdict: Verdict
    seconds: float

    @property
    def status(self) -> Status:
        """The status of the verdict."""
        return self.verdict.status


@dataclass(frozen=True)
class Report:
    """The results of all checks, and the deployment they are about."""

    subject: str
    results: Sequence[Result]

    @property
    def exit_code(self) -> int:
        """1 when a check failed, or none could be made, else 0."""
        statuses = {result.status for result in self.results}
        return int(Status.FAILED in statuses or statuses == {Status.SKIPPED})

    def findings(self, *statuses: Status) -> list[tuple[Result, Finding]]:
        """The findings with one of the statuses, the worst first, each with the result it belongs to."""
        pairs = [(result, each) for result in self.results for each in result.verdict.findings]
        wanted = [pair for pair in pairs if pair[1].status in statuses]
        return sorted(wanted, key=lambda pair: -_ORDER.index(pair[1].status))

    def as_json(self) -> dict[str, Any]:
        """The report as a JSON object."""
        return {
            "subject": self.subject,
            "exitCode": self.exit_code,
            "checks": [
                {
                    "check": result.check,
                    "title": result.title,
                    "status": str(result.status),
                    "summary": result.verdict.summary,
                    "seconds": round(result.seconds, 2),
                    "findings": [
                        {"status": str(each.status), "where": each.where, "wrong": each.wrong, "remedy": each.remedy}
                        for each in result.verdict.findings
                    ],
                }
                for result in self.results
            ],
        }
