"""One job, from its inputs on S3 to its outputs on S3: a transcode, a score, or a transcode that is then scored."""

import glob
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from msgspec import UNSET

from elasticrecode.jobs.events import Output, Progress, Quality, Result
from elasticrecode.jobs.job import Job, flaws
from elasticrecode.jobs.uris import SCORE_FILES, name, output_name
from elasticrecode.media.codecs import CONTAINERS
from worker.errors import ClaimLost, Hopeless
from worker.media.encode import transcode
from worker.quality.score import Pair, score
from worker.sandbox.runner import Work
from worker.settings import DEBUG, Settings
from worker.storage import Storage


def scratch_prefix(settings: Settings) -> str:
    """How the folders of a worker's jobs begin: with its own name, since workers may share a disk."""
    return f"job-{settings.pod}-"


def sweep(settings: Settings) -> None:
    """Remove what an earlier life of this worker left behind when it was killed."""
    for left in Path(tempfile.gettempdir()).glob(f"{glob.escape(scratch_prefix(settings))}*"):
        shutil.rmtree(left, ignore_errors=True)


def perform(
    job: Job,
    settings: Settings,
    storage: Storage,
    work: Work,
    report: Callable[[Progress], None],
    may_publish: Callable[[], None],
) -> Result:
    """Do the job in a folder of its own, which is removed in any case. A debug worker does nothing.

    Reports progress at most once a second. `may_publish` is asked right before outputs appear, and again when they are
    there, and raises when the claim is lost. Raises JobError or Interrupted; then nothing was published, but where the
    error has a `result`.
    """
    if settings.kind == DEBUG:
        return Result()
    if job.kind != settings.kind:
        raise Hopeless("worker-cannot", f"This is a worker for {settings.kind} jobs; the job is for {job.kind}.")
    wrong = flaws(job)
    if wrong:
        raise Hopeless("worker-cannot", f"The job did not come through the API: {'; '.join(wrong)}.")
    encode, scoring = job.profile.ffmpeg, job.profile.vmaf
    if not encode and not scoring:
        raise Hopeless("worker-cannot", "The job's profile asks for nothing.")
    source_name = name(job.input)
    with tempfile.TemporaryDirectory(prefix=scratch_prefix(settings)) as path:
        folder = Path(path)
        source, origin, target = folder / "input", folder / "origin", folder / "output"
        files: list[tuple[Path, str]] = []
        outputs: list[Output] = []
        storage.download(job.input, source, work)
        work.check()
        pair, done = Pair(origin, source, job.origin or "", job.input), 0
        if encode:
            uri = job.output + output_name(job.input)
            muxer = CONTAINERS[uri.rpartition(".")[2].lower()]
            made = transcode(
                source, target, uri, muxer, encode, settings, work, report, then_score=scoring is not UNSET
            )
            files.append((target, uri))
            outputs.append(made)
            pair, done = Pair(source, target, job.input, uri, made_here=True), made.frames or 0
        elif not job.origin:
            raise Hopeless("origin-not-found", "The job names no origin to score against.")
        else:
            storage.download(job.origin, origin, work, "origin")
            work.check()
        quality: Quality | None = None
        if scoring:
            scored = score(pair, scoring, settings, work, report, folder, before=done)
            quality = scored.quality
            for written, ending in zip((scored.report, scored.page), SCORE_FILES, strict=True):
                uri = job.output + source_name + ending
                files.append((written, uri))
                outputs.append(Output(uri=uri, bytes=written.stat().st_size))
        work.check()
        may_publish()
        _publish(storage, files, job.jobid, may_publish)
    result = Result(outputs=outputs, quality=quality or UNSET)
    if quality and scoring and quality.passed is False and scoring.onFail == "fail":
        below = f"VMAF is {quality.vmaf.mean:.2f}, below the minimum of {scoring.min:g}. What was made is kept."
        error = Hopeless("quality-below-minimum", below)
        error.result = result
        raise error
    return result


def _publish(storage: Storage, files: list[tuple[Path, str]], job_id: str, is_wanted: Callable[[], None]) -> None:
    """Upload the files. A job that is cancelled meanwhile leaves none; one that another worker has is left to that."""
    for written, uri in files:
        storage.upload(written, uri, job_id)
    try:
        is_wanted()
    except ClaimLost as lost:
        if lost.cancelled:
            storage.remove([uri for _, uri in files])
        raise
