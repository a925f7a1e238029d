"""Copies the outputs of an earlier job where a job of the same user asks for the same of the same source.

S3 copies media; they do not pass through the worker. Texts that name the job, its inputs or the folder of a package's
version are written anew: entry files, reports, and the certificate, which still tells how the earlier job made them.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import msgspec
from markupsafe import escape
from msgspec import UNSET, Struct, structs

from elasticrecode.jobs.events import Output, Result
from elasticrecode.jobs.job import encryption_of, plays_early, sources
from elasticrecode.jobs.uris import CERTIFICATE_FILES, name, package_folder, stem, version_name
from worker.certificate.document import Certificate
from worker.certifying import Certify, certificate_files
from worker.chunks import Place
from worker.produced import Produced
from worker.publication import Version
from worker.quality.html_report import moments_of
from worker.side_files import find_side_files
from worker.uploads import FILES, Content, Copied, Uploads

_MOST_BYTES = 64 << 20
"""Size of the largest text that is written anew."""
_TEXTS = ("playlist", "report", "certificate")
"""Roles of outputs that may name what differs between the jobs. Playlists in a version's folder do not."""


class Earlier(Struct):
    """A job that has finished: what it read and wrote, and its result."""

    jobid: str
    attempt: int
    sources: list[str]
    output: str
    result: Result

    def folder(self) -> str:
        """The folder of the version of its package, if it has one."""
        return self.output + package_folder(self.sources[0]) + version_name(self.jobid, self.attempt) + "/"


class Outcome(NamedTuple):
    """The outputs of a job, what else it has produced, and what makes its certificate."""

    files: Sequence[tuple[Content, Output]]
    produced: Produced
    certify: Certify


class Unlike(Exception):
    """The outputs of the earlier job are not what it has published any more."""


class Reuse:
    """The earlier job like the one at hand. `version` is the name of the version that a package would get."""

    def __init__(self, at: Place, attempt: int, version: str) -> None:
        self._at, self._attempt, self._version = at, attempt, version

    def find(self) -> Outcome | None:
        """What can be copied; None where the job is to be done. Raises JobError or Interrupted."""
        at, facts = self._at, self._facts
        earlier = at.known.memory.recall(facts, Earlier) if facts else None
        if not earlier:
            return None
        at.storage.widen([earlier.output + stem(earlier.sources[0])])
        try:
            return _Copying(at, self._attempt, self._version, earlier).copy()
        except Unlike:
            return None

    def keep(self, result: Result) -> None:
        """Remember the job with its result, for later ones."""
        job = self._at.job
        if facts := self._facts:
            own = structs.replace(result, copyOf=UNSET)
            self._at.known.memory.keep(facts, Earlier(job.jobid, self._attempt, sources(job), job.output, own))

    @property
    def _facts(self) -> tuple[object, ...]:
        """All that decides about the outputs of the job; empty where they are not reused."""
        at, profile = self._at, self._at.job.profile
        if profile.reuse is False or encryption_of(profile) or plays_early(profile) or not at.known.facts:
            return ()
        wanted = structs.replace(profile, reuse=UNSET, ec2=UNSET)
        names = [name(uri) for uri in sources(at.job)]
        return at.known.of("outputs", wanted, names, at.settings.chunk_seconds, _sides(at))


def _sides(at: Place) -> list[list[str]]:
    """The subtitles beside the input, by their names and digests."""
    folder = at.folder / "beside"
    folder.mkdir(exist_ok=True)
    files, _ = find_side_files(at.job, at.storage, folder, at.runner)
    return [[name(file.uri), hashlib.sha256((folder / file.file).read_bytes()).hexdigest()] for file in files]


