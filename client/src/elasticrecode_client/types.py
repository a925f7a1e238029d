"""The types of requests and answers of the API.

Written by `python -m local.client_types` from docs/openapi.json, and long because that has so many.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypeAlias, TypedDict


class Target(TypedDict):
    """
    The quality to encode at, in place of a bitrate: a constant rate factor (CRF), or the mean VMAF to reach.

    `crf` is on the encoder's own scale. The worker finds the one for `vmaf`. The film's mean may differ from that by
    `tolerance`, and no part of a film is to be below `floor`, by default `vmaf` less FLOOR_BELOW. `model` is that of
    the job's score, if it has one, else fits the size.
    """

    crf: NotRequired[float]
    vmaf: NotRequired[float]
    model: NotRequired[
        Literal[
            "4k",
            "v0.6.1",
            "v0.6.1neg",
            "v1",
            "v1-4k",
            "v1-4k-3h",
            "v1-phone",
            "vmaf_4k_v0.6.1",
            "vmaf_4k_v0.6.1neg",
            "vmaf_v0.6.1",
            "vmaf_v0.6.1neg",
            "vmaf_v1.0.16_1d5h_2160",
            "vmaf_v1.0.16_3d0h",
            "vmaf_v1.0.16_3d0h_2160",
            "vmaf_v1.0.16_5d0h",
            "vmaf_v1.0.16_hfr_1d5h_2160",
            "vmaf_v1.0.16_hfr_3d0h",
            "vmaf_v1.0.16_hfr_3d0h_2160",
            "vmaf_v1.0.16_hfr_5d0h",
        ]
        | Literal["auto"]
    ]
    tolerance: NotRequired[float]
    floor: NotRequired[float]


class Rung(TypedDict):
    """
    A rung of a ladder of the request's own. `bitrate` is the average; absent `maxBitrate`: 1.5 times that.
    """

    scale: str
    """
    One of 720p, 480p, 360p, 240p, 1080p, 2160p, 1440p, 540p, source, or WIDTH:HEIGHT with even sides from 16 to 8192.
    """
    bitrate: str
    """
    A number with K or M from 50K to 200000K, like 8M.
    """
    codec: NotRequired[Literal["av1", "h264", "h265"]]
    maxBitrate: NotRequired[str]
    """
    A number with K or M from 50K to 200000K, like 8M.
    """
    frameRate: NotRequired[str]
    """
    Source, or a rate from 1 to 240 frames per second, like 30 or 30000/1001.
    """


class Auto(TypedDict):
    """
    The bounds of the ladder `auto`, which a worker finds for the title.

    The top rung is the smallest that has a VMAF of `topVmaf` where the film is shown at its own size; no rung has more
    than `maxBitrate` on average, and the bottom rung has at most `bottomBitrate`. Absent rates are the highest (but at
    least 2M) and the lowest of the codec's fixed ladder for the size of the source.
    """

    codec: NotRequired[Literal["av1", "h264", "h265"]]
    topVmaf: NotRequired[float]
    bottomBitrate: NotRequired[str]
    """
    A number with K or M from 50K to 200000K, like 8M.
    """
    maxBitrate: NotRequired[str]
    """
    A number with K or M from 50K to 200000K, like 8M.
    """


class Encryption(TypedDict):
    """
    How segments are encrypted. Players get the key from `keyUri`; keys are 32 hexadecimal digits.

    A request has `key`, or the name of its secret in `secretId`. A resolved profile has no `key`: `sealedKey` is the
    key, encrypted with the deployment's KMS key, in base64.
    """

    scheme: Literal["aes-128", "cbcs"]
    keyUri: str
    """
    An http:// or https:// URL without spaces and quotation marks.
    """
    key: NotRequired[str]
    """
    32 hexadecimal digits.
    """
    secretId: NotRequired[str]
    """
    The name of a secret that begins with elasticrecode/, and at most 494 letters, digits and /_+=.@-.
    """
    keyId: NotRequired[str]
    """
    32 hexadecimal digits.
    """
    sealedKey: NotRequired[str]


class Audio(TypedDict):
    """
    The sound of an output. `loudness` is the integrated loudness to reach, in LUFS; `tracks` may list languages.

    Absent values: AAC; 128 kbit/s for mono and stereo, 384 kbit/s for 5.1; the source's channels; no change of
    loudness; the first track.
    """

    codec: NotRequired[Literal["aac", "opus"]]
    tracks: NotRequired[Literal["all", "first"] | list[str]]
    bitrate: NotRequired[str]
    """
    A number with K or M from 16K to 1024K, like 128K.
    """
    channels: NotRequired[Literal["5.1", "mono", "source", "stereo"]]
    loudness: NotRequired[float]


class Subtitles(TypedDict):
    """
    The subtitles of an output: which text tracks it gets, and the language of the one that is burnt in.
    """

    tracks: NotRequired[Literal["all"] | list[str]]
    burn: NotRequired[str]
    """
    A language tag such as en, fra or pt-BR.
    """


class Sprite(TypedDict):
    """
    Small pictures for scrubbing: one every so many seconds, each `width` pixels wide.
    """

    everySeconds: NotRequired[float]
    width: NotRequired[int]


Vmaf = TypedDict(
    "Vmaf",
    {
        "scale": str,
        "ssim": NotRequired[Literal["disable", "enable"]],
        "psnr": NotRequired[Literal["disable", "enable"]],
        "ms-ssim": NotRequired[Literal["disable", "enable"]],
        "model": NotRequired[
            Literal[
                "4k",
                "v0.6.1",
                "v0.6.1neg",
                "v1",
                "v1-4k",
                "v1-4k-3h",
                "v1-phone",
                "vmaf_4k_v0.6.1",
                "vmaf_4k_v0.6.1neg",
                "vmaf_v0.6.1",
                "vmaf_v0.6.1neg",
                "vmaf_v1.0.16_1d5h_2160",
                "vmaf_v1.0.16_3d0h",
                "vmaf_v1.0.16_3d0h_2160",
                "vmaf_v1.0.16_5d0h",
                "vmaf_v1.0.16_hfr_1d5h_2160",
                "vmaf_v1.0.16_hfr_3d0h",
                "vmaf_v1.0.16_hfr_3d0h_2160",
                "vmaf_v1.0.16_hfr_5d0h",
            ]
            | Literal["auto"]
        ],
        "subsample": NotRequired[int],
        "threads": NotRequired[int],
        "align": NotRequired[Literal["exact", "nearest"]],
        "min": NotRequired[float],
        "onFail": NotRequired[Literal["fail", "keep"]],
    },
)


class Ec2(TypedDict):
    """
    The EC2 nodes that the job may run on.
    """

    platform: NotRequired[Literal["cpu", "gpu"]]
    priceModel: NotRequired[Literal["normal", "spot"]]


class Budget(TypedDict):
    """
    The most that a job may cost: `dollars`, or `seconds` of all its workers together, or both.
    """

    dollars: NotRequired[float]
    seconds: NotRequired[float]


class PlannedRequest(TypedDict):
    """
    One transcode by a plan, which has its input and its profile.

    `input`, where given, must be the plan's. Without `output`, `priority` or `budget` the job has those of the plan.
    """

    userid: str
    """
    1 to 128 characters without white space, '/', '?', '#' or '%'.
    """
    plan: str
    input: NotRequired[str]
    """
    An s3://bucket/key URI of one object, its key at most 1024 bytes without NUL, U+FFFE and U+FFFF.
    """
    output: NotRequired[str]
    """
    An s3://bucket/prefix/ URI that ends in '/', without NUL, U+FFFE and U+FFFF: the file name is taken from the input.
    """
    priority: NotRequired[int]
    budget: NotRequired[Budget]


class RetryRequest(TypedDict):
    """
    A retry of all failed jobs of a user, or of those of one batch.
    """

    userID: str
    """
    1 to 128 characters without white space, '/', '?', '#' or '%'.
    """
    batchID: NotRequired[str]


class LinksRequest(TypedDict):
    """
    A request for links to files of a job's packages.
    """

    uris: list[str]


class UploadRequest(TypedDict):
    """
    A file of a user that is to be uploaded, and its size.
    """

    userID: str
    """
    1 to 128 characters without white space, '/', '?', '#' or '%'.
    """
    name: str
    bytes: int


Part: TypeAlias = int


class PartLinksRequest(TypedDict):
    """
    A request for links to send parts of an upload to; parts count from 1.
    """

    parts: list[Part]


class WebhookRequest(TypedDict):
    """
    A request for a webhook: which of a user's events go where. Without a secret one is generated.
    """

    userID: str
    """
    1 to 128 characters without white space, '/', '?', '#' or '%'.
    """
    url: str
    """
    An https URL of at most 2048 ASCII characters, without credentials and fragment.
    """
    actions: list[
        Literal[
            "BatchFinished",
            "JobCancelled",
            "JobFailed",
            "JobFinished",
            "JobLost",
            "JobRetried",
            "JobReturned",
            "JobStart",
            "JobSummit",
        ]
    ]
    secret: NotRequired[str]
    """
    Empty, or whsec_ and 24 to 64 bytes in base64.
    """


class Progress(TypedDict):
    """
    Progress of an encoder: percent from 0 to 100, speed in seconds of video per second, eta in seconds.
    """

    percent: NotRequired[float | None]
    frame: NotRequired[int | None]
    fps: NotRequired[float | None]
    speed: NotRequired[float | None]
    etaSeconds: NotRequired[float | None]


class Division(TypedDict):
    """
    The number of parts that a job is divided into, their kind, and why: 0 and null for a job that stays whole.

    `estimatedSeconds` is how long one worker would need for the whole, and `attempt` the one that divided the job.
    """

    parts: int
    kind: NotRequired[str | None]
    estimatedSeconds: float
    reason: str
    attempt: int


class Failure(TypedDict):
    """
    Why a job failed or was returned: a code (docs/reference/codes.md), a sentence, the encoder's last lines.
    """

    code: str
    message: str
    log: NotRequired[list[str]]


class PlannedRung(TypedDict):
    """
    One output with pictures, as a plan predicts it: size in pixels, codec, bits per second, mean VMAF, and bytes.

    `bytes` counts the pictures, with sound and overhead where these lie in the same file. `predictedVmaf` is null where
    pictures were not compared.
    """

    width: int
    height: int
    codec: str
    bitrate: int
    predictedVmaf: float | None
    bytes: int


class Window(TypedDict):
    """
    A window of the film that was probed: where it begins, and how long it is, in seconds.
    """

    start: float
    seconds: float


class PlanProbe(TypedDict):
    """
    One output at one CRF, over all windows: bits per second of the windows, mean VMAF, CPU seconds.
    """

    width: int
    height: int
    crf: float
    bitrate: int
    vmaf: float | None
    cpuSeconds: float


class VmafScore(TypedDict):
    """
    VMAF over the frames that were scored, 0 to 100; `p5` is the 5th percentile.

    `frames` counts the scored frames: one in `subsample` of the `pairedFrames`.
    """

    mean: float
    harmonicMean: float
    min: float
    p5: float
    model: str
    frames: int
    pairedFrames: NotRequired[int | None]
    subsample: NotRequired[int]


class MeanScore(TypedDict):
    """
    The mean over all frames.
    """

    mean: float


class Probed(TypedDict):
    """
    A short window of a film, encoded at a CRF and scored: from second `start` on, for so many `seconds`.
    """

    start: float
    seconds: float
    crf: float
    vmaf: float
    cpuSeconds: float


class PartReached(TypedDict):
    """
    A part of a film with a target of quality: its mean VMAF at the CRF of its encode, and that of each repeat.
    """

    name: str
    crf: float
    vmaf: float
    tries: int


class Spent(TypedDict):
    """
    CPU seconds that a target of quality took: the encodes that were kept, and what it took beside them.
    """

    encodes: float
    probes: float
    scores: float
    repeats: float


class LadderRung(TypedDict):
    """
    A rung of the ladder of a title: its size, its average in bit/s, and the VMAF that it is to have.
    """

    width: int
    height: int
    bitrate: int
    vmaf: float


class LadderPoint(TypedDict):
    """
    A size that was probed at a CRF: the average in bit/s, and the VMAF, that the whole film would have.
    """

    width: int
    height: int
    crf: float
    bitrate: int
    vmaf: float


class Notice(TypedDict):
    """
    A warning: what was left out, changed or guessed. docs/reference/codes.md lists the codes.
    """

    code: str
    message: str


class Server(TypedDict):
    """
    The server's name and version, and who asks. `build` is the commit's time as `YYYY.MM.DD.HHMMSS`.
    """

    server: str
    version: str
    build: str
    commit: str
    userID: str
    operator: bool


class Ec2Words(TypedDict):
    """
    The words that `ec2` takes.
    """

    platform: list[str]
    priceModel: list[str]


class FfmpegWords(TypedDict):
    """
    The words that `ffmpeg` takes; `bitrate`, in Mbit/s, and `priority` are the lowest and the highest value.
    """

    codec: list[str]
    originCodec: list[str]
    scale: list[str]
    bitrate: tuple[int, int]
    profile: list[str]
    priority: tuple[int, int]


class Health(TypedDict):
    """
    The health of the API. The check is public and not rate-limited, so it reads no table and no queue.
    """

    status: str
    """
    One of ok.
    """
    version: str


class Outcome(TypedDict):
    """
    The outcome of a submitted job, as the wire contract spells it. A job that `failed` was not stored.
    """

    event: str
    """
    One of JobSummit.
    """
    status: str
    """
    One of failed, success.
    """


class PlanReference(TypedDict):
    """
    The plan that a job carries out: its id, and the ETag of the version of the input that the plan probed.
    """

    planID: str
    etag: str


class PartRecord(TypedDict):
    """
    A part as GET /v1/jobs/{jobID}/parts answers it. `seconds` is for how long its last attempt ran, or runs.
    """

    part: int
    name: str
    kind: str
    """
    One of chunk, rung.
    """
    state: str
    """
    One of accepted, cancelled, failed, finished, queued, running.
    """
    attempt: int
    progress: Progress | None
    seconds: float | None
    worker: str | None


class StateCounts(TypedDict):
    """
    How many jobs are in each state.
    """

    accepted: NotRequired[int]
    queued: NotRequired[int]
    running: NotRequired[int]
    finished: NotRequired[int]
    failed: NotRequired[int]
    cancelled: NotRequired[int]


class FailureCount(TypedDict):
    """
    How many jobs have failed with a code, and what to do about it.
    """

    code: str
    jobs: int
    advice: str


class MinuteCount(TypedDict):
    """
    How many jobs were submitted, and have ended, in the minute that begins `at`, in Unix seconds.
    """

    at: int
    submitted: int
    finished: int
    failed: int
    cancelled: int


class Retried(TypedDict):
    """
    The number of jobs that run again; `more` where failed jobs are left.
    """

    retried: int
    more: NotRequired[Literal[True]]


class Link(TypedDict):
    """
    A link to a file. `role` is `input`, `origin`, the role of an output, or `package`.
    """

    uri: str
    url: str
    role: str
    bytes: NotRequired[int]


class NewUpload(TypedDict):
    """
    An upload: the URI of its file, and the size of its parts, of which the last may be smaller.
    """

    uploadID: str
    uri: str
    bytes: int
    partBytes: int
    parts: int


class UploadRecord(TypedDict):
    """
    An upload, and the numbers of the parts that S3 has.
    """

    uploadID: str
    uri: str
    bytes: int
    partBytes: int
    parts: int
    uploaded: list[int]


class PartLinks(TypedDict):
    """
    By the number of a part, a URL to PUT it to, until the Unix second `expiresAt`.
    """

    expiresAt: int
    urls: dict[str, str]


class Uploaded(TypedDict):
    """
    The URI of an uploaded file.
    """

    uri: str


class PlanTaken(TypedDict):
    """
    A new plan.
    """

    planID: str
    state: str
    """
    One of accepted, cancelled, failed, finished, queued, running.
    """


class SocketTicket(TypedDict):
    """
    A ticket that opens one WebSocket, until the Unix second `expiresAt`.
    """

    ticket: str
    expiresAt: int


class BatchTaken(TypedDict):
    """
    The answer to an accepted batch. The survey finds out `total` later.
    """

    batchID: str
    userID: str
    state: str
    """
    One of cancelled, expanding, failed, finished, running.
    """
    total: int | None


class BatchProgress(TypedDict):
    """
    Percent of the jobs that have ended, the recent rate of jobs that end, and the seconds left at that rate.
    """

    percent: float
    jobsPerSecond: NotRequired[float | None]
    etaSeconds: NotRequired[float | None]


class LineFault(TypedDict):
    """
    An input that is left out: its line, counted from 1, and the reason.
    """

    line: int
    detail: str


class Queues(TypedDict):
    """
    Names of worker queues by group.
    """

    cpu: list[str]
    gpu: list[str]
    vmaf: list[str]


class DeploymentRecord(TypedDict):
    """
    A Deployment of workers: the first generation's fields, then this product's. `seenAt` is in Unix seconds.
    """

    Name: str
    Queue: str
    Platform: str
    """
    One of cpu, gpu.
    """
    Replicas: int
    namespace: str
    name: str
    cluster: str
    workerType: str
    """
    One of debug, ffmpeg, vmaf.
    """
    desiredReplicas: int
    priceModel: str
    """
    One of normal, spot.
    """
    priority: tuple[int, int]
    weight: float
    draining: bool
    generation: Literal[1, 2]
    stale: bool
    seenAt: float


class QueueBacklog(TypedDict):
    """
    The load of a queue, and its workers. `fault` says why it can't be used; `lookedAt` is in Unix seconds.

    `expectedSeconds` is how long a job sent now would wait for a worker; null while no worker takes jobs of the queue.
    `outage` says which clusters of its workers are out of reach, why, since when, and what to do.
    """

    queue: str
    kind: str
    platform: str
    """
    One of cpu, gpu.
    """
    visible: int
    inFlight: int
    oldestSeconds: float
    readyReplicas: int | None
    weight: float
    priority: tuple[int, int]
    priceModel: str
    """
    One of normal, spot.
    """
    generation: Literal[1, 2]
    secondsPerJob: float | None
    expectedSeconds: float | None
    paused: bool
    lookedAt: float | None
    fault: str | None
    outage: str | None


class QueueSample(TypedDict):
    """
    The figures of a queue in a sample, as in QueueBacklog.
    """

    queue: str
    visible: int
    inFlight: int
    readyReplicas: int | None
    expectedSeconds: float | None


class QueuePause(TypedDict):
    """
    Whether a queue is paused.
    """

    queue: str
    paused: bool


class NewWebhook(TypedDict):
    """
    A created webhook, with its secret, which no other answer shows.
    """

    webhookID: str
    userID: str
    url: str
    actions: list[str]
    state: str
    """
    One of disabled, enabled.
    """
    reason: str | None
    lastFailure: str | None
    createdMs: int | None
    failingSinceMs: int | None
    pausedUntilMs: int | None
    lastSuccessMs: int | None
    lastFailureMs: int | None
    secret: str


class WebhookRecord(TypedDict):
    """
    A webhook and the state of its deliveries. Times are Unix milliseconds; fields without a value are null.
    """

    webhookID: str
    userID: str
    url: str
    actions: list[str]
    state: str
    """
    One of disabled, enabled.
    """
    reason: str | None
    lastFailure: str | None
    createdMs: int | None
    failingSinceMs: int | None
    pausedUntilMs: int | None
    lastSuccessMs: int | None
    lastFailureMs: int | None


class WebhookRemoved(TypedDict):
    """
    The id of a removed webhook.
    """

    webhookID: str


class DeliveryOutcome(TypedDict):
    """
    The outcome of a test: the status of the receiver's answer, null without one, and why the test failed, if it did.

    `seconds` passed until then.
    """

    status: int | None
    seconds: float
    error: str | None


class Sent(TypedDict):
    """
    How many deliveries were sent again; `more` when some are left.
    """

    sent: int
    more: NotRequired[Literal[True]]


class PresetRemoved(TypedDict):
    """
    The name of the removed preset.
    """

    name: str


class BodyFault(TypedDict):
    """
    One thing wrong in a body: an RFC 6901 pointer to it, and what is wrong.
    """

    pointer: str
    detail: str


class Ffmpeg(TypedDict):
    """
    An encode, as requested or resolved: both forms have the same fields, and requests may use either.

    A resolved encode without `fit` has the size of a scale word, and fits the source into it (`contain`). `start` and
    `end` are in seconds of the source.
    """

    codec: Literal["av1", "h264", "h264_nvenc", "h265", "hevc_nvenc", "libsvtav1", "libx264", "libx265"]
    scale: str
    """
    One of 720p, 480p, 360p, 240p, 1080p, 2160p, 1440p, 540p, source, or WIDTH:HEIGHT with even sides from 16 to 8192.
    """
    bitrate: NotRequired[str]
    """
    A number with K or M from 1M to 15M, like 1M or 2500K; from 50K to 200000K beside a field of the second generation.
    """
    buffersize: NotRequired[str]
    """
    A number with K or M from 1K to 500000K, like 2M or 40K.
    """
    profile: NotRequired[Literal["latency", "quality"]]
    platform: NotRequired[Literal["cpu", "gpu"]]
    originCodec: NotRequired[Literal["h264", "h264_cuvid", "h265", "hevc_cuvid"]]
    quality: NotRequired[Target]
    maxBitrate: NotRequired[str]
    """
    A number with K or M from 50K to 200000K, like 8M.
    """
    fit: NotRequired[Literal["contain", "crop", "exact", "pad"]]
    speed: NotRequired[Literal["fast", "medium", "slow"]]
    frameRate: NotRequired[str]
    """
    Source, or a rate from 1 to 240 frames per second, like 30 or 30000/1001.
    """
    keyframeSeconds: NotRequired[float]
    dynamicRange: NotRequired[Literal["auto", "keep", "sdr"]]
    bitDepth: NotRequired[Literal[8, 10]]
    deinterlace: NotRequired[Literal["auto", "double", "off"]]
    start: NotRequired[float]
    end: NotRequired[float]


class Package(TypedDict):
    """
    A streaming package: one ladder of renditions, which HLS and DASH share. `segmentSeconds` is what to aim at.

    The ladder `auto` is found for the title, within the bounds `auto`; an encode sees the rungs that were found.
    With `early`, a small rung of a film that is divided into chunks plays over HLS while the others are encoded.
    """

    formats: NotRequired[list[Literal["dash", "hls"]]]
    ladder: NotRequired[Literal["auto", "av1", "h264", "h265"] | list[Rung]]
    auto: NotRequired[Auto]
    segmentSeconds: NotRequired[float]
    speed: NotRequired[Literal["fast", "medium", "slow"]]
    dynamicRange: NotRequired[Literal["auto", "keep", "sdr"]]
    encryption: NotRequired[Encryption]
    early: NotRequired[bool]


class Images(TypedDict):
    """
    Pictures beside an output: a poster, and sprites with a WebVTT file that maps times to pictures.
    """

    poster: NotRequired[bool]
    sprite: NotRequired[Sprite]


class Profile(TypedDict):
    """
    The `profile` of a job: an encode, a package, a score, or sound alone.

    Subtitles and images go with an encode or a package. `split` says whether a long film may be divided into chunks,
    which several workers encode: `auto` where one worker would take long, or `never`. Without it, an encode with a
    `bitrate` stays whole. With `reuse` false the job is done even where an earlier one with the same source and profile
    has outputs that can be copied.
    """

    ffmpeg: NotRequired[Ffmpeg]
    package: NotRequired[Package]
    audio: NotRequired[Audio]
    subtitles: NotRequired[Subtitles]
    images: NotRequired[Images]
    split: NotRequired[Literal["auto", "never"]]
    reuse: NotRequired[bool]
    vmaf: NotRequired[Vmaf]
    ec2: NotRequired[Ec2]


class Basis(TypedDict):
    """
    What a plan rests on: the version of the input by its ETag, the probed windows, and the probes.

    `inputSeconds` is the length of the output's film, `cores` those of the worker, `probeSeconds` how long the probing
    took, `model` libvmaf's name of the model of the predictions, and `comparedAt` the size in pixels, `WIDTHxHEIGHT`,
    at which pictures were compared.
    """

    etag: str
    inputBytes: int
    inputSeconds: float
    windows: list[Window]
    probes: list[PlanProbe]
    cores: int
    probeSeconds: float
    model: NotRequired[str | None]
    comparedAt: NotRequired[str | None]


class Output(TypedDict):
    """
    An output of a job: duration in seconds, rates in bits per second, SHA-256 of its bytes in hex.

    `peakBitrate` is the largest over one second, `frameRate` the mean in frames per second, and `dynamicRange` one of
    `sdr`, `hdr10` and `hlg`. All are measured from the file.

    The tracks of a package have further figures: `segments` counts media segments, `overhead` is the bytes of the file
    that are not samples, `cpuSeconds` what its encode took, and `vmaf` its score at the size of the largest rung.
    """

    uri: str
    bytes: int
    duration: NotRequired[float | None]
    width: NotRequired[int | None]
    height: NotRequired[int | None]
    videoCodec: NotRequired[str | None]
    bitrate: NotRequired[int | None]
    frames: NotRequired[int | None]
    sha256: NotRequired[str | None]
    role: NotRequired[str | None]
    peakBitrate: NotRequired[int | None]
    frameRate: NotRequired[float | None]
    dynamicRange: NotRequired[str | None]
    language: NotRequired[str | None]
    codecs: NotRequired[str | None]
    segments: NotRequired[int | None]
    overhead: NotRequired[int | None]
    cpuSeconds: NotRequired[float | None]
    vmaf: NotRequired[VmafScore | None]


class TargetReached(TypedDict):
    """
    What a target of quality asked for, and what came of it.

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


