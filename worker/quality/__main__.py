"""`python -m worker.quality`: scores two local files, as a worker scores those of a job.

`elasticrecode compare` runs it. Standard input is one `LocalPair` as JSON; standard output has a line of JSON for each
progress (`{"progress": …}`), and at the end one with `quality` and the scale, with the `error`, or with the `fault` of
the profile. Exit status 0 with a score, 1 without one, 130 when interrupted.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from msgspec import UNSET, Struct

from elasticrecode.jobs.events import Progress
from elasticrecode.media import rules
from elasticrecode.media.formats import FORMATS
from elasticrecode.media.profiles import Profile, Vmaf, resolve
from worker.errors import JobError
from worker.media.probe import probe_video
from worker.quality.score import Pair, score
from worker.sandbox.runner import Runner
from worker.settings import Settings


class LocalPair(Struct, forbid_unknown_fields=True):
    """Two local files to score. `profile` is a `profile.vmaf`; without a scale, both have the size of the origin.

    The reports go into `folder`, which is otherwise empty. `ffmpeg` and `ffprobe` are programs. `sandbox` is that of a
    worker, `auto` or `off`; files that `folder` cannot hold links to are read outside of it, without a sandbox.
    """

    input: str
    origin: str
    profile: dict[str, Any]
    folder: str
    ffmpeg: str = "ffmpeg"
    ffprobe: str = "ffprobe"
    sandbox: str = "auto"


def compare(wanted: LocalPair, report: Callable[[Progress], None]) -> dict[str, Any]:
    """The score of two files, and the scale at which it was measured. Raises JobError, or ValueError for a profile."""
    folder = Path(wanted.folder)
    files = {"origin": Path(wanted.origin).resolve(), "input": Path(wanted.input).resolve()}
    linked = {side: folder / side for side in files}
    sandbox = wanted.sandbox if wanted.sandbox == "off" or _link(files, linked) else "off"
    paths = linked if sandbox != "off" else files
    settings = Settings("vmaf", "CPU", "", "", "", 30.0, "", "", wanted.ffmpeg, wanted.ffprobe, sandbox=sandbox)
    runner = Runner(settings.limits, sandbox)
    size = (
        None if "scale" in wanted.profile else probe_video(settings.ffprobe, runner, paths["origin"], "origin").upright
    )
    profile = _profile(wanted.profile if size is None else {**wanted.profile, "scale": _scale(*size)})
    pair = Pair(paths["origin"], paths["input"], str(files["origin"]), str(files["input"]))
    scored = score(pair, profile, settings, runner, report, folder)
    return {"quality": scored.quality, "scale": profile.scale, "sandbox": sandbox}


def _link(files: dict[str, Path], links: dict[str, Path]) -> bool:
    """Link the files into the folder, which is all that a sandboxed program reads. False where that cannot be."""
    try:
        for side, path in files.items():
            links[side].hardlink_to(path)
    except OSError:
        return False
    return True


def _scale(width: int, height: int) -> str:
    return f"{max(32, width - width % 2)}x{max(32, height - height % 2)}"


def _profile(fields: dict[str, Any]) -> Vmaf:
    """The resolved profile. Raises ValueError with every fault, by the field."""
    faults = [
        f"{fault.pointer.removeprefix('/profile/vmaf/')} {fault.detail}" for fault in rules.faults({"vmaf": fields})
    ]
    check, rule = FORMATS["vmaf-scale"]
    if not check(str(fields.get("scale"))):
        faults.append(f"scale must be {rule}")
    if faults:
        raise ValueError("; ".join(faults))
    vmaf = resolve(Profile(vmaf=msgspec.convert(fields, Vmaf))).vmaf
    if vmaf is UNSET:
        raise ValueError("the profile has no score")
    return vmaf


def main() -> int:
    """Score what standard input names. Returns the exit status."""
    lines = os.fdopen(os.dup(1), "wb", buffering=0)

    def write(line: dict[str, Any]) -> None:
        lines.write(msgspec.json.encode(line) + b"\n")

    try:
        wanted = msgspec.json.decode(sys.stdin.buffer.read(), type=LocalPair)
        write(compare(wanted, lambda progress: write({"progress": progress})))
    except JobError as error:
        write({"error": error.failure})
        return 1
    except (ValueError, msgspec.MsgspecError) as error:
        write({"fault": str(error)})
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
