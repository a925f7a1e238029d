"""One job, from its inputs on S3 to its outputs on S3: a transcode, a score, or a transcode and its score."""

import glob
import shutil
import tempfile
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial
from pathlib import Path

from msgspec import UNSET, structs

from elasticrecode.jobs.commits import Ending
from elasticrecode.jobs.events import Action, Failure, Notice, Output, Progress, Result
from elasticrecode.jobs.job import Job, flaws, sources
from elasticrecode.jobs.memory import Memory
from elasticrecode.jobs.uris import audio_name, output_name
from elasticrecode.media.codecs import AUDIO_MUXERS, CONTAINERS
from elasticrecode.parts.part import PartJob
from worker.assembling import assemble
from worker.certificate.digest import Digest
from worker.certificate.evidence import Evidence, evidence_of
from worker.certifying import certifier
from worker.chunks import Place, open_chunks
from worker.dividing import find_division, tell_undivided
from worker.division import choose, estimate
from worker.early.files import removed_on_failure
from worker.errors import PermanentError
from worker.films import Plans
from worker.goals import target_of
from worker.holding import Encoded
from worker.keys import encrypted
from worker.laddering import is_auto, ladder_of, read_ladder
from worker.media import images, subtitles
from worker.media.encode import transcode
from worker.media.progress import JobProgress
from worker.media.recording import extract
from worker.memory import UNKNOWN, Knowledge, knowledge_of
from worker.package import PackageEncoder, finish
from worker.parts import Helper, Parts
from worker.planning import plan_job
from worker.produced import Produced, of_score, reports
from worker.publication import Publication, Version
from worker.quality.score import Pair, score
from worker.reuse import Outcome, Reuse
from worker.sandbox.machine import cores
from worker.sandbox.runner import Runner
from worker.settings import DEBUG, FFMPEG, Settings
from worker.side_files import find_side_files
from worker.storage import Storage
from worker.undivided import encode_aimed

_Report = Callable[[Progress], None]


def folder_prefix(settings: Settings) -> str:
    """Prefix of the names of a worker's job folders. It has the worker's own name, since workers may share a disk."""
    return f"job-{settings.pod}-"


