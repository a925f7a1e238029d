"""Events: as workers report them, and as clients see them.

First-generation workers send no event id and no milliseconds. This module derives both from the message, so that the
same message always gives the same event.
"""

import hashlib
from enum import StrEnum
from typing import Annotated, Literal, NamedTuple

from msgspec import UNSET, DecodeError, Meta, Raw, Struct, UnsetType

from elasticrecode import ids, wire
from elasticrecode.errors import UnreadableEvent
from elasticrecode.jobs.title_ladder import TitleLadder
from elasticrecode.media.planned import Planned


class Action(StrEnum):
    """Every action of an event that this product knows. Workers may report others, which are stored and passed on."""

    JOB_SUMMIT = "JobSummit"  # spelt so in the wire contract
    JOB_START = "JobStart"
    JOB_PROGRESS = "JobProgress"
    JOB_FINISHED = "JobFinished"
    JOB_FAILED = "JobFailed"
    JOB_RETURNED = "JobReturned"
    JOB_LOST = "JobLost"
    JOB_RETRIED = "JobRetried"
    JOB_CANCELLED = "JobCancelled"
    BATCH_FINISHED = "BatchFinished"
    GAP = "Gap"
    WEBHOOK_TEST = "WebhookTest"


STORED = tuple(action for action in Action if action not in (Action.GAP, Action.WEBHOOK_TEST))
"""Actions of stored events. A gap is a frame that one watcher gets, about what is no longer stored; a test goes to one
webhook."""

_RANK: dict[str, int] = {Action.JOB_SUMMIT: 0, Action.JOB_START: 1, Action.JOB_FINISHED: 9, Action.JOB_FAILED: 9}
"""Order of events that share a millisecond, as those of one second from a first-generation worker do."""

MESSAGE_LIMIT = 96 * 1024
"""Bytes of a message on the control queue: an event fits an item of the table and, with its job, a WebSocket frame."""

Text = Annotated[str, Meta(max_length=256)]
Identifier = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[\w.:@=+-]+$")]


class Progress(Struct, omit_defaults=True):
    """Progress of an encoder: percent from 0 to 100, speed in seconds of video per second, eta in seconds."""

    percent: float | None = None
    frame: int | None = None
    fps: float | None = None
    speed: float | None = None
    etaSeconds: float | None = None


FaultOf = Literal["service", "host"]
"""Whose fault a returned job is when it is not its own: AWS's, or the worker's host's. Such a return is no strike."""


class Failure(Struct):
    """Why a job failed or was returned: a code (docs/reference/codes.md), a sentence, the encoder's last lines."""

    code: str
    message: str
    log: list[str] = []


Role = Literal["file", "playlist", "rendition", "audio", "subtitles", "poster", "sprite", "report", "certificate"]
"""What an output is for."""


class VmafScore(Struct, omit_defaults=True):
    """VMAF over the frames that were scored, 0 to 100; `p5` is the 5th percentile.

    `frames` counts the scored frames: one in `subsample` of the `pairedFrames`.
    """

    mean: float
    harmonicMean: float
    min: float
    p5: float
    model: str
    frames: int
    pairedFrames: int | None = None
    subsample: int = 1


class Output(Struct, omit_defaults=True):
    """An output of a job: duration in seconds, rates in bits per second, SHA-256 of its bytes in hex.

    `peakBitrate` is the largest over one second, `frameRate` the mean in frames per second, and `dynamicRange` one of
    `sdr`, `hdr10` and `hlg`. All are measured from the file.

    The tracks of a package have further figures: `segments` counts media segments, `overhead` is the bytes of the file
    that are not samples, `cpuSeconds` what its encode took, and `vmaf` its score at the size of the largest rung.
    """

    uri: str
    bytes: int
    duration: float | None = None
    width: int | None = None
    height: int | None = None
    videoCodec: str | None = None
    bitrate: int | None = None
    frames: int | None = None
    sha256: str | None = None
    role: Role | None = None
    peakBitrate: int | None = None
    frameRate: float | None = None
    dynamicRange: str | None = None
    language: str | None = None
    codecs: str | None = None
    segments: int | None = None
    overhead: int | None = None
    cpuSeconds: float | None = None
    vmaf: VmafScore | None = None


