"""From files and a profile to jobs, for `submit` and `package`: upload, submit, wait, download."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from elasticrecode_client.command.displays import Transfer
from elasticrecode_client.command.download import get
from elasticrecode_client.command.exits import Exit
from elasticrecode_client.command.faults import Refusal
from elasticrecode_client.command.ffmpeg_reading import Flag
from elasticrecode_client.command.following import follow, watch_on
from elasticrecode_client.command.frame import Option
from elasticrecode_client.command.output import clock, name_of, size
from elasticrecode_client.command.profile_options import Field, preset_profile, wanted
from elasticrecode_client.command.session import Session

if TYPE_CHECKING:
    from elasticrecode_client.types import PlanRecord

OUTPUT = "ELASTICRECODE_OUTPUT"
"""The variable with the prefix for outputs where `--output` is absent."""
SENDING = (
    Option(["--output"], metavar="s3://…/", help=f"Where outputs go; else ${OUTPUT}."),
    Option(["--priority"], type=int, metavar="N", help="0 to 100; jobs of a higher one go first."),
    Option(["--budget-dollars"], type=float, metavar="N", help="Stop the job before it costs more."),
    Option(["--budget-seconds"], type=float, metavar="N", help="Stop the job before it keeps workers busy for longer."),
    Option(["--wait"], is_flag=True, help="Wait until the jobs have ended, and show how they move."),
    Option(["--timeout"], type=float, metavar="SECONDS", help="Wait no longer than that; the jobs go on."),
    Option(["--download"], metavar="FOLDER", help="Wait, and get the outputs into a folder."),
    Option(["--key"], metavar="TEXT", help="Idempotency-Key: the same key and request give the same jobs."),
)


class Source(NamedTuple):
    """An input in S3, and where its outputs go by default; empty where nobody knows."""

    uri: str
    output: str = ""


def send(
    session: Session, fields: Sequence[Field], flags: Sequence[Flag], given: Mapping[str, Any], default: str = ""
) -> int:
    """Make jobs, or plans, of files. Returns the exit status."""
    if given.get("plan_id"):
        return _carry_out(session, given)
    typed, inputs, notes = wanted(session, fields, flags, given, default)
    profile: Any = typed
    files, output = _files(given["files"], inputs, given.get("output"))
    for note in notes:
        session.out.message(note)
    check_files(files)
    if "preset" in typed and not all(file.startswith("s3://") for file in files):
        preset_profile(session, typed["preset"])  # hear of a wrong name now, not after the upload
    key = given.get("key")
    sources = [source_of(session, file, key and f"{key}-{number}") for number, file in enumerate(files)]
    budget = {name: given[f"budget_{name}"] for name in ("dollars", "seconds") if given.get(f"budget_{name}")}
    shared: dict[str, Any] = {"priority": given.get("priority"), "budget": budget or None}
    if given.get("plan"):
        return _plan(session, sources, output, profile, shared, given.get("timeout"))
    groups: dict[str, list[str]] = {}
    for source in sources:
        groups.setdefault(output_of(source, output), []).append(source.uri)
    jobs = []
    for number, (place, uris) in enumerate(groups.items()):
        each = key if len(groups) == 1 or not key else f"{key}-{number}"
        jobs += (
            session.client.submit_many(uris, place, profile, key=each, **shared)
            if len(uris) > 1
            else [session.client.submit(uris[0], place, profile, key=each, **shared)]
        )
    return _finish(session, jobs, given)


def _finish(session: Session, jobs: Sequence[Any], given: Mapping[str, Any]) -> int:
    """Say which jobs there are, and wait for them where that is wanted."""
    out = session.out
    stored = [job for job in jobs if job["status"]["status"] != "failed"]
    waits = given.get("wait") or given.get("download")
    if not waits:
        out.json(list(jobs))
    for job in stored:
        if out.as_json and not waits:
            break
        write = out.message if out.as_json else out.text
        write(f"submitted {job['jobid']}  {name_of(job['input'])}")
    missing = len(jobs) - len(stored)
    if missing:
        out.message(f"{missing} jobs could not be stored: submit these files again.")
    if not waits:
        out.text(watch_on([job["jobid"] for job in stored]) if stored else "")
        return int(Exit.UNREACHABLE if missing else Exit.DONE)
    following = follow(session, [job["jobid"] for job in stored], timeout=given.get("timeout"))
    if given.get("download"):
        for record in following.records:
            if record["state"] == "finished":
                get(session, record["jobID"], Path(given["download"]))
    out.json(following.records)
    return int(Exit.UNREACHABLE if missing else following.status)


def _carry_out(session: Session, given: Mapping[str, Any]) -> int:
    if given["files"]:
        raise Refusal("--plan-id: a plan has its file and its profile; give neither beside it.")
    budget = {name: given[f"budget_{name}"] for name in ("dollars", "seconds") if given.get(f"budget_{name}")}
    job = session.client.carry_out(
        given["plan_id"],
        output=given.get("output"),
        priority=given.get("priority"),
        budget=budget or None,  # type: ignore[arg-type]
        key=given.get("key"),
    )
    return _finish(session, [job], given)


def _plan(
    session: Session,
    sources: Sequence[Source],
    output: str,
    profile: Any,
    shared: Mapping[str, Any],
    timeout: float | None,
) -> int:
    """Plan each job, and say what it would make and cost."""
    places = [output_of(source, output) for source in sources]
    taken = [
        session.client.submit_plan(source.uri, place, profile, **shared)
        for source, place in zip(sources, places, strict=True)
    ]
    plans = []
    session.be_patient()
    for one in taken:
        session.out.message(f"planning {one['planID']} …")
        plans.append(session.client.wait_for_plan(one["planID"], timeout=timeout))
    session.out.json(plans[0] if len(plans) == 1 else plans)
    for plan in plans:
        _show_plan(session, plan)
    return int(Exit.DONE if all(plan["state"] == "finished" for plan in plans) else Exit.JOB_FAILED)


def _show_plan(session: Session, plan: PlanRecord) -> None:
    out = session.out
    if plan["state"] != "finished":
        error = plan["error"]
        out.message(f"the plan has {plan['state']}" + (f": {error['code']}: {error['message']}" if error else ""))
        return
    rows = [
        (
            f"{rung['width']}x{rung['height']}",
            rung["codec"],
            f"{rung['bitrate'] / 1e6:.2f} Mbit/s",
            "" if rung.get("predictedVmaf") is None else f"{rung['predictedVmaf']:.1f}",
            size(rung["bytes"]),
        )
        for rung in plan["rungs"] or ()
    ]
    out.text(f"{name_of(plan['input'])} would become")
    out.table(("size", "codec", "bitrate", "VMAF", "bytes"), rows)
    dollars = "" if plan["dollars"] is None else f", ${plan['dollars']:.4f}"
    out.text(f"in {clock(plan['seconds'])} of one worker{dollars}.")
    out.text(f"`elasticrecode submit --plan-id {plan['planID']} --wait` does it.")


def _files(files: Sequence[str], inputs: Sequence[str], output: str | None) -> tuple[list[str], str]:
    """The inputs and the output prefix, empty for none. Beside `-i`, an argument is an output, as in ffmpeg."""
    place = output or ""
    if inputs and files:
        if place or len(files) > 1 or not files[0].startswith("s3://"):
            raise Refusal(
                f"{files[-1]}: outputs keep the name of their input. Give --output s3://…/, or --download FOLDER, "
                "and name inputs without -i."
            )
        return list(inputs), files[0]
    if not (inputs or files):
        raise Refusal("Which FILE? Give a local file, or an s3:// URI.")
    return list(inputs or files), place


def check_files(files: Sequence[str]) -> None:
    """Find out that a local file is missing before another one is uploaded. Raises Refusal."""
    faults = []
    for file in files:
        if "://" in file and not file.startswith("s3://"):
            faults.append(f"  {file}: inputs are local files, or s3:// URIs")
        elif not file.startswith("s3://") and (fault := fault_of(Path(file))):
            faults.append(f"  {file}: {fault}")
    if faults:
        raise Refusal("These inputs cannot be read; nothing was uploaded.", *faults)


def fault_of(path: Path) -> str:
    """Why a local file cannot be read as a film, "" where nothing is known against it."""
    if path.is_dir():
        return "is a folder; name the files in it"
    if not path.is_file():
        return "is no regular file; write it to one" if path.exists() else "there is no such file here"
    try:
        path.name.encode()
    except UnicodeEncodeError:
        return "its name is not UTF-8; rename it"
    return "" if path.stat().st_size else "is empty"


def source_of(session: Session, file: str, key: str | None = None) -> Source:
    """The input in S3: a local file is uploaded first, or the rest of it that an earlier upload lacks.

    The same file with the same `key` has the same place, so that a request that names it stays the same.
    """
    if file.startswith("s3://"):
        return Source(file)
    path = Path(file)
    session.client.version()  # a service that is not there is heard of now, not after minutes of retries
    session.be_patient()
    with Transfer(session.out, f"uploaded {path.name}", path.stat().st_size) as bar:
        uri = session.client.upload(path, key=key, progress=lambda sent: bar.update(sent.sent))
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    _, user, upload, _ = [*key.split("/"), "", "", ""][:4]
    return Source(uri, f"s3://{bucket}/outputs/{user}/{upload}/" if key.startswith("uploads/") else "")


def output_of(source: Source, given: str | None) -> str:
    """Where the outputs of an input go. Raises Refusal where nobody says it."""
    place = given or os.environ.get(OUTPUT) or source.output
    if not place:
        raise Refusal(f"--output: say where outputs of {source.uri} go, as s3://bucket/folder/; or set {OUTPUT}.")
    return place