class TitleLadder(TypedDict):
    """
    The ladder that a worker has found for a title: its rungs, the largest first, and the probes that led to them.

    `model` is libvmaf's name of the model, and pictures were compared at `width` and `height`. `cpuSeconds` is what all
    probes took.
    """

    codec: str
    rungs: list[LadderRung]
    points: list[LadderPoint]
    model: str
    width: int
    height: int
    cpuSeconds: float


class Planned(TypedDict):
    """
    A plan as its worker reports it: the rungs, the seconds of one worker for the whole job, and the basis.

    `crf` is the constant rate factor of the job's file, and `ladder` the ladder of its package, where the plan has
    chosen them; a job by the plan gets them in its profile.
    """

    rungs: list[PlannedRung]
    seconds: float
    basis: Basis
    crf: NotRequired[float]
    ladder: NotRequired[list[Rung] | str]


class Words(TypedDict):
    """
    The words that the fields of a profile take.
    """

    ec2: Ec2Words
    ffmpeg: FfmpegWords


class SubmittedJob(TypedDict):
    """
    A submitted transcode.
    """

    userid: str
    jobid: str
    input: str
    output: str
    status: Outcome


class SubmittedScore(TypedDict):
    """
    A submitted quality score, with its profile resolved.
    """

    userid: str
    jobid: str
    input: str
    origin: NotRequired[str]
    output: str
    priority: NotRequired[int]
    profile: Profile
    planning: NotRequired[Literal[True]]
    plan: NotRequired[PlanReference]
    budget: NotRequired[Budget]
    price: NotRequired[float]
    status: Outcome


