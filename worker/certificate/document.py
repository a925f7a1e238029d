"""The certificate as a document: what it holds, and how it is made from what a job has left. Pure but for texts."""

import platform
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct, structs

from elasticrecode import __version__
from elasticrecode.jobs.events import Notice, Output, Quality
from elasticrecode.jobs.job import Job
from elasticrecode.media.profiles import Profile
from worker.certificate.evidence import Evidence, FilmRecord, SoundLevel, rules_of
from worker.certificate.programs import Program
from worker.certificate.repeating import unrepeatable
from worker.media.buffer import Rate
from worker.media.source import Source
from worker.packaging.findings import Rule
from worker.sandbox.steps import Step
from worker.storage import Stored

VERSION = 1


class Input(Struct, frozen=True, omit_defaults=True):
    """The source: its URI and version in S3, its size, its SHA-256 where the worker read it whole, and its tracks."""

    uri: str
    bytes: int
    etag: str
    version: str = ""
    sha256: str = ""
    container: str = ""
    duration: float | None = None
    video: dict[str, Any] = {}
    audio: list[dict[str, Any]] = []
    subtitles: list[dict[str, Any]] = []


class Worst(Struct, frozen=True):
    """One of the worst frames: its number, its second and its VMAF. The page has its pictures."""

    frame: int
    seconds: float
    vmaf: float


class Certificate(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """All that a certificate says. `files` are the texts that the runs read, by their SHA-256: gzip in base64.

    `steps` are the runs of the worker that held the job, in their order; those of parts are in `film`. `unrepeatable`
    says why the runs may make other frames another time; it is empty if they make the same. `copyOf` is the job that
    made the outputs, where this one has copied them.
    """

    certificate: int
    job: str
    attempt: int
    written: str
    machine: dict[str, Any]
    input: Input
    profile: dict[str, Any]
    programs: list[Program]
    steps: list[Step]
    files: dict[str, str] = {}
    film: FilmRecord | None = None
    outputs: list[Output] = []
    quality: Quality | None = None
    rates: list[Rate] = []
    loudness: list[SoundLevel] = []
    rules: list[Rule] = []
    warnings: list[Notice] = []
    worst: list[Worst] = []
    unrepeatable: list[str] = []
    copyOf: str = ""


class Facts(NamedTuple):
    """What a job was and became: its attempt, the object that it read, its runs, and programs."""

    job: Job
    attempt: int
    stored: Stored
    steps: Sequence[Step]
    programs: Sequence[Program]
    evidence: Evidence
    quality: Quality | None
    warnings: Sequence[Notice]
    cores: int


def certificate_of(facts: Facts, outputs: Sequence[Output]) -> Certificate:
    """The certificate of a job with these outputs, which have their checksums."""
    evidence, files = facts.evidence, dict[str, str]()
    film = evidence.film
    if film:
        parts = [structs.replace(part, steps=_without_texts(part.steps, files)) for part in film.parts]
        film = structs.replace(film, parts=parts)
    return Certificate(
        certificate=VERSION,
        job=facts.job.jobid,
        attempt=facts.attempt,
        written=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        machine={"architecture": platform.machine(), "cores": facts.cores, "worker": __version__},
        input=_input(facts.job.input, facts.stored, evidence),
        profile=public(facts.job.profile),
        programs=list(facts.programs),
        steps=_without_texts(facts.steps, files),
        files=files,
        film=film,
        outputs=list(outputs),
        quality=facts.quality,
        rates=list(evidence.rates),
        loudness=list(evidence.sounds),
        rules=rules_of(evidence, facts.warnings),
        warnings=list(facts.warnings),
        unrepeatable=unrepeatable(
            [*facts.steps, *(step for part in (film.parts if film else ()) for step in part.steps)]
        ),
        worst=[Worst(each.frame, round(each.seconds, 6), round(each.score, 6)) for each in evidence.moments],
    )


def encoded(certificate: Certificate) -> bytes:
    """The certificate as JSON, indented for readers."""
    return msgspec.json.format(msgspec.json.encode(certificate), indent=1) + b"\n"


def public(profile: Profile) -> dict[str, Any]:
    """A profile without what opens a package's key: of its encryption, the scheme alone."""
    fields: dict[str, Any] = msgspec.to_builtins(profile)
    if profile.package and profile.package.encryption:
        fields["package"]["encryption"] = {"scheme": profile.package.encryption.scheme}
    return fields


def _without_texts(steps: Iterable[Step], files: dict[str, str]) -> list[Step]:
    """The runs with the digests of their texts in place of these, which `files` gets."""
    result = []
    for step in steps:
        digests = {name: sha256(text.encode()).hexdigest() for name, text in step.files.items()}
        files |= {digests[name]: text for name, text in step.files.items()}
        result.append(Step(step.name, step.program, step.arguments, digests))
    return result


def _input(uri: str, stored: Stored, evidence: Evidence) -> Input:
    source = evidence.source
    known = _tracks(source) if source else {}
    return Input(uri, stored.size, stored.etag.strip('"'), stored.version, evidence.sha256, **known)


def _tracks(source: Source) -> dict[str, Any]:
    video = source.video
    picture = {
        "stream": video.stream,
        "codec": video.codec,
        "width": video.width,
        "height": video.height,
        "pixelFormat": video.pixel_format,
        "frameRate": round(video.rate, 6),
        "frames": video.frames,
        "bitrate": video.bitrate,
        "primaries": video.primaries,
        "transfer": video.transfer,
        "matrix": video.matrix,
        "range": "full" if video.full_range else "limited",
        "rotation": video.rotation,
        "interlaced": video.interlaced,
    }
    return {
        "container": video.demuxer,
        "duration": video.duration,
        "video": {name: value for name, value in picture.items() if value not in ("", None)},
        "audio": [
            {"stream": each.stream, "codec": each.codec, "channels": each.channels, "rate": each.rate}
            | ({"language": each.language} if each.language else {})
            for each in source.audio
        ],
        "subtitles": [
            {"stream": each.stream, "codec": each.codec} | ({"language": each.language} if each.language else {})
            for each in source.subtitles
        ],
    }
