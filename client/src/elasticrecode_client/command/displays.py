"""How jobs that move are shown: bars on a terminal, a line for each event in a pipe, JSON lines, or nothing."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from elasticrecode_client.command.output import Output, clock, has_colours, name_of, printable, size
from elasticrecode_client.states import ENDED

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from elasticrecode_client.types import Event, JobRecord

_SHOWN = 20
"""Bars at the same time, if the terminal is not lower."""


def headline(record: JobRecord) -> str:
    """What became of a job, on one line."""
    name = name_of(record["input"])
    if record["state"] == "finished":
        parts = [f"finished  {name}"]
        outputs = [each for each in record["outputs"] or () if each.get("role") not in ("report", "certificate")]
        if outputs:
            parts.append(f"→ {outputs[0]['uri']} ({size(sum(each['bytes'] for each in outputs))})")
        if record.get("quality"):
            parts.append(score_line(record["quality"]))
        if record.get("copyOf"):
            parts.append("copied from an earlier job")
        return "  ".join(parts)
    if record["state"] == "failed" and record["error"]:
        return f"failed    {name}  {record['error']['code']}: {record['error']['message']}"
    return f"{record['state']:9} {name}"


def score_line(quality: Any) -> str:
    """A score on one line."""
    parts = [f"VMAF {quality['vmaf']['mean']:.2f}"]
    for name, label in (("psnr", "PSNR"), ("ssim", "SSIM"), ("msSsim", "MS-SSIM")):
        if quality.get(name):
            parts.append(f"{label} {quality[name]['mean']:.4g}")
    if quality.get("passed") is not None:
        parts.append("passed" if quality["passed"] else "below the bar")
    return ", ".join(parts)


def event_line(event: Any, name: str = "") -> str:
    """An event on one line: when, which job, what, and how far."""
    from datetime import datetime

    at = datetime.fromtimestamp(event.get("tsMs", 0) / 1000).astimezone().strftime("%H:%M:%S")
    parts = [at, event.get("jobID", ""), event["action"].ljust(11), name]
    if progress := event.get("progress"):
        parts.append(progress_line(progress))
    result, error = event.get("result") or {}, event.get("error")
    if quality := result.get("quality"):
        parts.append(score_line(quality))
    parts.append(f"{error['code']}: {error['message']}" if error else event.get("msg", ""))
    return "  ".join(part for part in parts if part)


def progress_line(progress: Any) -> str:
    """Progress in words."""
    parts = [f"{progress['percent']:.0f} %"] if progress.get("percent") is not None else []
    parts += [f"{progress['speed']:.1f}×"] if progress.get("speed") else []
    parts += [f"{clock(progress['etaSeconds'])} left"] if progress.get("etaSeconds") is not None else []
    return ", ".join(parts)


class Display:
    """Shows nothing: what `--json` has where only the end counts."""

    def __enter__(self) -> Display:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the terminal as it was."""

    def begin(self, records: Iterable[JobRecord]) -> None:
        """The jobs as they stand at first."""

    def event(self, event: Event) -> None:
        """Something happened to one of them."""

    def end(self, record: JobRecord) -> None:
        """A job has ended."""


class Lines(Display):
    """A line for each event, without escape sequences; JSON lines with `--json`."""

    def __init__(self, out: Output, *, with_records: bool = True) -> None:
        self.out = out
        self.with_records = with_records
        self.names: dict[str, str] = {}

    def begin(self, records: Iterable[JobRecord]) -> None:
        """Learn the names of jobs."""
        self.names |= {record["jobID"]: name_of(record["input"]) for record in records}

    def event(self, event: Event) -> None:
        """Write the event."""
        self.out.json(event)
        if not self.out.as_json:
            name = self.names.get(event.get("jobID", "")) or name_of(str(event.get("job", {}).get("input", "")))
            self.out.text(event_line(event, name))

    def end(self, record: JobRecord) -> None:
        """Write what became of the job."""
        if self.with_records:
            self.out.text(headline(record))


