"""The routes about files: links to those of a job, and uploads."""

import time
from collections.abc import Iterable

import msgspec
from msgspec import UNSET, structs

from elasticrecode import ids
from elasticrecode.access.prefixes import Prefixes, UserPrefix
from elasticrecode.access.rates import Rates
from elasticrecode.api import http
from elasticrecode.api.idempotency import checked
from elasticrecode.aws.s3 import Multipart, Presigner, reach
from elasticrecode.contract.routes import (
    ADD_UPLOAD,
    CANCEL_UPLOAD,
    COMPLETE_UPLOAD,
    JOB_LINKS,
    PACKAGE_LINKS,
    UPLOAD,
    UPLOAD_LINKS,
)
from elasticrecode.contract.settings import FilesSettings
from elasticrecode.errors import Fault, Invalid, NotFound, Refused
from elasticrecode.files import uploads
from elasticrecode.files.links import (
    LINK_SECONDS,
    URIS_LIMIT,
    JobFile,
    Link,
    Links,
    LinksRequest,
    PackageFiles,
    of_job,
    shown_as,
)
from elasticrecode.files.store import UploadsTable
from elasticrecode.files.uploads import PartLinks, PartLinksRequest, Upload, Uploaded, UploadRecord, UploadRequest
from elasticrecode.jobs.formats import FORMATS
from elasticrecode.jobs.record import JobRecord
from elasticrecode.jobs.store import JobsTable
from elasticrecode.jobs.uris import split
from elasticrecode.runtime import compose
from elasticrecode.validation import Body, Reader

_BODY_LIMIT = 512 * 1024
"""URIS_LIMIT of the longest keys of S3, some of their bytes written as escapes of JSON."""

_links_request = Reader(LinksRequest, FORMATS)
_upload_request, _parts_request = Reader(UploadRequest, uploads.FORMATS), Reader(PartLinksRequest, {})


class LinkRoutes:
    """Answers the requests for links to the files of jobs."""

    def __init__(self, settings: FilesSettings, presigner: Presigner) -> None:
        self._jobs = JobsTable(settings.jobs_table)
        self._prefixes = Prefixes(msgspec.convert(settings.user_prefixes, list[UserPrefix]))
        self._presigner = presigner

    def of_job(self, request: http.Request) -> http.Response:
        """Links to the inputs and outputs of a job."""
        return self._answer(of_job(self._own(request), self._prefixes))

    def of_packages(self, request: http.Request) -> http.Response:
        """Links to files of a job's packages, in the order of the request. Raises Invalid for any other file."""
        files = PackageFiles(self._own(request), self._prefixes)
        body = Body(request.body(_BODY_LIMIT), {"uris": URIS_LIMIT})
        uris = _links_request.read(body, files.faults(body.fields.get("uris"))).uris
        return self._answer(file for uri in uris if (file := files.find(uri)))

    def _answer(self, files: Iterable[JobFile]) -> http.Response:
        expires = int(time.time()) + LINK_SECONDS
        links = [
            Link(
                file.uri,
                self._presigner.reading(*split(file.uri), shown_as(file.uri)),
                file.role,
                UNSET if file.size is None else file.size,
            )
            for file in files
        ]
        return http.Response(Links(expires, links))

    def _own(self, request: http.Request) -> JobRecord:
        """The record of the requested job. Raises NotFound unless the caller is its user or an operator."""
        job_id = request.parameters["jobID"]
        record = self._jobs.record(job_id)
        if not record or not request.caller.may_act_for(record.userID):
            raise NotFound(f"There is no job {job_id}, or its retention has ended.")
        return record


