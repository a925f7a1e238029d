"""Types of answers that belong to no other package. `schema` imports this module, so it stays light."""

from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType

from elasticrecode.media.profiles import Profile


class BodyFault(Struct):
    """One thing wrong in a body: an RFC 6901 pointer to it, and a sentence about it."""

    pointer: str
    detail: str


class ProblemDetails(Struct):
    """An error, as RFC 9457 has it: `instance` is the request's id, `errors` are all faults of a body."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    errors: list[BodyFault] | UnsetType = UNSET


class Server(Struct):
    """What answers. `build` is the commit's time as `YYYY.MM.DD.HHMMSS`."""

    server: str
    version: str
    build: str
    commit: str


class Health(Struct):
    """That the API takes requests. What lies behind it is not looked at: this may be asked by anybody, at any rate."""

    status: Literal["ok"]
    version: str


class Ec2Words(Struct):
    """The choices for `ec2`."""

    platform: list[str]
    priceModel: list[str]


class FfmpegWords(Struct):
    """The choices for `ffmpeg`; `bitrate` and `priority` are the least and the most, `bitrate` in Mbit/s."""

    codec: list[str]
    originCodec: list[str]
    scale: list[str]
    bitrate: tuple[int, int]
    profile: list[str]
    priority: tuple[int, int]


class SocketTicket(Struct):
    """A ticket with which a WebSocket can be opened once, until the Unix second `expiresAt`."""

    ticket: str
    expiresAt: int


class Words(Struct):
    """The words that a profile may use."""

    ec2: Ec2Words
    ffmpeg: FfmpegWords


class PresetRecord(Struct):
    """A preset: as it was given, and what workers are told; null for a stored one that this version can't use."""

    name: str
    profile: dict[str, Any]
    resolved: Profile | None
    source: Literal["built-in", "deployment", "stored"]


class PresetRemoved(Struct):
    """The preset that is no more."""

    name: str