class _Copying:
    """The copy of the outputs of an earlier job."""

    def __init__(self, at: Place, attempt: int, version: str, earlier: Earlier) -> None:
        self._at, self._attempt, self._earlier = at, attempt, earlier
        self._uploads = Uploads(at.storage, earlier.jobid, earlier.attempt, at.runner)
        self._before, self._folder = earlier.folder(), at.job.output + package_folder(at.job.input) + version + "/"
        pairs = list(zip(earlier.sources, sources(at.job), strict=True))
        self._translate = translation(
            [
                *pairs,
                (self._before, self._folder),
                (earlier.output, at.job.output),
                (name(self._before[:-1]), version),
                (earlier.jobid, at.job.jobid),
            ]
        )

    def copy(self) -> Outcome:
        """The outputs; raises Unlike where one of them is gone or was replaced."""
        result, files = self._earlier.result, list[tuple[Content, Output]]()
        certificates = dict[str, bytes]()
        for output in result.outputs:
            if output.role == "certificate":
                certificates[output.uri[output.uri.rindex(".certificate.") :]] = self._text(output)
                continue
            files.append(self._copied(output))
        version = Version()
        if any(output.uri.startswith(self._before) for output in result.outputs):
            version = Version(self._folder, list(self._unlisted({output.uri for output in result.outputs})))
        quality = result.quality or None
        ladder = result.ladder or None
        produced = Produced([], quality, result.warnings, version, ladder=ladder, copy_of=self._earlier.jobid)
        return Outcome(files, produced, self._certifier(certificates))

    def _copied(self, output: Output) -> tuple[Content, Output]:
        uri = self._uri(output.uri)
        if output.role not in _TEXTS or output.uri.startswith(self._before):
            return self._object(output.uri, output.bytes, output.sha256 or ""), structs.replace(output, uri=uri)
        path = self._at.folder / f"copied-{hashlib.sha256(uri.encode()).hexdigest()[:16]}"
        path.write_text(self._translate(self._text(output).decode()), encoding="utf-8", newline="")
        return path, structs.replace(output, uri=uri, bytes=path.stat().st_size)

    def _uri(self, uri: str) -> str:
        for before, now in ((self._before, self._folder), (self._earlier.output, self._at.job.output)):
            if uri.startswith(before):
                return now + uri.removeprefix(before)
        raise Unlike(uri)

    def _object(self, uri: str, size: int | None = None, sha256: str = "") -> Copied:
        """The object that the earlier job wrote at a URI."""
        self._at.runner.check()
        present = self._uploads.present(uri)
        if not present or not present.mine or size not in (None, present.size):
            raise Unlike(uri)
        return Copied(uri, present.etag, present.size, sha256)

    def _text(self, output: Output) -> bytes:
        """The content of a text that the earlier job wrote."""
        self._object(output.uri, output.bytes)
        _, content = self._at.storage.read_small(output.uri, _MOST_BYTES, "")
        if hashlib.sha256(content).hexdigest() != output.sha256:
            raise Unlike(output.uri)
        return content

    def _unlisted(self, listed: set[str]) -> Iterator[tuple[Content, str]]:
        """The files of the package's version that the record does not list."""
        self._object(self._before + FILES)
        _, listing = self._at.storage.read_small(self._before + FILES, _MOST_BYTES, "")
        for member in listing.decode().splitlines():
            if (uri := self._before + member) not in listed:
                yield self._object(uri), self._uri(uri)

    def _certifier(self, before: Mapping[str, bytes]) -> Certify:
        if not before:
            return lambda _: ()
        document, page = (before[suffix] for suffix in CERTIFICATE_FILES)
        certificate, pictures = msgspec.json.decode(document, type=Certificate), moments_of(page.decode())
        job, stored = self._at.job, self._at.storage.known[self._at.job.input]

        def certify(outputs: list[Output]) -> Sequence[tuple[Path, Output]]:
            own = structs.replace(
                certificate,
                job=job.jobid,
                attempt=self._attempt,
                written=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
                input=structs.replace(certificate.input, uri=job.input, version=stored.version),
                outputs=outputs,
                copyOf=self._earlier.jobid,
            )
            return certificate_files(own, pictures, job, self._at.folder)

        return certify


def translation(pairs: Sequence[tuple[str, str]]) -> Callable[[str], str]:
    """What puts each second text in place of the first one, as it stands in plain text, in JSON and in HTML."""
    replaced = dict[str, str]()
    for before, now in pairs:
        replaced[f"{escape(before)}"] = f"{escape(now)}"
        replaced[_in_json(before)] = _in_json(now)
        replaced[before] = now
    longest_first = sorted(filter(None, replaced), key=len, reverse=True)
    pattern = re.compile("|".join(map(re.escape, longest_first)))
    return lambda text: pattern.sub(lambda match: replaced[match[0]], text)


def _in_json(text: str) -> str:
    return msgspec.json.encode(text).decode()[1:-1]