class Overview(TypedDict):
    """
    The counts of jobs: `failures` has the most frequent codes first, `minutes` those of the last hour with a job.
    """

    states: StateCounts
    failures: list[FailureCount]
    minutes: list[MinuteCount]


class Links(TypedDict):
    """
    Links that work until the Unix second `expiresAt`.
    """

    expiresAt: int
    links: list[Link]


class BatchRecord(TypedDict):
    """
    The answer of GET /v1/batches/{batchID}. Times are in Unix seconds; a field without a value is null.
    """

    batchID: str
    userID: str
    state: str
    """
    One of cancelled, expanding, failed, finished, running.
    """
    total: int | None
    accepted: int
    queued: int
    running: int
    finished: int
    failed: int
    cancelled: int
    progress: BatchProgress
    failures: dict[str, int]
    manifest: str | None
    prefix: str | None
    suffixes: list[str] | None
    output: str
    priority: int
    profile: Profile
    createdAt: float
    endedAt: float | None
    faultCount: int
    faults: list[LineFault]
    warnings: list[str]
    error: Failure | None


class FleetSample(TypedDict):
    """
    The figures of the queues, by name, at a Unix second.
    """

    at: int
    queues: list[QueueSample]


class PresetRecord(TypedDict):
    """
    A preset: its profile as stored and as resolved; `resolved` is null where this version cannot use the profile.
    """

    name: str
    profile: dict[str, Any]
    resolved: Profile | None
    source: str
    """
    One of built-in, deployment, stored.
    """


