"""The score of a divided film, pooled from its chunks, is that of the joined file measured as a whole."""

import json
import shutil
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from elasticrecode.media.profiles import Profile, resolve
from tests.media.case import SETTINGS, ffmpeg
from tests.media.divided import CHUNKS, Cuts, planned, real_film
from worker.media.chunk import encode_chunk, target_of_file, targets_of_ladder
from worker.media.encode import inspect
from worker.media.plan import make_plan
from worker.media.rates import Tail
from worker.quality.pooled import Measured, Scored, load, pool, write_reports
from worker.quality.score import Pair, Place, measure, score
from worker.sandbox.runner import Runner

ENCODE = {"codec": "h264", "scale": "240p", "quality": {"crf": 38}, "speed": "fast"}
SEAM = 1.0
"""The most that a frame beside a seam may differ."""
ORIGIN, INPUT = "s3://films/film.mkv", "s3://films/out.mp4"


class Both(NamedTuple):
    """The score of the joined file, that pooled from its chunks, and those of the chunks."""

    whole: Scored
    pooled: Scored
    chunks: list[Measured]

    def frames(self) -> list[list[dict[str, Any]]]:
        """The frames in both reports."""
        return [json.loads(scored.report.read_bytes())["frames"] for scored in (self.whole, self.pooled)]


def scored_both(folder: Path, source: Path, vmaf: Any = None, encode: Any = None, *, known: bool = True) -> Both:
    """Encode the chunks of a film, score each beside its cut, and the joined file beside the film."""
    wanted = {"ffmpeg": {**ENCODE, **(encode or {})}, "vmaf": {"scale": "320x180", **(vmaf or {})}}
    profile, runner = resolve(msgspec.convert(wanted, Profile)), Runner()
    assert profile.ffmpeg
    assert profile.vmaf
    whole = folder / "whole"
    whole.mkdir()
    probed = inspect(Path(shutil.copy(source, whole / "input")), SETTINGS, runner)
    saved, files, before, cuts = list[Path](), list[Path](), 0, Cuts(folder, source)
    for number, chunk in enumerate(CHUNKS):
        place = folder / f"chunk-{number}"
        place.mkdir()
        target = target_of_file(cuts.source, profile, profile.ffmpeg, cuts.piece(chunk), place / "chunk.mp4")._replace(
            tail=Tail((), ())  # whose copies of the last picture are for films of even pictures alone
        )
        own = cuts.cut(place, chunk)
        seconds = float((chunk.end or Fraction(12)) - chunk.start)
        figures = encode_chunk({0: target}, own, seconds, SETTINGS, runner, lambda _: None)
        pair = Pair(own, target.file, ORIGIN, INPUT, target.plan, Place(float(chunk.start), before if known else 0))
        measured = measure(pair, profile.vmaf, SETTINGS, runner, lambda _: None, place)
        saved.append(place / "score.json.gz")
        measured.save(saved[-1])
        before += figures[0].frames
        files.append(target.file)
    joined = join(folder, whole, files)
    plan = make_plan(probed, profile, profile.ffmpeg, "mp4")
    pair = Pair(whole / "input", joined, ORIGIN, INPUT, plan)
    undivided = score(pair, profile.vmaf, SETTINGS, runner, lambda _: None, whole)
    chunks = [load(path) for path in saved]
    pooled = write_reports(pool(chunks[::-1]), profile.vmaf, INPUT, ORIGIN, folder)
    return Both(undivided, pooled, chunks)


def join(folder: Path, target: Path, files: list[Path]) -> Path:
    """The files of chunks as one, in the folder `target`."""
    listed = folder / "chunks.txt"
    listed.write_text("".join(f"file '{file}'\n" for file in files))
    return ffmpeg(target, "output.mp4", "-f", "concat", "-safe", 0, "-i", listed, "-c", "copy")


def seams(both: Both) -> set[int]:
    """The frames on both sides of each seam."""
    ends = [sum(chunk.frames for chunk in both.chunks[:number]) for number in range(1, len(both.chunks))]
    return {frame for end in ends for frame in (end - 1, end)}


@pytest.mark.parametrize("model", ["v0.6.1", "v1"])
def test_chunks_score_as_the_whole_film_does(tmp_path: Path, model: str) -> None:
    more = {"psnr": "enable", "ssim": "enable", "ms-ssim": "enable"} if model == "v0.6.1" else {"scale": "384x216"}
    both = scored_both(tmp_path, real_film(tmp_path), {"model": model, **more})
    whole, pooled = both.whole.quality, both.pooled.quality
    assert pooled.warnings == whole.warnings == []
    assert pooled.vmaf.frames == pooled.vmaf.pairedFrames == whole.vmaf.frames == 288
    assert pooled.vmaf.mean == pytest.approx(whole.vmaf.mean, abs=0.02)
    assert pooled.vmaf.min == pytest.approx(whole.vmaf.min, abs=SEAM)
    assert (pooled.psnr, pooled.ssim, pooled.msSsim) == (whole.psnr, whole.ssim, whole.msSsim)
    frames = both.frames()
    assert [frame["frameNum"] for frame in frames[1]] == list(range(288))
    for listed in frames:
        assert [frame["seconds"] for frame in listed] == pytest.approx([n / 25 for n in range(288)], abs=0.002)
    differing = {
        one["frameNum"]: two["metrics"]["vmaf"] - one["metrics"]["vmaf"]
        for one, two in zip(*frames, strict=True)
        if one["metrics"] != two["metrics"]
    }
    assert differing.keys() <= seams(both)
    assert max(map(abs, differing.values())) <= SEAM