def remove_leftovers(settings: Settings) -> None:
    """Remove job folders that an earlier process of this worker left behind when it was killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{glob.escape(folder_prefix(settings))}*"):
        shutil.rmtree(folder, ignore_errors=True)


def run_job(
    job: Job,
    settings: Settings,
    storage: Storage,
    runner: Runner,
    report: _Report,
    publication: Publication,
    parts: Parts | None = None,
) -> Ending:
    """Run the job in a folder of its own, which is always removed, publish its outputs, and return how it ends.

    With `parts` a package may be divided among workers. A debug worker does nothing. Reports progress at most once a
    second. Raises JobError or Interrupted; then nothing is published, or the job's record says what is.
    """
    if settings.kind == DEBUG:
        return Ending(Action.JOB_FINISHED, result=Result())
    _check_runnable(job, settings)
    if job.planning:
        return _planned(job, settings, storage, runner, report, publication)
    publication.prepare()
    with (
        parts.cleaned() if parts else nullcontext(),
        removed_on_failure(job, storage, parts),
        tempfile.TemporaryDirectory(prefix=folder_prefix(settings)) as path,
    ):
        progress, folder = JobProgress(report), Path(path)
        version = publication.version_name
        at = Place(job, settings, storage, runner, folder, progress, _known(job, settings, storage, publication))
        reuse = Reuse(at, publication.attempt, version)
        publish = partial(_publish, job, publication)
        ending = reuse.copy(publish)
        if not ending:
            outcome = _make(at, publication.attempt, version, parts)
            runner.check()
            ending = publish(outcome)
        if ending.action == Action.JOB_FINISHED and ending.result:
            reuse.keep(ending.result, publication.etags)
        return ending


def _publish(job: Job, publication: Publication, outcome: Outcome) -> Ending:
    produced = outcome.produced
    return publication.publish(outcome.files, partial(_ending, job, produced), produced.version, outcome.certify)


def _make(at: Place, attempt: int, version: str, parts: Parts | None) -> Outcome:
    """Produce the outputs of a job, with its ladder where that is to be found."""
    job, settings, storage, runner, folder, *_ = at
    ladder = ladder_of(at, parts) if is_auto(job) else None
    fixed = ladder.applied(job) if ladder else job
    produced = _produce(at._replace(job=fixed), version, parts)
    if ladder:
        produced = produced._replace(notices=[*ladder.notices, *produced.notices], ladder=ladder.title)
    certify = certifier(fixed, attempt, produced, settings, storage, runner, folder)
    return Outcome(produced.files, produced, certify)


def _known(job: Job, settings: Settings, storage: Storage, publication: Publication) -> Knowledge:
    """What earlier jobs of its user have left about the sources of a job; nothing for one that is not claimed."""
    if not (settings.jobs_table and settings.reuse and publication.attempt):
        return UNKNOWN
    sides = ("input", "origin")
    for uri, side in zip(sources(job), sides, strict=False):
        storage.opened(uri, side)
    stored = [storage.known[uri] for uri in sources(job)]
    memory = Memory(settings.jobs_table, job.userid, recalls=job.profile.reuse is not False)
    return knowledge_of(memory, settings, *stored)


def _planned(
    job: Job, settings: Settings, storage: Storage, runner: Runner, report: _Report, publication: Publication
) -> Ending:
    """Plan a job in a folder of its own. Raises JobError or Interrupted."""
    with tempfile.TemporaryDirectory(prefix=folder_prefix(settings)) as path:
        known = _known(job, settings, storage, publication)
        planned = plan_job(Place(job, settings, storage, runner, Path(path), report, known))
    return Ending(Action.JOB_FINISHED, result=Result(plan=planned))


def run_part(job: PartJob, settings: Settings, storage: Storage, runner: Runner, helper: Helper) -> None:
    """Encode a part of a job, and the worker's share of the others, and store the results.

    Raises JobError or Interrupted.
    """
    _check_runnable(job, settings)
    if is_auto(job):
        job = read_ladder(storage, job.part.prefix).applied(job)
    package = job.profile.package
    with tempfile.TemporaryDirectory(prefix=folder_prefix(settings)) as path:
        if job.part.kind == "chunk":
            place = Place(job, settings, storage, runner, Path(path), helper.report)
            plans = Plans(storage, job.part.prefix)
            helper.work(lambda numbers: open_chunks(place, plans, helper.stored).encode(numbers))
            return
        if not package:
            raise PermanentError("worker-cannot", "The job of the part has no package.")
        source = Path(path) / "input"
        storage.download(job.input, source, runner)
        sides, _ = find_side_files(job, storage, source.parent, runner)
        encoder = PackageEncoder(job, package, source, settings, runner, helper.report, sides, with_images=False)
        helper.work(encoder.encode)


def _ending(job: Job, produced: Produced, outputs: list[Output]) -> Ending:
    """How a job with these outputs ends: it fails if its quality is too low, and the outputs are kept."""
    quality, scoring = produced.quality, job.profile.vmaf
    ladder = produced.ladder or UNSET
    copied = produced.copy_of or UNSET
    result = Result(outputs, copied, quality=quality or UNSET, ladder=ladder, warnings=produced.notices)
    if quality and scoring and quality.passed is False and scoring.onFail == "fail":
        message = f"VMAF is {quality.vmaf.mean:.2f}, below the minimum of {scoring.min:g}. The outputs are kept."
        error = Failure("quality-below-minimum", message)
        return Ending(Action.JOB_FAILED, message, result, error)
    return Ending(Action.JOB_FINISHED, result=result)


def _check_runnable(job: Job, settings: Settings) -> None:
    """Raise PermanentError `worker-cannot` for a job that no attempt on this queue can run."""
    if (FFMPEG if job.planning else job.kind) != settings.kind:
        message = f"This worker runs {settings.kind} jobs; the job is for {job.kind}."
        raise PermanentError("worker-cannot", message)
    faults = flaws(job)
    if faults:
        raise PermanentError("worker-cannot", f"The job did not come from the API: {'; '.join(faults)}.")
    profile = job.profile
    if not (profile.ffmpeg or profile.package or profile.vmaf or profile.audio):
        raise PermanentError("worker-cannot", "The job's profile has neither ffmpeg nor package nor vmaf nor audio.")


def _produce(at: Place, version: str, parts: Parts | None) -> Produced:
    """Download the inputs and produce the outputs in the job's folder."""
    folder, uncut = at.folder, ""
    if parts:
        division = find_division(at, parts)
        if not isinstance(division, str):
            return assemble(at, division, parts, version)
        uncut = division
    at.storage.download(at.job.input, folder / "input", at.runner)
    at.runner.check()
    with Digest(folder / "input") as digest:
        produced = _produce_whole(at, parts, uncut, version)
    return produced._replace(evidence=produced.evidence._replace(sha256=digest.hex))