class Job(TypedDict):
    """
    A job with a resolved profile; the fields are in the documented order of the message.

    With `planning` the job encodes nothing: it plans what this profile would make. `price` is what a worker costs, in
    dollars per hour, and stands with `planning` and `budget`.
    """

    userid: str
    jobid: str
    input: str
    origin: NotRequired[str]
    output: str
    priority: NotRequired[int]
    profile: Profile
    planning: NotRequired[Literal[True]]
    plan: NotRequired[PlanReference]
    budget: NotRequired[Budget]
    price: NotRequired[float]


class ProblemDetails(TypedDict):
    """
    An error (RFC 9457): `instance` is the request's id, `errors` are all faults of a body.
    """

    type: str
    status: int
    detail: str
    instance: str
    errors: NotRequired[list[BodyFault]]


class JobRequest(TypedDict):
    """
    One transcode. The wire contract has `batchInputs` beside `input` ignored.
    """

    userid: str
    """
    1 to 128 characters without white space, '/', '?', '#' or '%'.
    """
    input: str
    """
    An s3://bucket/key URI of one object, its key at most 1024 bytes without NUL, U+FFFE and U+FFFF.
    """
    output: str
    """
    An s3://bucket/prefix/ URI that ends in '/', without NUL, U+FFFE and U+FFFF: the file name is taken from the input.
    """
    profile: Profile
    priority: NotRequired[int]
    budget: NotRequired[Budget]
    batchInputs: NotRequired[Any]


