"""Which files of a job its user may read by a link, and what a browser is told that they are.

A link is a URL that S3 accepts from whoever has it, for reading one object. Users get links to the inputs and outputs
of their jobs, and to the files of their packages. They have written these files themselves, or chosen who wrote them:
so a browser that opens a link saves the file, whatever is in it, and only players and pictures show it.
"""

from collections.abc import Iterable, Iterator
from typing import Annotated, NamedTuple
from urllib.parse import quote

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from elasticrecode.access.prefixes import Access, Prefixes, has_dots
from elasticrecode.errors import Fault
from elasticrecode.jobs.formats import ObjectURI
from elasticrecode.jobs.record import JobRecord
from elasticrecode.jobs.uris import EARLY, Outputs, early_folder, is_object, name, package_folder, version_name
from elasticrecode.media.codecs import content_type

LINK_SECONDS = 900
"""For how long a link works."""
URIS_LIMIT = 200
"""Files of one request for links."""
MEMBER = "package"
"""The role of a file of a package that is none of the job's outputs, such as a sprite."""
UNTYPED = "application/octet-stream"

_UNNAMED = "file"
_PLAYED = ("video/", "audio/", "image/", "text/vtt", "application/vnd.apple.mpegurl")
"""Beginnings of the content types that a link may have: those that players need, none of which browsers run."""


class LinksRequest(Struct, forbid_unknown_fields=True):
    """A request for links to files of a job's packages."""

    uris: Annotated[list[ObjectURI], Meta(min_length=1, max_length=URIS_LIMIT)]


class Link(Struct):
    """A link to a file. `role` is `input`, `origin`, the role of an output, or `package`."""

    uri: str
    url: str
    role: str
    bytes: int | UnsetType = UNSET


class Links(Struct):
    """Links that work until the Unix second `expiresAt`."""

    expiresAt: int
    links: list[Link]


class JobFile(NamedTuple):
    """A file of a job; `size` in bytes is None where the record does not have it."""

    uri: str
    role: str
    size: int | None = None


class _Output(Struct):
    """An output, as far as a link needs it. What workers report may hold more, and those of long ago less."""

    uri: str = ""
    bytes: int | None = None
    role: str | None = None


def of_job(record: JobRecord, prefixes: Prefixes) -> list[JobFile]:
    """The input, the origin and the outputs of a job, without those that its user may not read, or no longer."""
    files = [JobFile(record.input, "input"), *([JobFile(record.origin, "origin")] if record.origin else [])]
    return [
        *(file for file in files if _may(record, prefixes, "read", file.uri)),
        *(file for file in _outputs(record) if _may(record, prefixes, "write", file.uri)),
    ]


class PackageFiles:
    """The files of a job's packages: listed outputs, and all that is in the folders of versions that the job wrote.

    The folder of the package itself may hold files of others, if its user chose such a place: they are left out.
    """

    def __init__(self, record: JobRecord, prefixes: Prefixes) -> None:
        profile = Outputs.of(msgspec.json.decode(record.profile))
        package = record.output + package_folder(record.input)
        self._record, self._prefixes = record, prefixes
        self._listed: dict[str, JobFile] = {}
        self._folders: set[str] = set()
        if not profile.package:
            return
        self._listed = {file.uri: file for file in _outputs(record) if file.uri.startswith(package)}
        self._folders = {uri[: uri.rindex("/") + 1] for uri in self._listed} - {package}
        if profile.early:
            entry = package + EARLY
            self._listed[entry] = JobFile(entry, "playlist")
            version = version_name(record.jobID, record.attempt)
            self._folders.add(record.output + early_folder(record.input, version))

    def find(self, uri: str) -> JobFile | None:
        """The file of a URI; None where it is not of the job's packages, or the user may not read it."""
        if not _may(self._record, self._prefixes, "write", uri):
            return None
        if uri in self._listed:
            return self._listed[uri]
        return JobFile(uri, MEMBER) if uri.startswith(tuple(self._folders)) else None

    def faults(self, given: object) -> Iterator[Fault]:
        """Faults of the `uris` of a request; values that are not strings are left out."""
        for n, uri in enumerate(given if isinstance(given, list) else []):
            if isinstance(uri, str) and not self.find(uri):
                yield Fault(f"/uris/{n}", "must be a file of a package that this job has written")


def shown_as(uri: str) -> dict[str, str]:
    """The headers of S3's answer for a link: a content type that no browser runs, and that the file is to be saved."""
    known = "video/webm" if uri.lower().endswith(".webm") else content_type(name(uri))
    return {
        "ResponseContentType": known if known.startswith(_PLAYED) else UNTYPED,
        "ResponseContentDisposition": f"attachment; filename*=UTF-8''{quote(name(uri), safe='')}",
    }


def _outputs(record: JobRecord) -> Iterable[JobFile]:
    """The outputs that lie below the job's output prefix, where alone its worker could write."""
    listed = msgspec.json.decode(record.outputs, type=list[_Output]) if record.outputs else []
    return [
        JobFile(output.uri, output.role or _UNNAMED, output.bytes)
        for output in listed
        if output.uri.startswith(record.output)
    ]


def _may(record: JobRecord, prefixes: Prefixes, access: Access, uri: str) -> bool:
    """Whether a file of a job may have a link. Browsers take `.` and `..` out of URLs, so these lead to other keys."""
    return is_object(uri) and not has_dots(uri) and not prefixes.fault(record.userID, access, uri)