class UploadRoutes:
    """Answers the requests about uploads. Each raises Unavailable when AWS refuses."""

    def __init__(self, settings: FilesSettings, presigner: Presigner, multipart: Multipart) -> None:
        self._bucket = settings.media_bucket
        self._table = UploadsTable(settings.jobs_table)
        self._prefixes = Prefixes(msgspec.convert(settings.user_prefixes, list[UserPrefix]))
        self._presigner, self._multipart = presigner, multipart

    def add(self, request: http.Request) -> http.Response:
        """Begin an upload, or go on with the one under this Idempotency-Key: 201.

        Raises Invalid for a user whose jobs could not read the file.
        """
        wanted = _upload_request.read(Body(request.body(_BODY_LIMIT)))
        request.caller.act_for(wanted.userID)
        named = request.headers.get("idempotency-key")
        upload_id = ids.new() if named is None else uploads.keyed_id(checked(named), wanted)
        key = uploads.place(wanted.userID, upload_id, wanted.name)
        if self._prefixes.fault(wanted.userID, "read", f"s3://{self._bucket}/{key}"):
            detail = "cannot upload: with user prefixes, only ids of letters, digits and _ . = @ + : - have one"
            raise Invalid([Fault("/userID", detail)])
        upload = Upload(upload_id, wanted.userID, self._bucket, key, wanted.bytes, "")
        known = None if named is None else self._known(upload)
        return http.Response((known or self._begin(upload)).shown(), 201)

    def _known(self, upload: Upload) -> Upload | None:
        """The upload as it was begun before; None for a new one. What counts is what S3 has: its parts, or its file."""
        known = self._table.get(upload.uploadID)
        if known and not known.isComplete and self._multipart.parts(*_place(known)) is not None:
            return known
        if self._multipart.size(upload.bucket, upload.key) == upload.bytes:
            if not (known and known.isComplete):
                self._table.put(structs.replace(upload, isComplete=True))
            return upload
        if known:
            self._table.remove(known)
        return None

    def _begin(self, upload: Upload) -> Upload:
        """The upload as it is stored: one of another request with the same key comes first."""
        begun = structs.replace(upload, token=self._multipart.begin(upload.bucket, upload.key))
        stored = self._table.add(begun)
        if stored != begun:
            self._multipart.abort(*_place(begun))
        return stored

    def show(self, request: http.Request) -> http.Response:
        """An upload, with the parts that S3 has."""
        upload = self._own(request)
        stored = None if upload.isComplete else self._multipart.parts(*_place(upload))
        if stored is None:
            self._settle(upload)
        uploaded = [*range(1, upload.parts + 1)] if stored is None else upload.whole(stored)
        return http.Response(UploadRecord(**structs.asdict(upload.shown()), uploaded=uploaded))

    def links(self, request: http.Request) -> http.Response:
        """Links to send parts of an upload to. Raises Invalid for parts that it does not have."""
        upload = self._own(request)
        wanted = _parts_request.read(Body(request.body(_BODY_LIMIT))).parts
        faults = [
            Fault(f"/parts/{n}", f"must be at most {upload.parts}, not {part}")
            for n, part in enumerate(wanted)
            if part > upload.parts
        ]
        if faults:
            raise Invalid(faults)
        if upload.isComplete:
            raise Refused("The upload is complete, and takes no more parts.")
        expires = int(time.time()) + LINK_SECONDS
        urls = {str(part): self._presigner.sending(*_place(upload), part, upload.size(part)) for part in wanted}
        return http.Response(PartLinks(expires, urls))

    def complete(self, request: http.Request) -> http.Response:
        """Join the parts to the file; its URI, also where they have been joined before.

        Raises Refused while parts are missing.
        """
        upload = self._own(request)
        if not upload.isComplete:
            stored = self._multipart.parts(*_place(upload))
            if stored is not None:
                if missing := upload.missing(stored):
                    raise Refused(f"Parts are missing: {missing}. Send them, then complete the upload.")
                parts = {part: stored[part] for part in upload.whole(stored)}
                if not self._multipart.complete(*_place(upload), parts) and self._multipart.parts(*_place(upload)):
                    raise Refused("A part was sent anew in the meantime. Complete the upload again.")
            self._settle(upload)
        return http.Response(Uploaded(upload.uri))

    def cancel(self, request: http.Request) -> http.Response:
        """Remove an upload with its parts: 204. Raises Refused for one that is complete."""
        upload = self._own(request)
        if upload.isComplete or not self._multipart.abort(*_place(upload)):
            self._settle(upload)
            raise Refused("The upload is complete: its file stays.")
        self._table.remove(upload)
        return http.Response(None, http.NO_CONTENT)

    def _settle(self, upload: Upload) -> None:
        """Note that an upload is complete, which S3 does not know any more. Raises NotFound where it has no file."""
        if upload.isComplete:
            return
        if self._multipart.size(upload.bucket, upload.key) != upload.bytes:
            raise _missing(upload.uploadID)
        self._table.put(structs.replace(upload, isComplete=True))

    def _own(self, request: http.Request) -> Upload:
        """The requested upload. Raises NotFound unless the caller is its user or an operator."""
        upload_id = request.parameters["uploadID"]
        upload = self._table.get(upload_id)
        if not upload or not request.caller.may_act_for(upload.userID):
            raise _missing(upload_id)
        return upload


def _place(upload: Upload) -> tuple[str, str, str]:
    return upload.bucket, upload.key, upload.token


def _missing(upload_id: str) -> NotFound:
    return NotFound(f"There is no upload {upload_id}, or its time is over; begin a new one.")


def build(settings: FilesSettings) -> http.LambdaHandler:
    """The Lambda handler."""
    s3 = reach(settings.s3_url)
    presigner = Presigner(s3, LINK_SECONDS)
    links, sent = LinkRoutes(settings, presigner), UploadRoutes(settings, presigner, Multipart(s3))
    routes = {
        JOB_LINKS: links.of_job,
        PACKAGE_LINKS: links.of_packages,
        ADD_UPLOAD: sent.add,
        UPLOAD: sent.show,
        UPLOAD_LINKS: sent.links,
        COMPLETE_UPLOAD: sent.complete,
        CANCEL_UPLOAD: sent.cancel,
    }
    return http.handler(routes, settings, Rates(settings.rate).count)


handler = compose(build, FilesSettings)