class JobsRequest(TypedDict):
    """
    Several transcodes with one profile into one output prefix. Each has the `budget` for itself.
    """

    userid: str
    """
    1 to 128 characters without white space, '/', '?', '#' or '%'.
    """
    batchInputs: list[str]
    output: str
    """
    An s3://bucket/prefix/ URI that ends in '/', without NUL, U+FFFE and U+FFFF: the file name is taken from the input.
    """
    profile: Profile
    priority: NotRequired[int]
    budget: NotRequired[Budget]


class VmafRequest(TypedDict):
    """
    One quality score of `input` against `origin`.
    """

    userid: str
    """
    1 to 128 characters without white space, '/', '?', '#' or '%'.
    """
    input: str
    """
    An s3://bucket/key URI of one object, its key at most 1024 bytes without NUL, U+FFFE and U+FFFF.
    """
    origin: str
    """
    An s3://bucket/key URI of one object, its key at most 1024 bytes without NUL, U+FFFE and U+FFFF.
    """
    output: str
    """
    An s3://bucket/prefix/ URI that ends in '/', without NUL, U+FFFE and U+FFFF: the file name is taken from the input.
    """
    profile: Profile
    priority: NotRequired[int]


class BatchRequest(TypedDict):
    """
    The body of POST /v1/batches: many transcodes with one profile into one output prefix.
    """

    userid: str
    """
    1 to 128 characters without white space, '/', '?', '#' or '%'.
    """
    output: str
    """
    An s3://bucket/prefix/ URI that ends in '/', without NUL, U+FFFE and U+FFFF: the file name is taken from the input.
    """
    profile: Profile
    priority: NotRequired[int]
    prefix: NotRequired[str]
    """
    An s3://bucket/prefix/ URI that ends in '/'.
    """
    suffixes: NotRequired[list[str]]
    manifest: NotRequired[str]
    """
    An s3://bucket/key URI of one object, its key at most 1024 bytes without NUL, U+FFFE and U+FFFF.
    """
    batchInputs: NotRequired[list[str]]
    inputs: NotRequired[list[str]]


