"""Films that a worker divides and joins as for a job, without AWS: S3 is a dictionary, and no other worker comes."""

import hashlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import msgspec
from botocore.exceptions import ClientError
from msgspec import Raw, structs

from elasticrecode.jobs.events import Progress
from elasticrecode.jobs.job import Job
from elasticrecode.media.profiles import Profile, resolve
from elasticrecode.parts.part import Part, PartJob, PartResult, StoredPart
from tests.media.case import SETTINGS
from worker.assembling import assemble
from worker.chunks import Place
from worker.dividing import find_division
from worker.films import FilmPlan
from worker.holding import Encode, Encoded
from worker.parts import Parts
from worker.produced import Produced
from worker.sandbox.runner import Runner
from worker.storage import Storage


class Objects:
    """The calls of an S3 client that a divided film needs, for objects in memory."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], bytes] = {}

    def put_object(self, *, Bucket: str, Key: str, Body: bytes) -> None:  # noqa: N803
        self.objects[Bucket, Key] = Body

    def head_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803
        content = self.objects.get((Bucket, Key))
        if content is None:
            answer = {"Error": {"Code": "404"}, "ResponseMetadata": {"HTTPStatusCode": 404}}
            raise ClientError(cast("Any", answer), "HeadObject")
        etag = hashlib.md5(content, usedforsecurity=False).hexdigest()
        return {"ContentLength": len(content), "ETag": etag, "Metadata": {}}

    def get_object(self, *, Bucket: str, Key: str, IfMatch: str, Range: str = "") -> dict[str, Any]:  # noqa: N803
        assert IfMatch == self.head_object(Bucket=Bucket, Key=Key)["ETag"]
        content = self.objects[Bucket, Key]
        if not Range:
            return {"Body": io.BytesIO(content)}
        first, last = map(int, Range.removeprefix("bytes=").split("-"))
        return {
            "Body": io.BytesIO(content[first : last + 1]),
            "ContentRange": f"bytes {first}-{last}/{len(content)}",
        }


class _OwnParts:
    """The parts of a film of which one worker encodes all, the costliest first, as `worker.parts.Parts` would."""

    division, attempt = None, 1

    def __init__(self, job: Job) -> None:
        self._job = job
        self.parts: list[Part] = []
        self.stored: list[StoredPart] = []

    def start(self, attempt: int) -> str:
        return f"s3://parts/{self._job.jobid}/{attempt}/"

    def divide(self, kind: Any, names: Sequence[str], costs: Sequence[float], seconds: float, reason: str) -> None:
        self.parts = [
            Part(number=number, kind=kind, name=name, cost=cost, prefix=self.start(1))
            for number, (name, cost) in enumerate(zip(names, costs, strict=True))
        ]

    def undivided(self, seconds: float, reason: str) -> None:
        """Nobody reads the record."""

    def read(self) -> list[StoredPart]:
        return self.stored

    def report(self, progress: Progress) -> None:
        """Nobody watches."""

    def run(self, encode: Encode, folder: Path) -> dict[int, Encoded]:
        results: dict[int, Encoded] = {}
        for part in sorted(self.parts, key=lambda each: each.turn):
            done = encode([part.number])[part.number]
            results[part.number] = done
            result = PartResult([], Raw(msgspec.json.encode(done.figures)))
            job = PartJob(**structs.asdict(self._job), part=part)
            self.stored.append(StoredPart(job, "finished", 1, "w", None, 0, 0, 0, None, result, None))
        return results


class DividedFilm(NamedTuple):
    """A film that was divided: its plan, and what was made of it. `reason` is why it was not; then there is neither."""

    plan: FilmPlan | None
    produced: Produced | None
    reason: str

    @property
    def file(self) -> Path:
        """The output file of the film."""
        assert self.produced, self.reason
        return next(path for path, output in self.produced.files if output.role == "file")


def divide(folder: Path, source: Path, wanted: Mapping[str, Any], chunk_seconds: float) -> DividedFilm:
    """Divide a film into chunks of at most so many seconds, and join them, in an empty folder.

    The container of the output is that of the source's name.
    """
    profile = resolve(msgspec.convert(wanted, Profile))
    job = Job(userid="u", jobid="j", input=f"s3://films/{source.name}", output="s3://out/", profile=profile)
    objects, runner = Objects(), Runner()
    objects.put_object(Bucket="films", Key=source.name, Body=source.read_bytes())
    settings = SETTINGS._replace(divide_seconds=0.0, chunk_seconds=chunk_seconds, parts_bucket="parts")
    place = Place(job, settings, Storage(lambda: objects), runner, folder, lambda _: None)
    parts = _OwnParts(job)
    film = find_division(place, cast("Parts", parts))
    if isinstance(film, str):
        return DividedFilm(None, None, film)
    return DividedFilm(film.plan, assemble(place, film, cast("Parts", parts), "v"), "")
