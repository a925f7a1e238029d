"""The ladder that a worker finds for a title, by probes with ffmpeg: its promises come true, and it is found once."""

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from msgspec import UNSET

from elasticrecode.jobs.job import Job
from elasticrecode.jobs.record import Division
from elasticrecode.media.profiles import Profile, Rung, bits, resolve
from tests.media.case import BUNNY, SETTINGS, ffmpeg
from tests.media.dividing import Objects
from tests.media.measures import streams
from worker.chunks import Place
from worker.cuts.objects import LocalFile
from worker.errors import PermanentError
from worker.films import encodes_of
from worker.laddering import StoredLadder, is_auto, ladder_of, read_ladder
from worker.media import rates
from worker.media.renditions import RungFigures
from worker.package import PackageEncoder
from worker.parts import Parts
from worker.probing import open_prober
from worker.quality.hull import NOTICEABLE
from worker.sandbox.runner import Runner
from worker.storage import Storage

AUTO = {"package": {"ladder": "auto", "auto": {"topVmaf": 92, "bottomBitrate": "60K"}, "speed": "fast"}}


class OwnParts:
    """The parts of a job as its holder has them, of one attempt."""

    def __init__(self, attempt: int = 1, division: Division | None = None) -> None:
        self.attempt, self.division = attempt, division

    def start(self, attempt: int) -> str:
        return f"s3://parts/j/{attempt}/"


class Downloads(Storage):
    """A storage of objects in memory, which also come whole."""

    def download(self, uri: str, target: Path, runner: Runner, side: str = "input") -> None:
        bucket, key = uri.removeprefix("s3://").split("/", 1)
        target.write_bytes(self.s3.objects[bucket, key])


def place(folder: Path, source: Path, wanted: Mapping[str, Any] = AUTO, objects: Objects | None = None) -> Place:
    """A worker with a job of a source, in an empty folder."""
    objects = objects or Objects()
    objects.put_object(Bucket="films", Key=source.name, Body=source.read_bytes())
    profile = resolve(msgspec.convert(wanted, Profile))
    job = Job(userid="u", jobid="j", input=f"s3://films/{source.name}", output="s3://out/", profile=profile)
    folder.mkdir()
    return Place(job, SETTINGS, Downloads(lambda: objects), Runner(), folder, lambda _: None)


def parts_of(attempt: int = 1, division: Division | None = None) -> Parts:
    return cast("Parts", OwnParts(attempt, division))


def rungs(ladder: StoredLadder) -> list[Rung]:
    assert isinstance(ladder.ladder, list)
    return ladder.ladder


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four seconds of a cartoon, 640x360."""
    options = ("-t", 4, "-i", BUNNY, "-an", "-vf", "scale=640:360", "-c:v", "libx264", "-crf", 12, "-g", 25)
    return ffmpeg(tmp_path_factory.mktemp("clip"), "clip.mp4", *options)


def test_a_title_gets_the_rungs_that_its_probes_promise(tmp_path: Path, clip: Path) -> None:
    at = place(tmp_path / "job", clip, AUTO | {"vmaf": {"scale": "360p"}})
    assert is_auto(at.job)
    ladder = ladder_of(at, None)
    assert list(at.folder.iterdir()) == []
    job, title = ladder.applied(at.job), ladder.title
    assert title
    assert not is_auto(job)
    assert (title.rungs[0].width, title.rungs[0].height) == (640, 360)
    assert title.rungs[0].vmaf == pytest.approx(92, abs=0.5)
    assert bits(rungs(ladder)[-1].bitrate) <= 60_000
    for one, other in pairwise(title.rungs[:-1]):
        assert one.vmaf - other.vmaf >= NOTICEABLE - 0.02
    assert 0 < len(title.points) <= 9
    assert title.cpuSeconds > 0
    assert job.profile.package
    source = at.folder / "input"
    source.write_bytes(clip.read_bytes())
    encoder = PackageEncoder(job, job.profile.package, source, SETTINGS, at.runner, lambda _: None)
    for number, result in encoder.encode([0, 1]).items():
        figures = msgspec.convert(dict(result.figures), RungFigures)
        assert figures.quality is not UNSET
        assert figures.bitrate == pytest.approx(title.rungs[number].bitrate, rel=0.25)
        assert figures.quality.vmaf.mean == pytest.approx(title.rungs[number].vmaf, abs=6)  # short: the cap binds


def test_all_attempts_and_helpers_of_a_job_have_one_ladder(tmp_path: Path, clip: Path) -> None:
    objects = Objects()
    first = ladder_of(place(tmp_path / "first", clip, objects=objects), parts_of())
    again = place(tmp_path / "again", clip, objects=objects)
    assert ladder_of(again, parts_of(attempt=2)) == first
    division = Division(parts=1, estimatedSeconds=1.0, reason="", attempt=2)
    assert ladder_of(again, parts_of(attempt=3, division=division)) == first
    assert read_ladder(again.storage, "s3://parts/j/2/") == first
    assert again.runner.cpu_seconds == 0
    with pytest.raises(PermanentError, match="gone") as gone:
        read_ladder(again.storage, "s3://parts/j/9/")
    assert gone.value.failure.code == "parts-gone"


def test_a_container_without_an_index_is_probed_on_a_copy_of_its_pictures(tmp_path: Path, clip: Path) -> None:
    source = ffmpeg(tmp_path, "clip.flv", "-i", clip, "-c", "copy")
    ladder = ladder_of(place(tmp_path / "job", source), None)
    assert ladder.notices == []
    assert rungs(ladder)[0].scale == "640:360"


def test_a_window_is_encoded_for_the_rungs_that_need_it_and_for_no_other(tmp_path: Path, clip: Path) -> None:
    ladder = [{"scale": scale, "bitrate": "500K"} for scale in ("320:180", "240:136", "160:90")]
    at = place(tmp_path / "job", clip, {"package": {"ladder": ladder}})
    prober = open_prober(at, LocalFile(clip, at.runner))
    every = encodes_of(at.job, prober.plans.source)
    wanted = {output: rates.probe_encode(every[output], 40.0) for output in (0, 2)}
    windows = prober.run(0, wanted)
    made = {output: streams(window.output.file, "video")[0] for output, window in windows.items()}
    assert {output: video["width"] for output, video in made.items()} == {0: 320, 2: 160}


def test_a_title_that_cannot_be_cut_has_the_fixed_ladder_and_a_warning(tmp_path: Path) -> None:
    options = ("-t", 4, "-i", BUNNY, "-an", "-vf", "scale=320:180", "-c:v", "libx264", "-g", 25)
    source = ffmpeg(tmp_path, "clip.mp4", *options, "-x264-params", "intra-refresh=1:ref=1:bframes=0")
    at = place(tmp_path / "job", source, {"package": {"ladder": "auto", "auto": {"codec": "h265"}}})
    ladder = ladder_of(at, None)
    assert (ladder.ladder, ladder.title) == ("h265", None)
    assert [notice.code for notice in ladder.notices] == ["ladder-fixed"]
    package = ladder.applied(at.job).profile.package
    assert package
    assert (package.ladder, package.auto) == ("h265", UNSET)