class PresetRequest(TypedDict):
    """
    The profile of a preset to store.
    """

    profile: Profile


class PlanRecord(TypedDict):
    """
    A plan as clients see it. Times are in Unix seconds; a field without a value is null.

    `seconds` is how long one worker needs for the job, and `dollars` what that costs at the deployment's price of the
    profile's price model. `profile` is what a job by this plan encodes; before the plan has finished, what was asked
    for.
    """

    planID: str
    userID: str
    state: str
    """
    One of accepted, cancelled, failed, finished, queued, running.
    """
    input: str
    output: str
    profile: Profile
    budget: Budget | None
    rungs: list[PlannedRung] | None
    seconds: float | None
    dollars: float | None
    basis: Basis | None
    createdAt: float
    progress: Progress | None
    error: Failure | None


class Quality(TypedDict):
    """
    Quality scores of a video. PSNR in dB. `passed` says whether the requested minimum is reached.
    """

    vmaf: VmafScore
    psnr: NotRequired[MeanScore | None]
    ssim: NotRequired[MeanScore | None]
    msSsim: NotRequired[MeanScore | None]
    passed: NotRequired[bool | None]
    warnings: NotRequired[list[str]]
    target: NotRequired[TargetReached | None]


class JobRecord(TypedDict):
    """
    The record of a job. Times are in Unix seconds; a field without a value is null.

    `replaces` names the jobs with outputs that this one has overwritten, and `replacedBy` the one that has overwritten
    an output of this job. `copyOf` names the job that made the outputs, if they are copies. `division` is None until a
    worker has decided whether the job gets parts. `plan` is the id of the plan that the job carries out. `dollars` is
    what the workers of the latest attempt have cost by now, at the deployment's price of a worker hour; lists leave it
    null.
    """

    jobID: str
    userID: str
    kind: str
    state: str
    """
    One of accepted, cancelled, failed, finished, queued, running.
    """
    attempt: int
    priority: int
    queue: str | None
    queueReason: str | None
    input: str
    origin: str | None
    output: str
    profile: Profile
    batchID: str | None
    createdAt: float
    queuedAt: float | None
    startedAt: float | None
    endedAt: float | None
    progress: Progress | None
    outputs: list[Output] | None
    copyOf: str | None
    quality: Quality | None
    ladder: TitleLadder | None
    warnings: list[Notice] | None
    division: Division | None
    plan: str | None
    budget: Budget | None
    dollars: float | None
    error: Failure | None
    replaces: list[str] | None
    replacedBy: str | None


