"""Types of answers that belong to no other package. `schema` imports this module, so it stays light."""

from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType

from elasticrecode.media.profiles import Profile


class BodyFault(Struct):
    """One thing wrong in a body: an RFC 6901 pointer to it, and what is wrong."""

    pointer: str
    detail: str


class ProblemDetails(Struct):
    """An error (RFC 9457): `instance` is the request's id, `errors` are all faults of a body."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    errors: list[BodyFault] | UnsetType = UNSET


class Server(Struct):
    """The server's name and version, and who asks. `build` is the commit's time as `YYYY.MM.DD.HHMMSS`."""

    server: str
    version: str
    build: str
    commit: str
    userID: str
    operator: bool


class Health(Struct):
    """The health of the API. The check is public and not rate-limited, so it reads no table and no queue."""

    status: Literal["ok"]
    version: str


class Ec2Words(Struct):
    """The words that `ec2` takes."""

    platform: list[str]
    priceModel: list[str]


class FfmpegWords(Struct):
    """The words that `ffmpeg` takes; `bitrate`, in Mbit/s, and `priority` are the lowest and the highest value."""

    codec: list[str]
    originCodec: list[str]
    scale: list[str]
    bitrate: tuple[int, int]
    profile: list[str]
    priority: tuple[int, int]


class SocketTicket(Struct):
    """A ticket that opens one WebSocket, until the Unix second `expiresAt`."""

    ticket: str
    expiresAt: int


class Words(Struct):
    """The words that the fields of a profile take."""

    ec2: Ec2Words
    ffmpeg: FfmpegWords


class PresetRecord(Struct):
    """A preset: its profile as stored and as resolved; `resolved` is null where this version cannot use the profile."""

    name: str
    profile: dict[str, Any]
    resolved: Profile | None
    source: Literal["built-in", "deployment", "stored"]


class PresetRemoved(Struct):
    """The name of the removed preset."""

    name: str
