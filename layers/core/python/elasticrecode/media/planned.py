"""What a plan says: the result of a job of kind `plan`."""

from msgspec import UNSET, Struct, UnsetType

from elasticrecode.media.profiles import LadderName, Rung


class PlannedRung(Struct, kw_only=True):
    """One output with pictures, as a plan predicts it: size in pixels, codec, bits per second, mean VMAF, and bytes.

    `bytes` counts the pictures, with sound and overhead where these lie in the same file. `predictedVmaf` is null where
    pictures were not compared.
    """

    width: int
    height: int
    codec: str
    bitrate: int
    predictedVmaf: float | None
    bytes: int


class Window(Struct):
    """A window of the film that was probed: where it begins, and how long it is, in seconds."""

    start: float
    seconds: float


class PlanProbe(Struct, kw_only=True):
    """One output at one CRF, over all windows: bits per second of the windows, mean VMAF, CPU seconds."""

    width: int
    height: int
    crf: float
    bitrate: int
    vmaf: float | None
    cpuSeconds: float


class Basis(Struct, kw_only=True):
    """What a plan rests on: the version of the input by its ETag, the probed windows, and the probes.

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
    model: str | None = None
    comparedAt: str | None = None


class Planned(Struct, kw_only=True, omit_defaults=True):
    """A plan as its worker reports it: the rungs, the seconds of one worker for the whole job, and the basis.

    `crf` is the constant rate factor of the job's file, and `ladder` the ladder of its package, where the plan has
    chosen them; a job by the plan gets them in its profile.
    """

    rungs: list[PlannedRung]
    seconds: float
    basis: Basis
    crf: float | UnsetType = UNSET
    ladder: list[Rung] | LadderName | UnsetType = UNSET
