"""A report for people: a table, then the faults with their remedies."""

from collections.abc import Iterable

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from elasticrecode_client.doctor.results import Finding, Report, Result, Status
from elasticrecode_client.problems import printable

MARKS = {Status.OK: "ok", Status.SKIPPED: "skipped", Status.WARNING: "warning", Status.FAILED: "FAILED"}
_STYLES = {Status.OK: "green", Status.SKIPPED: "dim", Status.WARNING: "yellow", Status.FAILED: "bold red"}
_MOST = 12
"""Findings of one check that are printed; more are counted."""


def show(report: Report, console: Console) -> None:
    """Print a report."""
    table = Table(box=None, pad_edge=False, show_header=False)
    for name in ("status", "check", "title", "summary"):
        table.add_column(name, no_wrap=name != "summary", overflow="fold")
    for result in report.results:
        mark = f"[{_STYLES[result.status]}]{MARKS[result.status]}[/]"
        table.add_row(mark, result.check, _plain(result.title), _plain(result.verdict.summary))
    console.print(f"[bold]{_plain(report.subject)}[/]\n")
    console.print(table)
    for status in (Status.FAILED, Status.WARNING, Status.SKIPPED):
        _show_findings(report.results, status, console)
    counts = {status: sum(result.status is status for result in report.results) for status in MARKS}
    counted = ", ".join(f"{count} {MARKS[status].lower()}" for status, count in counts.items() if count)
    console.print(f"\n{len(report.results)} checks: {counted}.")


def _show_findings(results: Iterable[Result], status: Status, console: Console) -> None:
    """Print the findings of a status, by check. Checks with the same findings share them."""
    alike: dict[tuple[Finding, ...], list[Result]] = {}
    for result in results:
        if findings := tuple(each for each in result.verdict.findings if each.status is status):
            alike.setdefault(findings, []).append(result)
    for findings, sharing in alike.items():
        names = ", ".join(each.check for each in sharing)
        heading = names if len(sharing) > 1 else f"{names}: {sharing[0].title}"
        console.print(f"\n[{_STYLES[status]}]{MARKS[status]}[/]  {_plain(heading)}", soft_wrap=True, highlight=False)
        for each in findings[:_MOST]:
            console.print(f"  {_plain(each.where)}: {_plain(each.wrong)}", soft_wrap=True, highlight=False)
            if each.remedy:
                console.print(f"    type: [bold]{_plain(each.remedy)}[/]", soft_wrap=True, highlight=False)
        if len(findings) > _MOST:
            console.print(f"  and {len(findings) - _MOST} more; --json has all")


def _plain(text: str) -> str:
    """The text on one line, with its brackets as they are, and without what moves a terminal's cursor."""
    return escape(printable(text))
