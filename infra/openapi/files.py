"""Operations on files."""

from elasticrecode.contract.routes import (
    ADD_UPLOAD,
    CANCEL_UPLOAD,
    COMPLETE_UPLOAD,
    JOB_LINKS,
    PACKAGE_LINKS,
    UPLOAD,
    UPLOAD_LINKS,
)
from elasticrecode.files.links import LINK_SECONDS, URIS_LIMIT, Links, LinksRequest
from elasticrecode.files.uploads import (
    PART_LINKS_LIMIT,
    NewUpload,
    PartLinks,
    PartLinksRequest,
    Uploaded,
    UploadRecord,
    UploadRequest,
)
from infra.openapi.operation import Area, Body, Link, Operation

_MINUTES = LINK_SECONDS // 60

_UPLOAD_LINKS = [
    Link(route, "uploadID", "$response.body#/uploadID")
    for route in (UPLOAD, UPLOAD_LINKS, COMPLETE_UPLOAD, CANCEL_UPLOAD)
]

AREA = Area(
    "Files",
    "Links by which browsers read files of jobs in S3, and uploads of files for jobs.",
    {
        JOB_LINKS: Operation(
            "linkJob",
            "Get links to the files of a job",
            "Answers a link to the input of a job, to its origin, and to each of its outputs. A link is a URL of S3 "
            f"for reading the file or ranges of it, without further credentials, for {_MINUTES} minutes. Files that "
            "the user may no longer read are left out.",
            {200: Links},
            (503,),
        ),
        PACKAGE_LINKS: Operation(
            "linkPackage",
            "Get links to files of a job's packages",
            f"Answers links to up to {URIS_LIMIT} files of the packages that a job has written, in their order: "
            "playlists, tracks, sprites. Answers 422 for any other file.",
            {200: Links},
            (503,),
            body=Body((LinksRequest,), {"playlist": {"uris": ["s3://films/out/film/1f0c9a3e5b/audio-en-stereo.m3u8"]}}),
        ),
        ADD_UPLOAD: Operation(
            "addUpload",
            "Begin an upload",
            "Begins the upload of a file to S3, in parts of `partBytes`, of which the last may be smaller. Once it is "
            "complete, the user's jobs can read it at `uri`. An upload that is not completed is removed after 2 days. "
            "The same Idempotency-Key and body give the same upload, with the parts that it has.",
            {201: NewUpload},
            (503,),
            has_key=True,
            body=Body((UploadRequest,), {"film": {"userID": "ann", "name": "film.mov", "bytes": 12_000_000}}),
            links=_UPLOAD_LINKS,
        ),
        UPLOAD: Operation(
            "showUpload",
            "Show an upload",
            "Answers an upload with the numbers of the parts that S3 has: those that need not be sent again.",
            {200: UploadRecord},
            (503,),
            links=_UPLOAD_LINKS,
        ),
        UPLOAD_LINKS: Operation(
            "linkParts",
            "Get links for parts of an upload",
            f"Answers URLs of S3 to which the browser PUTs up to {PART_LINKS_LIMIT} parts, each by its number, for "
            f"{_MINUTES} minutes. A part has to have its size, and may be sent again. Answers 409 for an upload that "
            "is complete.",
            {200: PartLinks},
            (409, 503),
            body=Body((PartLinksRequest,), {"first": {"parts": [1, 2]}}),
        ),
        COMPLETE_UPLOAD: Operation(
            "completeUpload",
            "Complete an upload",
            "Joins the parts to the file, and answers its URI; the same again for an upload that is complete. Answers "
            "409 while parts are missing, and names them.",
            {200: Uploaded},
            (409, 503),
        ),
        CANCEL_UPLOAD: Operation(
            "cancelUpload",
            "Cancel an upload",
            "Removes an upload with its parts. Answers 409 for one that is complete, whose file stays.",
            {204: None},
            (409, 503),
        ),
    },
)
