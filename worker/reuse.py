"""Copies the outputs of an earlier job where a job of the same user asks for the same of the same source.

S3 copies media; they do not pass through the worker. Texts that name the job, its inputs or the folder of a package's
version are written anew: entry files, reports, and the certificate, which still tells how the earlier job made them.
"""

import hashlib
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import msgspec
from markupsafe import escape
from msgspec import UNSET, Struct, structs

from elasticrecode.jobs.commits import Ending
from elasticrecode.jobs.events import Output, Result
from elasticrecode.jobs.job import encryption_of, plays_early, sources
from elasticrecode.jobs.uris import CERTIFICATE_FILES, name, package_folder, stem, version_name
from worker.certificate.document import Certificate, public
from worker.certifying import Certify, certificate_files
from worker.chunks import Place
from worker.produced import Produced
from worker.publication import Version
from worker.quality.html_report import moments_of
from worker.side_files import find_side_files
from worker.uploads import FILES, Content, Copied, NotCopied, Uploads

_log = logging.getLogger(__name__)

_FREE = {"reuse", "ec2"}
"""Parts of a profile that do not decide about outputs."""
_MOST_BYTES = 64 << 20
"""Size of the largest text that is written anew."""
_TEXTS = ("playlist", "report", "certificate")
"""Roles of outputs that may name what differs between the jobs. Playlists in a version's folder do not."""


class Earlier(Struct):
    """A job that has finished: what it read, its result, and the ETags of all that it has published, by URI.

    `maker` is the job that made the outputs, if this one has copied them.
    """

    jobid: str
    attempt: int
    maker: str
    sources: list[str]
    output: str
    result: Result
    etags: dict[str, str]

    @property
    def folder(self) -> str:
        """The folder of the version of its package, if it has one."""
        return self.output + package_folder(self.sources[0]) + version_name(self.jobid, self.attempt) + "/"

    @property
    def starts(self) -> list[str]:
        """How the URIs of its outputs start."""
        start = self.output + stem(self.sources[0])
        return [f"{start}.", f"{start}/"]


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
        """Raises JobError or Interrupted, as it looks at subtitles beside the input."""
        self._at, self._attempt, self._version = at, attempt, version
        self._facts, self._maker = _facts(at), at.job.jobid

    def copy(self, publish: Callable[[Outcome], Ending]) -> Ending | None:
        """Publish the outputs of the earlier job; None where the job is to be done. Raises JobError or Interrupted."""
        at = self._at
        earlier = at.known.memory.recall(self._facts, Earlier) if self._facts else None
        if not earlier or len(earlier.sources) != len(sources(at.job)):
            return None
        try:
            with at.storage.widened(earlier.starts):
                outcome = self._outcome(earlier)
                at.runner.check()
                ending = publish(outcome)
        except (Unlike, NotCopied) as unlike:  # raised before the commit alone
            _log.info("job %s is done, as the outputs of %s cannot be copied: %s", at.job.jobid, earlier.jobid, unlike)
            return None
        self._maker = earlier.maker
        return ending

    def _outcome(self, earlier: Earlier) -> Outcome:
        try:
            return _Copying(self._at, self._attempt, self._version, earlier).copy()
        except (LookupError, ValueError) as error:  # what is remembered is broken
            raise Unlike(f"{type(error).__name__}: {error}") from error

    def keep(self, result: Result, etags: Mapping[str, str]) -> None:
        """Remember the job with its result, for later ones."""
        job = self._at.job
        if self._facts:
            own = structs.replace(result, copyOf=UNSET)
            earlier = Earlier(job.jobid, self._attempt, self._maker, sources(job), job.output, own, dict(etags))
            self._at.known.memory.keep(self._facts, earlier)


def _facts(at: Place) -> tuple[object, ...]:
    """All that decides about the outputs of a job; empty where they are not reused."""
    profile = at.job.profile
    if encryption_of(profile) or plays_early(profile) or not at.known.facts:
        return ()
    wanted = structs.replace(profile, **dict.fromkeys(_FREE, UNSET))
    names, texts = [name(uri) for uri in sources(at.job)], sources(at.job)
    files, notices = find_side_files(at.job, at.storage, at.folder, at.runner)
    beside = [[name(each.uri), hashlib.sha256((at.folder / each.file).read_bytes()).hexdigest()] for each in files]
    beside += [[notice.code] for notice in notices]
    return at.known.of("outputs", wanted, names, len(set(texts)), at.settings.chunk_seconds, beside)