def _produce_whole(at: Place, parts: Parts | None, uncut: str, version: str) -> Produced:
    """Produce the outputs of a job whose input lies in the folder whole."""
    job, settings, storage, runner, folder, report, _ = at
    package, profile = job.profile.package, job.profile
    if not package:
        if parts and uncut:
            tell_undivided(at, parts, uncut)
        return _produce_file(job, settings, storage, runner, report, folder)
    file = Produced([], None, [])
    if profile.ffmpeg:  # the pictures go with the package
        alone = structs.replace(job, profile=structs.replace(profile, package=UNSET, images=UNSET))
        file = _produce_file(alone, settings, storage, runner, report, folder)
    sides, notices = find_side_files(job, storage, folder, runner)
    encoder = PackageEncoder(job, package, folder / "input", settings, runner, report, sides)
    results = _encoded(encoder, parts, settings, folder, uncut)
    done = finish(encoder, results, encrypted(job, package, settings), version)
    return Produced(
        [*file.files, *done.files],
        file.quality or done.quality,
        list(dict.fromkeys([*file.notices, *notices, *done.notices])),
        Version(done.folder, done.unlisted),
        file.evidence.joined(done.evidence),
    )


def _encoded(
    encoder: PackageEncoder, parts: Parts | None, settings: Settings, folder: Path, uncut: str
) -> Mapping[int, Encoded]:
    """The results of all rungs: encoded here in one decode, or by several workers where one would take long.

    `uncut` says why the film has no chunks.
    """
    everything = range(len(encoder.names))
    if not parts:
        return encoder.encode(everything)
    if not parts.division:
        profile = encoder.job.profile
        work = estimate(profile, encoder.seconds, None, encoder.ladder)
        reason = uncut or "Its rungs are its parts."
        choice = choose(work, cores(), settings.divide_seconds, reason, never=profile.split == "never")
        if not choice.kind:
            parts.undivided(choice.seconds, choice.reason)
            return encoder.encode(everything)
        parts.divide("rung", encoder.names, work.rungs, choice.seconds, choice.reason)
    encoder.report = parts.report
    return parts.run(encoder.encode, folder)


def _produce_file(
    job: Job, settings: Settings, storage: Storage, runner: Runner, report: _Report, folder: Path
) -> Produced:
    """Produce the outputs of a job without a package, whose input lies in the folder."""
    encoding, scoring = job.profile.ffmpeg, job.profile.vmaf
    source, origin, target = folder / "input", folder / "origin", folder / "output"
    files: list[tuple[Path, Output]] = []
    notices, evidence = list[Notice](), Evidence()
    if encoding:
        uri = job.output + output_name(job.input, encoding.codec)
        muxer = CONTAINERS[uri.rpartition(".")[2].lower()]
        sides, notices = find_side_files(job, storage, folder, runner)
        if target_of(job.profile):
            aimed = encode_aimed(source, target, uri, muxer, job.profile, settings, runner, report, sides)
            encoded = aimed.encoded
        else:
            aimed = None
            encoded = transcode(
                *(source, target, uri, muxer, job.profile, encoding, settings, runner, report),
                then_score=scoring is not UNSET,
                sides=sides,
            )
        files.append((target, encoded.output))
        files += images.published(encoded.stills, job.input, job.output, folder)
        files += subtitles.published(encoded.plan.subtitles, job.input, job.output, folder)
        notices += encoded.notices
        evidence = evidence_of(encoded)
        if aimed:
            evidence = evidence._replace(moments=tuple(aimed.measured.moments))
            done = of_score(aimed.measured, aimed.target, job, uri, folder)
            return Produced([*files, *done.files], done.quality, notices, evidence=evidence)
        pair = Pair(source, target, job.input, uri, encoded.plan)
    elif (sound := job.profile.audio) and not scoring:
        uri = job.output + audio_name(job.input, sound.codec or "aac")
        muxer = AUDIO_MUXERS[uri.rpartition(".")[2]]
        output, warnings = extract(source, target, uri, muxer, job.profile, settings, runner, report)
        return Produced([(target, output)], None, warnings)
    elif not job.origin:
        raise PermanentError("origin-not-found", "The job has no origin to score against.")
    else:
        storage.download(job.origin, origin, runner, "origin")
        runner.check()
        pair = Pair(origin, source, job.origin, job.input)
    if not scoring:
        return Produced(files, None, notices, evidence=evidence)
    before = sum(output.frames or 0 for _, output in files)
    scored = score(pair, scoring, settings, runner, report, folder, before=before)
    evidence = evidence._replace(moments=scored.moments)
    return Produced([*files, *reports(scored, job)], scored.quality, notices, evidence=evidence)