class Bars(Display):
    """A bar for each running job, with those that have ended above, and how many wait below."""

    def __init__(self, *, to_stderr: bool = False) -> None:
        self._stream = sys.stderr if to_stderr else sys.stdout
        self._progress: Progress = _progress(to_stderr)
        self._names: dict[str, str] = {}
        self._states: dict[str, str] = {}
        self._bars: dict[str, TaskID] = {}
        self._total: TaskID | None = None

    def __enter__(self) -> Bars:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def begin(self, records: Iterable[JobRecord]) -> None:
        """Show the jobs as they stand."""
        for record in records:
            self._names[record["jobID"]] = name_of(record["input"])
            self._move(record["jobID"], record["state"])
            if record["state"] == "running":
                self._show(record["jobID"], record["progress"] or {})
        self._count()

    def event(self, event: Event) -> None:
        """Move the bar of the job."""
        states = {"JobStart": "running", "JobProgress": "running", "JobReturned": "queued", "JobLost": "queued"}
        state = states.get(event["action"])
        if state is None or event["jobID"] not in self._names:
            return
        self._move(event["jobID"], state)
        if state == "running":
            self._show(event["jobID"], event.get("progress") or {})
        else:
            self._hide(event["jobID"])
        self._count()

    def end(self, record: JobRecord) -> None:
        """Write what became of the job, above the bars."""
        self._move(record["jobID"], record["state"])
        self._hide(record["jobID"])
        self._count()
        line = printable(headline(record))
        style = (
            {"finished": "green", "failed": "red"}.get(record["state"], "yellow") if has_colours(self._stream) else ""
        )
        self._progress.console.print(line, style=style, markup=False, highlight=False, soft_wrap=True)

    def _move(self, job_id: str, state: str) -> None:
        self._states[job_id] = state

    def _show(self, job_id: str, progress: Any) -> None:
        if job_id not in self._bars:
            if len(self._bars) >= min(_SHOWN, max(1, self._progress.console.height - 4)):
                return
            self._bars[job_id] = self._progress.add_task(printable(self._names[job_id]), total=100, rest="")
        percent = progress.get("percent")
        rest = [f"{progress['speed']:.1f}×"] if progress.get("speed") else []
        rest += [f"{clock(progress['etaSeconds'])} left"] if progress.get("etaSeconds") is not None else []
        values = {"completed": percent} if percent is not None else {}
        self._progress.update(self._bars[job_id], rest="  ".join(rest), **values)

    def _hide(self, job_id: str) -> None:
        if job_id in self._bars:
            self._progress.remove_task(self._bars.pop(job_id))

    def _count(self) -> None:
        """The line below: how many jobs are in each state."""
        counts: dict[str, int] = {}
        for state in self._states.values():
            counts["waiting" if state in ("accepted", "queued") else state] = 1 + counts.get(state, 0)
        waiting = sum(state in ("accepted", "queued") for state in self._states.values())
        counts |= {"waiting": waiting} if waiting else {}
        words = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
        ended = sum(state in ENDED for state in self._states.values())
        if self._total is not None:
            self._progress.remove_task(self._total)
        self._total = self._progress.add_task(
            "all jobs" if len(self._states) > 1 else "job", total=len(self._states), completed=ended, rest=words
        )


def _progress(to_stderr: bool) -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rest]}", markup=False),
    )
    return Progress(*columns, console=Console(stderr=to_stderr, highlight=False), transient=True, refresh_per_second=8)


class Transfer:
    """A bar for bytes that go up or down, on standard error; one line at the end where that is no terminal."""

    def __init__(self, out: Output, label: str, total: int) -> None:
        from elasticrecode_client.command.output import can_move

        self._out, self._label, self.total = out, printable(label), total
        self._progress = _bytes() if can_move(sys.stderr) else None
        self._task: TaskID | None = None

    def __enter__(self) -> Transfer:
        if self._progress:
            self._progress.start()
            self._task = self._progress.add_task(self._label, total=self.total)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._progress:
            self._progress.stop()
        if kind is None:
            self._out.message(f"{self._label}, {size(self.total)}")

    def update(self, count: int) -> None:
        """So many bytes are there."""
        if self._progress and self._task is not None:
            self._progress.update(self._task, completed=count)


def _bytes() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    text = TextColumn("{task.description}", markup=False)
    columns = (text, BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True, highlight=False), transient=True)
