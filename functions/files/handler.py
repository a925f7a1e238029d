"""The routes about files: links to those of a job."""

import time
from collections.abc import Iterable

import msgspec
from msgspec import UNSET

from elasticrecode.access.prefixes import Prefixes, UserPrefix
from elasticrecode.access.rates import Rates
from elasticrecode.api import http
from elasticrecode.aws.s3 import Presigner
from elasticrecode.contract.routes import JOB_LINKS, PACKAGE_LINKS
from elasticrecode.contract.settings import FilesSettings
from elasticrecode.errors import NotFound
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
from elasticrecode.jobs.formats import FORMATS
from elasticrecode.jobs.record import JobRecord
from elasticrecode.jobs.store import JobsTable
from elasticrecode.jobs.uris import split
from elasticrecode.runtime import compose
from elasticrecode.validation import Body, Reader

_BODY_LIMIT = 512 * 1024
"""URIS_LIMIT of the longest keys of S3, each byte written as an escape of JSON."""

_links_request = Reader(LinksRequest, FORMATS)


class LinkRoutes:
    """Answers the requests for links to the files of jobs."""

    def __init__(self, settings: FilesSettings) -> None:
        self._jobs = JobsTable(settings.jobs_table)
        self._prefixes = Prefixes(msgspec.convert(settings.user_prefixes, list[UserPrefix]))
        self._presigner = Presigner(settings.s3_url, LINK_SECONDS)

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


def build(settings: FilesSettings) -> http.LambdaHandler:
    """The Lambda handler."""
    links = LinkRoutes(settings)
    routes = {JOB_LINKS: links.of_job, PACKAGE_LINKS: links.of_packages}
    return http.handler(routes, settings, Rates(settings.rate).count)


handler = compose(build, FilesSettings)