class Result(TypedDict):
    """
    The result of a job: outputs, scores, the ladder of its title, warnings, and of a plan what was planned.

    `copyOf` is the job that made the outputs, where they were copied: it asked for the same of the same source.
    """

    outputs: NotRequired[list[Output]]
    copyOf: NotRequired[str]
    quality: NotRequired[Quality]
    ladder: NotRequired[TitleLadder]
    warnings: NotRequired[list[Notice]]
    plan: NotRequired[Planned]


class Event(TypedDict):
    """
    An event as clients see it: the documented fields first, then what this product adds.

    It is stored without `job`, which the job's record has, and `store.fill` adds it. `cursor` is its place in the feed,
    where a watcher may resume. A BatchFinished has the batch's id for `jobID`, and its counts in `batch`.
    """

    ts: int
    userID: str
    jobID: str
    batchID: NotRequired[str]
    action: str
    job: NotRequired[Job]
    batch: NotRequired[dict[str, Any]]
    nodeName: NotRequired[str]
    podName: NotRequired[str]
    workerType: NotRequired[str]
    msg: NotRequired[str]
    eventID: str
    tsMs: int
    cursor: NotRequired[str]
    attempt: NotRequired[int]
    progress: NotRequired[Progress]
    result: NotRequired[Result]
    error: NotRequired[Failure]


class GivenUp(TypedDict):
    """
    A failed delivery, for its owner.
    """

    event: Event
    reason: str
    failedMs: int