class MeanScore(Struct):
    """The mean over all frames."""

    mean: float


class Probed(Struct):
    """A short window of a film, encoded at a CRF and scored: from second `start` on, for so many `seconds`."""

    start: float
    seconds: float
    crf: float
    vmaf: float
    cpuSeconds: float


class PartReached(Struct):
    """A part of a film with a target of quality: its mean VMAF at the CRF of its encode, and that of each repeat."""

    name: str
    crf: float
    vmaf: float
    tries: int


class Spent(Struct):
    """CPU seconds that a target of quality took: the encodes that were kept, and what it took beside them."""

    encodes: float
    probes: float
    scores: float
    repeats: float


class TargetReached(Struct):
    """What a target of quality asked for, and what came of it.

    `vmaf`, `tolerance` and `floor` are of the target, `reached` is the mean of the film's frames and `worst` the lowest
    mean of a part. `met` says whether both are as wanted. `model` is libvmaf's name of the model, and `width` and
    `height` are the size at which pictures were compared, one in `subsample`. `repeats` counts encodes of parts that
    were not kept.
    """

    vmaf: float
    tolerance: float
    floor: float
    reached: float
    worst: float
    met: bool
    model: str
    width: int
    height: int
    subsample: int
    repeats: int
    probes: list[Probed]
    parts: list[PartReached]
    cpuSeconds: Spent


class Quality(Struct, omit_defaults=True):
    """Quality scores of a video. PSNR in dB. `passed` says whether the requested minimum is reached."""

    vmaf: VmafScore
    psnr: MeanScore | None = None
    ssim: MeanScore | None = None
    msSsim: MeanScore | None = None
    passed: bool | None = None
    warnings: list[str] = []
    target: TargetReached | None = None


class Notice(Struct, frozen=True):
    """A warning: what was left out, changed or guessed. docs/reference/codes.md lists the codes."""

    code: str
    message: str


class Result(Struct, omit_defaults=True):
    """The result of a job: outputs, scores, the ladder of its title, warnings, and of a plan what was planned.

    `copyOf` is the job that made the outputs, where they were copied: it asked for the same of the same source.
    """

    outputs: list[Output] = []
    copyOf: str | UnsetType = UNSET
    quality: Quality | UnsetType = UNSET
    ladder: TitleLadder | UnsetType = UNSET
    warnings: list[Notice] = []
    plan: Planned | UnsetType = UNSET


class _JobReference(Struct):
    userid: Annotated[str, Meta(min_length=1, max_length=128)]
    jobid: Identifier


class StartReference(Struct):
    """The identity of a JobStart, which the later events of its attempt carry: `tsMs` in milliseconds."""

    eventID: Identifier
    tsMs: Annotated[int, Meta(ge=0, lt=10**14)]


class WorkerEvent(Struct, kw_only=True):
    """A message on the control queue. `ts` is Unix seconds, `tsMs` milliseconds; `job` is the message as taken.

    `start` names the JobStart of the attempt, so that the control plane can store it first where it comes later.
    `fault` says whose fault a JobReturned with an `error` is; it is absent where the job may be to blame.
    """

    workerType: Text = ""
    nodeName: Text = ""
    podName: Text = ""
    action: Annotated[str, Meta(min_length=1, max_length=64)]
    job: Raw
    msg: str = ""
    ts: Annotated[int, Meta(ge=0, lt=10**11)] | Annotated[float, Meta(ge=0, lt=1e11)]
    eventID: Identifier | UnsetType = UNSET
    tsMs: Annotated[int, Meta(ge=0, lt=10**14)] | UnsetType = UNSET
    attempt: Annotated[int, Meta(ge=1)] | UnsetType = UNSET
    start: StartReference | UnsetType = UNSET
    progress: Progress | UnsetType = UNSET
    result: Result | UnsetType = UNSET
    error: Failure | UnsetType = UNSET
    fault: FaultOf | UnsetType = UNSET


