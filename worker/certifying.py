"""Makes the certificate of a job: its JSON and its page, as outputs."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from msgspec import structs

from elasticrecode.jobs.events import Output
from elasticrecode.jobs.job import Job
from elasticrecode.jobs.uris import CERTIFICATE_FILES, name
from worker.certificate.document import Certificate, Facts, certificate_of, encoded
from worker.certificate.page import render
from worker.certificate.programs import programs
from worker.produced import Produced
from worker.quality.html_report import Moment
from worker.sandbox.machine import cores
from worker.sandbox.runner import Runner
from worker.sandbox.steps import Step, texts
from worker.settings import Settings
from worker.storage import Storage

_TOLD = ("chunk", "encode")
"""Runs that the evidence has: some of them were for probes, or were not kept."""
Certify = Callable[[list[Output]], Sequence[tuple[Path, Output]]]


def certifier(
    job: Job, attempt: int, produced: Produced, settings: Settings, storage: Storage, runner: Runner, folder: Path
) -> Certify:
    """What makes the files of the certificate in the job's folder, given the other outputs with their checksums.

    A job that encodes no pictures has none. Raises as `Runner.run`.
    """
    stored, evidence = storage.known.get(job.input), produced.evidence
    if not (job.profile.ffmpeg or job.profile.package) or not stored:
        return lambda _: ()
    film = evidence.film
    bare = [*evidence.steps, *(step for part in (film.parts if film else ()) for step in part.steps)]
    shared = texts([word for step in bare for word in step.arguments], folder)
    steps = [
        step.with_texts(shared)
        for step in _kept([*(step for step in runner.steps if step.name not in _TOLD), *evidence.steps])
    ]
    if film:
        parts = [structs.replace(part, steps=[step.with_texts(shared) for step in part.steps]) for part in film.parts]
        evidence = evidence._replace(film=structs.replace(film, parts=parts))
    paths = {"ffmpeg": settings.ffmpeg, "ffprobe": settings.ffprobe}
    if job.profile.package:
        paths["packager"] = settings.packager
    versions = programs([*steps, *bare], paths, folder, runner)
    facts = Facts(job, attempt, stored, steps, versions, evidence, produced.quality, produced.notices, cores())

    return lambda outputs: certificate_files(certificate_of(facts, outputs), evidence.moments, job, folder)


def certificate_files(
    certificate: Certificate, moments: Sequence[Moment], job: Job, folder: Path
) -> list[tuple[Path, Output]]:
    """The files of a certificate, in the job's folder. `moments` are its worst frames."""
    contents = (encoded(certificate), render(certificate, moments).encode())
    files = []
    for content, suffix in zip(contents, CERTIFICATE_FILES, strict=True):
        path, uri = folder / f"certificate{suffix}", job.output + name(job.input) + suffix
        path.write_bytes(content)
        files.append((path, Output(uri=uri, bytes=len(content), role="certificate")))
    return files


def _kept(steps: Iterable[Step]) -> list[Step]:
    """The runs without those whose files a later run wrote again, and without one that stands there twice."""
    kept: dict[tuple[str, ...], Step] = {}
    for step in steps:
        key = (step.name, *(step.outputs or step.arguments))
        if key in kept and kept[key].arguments == step.arguments:
            continue
        kept.pop(key, None)
        kept[key] = step
    return list(kept.values())
