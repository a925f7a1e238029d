"""The resolved job: the message that a worker takes from its queue."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from elasticrecode.jobs.formats import FORMATS
from elasticrecode.jobs.uris import SCORE_FILES, name, output_name
from elasticrecode.media.profiles import Profile

Kind = Literal["ffmpeg", "vmaf"]


class Job(Struct, frozen=True, kw_only=True):
    """A resolved job: the message a worker takes from its queue, fields in the documented order."""

    userid: Annotated[str, Meta(min_length=1, max_length=128)]
    jobid: Annotated[str, Meta(min_length=1, max_length=128)]
    input: str
    origin: str | UnsetType = UNSET
    output: str
    priority: int | UnsetType = UNSET
    profile: Profile

    @property
    def kind(self) -> Kind:
        """Which kind of worker it is for."""
        return "ffmpeg" if self.profile.ffmpeg else "vmaf"


def flaws(job: Job) -> list[str]:
    """What is wrong in a job that may not have come through the API, as sentences."""
    texts: dict[str, list[object]] = {"s3-object": [job.input, job.origin], "s3-prefix": [job.output]}
    if job.profile.vmaf:
        texts["vmaf-scale"] = [job.profile.vmaf.scale]
    if job.profile.ffmpeg:
        texts["ffmpeg-scale"] = [job.profile.ffmpeg.scale]
    return [
        f"{text!r:.200} must be {FORMATS[name][1]}"
        for name, given in texts.items()
        for text in given
        if isinstance(text, str) and not FORMATS[name][0](text)
    ]


def sources(job: Job) -> list[str]:
    """The URIs of the objects that a job is made from."""
    return [job.input, *([job.origin] if job.origin else [])]


def products(job: Job) -> list[str]:
    """The URIs of the objects that a job makes."""
    encoded = [job.output + output_name(job.input)] if job.profile.ffmpeg else []
    scored = [job.output + name(job.input) + ending for ending in SCORE_FILES] if job.profile.vmaf else []
    return encoded + scored
