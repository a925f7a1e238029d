"""The tracks that go into a package, and the files and figures that come out of it."""

import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Literal, NamedTuple

from elasticrecode.jobs.events import Notice
from worker.packaging.findings import Rule

Kind = Literal["video", "audio", "text", "trick"]
Format = Literal["hls", "dash"]

_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,99}", re.ASCII | re.IGNORECASE)
_LANGUAGE = re.compile(r"[a-z]{2,8}(-[a-z0-9]{1,8})*", re.ASCII | re.IGNORECASE)
_UNSAFE = re.compile(r'[\x00-\x1f\x7f-\x9f"\u2028\u2029\ud800-\udfff\ufffe\uffff]')
_LABEL_LENGTH = 100
UNKNOWN_LANGUAGE = "und"


class Track(NamedTuple):
    """One track of a package: a stream of an MP4 file, or a WebVTT file for `text`.

    `name` becomes the name of its files, without an extension. `trick` is a video of key frames alone, for fast
    forward. `group` is the layout of a sound, such as `stereo` or `5.1`; renditions of one sound in several layouts
    have the same `language` and `label`. `is_sdh` marks subtitles for people who do not hear.
    """

    file: Path
    name: str
    kind: Kind
    language: str = ""
    label: str = ""
    channels: int = 0
    is_default: bool = False
    is_forced: bool = False
    is_sdh: bool = False
    group: str = ""
    stream: int = 0

    def checked(self) -> "Track":
        """The track with values that are safe in playlists and in the MPD. Raises ValueError for an unsafe name."""
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"a track is named {self.name!r}")
        language = self.language if _LANGUAGE.fullmatch(self.language) else UNKNOWN_LANGUAGE
        label = _UNSAFE.sub(" ", self.label).strip()[:_LABEL_LENGTH]
        return self._replace(language=language, label=label, group=_UNSAFE.sub("", self.group))


class Encrypted(NamedTuple):
    """The encryption of a package: `cbcs` or `aes-128`, where players get the key, and key and key id of 16 bytes."""

    scheme: Literal["cbcs", "aes-128"]
    key_uri: str
    key: bytes
    key_id: bytes = bytes(16)

    def vector(self, version: str) -> bytes:
        """The constant initialization vector of `cbcs`, of 16 bytes: another for each version of a package."""
        return sha256(b"cbcs" + self.key + version.encode()).digest()[:16]

    def __repr__(self) -> str:
        return f"Encrypted(scheme={self.scheme!r})"


class Thumbnails(NamedTuple):
    """Sprites: JPEG files, each a grid of `columns` by `rows` pictures of `width` by `height` pixels, row by row.

    A picture stands for `seconds` of the film.
    """

    files: tuple[Path, ...]
    width: int
    height: int
    columns: int
    rows: int
    seconds: float


class Figures(NamedTuple):
    """Measured figures of a track in the package.

    `bytes` is the size of its file; `overhead` is how many of them are not samples. `average` and `peak` are segment
    bit rates in bit/s as RFC 8216 defines them. `codecs` is the RFC 6381 string by the bitstream. `segments` counts
    media segments.
    """

    name: str
    kind: Kind
    bytes: int
    average: int
    peak: int
    codecs: str
    segments: int
    overhead: int


class Packaged(NamedTuple):
    """A finished package: each local file with its name below the package's folder, the entry files last.

    `tracks` has the figures of each track, in the order of the tracks. `notices` say what is left out. `rules` are the
    findings of `rules.check_tracks`, and `loudness` has LUFS and true peak in dBTP of each sound that is not silent.
    """

    files: list[tuple[Path, str]]
    tracks: list[Figures]
    notices: list[Notice]
    rules: Sequence[Rule] = ()
    loudness: Mapping[str, tuple[float, float | None]] = {}
