"""A film whose chunks are encoded one after another, and what early playback makes of them, on an S3 in memory."""

import json
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import msgspec
from msgspec import Raw

from elasticrecode.jobs.job import Job
from elasticrecode.jobs.record import Division
from elasticrecode.media import ladders
from elasticrecode.media.profiles import Profile
from elasticrecode.parts.part import Part, PartFile, PartJob, PartResult, StoredPart
from tests.media.case import SETTINGS
from worker.chunks import Place
from worker.division import plan_chunks, span_name, with_short_start
from worker.early.playback import EarlyPlayback
from worker.media.chunk import encode_chunk, targets_of_ladder
from worker.media.encode import inspect
from worker.media.ladder import Ends, constant_rate, declared_ends, plan_ladder
from worker.media.pieces import Chunk, Piece
from worker.media.subtitles import SubtitlePlan
from worker.parts import Parts
from worker.sandbox.runner import Runner
from worker.settings import Settings
from worker.storage import Storage

LADDER = [{"scale": "426:240", "bitrate": "300K"}, {"scale": "320:180", "bitrate": "200K"}]
LONGEST_SECONDS = 8.0
OUTPUT = "s3://media/out/"
BELOW = "out/clip/"
"""The start of the keys of the package's objects."""


class GrowingFilm:
    """A film of `seconds` in the folder, divided as its holder divides it, and the parts that are finished."""

    def __init__(self, source: Path, seconds: int, folder: Path, s3: Any) -> None:
        self.folder, self.source = folder, source
        package = {"early": True, "ladder": LADDER, "segmentSeconds": 2, "speed": "fast"}
        profile = msgspec.convert({"package": package}, Profile)
        self.job = Job(userid="ann", jobid="job-1", input="s3://media/clip.mp4", output=OUTPUT, profile=profile)
        self.probed = inspect(source, SETTINGS, Runner())
        self.ends = declared_ends(self.probed) or Ends(0.0, 0.0)
        self.ladder = self._planned()
        grid = self.ladder.gop_seconds
        bounds = with_short_start(plan_chunks(Fraction(seconds), grid, 0.01, LONGEST_SECONDS), grid)
        last = len(bounds) - 1
        self.chunks = [Chunk(start, end if n < last else None) for n, (start, end) in enumerate(bounds)]
        self.names = [span_name(start, end) for start, end in bounds]
        self.division = Division(parts=len(bounds), kind="chunk", estimatedSeconds=1.0, reason="", attempt=1)
        self.begin(s3)

    def begin(self, s3: Any) -> None:
        """Begin with no part finished, on another S3."""
        self.s3 = s3
        self.stored = [self._part(number, None) for number in range(len(self.chunks))]

    def _planned(self, piece: Piece | None = None) -> Any:
        package = self.job.profile.package
        assert package
        encodes = ladders.rungs(package, *self.probed.video.upright, constant_rate(self.probed.video), is_hdr=False)
        source = self.probed._replace(video=self.probed.video._replace(entry=0.0)) if piece else self.probed
        return plan_ladder(source, self.job.profile, encodes, SubtitlePlan(), self.ends, piece)

    def _part(self, number: int, result: PartResult | None) -> StoredPart:
        part = Part(number=number, kind="chunk", name=self.names[number], cost=1.0, prefix="s3://media/parts/")
        fields = {name: getattr(self.job, name) for name in ("userid", "input", "output", "profile")}
        job = PartJob(**fields, jobid=f"job-1-{number}", part=part)
        state: Any = "finished" if result else "queued"
        return StoredPart(job, state, 1, "w", None, 0, None, None, None, result, None)

    def read(self) -> list[StoredPart]:
        """The parts as they are now."""
        return self.stored

    def encode(self, number: int) -> None:
        """Encode a chunk as a worker does, store its result, and finish its part."""
        place = self.folder / f"encode-{number}"
        if not place.exists():
            self._encode(number, place)
        told = json.loads((place / "told.json").read_text())
        files = []
        for n in told["files"]:
            content = (place / f"rung-{n}.mp4").read_bytes()
            uri = f"s3://media/parts/{number}-{n}.mp4"
            self.s3.put_object(Bucket="media", Key=uri.removeprefix("s3://media/"), Body=content)
            files.append(PartFile(uri, len(content), ""))
        self.stored[number] = self._part(number, PartResult(files, Raw(msgspec.json.encode(told))))

    def _encode(self, number: int, place: Path) -> None:
        place.mkdir()
        cut = place / "cut"
        cut.hardlink_to(self.source)
        piece = Piece(self.chunks[number], ())
        files = {number: place / f"rung-{number}.mp4" for number in range(2)}
        targets = targets_of_ladder(self._planned(piece), piece, files)
        figures = encode_chunk(targets, cut, LONGEST_SECONDS, SETTINGS, Runner(), lambda _: None)
        told = {"files": [f"{n}" for n in targets], "outputs": figures, "factors": {}}
        (place / "told.json").write_bytes(msgspec.json.encode(told))

    def encode_all(self) -> None:
        """Encode all chunks."""
        for number in range(len(self.chunks)):
            self.encode(number)

    def playback(self, folder: Path, runner: Runner, settings: Settings = SETTINGS, **options: Any) -> EarlyPlayback:
        """Early playback by a worker whose job's folder is this; `mute` without a sound."""
        folder.mkdir(exist_ok=True)
        rest = folder / "rest"
        rest.hardlink_to(self.source)
        at = Place(self.job, settings, Storage(lambda: self.s3), runner, folder, lambda _: None)
        chunks = list(zip(self.names, self.chunks, strict=True))
        return EarlyPlayback(at, self.ladder, chunks, cast("Parts", self), None if options.get("mute") else rest)


def mirrored(s3: Any, folder: Path) -> None:
    """Have what is stored below the package's folder lie in a local one as well, which a server shows."""

    def write(params: dict[str, Any], **_: object) -> None:
        if params["Key"].startswith(BELOW):
            target = folder / params["Key"].removeprefix(BELOW)
            target.parent.mkdir(parents=True, exist_ok=True)
            draft = target.with_name(f"{target.name}.draft")
            draft.write_bytes(params["Body"])
            draft.rename(target)

    s3.meta.events.register("provide-client-params.s3.PutObject", write)
