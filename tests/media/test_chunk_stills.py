"""The pictures beside a divided film are those of the undivided one: each chunk's encode takes its own."""

import hashlib
import shutil
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from elasticrecode.media.profiles import Profile, resolve
from tests.media.case import FFMPEG, SETTINGS, make
from tests.media.divided import CHUNKS, Cuts, film, planned, real_film
from worker.media import images
from worker.media.chunk import encode_chunk, target_of_file, targets_of_ladder
from worker.media.encode import inspect
from worker.media.images import Stills
from worker.media.plan import make_plan
from worker.media.renditions import encode_rungs
from worker.sandbox.runner import Runner

ENCODE = {"codec": "h264", "scale": "240p", "quality": {"crf": 30}, "speed": "fast"}


class Divided(NamedTuple):
    """The finished pictures of a divided film, and the folder of the join."""

    stills: Stills
    folder: Path


def divided(folder: Path, source: Path, wanted: Mapping[str, Any], length: float) -> Divided:
    """Encode the chunks of a film from cuts that hold no picture behind their ends, and finish the pictures."""
    profile, runner, joined = resolve(msgspec.convert(wanted, Profile)), Runner(), folder / "joined"
    assert profile.ffmpeg
    joined.mkdir()
    shutil.copy(source, joined / "input")
    probed = inspect(joined / "input", SETTINGS, runner)
    plan = make_plan(probed, profile, profile.ffmpeg, "mp4")
    thumbs, cuts = [], Cuts(folder, source)
    for number, chunk in enumerate(CHUNKS):
        place = folder / f"chunk-{number}"
        place.mkdir()
        own = plan.images.of_chunk(*chunk)
        target = target_of_file(cuts.source, profile, profile.ffmpeg, cuts.piece(chunk), place / "chunk.mp4")
        seconds = float((chunk.end or Fraction(length)) - chunk.start)
        own_cut = cuts.cut(place, chunk)
        encode_chunk({0: target}, own_cut, seconds, SETTINGS, runner, lambda _: None, own, fitted=True)
        for file in images.chunk_files(own, place):
            name = f"thumbs-{number}.mkv" if file.name == images.THUMBS else file.name
            shutil.copy(file, joined / name)
            thumbs += [joined / name] if name.startswith("thumbs") else []
    if plan.images.step:
        images.join_thumbs(thumbs, joined, FFMPEG, runner)
    size = plan.picture.size
    return Divided(images.finish(plan.images, size, length, joined, FFMPEG, runner), joined)


def digests(paths: list[Path]) -> list[str]:
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]


def same_pictures(folder: Path, source: Path, step: float = 0, **encode: object) -> Divided:
    """Check that the pictures of a divided and of the undivided film are equal, bit by bit."""
    sprite = {"sprite": {"everySeconds": step, "width": 64}} if step else {}
    wanted = {"ffmpeg": {**ENCODE, **encode}, "images": {"poster": True, **sprite}}
    whole = folder / "whole"
    whole.mkdir()
    undivided = make(whole, source, wanted)
    assert undivided.failure == ""
    assert undivided.stills
    assert undivided.stills.poster
    parts = divided(folder, source, wanted, undivided.stills.seconds)
    assert parts.stills.poster
    candidates = [sorted(place.glob("poster-*.jpg")) for place in (whole, parts.folder)]
    assert [path.name for path in candidates[0]] == [path.name for path in candidates[1]]
    assert digests(candidates[0]) == digests(candidates[1])
    assert len(set(digests(candidates[0]))) > 8
    assert parts.stills.poster.name == undivided.stills.poster.name
    assert digests(list(undivided.stills.sprites)) == digests(list(parts.stills.sprites))
    assert bool(step) == bool(parts.stills.sprites)
    return parts


@pytest.mark.parametrize("step", [0, 1, 1.3, 1.7, 5, 9, 11.49, 60])
def test_a_divided_film_has_the_pictures_of_the_undivided_one(tmp_path: Path, step: float) -> None:
    same_pictures(tmp_path, film(tmp_path), step)


