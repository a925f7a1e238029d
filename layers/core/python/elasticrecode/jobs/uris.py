"""S3 URIs of the objects that jobs read and write."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from posixpath import splitext
from typing import NamedTuple

import msgspec

from elasticrecode.media.codecs import AUDIO_EXTENSIONS, CONTAINERS, DEFAULT_CONTAINER, container
from elasticrecode.media.profiles import Profile

MARK = "elasticrecode-job"
"""The metadata field of every output: the id of the job that wrote it."""

SCORE_FILES = (".vmaf.json", ".vmaf.html")
"""Suffixes that a score's JSON report and HTML report add to the input's file name."""

CERTIFICATE_FILES = (".certificate.json", ".certificate.html")
"""Suffixes that the certificate of a job that encodes, as JSON and as HTML, adds to the input's file name."""

POSTER, THUMBNAILS = ".jpg", ".thumbnails.vtt"
"""Suffixes that a poster, and the WebVTT file of the sprites, add to the stem of the input's file name."""

ENTRIES = {"hls": "master.m3u8", "dash": "manifest.mpd"}
"""Format of a package → the name, below its folder, of the file that players open."""

EARLY = "early.m3u8"
"""The name, below a package's folder, of the file that players open while the package is made."""

UNKNOWN_LANGUAGE = "und"
"""The language of a track that names none."""

_BUCKET = r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"
_OBJECT = re.compile(rf"s3://({_BUCKET})/(.+)", re.ASCII | re.DOTALL)
_PREFIX = re.compile(rf"s3://({_BUCKET})/(?:.+/)?", re.ASCII | re.DOTALL)
KEY_BYTES = 1024
TOO_LONG = f"its outputs would have keys of more than {KEY_BYTES} bytes: choose a shorter output prefix"
_UNUSABLE = re.compile("[\0\ufffe\uffff]")
"""Characters that file names cannot hold, or that SQS refuses in a message."""


def split(uri: str) -> tuple[str, str]:
    """The bucket and key of an `s3://bucket/key` URI. Raises ValueError for any other text."""
    match = _OBJECT.fullmatch(uri)
    if not match:
        raise ValueError(uri)
    return match[1], match[2]


def name(uri: str) -> str:
    """The file name of an object: the part of its URI behind the last slash."""
    return uri.rsplit("/", 1)[-1]


def output_name(uri: str, codec: str = "") -> str:
    """The file name of a transcode: the input's, with `.mp4` appended unless `codec` can be in files of that name."""
    file_name = name(uri)
    return file_name if container(file_name, codec) else f"{file_name}.{DEFAULT_CONTAINER}"


def stem(uri: str) -> str:
    """The file name of an object without its extension."""
    return splitext(name(uri))[0]


def audio_name(uri: str, codec: str) -> str:
    """The file name of a job's output that is sound alone, `aac` or `opus`."""
    return f"{stem(uri)}.{AUDIO_EXTENSIONS[codec]}"


def poster_name(uri: str) -> str:
    """The file name of the poster."""
    return stem(uri) + POSTER


def thumbnails_name(uri: str) -> str:
    """The file name of the WebVTT file that maps times to the pictures of sprites."""
    return stem(uri) + THUMBNAILS


def sprite_name(uri: str, number: int) -> str:
    """The file name of a sprite; sprites are numbered from 0."""
    return f"{stem(uri)}.sprite-{number}{POSTER}"


def package_folder(uri: str) -> str:
    """The folder, below the output prefix, of the package of an input; it ends in `/`."""
    return f"{stem(uri)}/"


def early_folder(uri: str, version: str) -> str:
    """The folder, below the output prefix, of what plays before the package of an input is whole."""
    return f"{package_folder(uri)}early/{version}/"


def subtitles_name(uri: str, language: str, number: int = 1) -> str:
    """The file name of a WebVTT file of subtitles; of several in one language, the second has the number 2."""
    return f"{stem(uri)}.{language or UNKNOWN_LANGUAGE}{f'-{number}' if number > 1 else ''}.vtt"


def version_name(job_id: str, attempt: int) -> str:
    """The name of the folder of the version of a package that an attempt writes: 10 hex digits."""
    return hashlib.sha256(f"{job_id}:{attempt}".encode()).hexdigest()[:10]


