"""`vmaf` and `compare`: quality scores, on the fleet and on this machine."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from elasticrecode_client.command.displays import score_line
from elasticrecode_client.command.exits import Exit
from elasticrecode_client.command.faults import Refusal, name_flags
from elasticrecode_client.command.following import follow, watch_on
from elasticrecode_client.command.frame import Command, Option, with_session
from elasticrecode_client.command.output import Output
from elasticrecode_client.command.session import Session

_MEASURES = (
    Option(["--scale"], metavar="SCALE", help="The size of the comparison: 1080p … 240p, or WIDTHxHEIGHT."),
    Option(
        ["--min-vmaf"], type=click.FloatRange(0, 100), metavar="N", help="The bar: exit status 3 below this mean VMAF."
    ),
    Option(["--model"], metavar="WORD", help="The model: v0.6.1, v0.6.1neg, 4k, v1, v1-phone, v1-4k, auto."),
    Option(["--psnr"], is_flag=True, help="Measure PSNR, too."),
    Option(["--ssim"], is_flag=True, help="Measure SSIM, too."),
    Option(["--ms-ssim"], is_flag=True, help="Measure MS-SSIM, too, which takes long."),
    Option(["--subsample"], type=int, metavar="N", help="Score one frame in so many."),
    Option(["--align"], type=click.Choice(("exact", "nearest")), help="How frames that differ are paired."),
    Option(["--threads"], type=int, metavar="N", help="Threads of libvmaf."),
)


def _profile(given: dict[str, Any], scale: str | None) -> dict[str, Any]:
    values = {name: given[name] for name in ("model", "subsample", "align", "threads") if given[name] is not None}
    values |= {name.replace("_", "-"): "enable" for name in ("psnr", "ssim", "ms_ssim") if given[name]}
    if given["min_vmaf"] is not None:
        values["min"] = given["min_vmaf"]
    return values | ({"scale": scale} if scale else {})


@click.command(
    cls=Command,
    params=[
        click.Argument(["input"], metavar="FILE|s3://…"),
        click.Argument(["origin"], metavar="ORIGIN|s3://…"),
        *_MEASURES,
        Option(["--preset"], metavar="NAME", help="A profile with a name, such as vmaf-720p, in place of these."),
        Option(["--output"], metavar="s3://…/", help="Where the reports go."),
        Option(["--priority"], type=int, metavar="N", help="0 to 100; jobs of a higher one go first."),
        Option(["--wait"], is_flag=True, help="Wait for the score; --min-vmaf does so, too."),
        Option(["--timeout"], type=float, metavar="SECONDS", help="Wait no longer than that; the job goes on."),
        Option(["--key"], metavar="TEXT", help="Idempotency-Key: the same key and request give the same job."),
    ],
    short_help="Score a file against its origin on the fleet.",
    examples=(
        "elasticrecode vmaf s3://films/out/film.mp4 s3://films/in/film.mov --scale 720p --output s3://films/scores/",
        "elasticrecode vmaf clip.mp4 film.mov --scale 480x270 --psnr --min-vmaf 10",
    ),
)
@with_session
def vmaf(session: Session, **given: Any) -> int:
    """Score a file against its origin on the fleet; local files are uploaded. Without --scale at 1080p."""
    from elasticrecode_client.command.sending import check_files, output_of, source_of

    name_flags(
        {"/input": "FILE", "/profile/vmaf/scale": "--scale", "/profile/vmaf/min": "--min-vmaf"}
        | {f"/profile/vmaf/{name}": f"--{name}" for name in ("model", "subsample", "align", "threads", "ms-ssim")}
    )
    check_files([given["input"], given["origin"]])
    key = given["key"]
    sources = {side: source_of(session, given[side], key and f"{key}-{side}") for side in ("input", "origin")}
    place = output_of(sources["input"], given["output"])
    profile: Any = given["preset"] or {"vmaf": _profile(given, given["scale"] or "1080p")}
    job = session.client.score(
        sources["input"].uri, sources["origin"].uri, place, profile, priority=given["priority"], key=key
    )
    if not (given["wait"] or given["min_vmaf"] is not None):
        session.out.json(job)
        session.out.text(f"submitted {job['jobid']}")
        session.out.text(watch_on([job["jobid"]]))
        return int(Exit.DONE)
    following = follow(session, [job["jobid"]], timeout=given["timeout"])
    session.out.json(following.records[0])
    return int(following.status)


@click.command(
    cls=Command,
    local=True,
    params=[
        click.Argument(["file"], metavar="FILE"),
        click.Argument(["origin"], metavar="ORIGIN"),
        *_MEASURES,
        Option(["--report"], metavar="FOLDER", help="Keep the reports: every frame, and the worst moments."),
        Option(["--ffmpeg"], metavar="PATH", help="An ffmpeg with libvmaf; else that of the PATH, or of the package."),
        Option(["--ffprobe"], metavar="PATH", help="An ffprobe."),
        Option(["--no-sandbox"], is_flag=True, help="Let ffmpeg reach all that you reach."),
    ],
    short_help="Score two local files on this machine.",
    examples=(
        "elasticrecode compare clip.mp4 film.mov",
        "elasticrecode compare clip.mp4 film.mov --scale 480x270 --min-vmaf 10 --report scores/",
        "elasticrecode compare clip.mp4 film.mov --scale 480x270 --psnr --json | jq .quality.vmaf.mean",
    ),
)
@with_session
def compare(session: Session, **given: Any) -> int:
    """Score FILE against its ORIGIN on this machine, without a deployment.

    The scoring is that of the workers: frames are paired, and what cannot be compared is refused, not scored wrong.
    Without --scale both are compared at the size of ORIGIN.
    """
    from elasticrecode_client.command import comparing
    from elasticrecode_client.command.sending import fault_of

    paths = {name: Path(given[name]) for name in ("file", "origin")}
    faults = [f"{path}: {fault}" for path in paths.values() if (fault := fault_of(path))]
    if faults:
        raise Refusal(*faults)
    used = comparing.programs(given["ffmpeg"], given["ffprobe"])
    with _Percent(session.out) as percent:
        score = comparing.compare(
            paths["file"],
            paths["origin"],
            _profile(given, given["scale"]),
            used,
            sandbox=not given["no_sandbox"],
            reports=Path(given["report"]) if given["report"] else None,
            on_progress=percent.show,
        )
    _show(session.out, score, paths, given)
    is_below = score.quality.get("passed") is False
    if is_below:
        mean = score.quality["vmaf"]["mean"]
        session.out.message(f"VMAF {mean:.2f} is below the bar, {given['min_vmaf']:g}.")
    return int(Exit.BELOW_BAR if is_below else Exit.DONE)


def _show(out: Output, score: Any, paths: dict[str, Path], given: dict[str, Any]) -> None:
    vmaf = score.quality["vmaf"]
    files = {name: str(path) for name, path in paths.items()}
    out.json({**files, "scale": score.scale, "quality": score.quality})
    out.text(score_line(score.quality))
    out.fields(
        {
            "harmonic mean": f"{vmaf['harmonicMean']:.2f}",
            "5th percentile": f"{vmaf['p5']:.2f}",
            "lowest frame": f"{vmaf['min']:.2f}",
            "frames": f"{vmaf['frames']} of {vmaf['pairedFrames']}",
            "scale": score.scale,
            "model": vmaf["model"],
            "reports": given["report"],
        }
    )
    for warning in score.quality.get("warnings", ()):
        out.message(f"! {warning}")
    if not score.is_sandboxed and not given["no_sandbox"]:
        out.message("! ffmpeg ran without a sandbox: there is no place to link the files into.")


class _Percent:
    """How far a measurement is, on standard error where that is a terminal."""

    def __init__(self, out: Output) -> None:
        from elasticrecode_client.command.output import can_move

        self._is_shown = can_move(sys.stderr)
        self._out = out

    def __enter__(self) -> _Percent:
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_shown:
            click.echo("\r\x1b[K", nl=False, err=True)

    def show(self, progress: dict[str, Any]) -> None:
        """Show progress."""
        if self._is_shown and progress.get("percent") is not None:
            click.echo(f"\r\x1b[Kscoring {progress['percent']:.0f} %", nl=False, err=True)