@pytest.mark.parametrize("name", ["film.mkv", "film.mp4"])
@pytest.mark.parametrize("step", [1, 1.3, 5])
def test_a_picture_before_the_seam_shows_until_the_next(tmp_path: Path, step: float, name: str) -> None:
    same_pictures(tmp_path, film(tmp_path, "select=lt(t\\,3.1)+gte(t\\,5.3)", name=name), step)


def test_a_chunk_without_a_frame_of_its_own_shows_that_before_it(tmp_path: Path) -> None:
    same_pictures(tmp_path, film(tmp_path, "select=lt(t\\,3.1)+gte(t\\,9.3)"), 1)


@pytest.mark.parametrize("rate", ["30000/1001", "24000/1001", "50"])
def test_no_rate_moves_a_picture(tmp_path: Path, rate: str) -> None:
    same_pictures(tmp_path, film(tmp_path, rate=rate), 1.25)


@pytest.mark.parametrize("name", ["film.mkv", "film.mp4"])
def test_a_rate_that_varies_moves_no_picture(tmp_path: Path, name: str) -> None:
    same_pictures(tmp_path, film(tmp_path, "setpts=PTS+0.013*mod(N*5\\,17)/TB/17", name=name), 1)


def test_a_film_that_gets_another_rate_has_the_same_pictures(tmp_path: Path) -> None:
    same_pictures(tmp_path, film(tmp_path), 1.3, frameRate="30000/1001")


def test_pictures_follow_the_fit_of_the_film(tmp_path: Path) -> None:
    same_pictures(tmp_path, real_film(tmp_path), 2, scale="200:200", fit="crop")


@pytest.mark.parametrize("rate", ["25", "30000/1001"])
def test_a_divided_package_has_the_pictures_of_the_undivided_one(tmp_path: Path, rate: str) -> None:
    source, runner = film(tmp_path, rate=rate), Runner()
    wanted = {
        "package": {"formats": ["hls"], "ladder": [{"scale": "256:144", "bitrate": "200K"}]},
        "images": {"poster": True, "sprite": {"everySeconds": 1.3, "width": 64}},
    }
    profile = resolve(msgspec.convert(wanted, Profile))
    probed = inspect(source, SETTINGS, runner)
    whole = planned(probed, profile)
    rung = whole.rungs[0].picture.size
    beside = images.plan_images(profile.images or None, rung, probed.video.duration)
    folders = [tmp_path / "whole", tmp_path / "joined"]
    for folder in folders:
        folder.mkdir()
    copy = Path(shutil.copy(source, folders[0] / "input"))
    rendition = encode_rungs(whole, [0], beside, copy, SETTINGS, runner, lambda _: None)[0]
    thumbs, cuts = [], Cuts(tmp_path, source)
    for number, chunk in enumerate(CHUNKS):
        place = tmp_path / f"chunk-{number}"
        place.mkdir()
        piece = cuts.piece(chunk)
        targets = targets_of_ladder(planned(cuts.source, profile, piece), piece, {0: place / "rung.mp4"})
        own, own_cut = beside.of_chunk(*chunk), cuts.cut(place, chunk)
        encode_chunk(targets, own_cut, 4.0, SETTINGS, runner, lambda _: None, own)
        thumbs.append(Path(shutil.copy(place / images.THUMBS, folders[1] / f"thumbs-{number}.mkv")))
        for poster in place.glob("poster-*.jpg"):
            shutil.copy(poster, folders[1])
    images.join_thumbs(thumbs, folders[1], FFMPEG, runner)
    length = rendition.figures.seconds
    stills = [images.finish(beside, rung, length, folder, FFMPEG, runner) for folder in folders]
    posters = [sorted(folder.glob("poster-*.jpg")) for folder in folders]
    assert len(posters[0]) == 16
    assert digests(posters[0]) == digests(posters[1])
    assert digests(list(stills[0].sprites)) == digests(list(stills[1].sprites))
