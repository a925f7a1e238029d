"""The job with a resolved profile: the message that a worker takes from its queue."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from elasticrecode.jobs.formats import FORMATS
from elasticrecode.jobs.uris import Outputs
from elasticrecode.media.profiles import Audio, Encryption, Profile, Subtitles

Kind = Literal["ffmpeg", "vmaf", "plan"]
LISTED: tuple[Kind, ...] = ("ffmpeg", "vmaf")
"""Kinds of the jobs that lists show."""

_HOUR_SECONDS = 3600.0


class Budget(Struct, frozen=True, forbid_unknown_fields=True):
    """The most that a job may cost: `dollars`, or `seconds` of all its workers together, or both."""

    dollars: Annotated[float, Meta(gt=0, le=1_000_000)] | UnsetType = UNSET
    seconds: Annotated[float, Meta(gt=0, le=1_000_000_000)] | UnsetType = UNSET


Limits = Annotated[Budget, Meta(extra_json_schema={"minProperties": 1})]
"""The budget in a request."""


class PlanReference(Struct, frozen=True):
    """The plan that a job carries out: its id, and the ETag of the version of the input that the plan probed."""

    planID: str
    etag: str


class Job(Struct, frozen=True, kw_only=True):
    """A job with a resolved profile; the fields are in the documented order of the message.

    With `planning` the job encodes nothing: it plans what this profile would make. `price` is what a worker costs, in
    dollars per hour, and stands with `planning` and `budget`.
    """

    userid: Annotated[str, Meta(min_length=1, max_length=128)]
    jobid: Annotated[str, Meta(min_length=1, max_length=128)]
    input: str
    origin: str | UnsetType = UNSET
    output: str
    priority: int | UnsetType = UNSET
    profile: Profile
    planning: Literal[True] | UnsetType = UNSET
    plan: PlanReference | UnsetType = UNSET
    budget: Budget | UnsetType = UNSET
    price: float | UnsetType = UNSET

    @property
    def kind(self) -> Kind:
        """The kind of job: `ffmpeg`, which also packages and scores, `vmaf`, or `plan`, which workers of ffmpeg run."""
        if self.planning:
            return "plan"
        return "ffmpeg" if self.profile.ffmpeg or self.profile.package or self.profile.audio else "vmaf"


def dollars_of(seconds: float, price: float) -> float:
    """What so many seconds of a worker cost, at `price` dollars per hour; to a millionth."""
    return round(seconds / _HOUR_SECONDS * price, 6)


def budget_seconds(job: Job) -> float | None:
    """The seconds that all workers of a job may take together, by both limits of its budget; None without one."""
    if not job.budget or job.planning:
        return None
    limits = [job.budget.seconds] if job.budget.seconds else []
    limits += [job.budget.dollars / job.price * _HOUR_SECONDS] if job.budget.dollars and job.price else []
    return min(limits, default=None)


def encryption_of(profile: Profile) -> Encryption | None:
    """The encryption that a profile asks for; None where it asks for none."""
    return (profile.package.encryption or None) if profile.package else None


def plays_early(profile: Profile) -> bool:
    """Whether a package is to play while it is made. One that is encrypted, or not for HLS, never does."""
    package = profile.package
    return bool(package and package.early and not package.encryption and "hls" in package.formats)


def key_context(user_id: str) -> dict[str, str]:
    """The encryption context of a user's sealed keys: KMS opens one for a job of that user alone."""
    return {"userid": user_id}


def flaws(job: Job) -> list[str]:
    """What is wrong with a message that may not come from the API, as sentences; empty for a valid job."""
    checked: dict[str, list[object]] = {"s3-object": [job.input, job.origin], "s3-prefix": [job.output]}
    if job.profile.vmaf:
        checked["vmaf-scale"] = [job.profile.vmaf.scale]
    if encode := job.profile.ffmpeg:
        checked |= {
            "ffmpeg-scale": [encode.scale],
            "bitrate": [encode.bitrate],
            "cap": [encode.maxBitrate],
            "buffer": [encode.buffersize],
            "frame-rate": [encode.frameRate],
        }
    if package := job.profile.package:
        own = package.ladder if isinstance(package.ladder, list) else []
        checked["ffmpeg-scale"] = [*checked.get("ffmpeg-scale", []), *(rung.scale for rung in own)]
        checked["cap"] = [*checked.get("cap", []), *(rate for rung in own for rate in (rung.bitrate, rung.maxBitrate))]
        checked["frame-rate"] = [*checked.get("frame-rate", []), *(rung.frameRate for rung in own)]
        if auto := package.auto:
            checked["cap"] += [auto.bottomBitrate, auto.maxBitrate]
        if encryption := package.encryption:
            checked |= {
                "key-uri": [encryption.keyUri],
                "secret": [encryption.secretId],
                "key": [encryption.keyId],
            }
    if audio := job.profile.audio:
        checked["audio-bitrate"] = [audio.bitrate]
    checked["language"] = [*_languages(job.profile.audio), *_languages(job.profile.subtitles)]
    return [
        f"{text!r:.200} must be {FORMATS[format_name][1]}"
        for format_name, texts in checked.items()
        for text in texts
        if isinstance(text, str) and not FORMATS[format_name][0](text)
    ]


def _languages(part: Audio | Subtitles | UnsetType) -> list[object]:
    """The languages that a part of a profile names."""
    listed = part.tracks if part and isinstance(part.tracks, list) else []
    return [*listed, *([part.burn] if isinstance(part, Subtitles) else [])]


def sources(job: Job) -> list[str]:
    """The URIs of the objects that a job reads."""
    return [job.input, *([job.origin] if job.origin else [])]


def products(job: Job) -> list[str]:
    """The URIs of the objects that a job writes, without those whose number the source decides."""
    return [job.output + each for each in Outputs.of(job.profile).names(job.input)]
