"""Multipart uploads of one attempt: parts are stored first, and an object appears when its upload is completed."""

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from io import BytesIO
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import NamedTuple, TypeVar
from urllib.parse import quote, unquote

from botocore.exceptions import BotoCoreError, ClientError

from elasticrecode.jobs.commits import Upload
from elasticrecode.jobs.uris import ENTRIES, MARK, name, split, version_name
from elasticrecode.media.codecs import content_type
from worker.aws_faults import as_job_errors
from worker.errors import ObjectReplaced, PermanentError, TransientError
from worker.sandbox.runner import Runner
from worker.storage import Storage

_log = logging.getLogger(__name__)
T = TypeVar("T")

ATTEMPT_MARK, PLACE_MARK = "elasticrecode-attempt", "elasticrecode-output"
"""The attempt that wrote an output, and the SHA-256 of the URI that it wrote. A copy elsewhere is not an output."""
IMMUTABLE, REPLACED, GROWING = "public, max-age=31536000, immutable", "public, max-age=60", "no-cache"
"""The Cache-Control of the files of a package's version, of entry files, and of playlists that grow."""
ENTRY_FILES = (ENTRIES["dash"], ENTRIES["hls"])
"""The files that players open, in the order in which they appear."""
FILES = "files.txt"
"""The file in a version's folder that lists the others, one name a line. It is the first to appear and last to go."""
_PART_BYTES = 8 << 20
_PARTS = 10_000
"""Parts that S3 accepts of one upload."""
_IN_FLIGHT_BYTES = 64 << 20
_COPIED_BYTES = 256 << 20
"""Bytes of a part that S3 copies: several at once make a copy quicker."""
_LANES = 8
_CHECK_SECONDS = 0.2
_TRIES = 5
_REFUSED = {"NoSuchUpload", "PreconditionFailed", "ConditionalRequestConflict", "404", "412", "409", "NoSuchKey"}
"""Why S3 does not complete an upload: it is completed or aborted already, or the object is another than assumed."""


class UploadGone(Exception):
    """An upload was aborted, or another upload took its place: what it holds can't be published any more."""


class NotCopied(Exception):
    """S3 does not copy an object: it is archived, gone, another by now, or out of reach."""


class Copied(NamedTuple):
    """An object in S3 that becomes an output without passing through the worker; `sha256` is of its bytes, in hex."""

    uri: str
    etag: str
    size: int
    sha256: str = ""


Content = Path | Copied
"""What becomes an output: a local file, or an object."""


class Present(NamedTuple):
    """An object at an output key. `mine` is whether this attempt wrote it, `marked` whether any job did.

    `version` is the name of the version of a package that its attempt wrote, if it wrote one.
    """

    etag: str
    size: int
    marked: bool
    mine: bool
    version: str