class _Copying:
    """The copy of the outputs of an earlier job."""

    def __init__(self, at: Place, attempt: int, version: str, earlier: Earlier) -> None:
        self._at, self._attempt, self._earlier = at, attempt, earlier
        self._uploads = Uploads(at.storage, earlier.jobid, earlier.attempt, at.runner)
        self._folder = at.job.output + package_folder(at.job.input) + version + "/"
        self._translate = translation(
            [
                *zip(earlier.sources, sources(at.job), strict=True),
                *((uri, self._uri(uri)) for uri in earlier.etags),
                (earlier.folder, self._folder),
                (earlier.output, at.job.output),
                (name(earlier.folder[:-1]), version),
                (earlier.jobid, at.job.jobid),
            ]
        )

    def copy(self) -> Outcome:
        """The outputs. Raises Unlike where one of them is gone or was replaced."""
        result, files = self._earlier.result, list[tuple[Content, Output]]()
        certificates = dict[str, bytes]()
        for output in result.outputs:
            if output.role == "certificate":
                certificates[output.uri[output.uri.rindex(".certificate.") :]] = self._text(output)
                continue
            files.append(self._copied(output))
        version = Version()
        if any(output.uri.startswith(self._earlier.folder) for output in result.outputs):
            version = Version(self._folder, list(self._unlisted({output.uri for output in result.outputs})))
        notices = [structs.replace(each, message=self._translate(each.message)) for each in result.warnings]
        produced = Produced(
            *([], result.quality or None, notices, version), ladder=result.ladder or None, copy_of=self._earlier.maker
        )
        return Outcome(files, produced, self._certifier(certificates))

    def _copied(self, output: Output) -> tuple[Content, Output]:
        uri = self._uri(output.uri)
        if output.role not in _TEXTS or output.uri.startswith(self._earlier.folder):
            return self._object(output.uri, output.sha256 or ""), structs.replace(output, uri=uri)
        path = self._at.folder / f"copied-{hashlib.sha256(uri.encode()).hexdigest()[:16]}"
        path.write_text(self._translate(self._text(output).decode()), encoding="utf-8", newline="")
        return path, structs.replace(output, uri=uri, bytes=path.stat().st_size)

    def _uri(self, uri: str) -> str:
        for before, now in ((self._earlier.folder, self._folder), (self._earlier.output, self._at.job.output)):
            if uri.startswith(before):
                return now + uri.removeprefix(before)
        raise Unlike(uri)

    def _object(self, uri: str, sha256: str = "") -> Copied:
        """The object that the earlier job has published at a URI."""
        self._at.runner.check()
        present = self._uploads.present(uri)
        if not present or present.etag != self._earlier.etags[uri]:
            raise Unlike(uri)
        return Copied(uri, present.etag, present.size, sha256)

    def _text(self, output: Output) -> bytes:
        """The content of a text that the earlier job has published."""
        _, content = self._at.storage.read_small(output.uri, _MOST_BYTES, "")
        if hashlib.sha256(content).hexdigest() != output.sha256:
            raise Unlike(output.uri)
        return content

    def _unlisted(self, listed: set[str]) -> Iterator[tuple[Content, str]]:
        """The files of the package's version that the record does not list."""
        folder = self._earlier.folder
        for uri in self._earlier.etags:
            if uri.startswith(folder) and uri not in listed and uri != folder + FILES:
                yield self._object(uri), self._uri(uri)

    def _certifier(self, before: Mapping[str, bytes]) -> Certify:
        if not before:
            return lambda _: ()
        document, page = (before[suffix] for suffix in CERTIFICATE_FILES)
        certificate, pictures = msgspec.json.decode(document, type=Certificate), moments_of(page.decode())
        job, stored = self._at.job, self._at.storage.known[self._at.job.input]
        own = {field: value for field, value in public(job.profile).items() if field in _FREE}

        def certify(outputs: list[Output]) -> Sequence[tuple[Path, Output]]:
            copied = structs.replace(
                certificate,
                job=job.jobid,
                attempt=self._attempt,
                written=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
                input=structs.replace(certificate.input, uri=job.input, version=stored.version),
                profile={field: value for field, value in certificate.profile.items() if field not in _FREE} | own,
                outputs=outputs,
                warnings=[
                    structs.replace(each, message=self._translate(each.message)) for each in certificate.warnings
                ],
                copyOf=self._earlier.maker,
            )
            return certificate_files(copied, pictures, job, self._at.folder)

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
