"""How a part of a divided film was made, as its worker tells the one that holds the job."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from elasticrecode import wire
from worker.certificate.programs import Program, programs
from worker.sandbox.runner import Runner
from worker.sandbox.steps import Step
from worker.settings import Settings


class PartRun(Struct, frozen=True):
    """The runs of a part, without texts, the file of its cut, the file of each output, and the worker's programs."""

    cut: str
    files: dict[int, str]
    steps: list[Step]
    programs: list[Program]


def save_run(
    path: Path, cut: str, files: Mapping[int, str], steps: Sequence[Step], settings: Settings, runner: Runner
) -> None:
    """Write how a part was made into a file: of the runs, the last that wrote each output. Raises as `Runner.run`."""
    last = {name: step for step in steps for name in step.outputs if name in files.values()}
    kept = [step.bare for step in steps if any(step is each for each in last.values())]
    versions = programs(kept, {"ffmpeg": settings.ffmpeg}, path.parent, runner)
    path.write_bytes(msgspec.json.encode(PartRun(cut, dict(files), kept, versions)))


def replace_run(before: Path, path: Path, output: int, file: str, steps: Sequence[Step]) -> None:
    """Write how a part was made of which one output was encoded again: `before` tells how it was made first."""
    run = load_run(before)
    kept = [step for step in run.steps if run.files[output] not in step.outputs]
    kept += [step.bare for step in steps if file in step.outputs]
    path.write_bytes(msgspec.json.encode(PartRun(run.cut, {**run.files, output: file}, kept, run.programs)))


def load_run(path: Path) -> PartRun:
    """What `save_run` wrote. Raises msgspec.DecodeError or OSError for another file."""
    return wire.decode(path.read_bytes(), PartRun)
