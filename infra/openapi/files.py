"""Operations on files."""

from elasticrecode.contract.routes import JOB_LINKS, PACKAGE_LINKS
from elasticrecode.files.links import LINK_SECONDS, URIS_LIMIT, Links, LinksRequest
from infra.openapi.operation import Area, Body, Operation

_MINUTES = LINK_SECONDS // 60

AREA = Area(
    "Files",
    "Links by which browsers read files of jobs in S3.",
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
    },
)
