"""The ladder that a worker has found for a title, as its job's record shows it."""

from msgspec import Struct


class LadderRung(Struct):
    """A rung of the ladder of a title: its size, its average in bit/s, and the VMAF that it is to have."""

    width: int
    height: int
    bitrate: int
    vmaf: float


class LadderPoint(Struct):
    """A size that was probed at a CRF: the average in bit/s, and the VMAF, that the whole film would have."""

    width: int
    height: int
    crf: float
    bitrate: int
    vmaf: float


class TitleLadder(Struct):
    """The ladder that a worker has found for a title: its rungs, the largest first, and the probes that led to them.

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