class Event(Struct, omit_defaults=True, kw_only=True):
    """An event as clients see it: the documented fields first, then what this product adds.

    It is stored without `job`, which the job's record has, and `store.fill` adds it. `cursor` is its place in the feed,
    where a watcher may resume. A BatchFinished has the batch's id for `jobID`, and its counts in `batch`.
    """

    ts: int
    userID: str
    jobID: str
    batchID: str | UnsetType = UNSET
    action: str
    job: Raw | UnsetType = UNSET
    batch: Raw | UnsetType = UNSET
    nodeName: str | UnsetType = UNSET
    podName: str | UnsetType = UNSET
    workerType: str | UnsetType = UNSET
    msg: str | UnsetType = UNSET
    eventID: str
    tsMs: int
    cursor: str | UnsetType = UNSET
    attempt: int | UnsetType = UNSET
    progress: Progress | UnsetType = UNSET
    result: Result | UnsetType = UNSET
    error: Failure | UnsetType = UNSET

    @property
    def position(self) -> str:
        """A sort key: time, then rank, then identity. The same event always has the same."""
        return f"{self.tsMs:014d}#{_RANK.get(self.action, 5)}#{self.eventID}"

    @property
    def order(self) -> int:
        """Time and rank as one number: a tick sorts behind a JobStart of the same millisecond."""
        return 10 * self.tsMs + _RANK.get(self.action, 5)


class Report(NamedTuple):
    """An event of a worker, the JobStart of its attempt where the message names it, and whose fault its error is."""

    event: Event
    start: Event | None
    fault: FaultOf | UnsetType = UNSET


def read(text: bytes) -> Event:
    """The event in a control-queue message. UnreadableEvent, with the reason, when there is none."""
    return read_report(text).event


def read_report(text: bytes) -> Report:
    """The event in a control-queue message, with its JobStart. UnreadableEvent, with the reason, when there is none."""
    if len(text) > MESSAGE_LIMIT:
        raise UnreadableEvent(f"The message has {len(text)} bytes; the limit is {MESSAGE_LIMIT}.")
    try:
        message = wire.decode(text, WorkerEvent)
        job = wire.decode(message.job, _JobReference)
    except DecodeError as error:
        raise UnreadableEvent(str(error)) from None
    event = Event(
        ts=int(message.ts),
        userID=job.userid,
        jobID=job.jobid,
        action=message.action,
        nodeName=message.nodeName,
        podName=message.podName,
        workerType=message.workerType,
        msg=message.msg or UNSET,
        eventID=message.eventID or hashlib.blake2b(text, digest_size=16).hexdigest(),
        tsMs=message.tsMs if message.tsMs is not UNSET else _milliseconds(message.ts),
        attempt=message.attempt,
        progress=message.progress,
        result=message.result,
        error=message.error,
    )
    start = message.start
    if not start or not event.attempt or event.action == Action.JOB_START:
        return Report(event, None, message.fault)
    return Report(event, _start_of(event, start), message.fault)


def _start_of(event: Event, start: StartReference) -> Event:
    """The JobStart that the same worker sent before: the same item as the original."""
    return Event(
        ts=start.tsMs // 1000,
        userID=event.userID,
        jobID=event.jobID,
        action=Action.JOB_START,
        nodeName=event.nodeName,
        podName=event.podName,
        workerType=event.workerType,
        eventID=start.eventID,
        tsMs=start.tsMs,
        attempt=event.attempt,
    )


def _milliseconds(ts: float) -> int:
    """Milliseconds of a time in seconds. A whole second counts as its end: its events sort behind the submission."""
    return ts * 1000 + 999 if isinstance(ts, int) else round(ts * 1000)


def control_event(
    action: str, user_id: str, job_id: str, now_ms: int, *, event_id: str = "", error: Failure | UnsetType = UNSET
) -> Event:
    """An event of the control plane itself, at `now_ms` in Unix milliseconds. `event_id` is new by default."""
    return Event(
        ts=now_ms // 1000,
        userID=user_id,
        jobID=job_id,
        action=action,
        nodeName="",
        podName="",
        eventID=event_id or ids.new(),
        tsMs=now_ms,
        error=error,
    )


def submitted(job: bytes, user_id: str, job_id: str, created_ms: int) -> Event:
    """The JobSummit of a job, which its record stands for."""
    return Event(
        ts=created_ms // 1000,
        userID=user_id,
        jobID=job_id,
        action=Action.JOB_SUMMIT,
        job=Raw(job),
        nodeName="",
        podName="",
        eventID=job_id,
        tsMs=created_ms,
    )