def test_the_worst_moments_of_a_divided_film_are_those_of_the_whole(tmp_path: Path) -> None:
    both = scored_both(tmp_path, real_film(tmp_path))
    pages = [scored.html.read_text() for scored in (both.whole, both.pooled)]
    moments = pool(both.chunks).moments
    assert len(moments) == 5
    assert len({moment.frame // 100 for moment in moments}) > 1
    for moment in moments:
        assert moment.seconds == pytest.approx(moment.frame / 25, abs=0.002)
        assert moment.score == both.frames()[1][moment.frame]["metrics"]["vmaf"]
    assert pages[1].count("data:image/jpeg") == pages[0].count("data:image/jpeg") == 10


@pytest.mark.parametrize(("known", "numbers"), [(True, list(range(0, 288, 7))), (False, None)])
def test_one_frame_in_several_is_scored_across_seams(tmp_path: Path, known: bool, numbers: list[int] | None) -> None:
    both = scored_both(tmp_path, real_film(tmp_path), {"subsample": 7}, known=known)
    frames = both.frames()
    assert [frame["frameNum"] for frame in frames[0]] == list(range(0, 288, 7))
    counted = [n + start for start, count in ((0, 100), (100, 100), (200, 88)) for n in range(0, count, 7)]
    assert [frame["frameNum"] for frame in frames[1]] == (numbers or counted)
    assert both.pooled.quality.vmaf.mean == pytest.approx(both.whole.quality.vmaf.mean, abs=0.02 if known else 0.5)


@pytest.mark.parametrize(
    ("filters", "encode"),
    [
        (["setpts=PTS+0.013*mod(N*5\\,17)/TB/17"], {}),
        (["select=lt(t\\,3.1)+gte(t\\,5.3)"], {}),
        ([], {"frameRate": "30000/1001"}),
        ([], {"scale": "120:120", "fit": "crop", "codec": "h265"}),
    ],
)
@pytest.mark.parametrize("name", ["film.mkv", "film.mp4"])
def test_whatever_the_encode_does_its_chunks_follow(
    tmp_path: Path, filters: list[str], encode: dict[str, str], name: str
) -> None:
    both = scored_both(tmp_path, real_film(tmp_path, *filters, name=name), encode=encode)
    assert both.pooled.quality.warnings == both.whole.quality.warnings == []
    assert both.pooled.quality.vmaf.frames == both.whole.quality.vmaf.frames > 200
    assert both.pooled.quality.vmaf.mean == pytest.approx(both.whole.quality.vmaf.mean, abs=0.02)


def test_a_rung_of_half_the_rate_scores_as_the_whole_one_does(tmp_path: Path) -> None:
    source, runner = real_film(tmp_path), Runner()
    ladder = [{"scale": "320:180", "bitrate": "200K"}, {"scale": "160:90", "bitrate": "80K", "frameRate": "13"}]
    wanted = {"package": {"formats": ["hls"], "ladder": ladder}, "vmaf": {"scale": "320x180"}}
    profile = resolve(msgspec.convert(wanted, Profile))
    assert profile.vmaf
    whole = tmp_path / "whole"
    whole.mkdir()
    probed = inspect(Path(shutil.copy(source, whole / "input")), SETTINGS, runner)
    rung = planned(probed, profile).rungs[1]
    files, chunks, cuts = list[Path](), list[Measured](), Cuts(tmp_path, source)
    for number, chunk in enumerate(CHUNKS):
        place = tmp_path / f"chunk-{number}"
        place.mkdir()
        pieces = planned(cuts.source, profile, cuts.piece(chunk))
        targets = targets_of_ladder(pieces, cuts.piece(chunk), {0: place / "0.mp4", 1: place / "1.mp4"})
        own = cuts.cut(place, chunk)
        encode_chunk(targets, own, 4.0, SETTINGS, runner, lambda _: None)
        pair = Pair(own, targets[1].file, ORIGIN, INPUT, targets[1].plan, Place(float(chunk.start)))
        chunks.append(measure(pair, profile.vmaf, SETTINGS, runner, lambda _: None, place, with_stills=False))
        files.append(targets[1].file)
    joined = join(tmp_path, whole, files)
    pair = Pair(whole / "input", joined, ORIGIN, INPUT, rung)
    undivided = score(pair, profile.vmaf, SETTINGS, runner, lambda _: None, whole).quality
    pooled = write_reports(pool(chunks), profile.vmaf, INPUT, ORIGIN, tmp_path).quality
    assert pooled.warnings == undivided.warnings == []
    assert pooled.vmaf.frames == undivided.vmaf.frames == 144
    assert pooled.vmaf.mean == pytest.approx(undivided.vmaf.mean, abs=0.02)
    assert [chunk.moments for chunk in chunks] == [[], [], []]