class Uploads:
    """Uploads outputs with the job's id and attempt as metadata, by which drops and later jobs recognise them."""

    def __init__(self, storage: Storage, job_id: str, attempt: int, runner: Runner) -> None:
        self._storage, self._runner = storage, runner
        # Metadata is ASCII; ids that do not come from the API need not be.
        self._marks = {MARK: quote(job_id), ATTEMPT_MARK: str(attempt)}
        self._parts: dict[str, dict[int, str]] = {}
        self.etags: dict[str, str] = {}
        """Those of the objects that this attempt has completed, by URI."""

    def present(self, uri: str) -> Present | None:
        """The object at a URI. None if there is none, or S3 does not show it.

        To callers that may not list the bucket, S3 answers "forbidden" for a missing object. It answers 400 for expired
        credentials, which the next call tells, and for objects encrypted with a key that it does not keep.
        """
        bucket, key = split(uri)
        with as_job_errors("output", uri):
            try:
                head = self._storage.s3.head_object(Bucket=bucket, Key=key)
            except ClientError as error:
                if error.response["Error"]["Code"] in ("400", "403", "404", "NoSuchKey", "AccessDenied"):
                    return None
                raise
        marks = head["Metadata"]
        mine = all(marks.get(name) == value for name, value in self._marks.items())
        is_here = marks.get(PLACE_MARK, _place(uri)) == _place(uri)
        marked = MARK in marks and is_here
        attempt = marks.get(ATTEMPT_MARK, "")
        version = version_name(unquote(marks[MARK]), int(attempt) if attempt.isdecimal() else 0) if marked else ""
        return Present(head["ETag"], head["ContentLength"], marked, mine and is_here, version)

    def send_all(self, files: Sequence[tuple[Content, str]], begun: list[Upload], version: str = "") -> dict[str, str]:
        """Begin and send an upload of each file to its URI; the SHA-256 of the bytes in hex by URI.

        Adds each upload to `begun` as soon as S3 has begun it. Files of one part are sent side by side; the parts of
        larger ones are. `version` is the folder of a package's version, if there is one.
        """
        sums: dict[str, str] = {}

        def send(item: tuple[Content, str]) -> None:
            content, uri = item
            upload = self.begin(uri, _size(content), is_member=bool(version) and uri.startswith(version))
            begun.append(upload)
            sums[uri] = self._copy(content, upload) if isinstance(content, Copied) else self.send(content, upload)

        small = [item for item in files if _size(item[0]) <= _PART_BYTES]
        for item in files:
            if item not in small:
                send(item)
        _side_by_side(send, small)
        return sums

    def put(self, uri: str, content: bytes, caching: str) -> None:
        """Store a small object that players see at once, with this Cache-Control; it replaces the one at its URI."""
        bucket, key = split(uri)
        self._runner.check()
        with as_job_errors("output", uri):
            self._storage.s3.put_object(
                Bucket=bucket,
                Key=key,
                Body=content,
                ContentType=content_type(name(uri), is_member=True),
                CacheControl=caching,
                Metadata={**self._marks, PLACE_MARK: _place(uri)},
            )

    def begin(self, uri: str, size: int, *, is_member: bool = False) -> Upload:
        """Begin an upload of `size` bytes. A member is a file in the folder of a package's version."""
        bucket, key = split(uri)
        with as_job_errors("output", uri):
            answer = self._storage.s3.create_multipart_upload(
                Bucket=bucket,
                Key=key,
                ContentType=content_type(name(uri), is_member=is_member),
                Metadata={**self._marks, PLACE_MARK: _place(uri)},
                **_caching(uri, is_member=is_member),
            )
        return Upload(uri, answer["UploadId"], size)

    def send(self, file: Path, upload: Upload) -> str:
        """Store a file as the parts of an upload; the SHA-256 of its bytes in hex.

        Raises what `Runner.check` raises within a second after it would; what is in flight then ends by itself.
        """
        size = max(_PART_BYTES, -(-upload.bytes // _PARTS))
        lanes = max(1, min(_LANES, _IN_FLIGHT_BYTES // size))
        ends: SimpleQueue[Exception | None] = SimpleQueue()
        digest, running = hashlib.sha256(), 0
        self._parts[upload.uploadID] = {}
        for number, data in enumerate(_parts(file, size), 1):
            digest.update(data)
            if running == lanes:
                self._await(ends, upload.uri)
                running -= 1
            self._runner.check()
            threading.Thread(target=self._send_part, args=(upload, number, data, ends), daemon=True).start()
            running += 1
        for _ in range(running):
            self._await(ends, upload.uri)
        return digest.hexdigest()

    def _copy(self, source: Copied, upload: Upload) -> str:
        """Let S3 copy an object into the parts of an upload; the SHA-256 of its bytes in hex.

        Raises NotCopied, TransientError, and what `Runner.check` raises.
        """
        size = max(_COPIED_BYTES, -(-source.size // _PARTS))
        self._parts[upload.uploadID] = {}

        def copy(number: int) -> None:
            self._runner.check()
            bucket, key = split(upload.uri)
            whole = source.size <= size
            end = min(number * size, source.size) - 1
            try:
                with as_job_errors("input", source.uri):
                    answer = self._storage.s3.upload_part_copy(
                        Bucket=bucket,
                        Key=key,
                        UploadId=upload.uploadID,
                        PartNumber=number,
                        CopySource=dict(zip(("Bucket", "Key"), split(source.uri), strict=True)),
                        CopySourceIfMatch=source.etag,
                        **({} if whole else {"CopySourceRange": f"bytes={(number - 1) * size}-{end}"}),
                    )
            except (PermanentError, ObjectReplaced) as error:
                raise NotCopied(f"{source.uri}: {error.failure.code}") from error
            self._parts[upload.uploadID][number] = answer["CopyPartResult"]["ETag"]

        _side_by_side(copy, range(1, max(1, -(-source.size // size)) + 1))
        return source.sha256

    def _send_part(self, upload: Upload, number: int, data: bytes, ends: "SimpleQueue[Exception | None]") -> None:
        bucket, key = split(upload.uri)
        try:
            answer = self._storage.s3.upload_part(
                Bucket=bucket,
                Key=key,
                UploadId=upload.uploadID,
                PartNumber=number,
                Body=_Stoppable(data, self._runner),
            )
            self._parts[upload.uploadID][number] = answer["ETag"]
            ends.put(None)
        except Exception as error:  # noqa: BLE001
            ends.put(error)

    def _await(self, ends: "SimpleQueue[Exception | None]", uri: str) -> None:
        """Wait for the end of one part. Raises its error."""
        while True:
            self._runner.check()
            try:
                error = ends.get(timeout=_CHECK_SECONDS)
            except Empty:
                continue
            if error:
                self._runner.check()
                with as_job_errors("output", uri):
                    raise error
            return

    def complete_all(self, uploads: Sequence[Upload], completed: set[str]) -> None:
        """Complete uploads to URIs that only this attempt writes, side by side, and add these URIs to `completed`.

        Raises as `complete` does, when the others that were in flight have ended.
        """

        def complete(upload: Upload) -> None:
            self.complete(upload, "", is_shared=False)
            completed.add(upload.uri)

        _side_by_side(complete, uploads)

    def complete(self, upload: Upload, etag: str, *, is_shared: bool = True) -> None:
        """Make an upload the object at its URI, unless another than a job's outputs is there; again is harmless.

        `etag` is the ETag of the object that is to be replaced, empty if there was none. Where other attempts may write
        the same URI, S3's answer is not enough, and the object is looked at. Raises UploadGone; PermanentError
        `output-exists` if an object that no job wrote is there.
        """
        bucket, key = split(upload.uri)
        for _ in range(_TRIES):
            condition = {"IfMatch": etag} if etag else {"IfNoneMatch": "*"}
            with as_job_errors("output", upload.uri):
                try:
                    parts = self._parts.get(upload.uploadID) or self._stored_parts(upload)
                    answer = self._storage.s3.complete_multipart_upload(
                        Bucket=bucket,
                        Key=key,
                        UploadId=upload.uploadID,
                        MultipartUpload={
                            "Parts": [{"PartNumber": number, "ETag": parts[number]} for number in sorted(parts)]
                        },
                        **condition,
                    )
                    refused, self.etags[upload.uri] = "", answer["ETag"]
                except ClientError as error:
                    refused = error.response["Error"]["Code"]
                    if refused not in _REFUSED:
                        raise
            if not (refused or is_shared):
                return
            present = self.present(upload.uri)
            if (present and present.mine) or not (refused or present):
                if present:
                    self.etags[upload.uri] = present.etag
                return
            if not refused or refused in ("NoSuchUpload", "404"):
                raise UploadGone(upload.uri)
            etag = self.replaceable(upload.uri, present)
            time.sleep(_CHECK_SECONDS)
        if present:
            raise TransientError("storage-unavailable", f"S3 did not complete the upload of {upload.uri}: {refused}.")
        message = f"{upload.uri} exists, and the worker may not see whether a job wrote it: allow it s3:GetObject."
        raise PermanentError("output-exists", message)

    def replaceable(self, uri: str, present: Present | None) -> str:
        """The ETag of the object that an output replaces, empty for none. Raises PermanentError `output-exists`."""
        if present and not present.marked:
            message = f"{uri} exists, and no job wrote it: delete it, or choose another output prefix."
            raise PermanentError("output-exists", message)
        return present.etag if present else ""

    def _stored_parts(self, upload: Upload) -> dict[int, str]:
        """The ETags of the parts that another worker has stored, by their numbers."""
        bucket, key = split(upload.uri)
        pages = self._storage.s3.get_paginator("list_parts").paginate(Bucket=bucket, Key=key, UploadId=upload.uploadID)
        return {part["PartNumber"]: part["ETag"] for page in pages for part in page.get("Parts", ())}

    def abort(self, upload: Upload) -> None:
        """Abort an upload, as far as S3 lets it: what stays is never seen, and the bucket's lifecycle removes it."""
        bucket, key = split(upload.uri)
        try:
            self._storage.s3.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload.uploadID)
        except (BotoCoreError, ClientError) as error:
            _log.warning("cannot abort the upload of %s: %s", upload.uri, error)


class _Stoppable(BytesIO):
    """The body of a part, whose sending ends when the runner is stopped."""

    def __init__(self, data: bytes, runner: Runner) -> None:
        super().__init__(data)
        self._runner = runner

    def read(self, size: int | None = -1, /) -> bytes:
        """The next bytes. Raises what `Runner.check` raises."""
        self._runner.check()
        return super().read(size)


def _size(content: Content) -> int:
    return content.size if isinstance(content, Copied) else content.stat().st_size


def _side_by_side(do: Callable[[T], None], things: Sequence[T]) -> None:
    """Call a function with each thing, several at once. Raises the first error when the calls in flight have ended."""
    waiting, ends = SimpleQueue[T](), SimpleQueue[None]()
    errors: list[BaseException] = []
    for thing in things:
        waiting.put(thing)

    def lane() -> None:
        try:
            while not errors:
                do(waiting.get_nowait())
        except Empty:
            pass
        except BaseException as error:  # noqa: BLE001
            errors.append(error)
        ends.put(None)

    lanes = min(_LANES, len(things))
    for _ in range(lanes):
        threading.Thread(target=lane, daemon=True).start()
    for _ in range(lanes):
        ends.get()
    if errors:
        raise errors[0]


def _caching(uri: str, *, is_member: bool) -> dict[str, str]:
    """The Cache-Control of a package's files. What a version's files hold never changes; an entry file is replaced.

    A player with an old entry file finds the version that it refers to.
    """
    if is_member:
        return {"CacheControl": IMMUTABLE}
    return {"CacheControl": REPLACED} if name(uri) in ENTRY_FILES else {}


def _place(uri: str) -> str:
    """The mark of the place of an output."""
    return hashlib.sha256(uri.encode()).hexdigest()


def _parts(file: Path, size: int) -> Iterator[bytes]:
    """The parts of a file, at least one."""
    with file.open("rb") as source:
        yield source.read(size)
        while data := source.read(size):
            yield data