class Outputs(NamedTuple):
    """The kinds of files that the jobs of a profile write.

    `video` is the video codec; `audio` is the codec of a job of sound alone; `package` has the formats of a package;
    each is empty for other jobs. `early` is whether a package plays before it is whole. How many sprites, subtitles and
    tracks of a package there are depends on the source.
    """

    video: str = ""
    audio: str = ""
    poster: bool = False
    sprites: bool = False
    subtitles: bool = False
    scores: bool = False
    package: tuple[str, ...] = ()
    early: bool = False

    @classmethod
    def of(cls, profile: Profile | Mapping[str, object]) -> "Outputs":
        """The files of a profile, or of the profile in a request, which may have faults."""
        parts = msgspec.to_builtins(profile) if isinstance(profile, Profile) else profile
        video, audio, images, subtitles, package = (
            part if isinstance(part := parts.get(name), dict) else {}
            for name in ("ffmpeg", "audio", "images", "subtitles", "package")
        )
        formats = package.get("formats", [*ENTRIES])
        codec = audio.get("codec", "aac") if "audio" in parts and not {"ffmpeg", "package"} & parts.keys() else ""
        return cls(
            video=str(video.get("codec")) if "ffmpeg" in parts else "",
            audio=codec if isinstance(codec, str) and codec in AUDIO_EXTENSIONS else "",
            poster=images.get("poster") is True,
            sprites="sprite" in images,
            subtitles="tracks" in subtitles and ("ffmpeg" in parts or "package" not in parts),
            scores="vmaf" in parts,
            package=tuple(each for each in ENTRIES if isinstance(formats, list) and each in formats)
            if "package" in parts
            else (),
            early=package.get("early") is True,
        )

    def names(self, uri: str) -> list[str]:
        """The names of an input's outputs, without those whose number the source decides.

        These are sprites, subtitles and the tracks of a package.
        """
        certified = CERTIFICATE_FILES if self.video or self.package else ()
        return [*self._files(uri), *(name(uri) + suffix for suffix in certified), *self._entries(uri)]

    def _files(self, uri: str) -> list[str]:
        """The names of single files, without certificates."""
        return [
            *([output_name(uri, self.video)] if self.video else []),
            *([audio_name(uri, self.audio)] if self.audio else []),
            *([poster_name(uri)] if self.poster else []),
            *([thumbnails_name(uri)] if self.sprites else []),
            *(name(uri) + suffix for suffix in (SCORE_FILES if self.scores else ())),
        ]

    def _entries(self, uri: str) -> list[str]:
        """The names of a package's files that players open."""
        entries = [*(ENTRIES[format_] for format_ in self.package), *([EARLY] if self.early else [])]
        return [package_folder(uri) + entry for entry in entries]

    def claims(self, uri: str) -> list[str]:
        """Names by which two inputs with one output prefix collide: equal stems collide in sprites and subtitles.

        Certificates collide where these do.
        """
        return [
            *self._files(uri),
            *self._entries(uri),
            *([subtitles_name(uri, UNKNOWN_LANGUAGE)] if self.subtitles else []),
        ]

    def fit(self, output: str, uri: str) -> bool:
        """Whether the keys of all outputs of an input, below the prefix `output`, are valid in S3."""
        longest = [
            *([sprite_name(uri, _MANY)] if self.sprites else []),
            *([subtitles_name(uri, _LONG_LANGUAGE, _MANY)] if self.subtitles else []),
            *([package_folder(uri) + "x" * _TRACK_CHARACTERS] if self.package else []),
        ]
        names = [*self._files(uri), *self._entries(uri), *longest]
        if self.video or self.package:
            names.append(name(uri) + max(CERTIFICATE_FILES, key=len))
        return all(is_object(output + each) for each in names)

    def suffixes(self, suffix: str) -> Iterator[str]:
        """Possible suffixes of outputs for inputs that end in `suffix`: it may be an extension, or a part of one."""
        if self.video:
            yield from _encoded_suffixes(suffix, self.video)
        if self.audio:
            yield f".{AUDIO_EXTENSIONS[self.audio]}"
        if self.poster or self.sprites:
            yield POSTER
        if self.sprites or self.subtitles or self.package:
            yield ".vtt"
        if self.package:
            yield from (".mp4", ".m3u8", ".mpd", *((POSTER,) if self.sprites or self.poster else ()))
        if self.scores:
            yield from (suffix + score_file for score_file in SCORE_FILES)
        if self.video or self.package:
            yield from (suffix + file for file in CERTIFICATE_FILES)


_TRACK_CHARACTERS = 120
"""More than any name below the folder of a package has."""
_MANY = 99_999
_LONG_LANGUAGE = "und-" + "-".join(["x" * 8] * 3)


def _encoded_suffixes(suffix: str, codec: str) -> Iterator[str]:
    if "." in suffix:
        yield output_name(suffix, codec)
    else:
        yield f"{suffix}.{DEFAULT_CONTAINER}"
        kept = (extension for extension in CONTAINERS if container(f"x.{extension}", codec))
        yield from (extension for extension in kept if extension.endswith(suffix.lower()))


def suffixes_overlap(one: str, other: str) -> bool:
    """Whether a text could end in both."""
    return one.endswith(other) or other.endswith(one)


def is_object(uri: str) -> bool:
    """Whether a URI names one object: `s3://bucket/key`, the key at most KEY_BYTES bytes of UTF-8."""
    match = None if _UNUSABLE.search(uri) else _OBJECT.fullmatch(uri)
    return match is not None and name(uri) not in ("", ".", "..") and len(match[2].encode()) <= KEY_BYTES


def is_prefix(uri: str) -> bool:
    """Whether a URI names a prefix that ends in `/`, or a whole bucket."""
    return not _UNUSABLE.search(uri) and _PREFIX.fullmatch(uri) is not None and len(uri.encode()) <= KEY_BYTES
