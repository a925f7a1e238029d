"""A film that is to reach a VMAF does, as a whole and in each part, and its record says how."""

import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest

from elasticrecode.jobs.events import TargetReached
from elasticrecode.media.profiles import Profile, Vmaf, resolve
from tests.media.case import SETTINGS
from tests.media.dividing import divide
from worker.quality.score import Pair, score
from worker.sandbox.isolation import program_environment
from worker.sandbox.runner import Runner
from worker.undivided import encode_aimed

ENCODE = {"codec": "h264", "scale": "source", "speed": "fast", "keyframeSeconds": 1}
EASY = "testsrc2=size=320x180:rate=25"
HARD = "mandelbrot=size=320x180:rate=25:start_scale=0.4:end_scale=0.002:end_pts=100,noise=alls=24:allf=t:all_seed=7"
TAGS = "setparams=range=tv:colorspace=bt709:color_primaries=bt709:color_trc=bt709"
CHUNK_SECONDS = 3


def film(path: Path) -> Path:
    """9 s: easy pictures, then hard ones, then easy ones again."""
    graph = (
        f"{EASY}:duration=3[a];{HARD},trim=duration=3[b];{EASY}:duration=3[c];[a][b][c]concat=n=3,format=yuv420p,{TAGS}"
    )
    command = [
        SETTINGS.ffmpeg,
        "-v",
        "error",
        "-y",
        "-filter_complex",
        graph,
        "-c:v",
        "libx264",
        "-crf",
        "6",
        "-g",
        "25",
    ]
    subprocess.run([*command, str(path)], env=program_environment(), check=True)
    return path


def measured(source: Path, output: Path, aim: TargetReached, folder: Path) -> float:
    """The mean VMAF of all frames of an output, by a measurement of its own; the record's is of some of them."""
    scoring = Vmaf(scale=f"{aim.width}x{aim.height}", model=msgspec.convert(aim.model, type=Any), align="exact")
    pair = Pair(source, output, "s3://b/source.mp4", "s3://b/output.mp4")
    return score(pair, scoring, SETTINGS, Runner(), lambda _: None, folder).quality.vmaf.mean


def check(reached: TargetReached | None, source: Path, output: Path, folder: Path) -> TargetReached:
    assert reached
    assert measured(source, output, reached, folder) == pytest.approx(reached.reached, abs=0.3)
    assert abs(reached.reached - reached.vmaf) <= reached.tolerance
    assert reached.worst == min(part.vmaf for part in reached.parts) >= reached.floor
    assert reached.met
    assert reached.repeats == sum(part.tries - 1 for part in reached.parts)
    assert {probe.crf for probe in reached.probes}
    spent = reached.cpuSeconds
    assert spent.encodes > 0
    assert spent.scores > 0
    assert spent.probes >= sum(probe.cpuSeconds for probe in reached.probes) - 0.1
    return reached


def test_parts_that_miss_are_encoded_again_until_the_film_is_as_good_as_wanted(tmp_path: Path) -> None:
    source, folder = film(tmp_path / "film.mp4"), tmp_path / "job"
    folder.mkdir()
    wanted = {"ffmpeg": ENCODE | {"quality": {"vmaf": 90, "floor": 88.5}}}
    divided = divide(folder, source, wanted, CHUNK_SECONDS)
    assert divided.produced
    quality = divided.produced.quality
    assert quality
    reached = check(quality.target, source, divided.file, tmp_path)
    assert quality.vmaf.mean == pytest.approx(reached.reached, abs=1e-3)
    assert [part.name for part in reached.parts] == [f"00:00:0{at}-00:00:0{at + 3}" for at in (0, 3, 6)]
    assert reached.repeats > 0
    assert reached.parts[1].crf < max(part.crf for part in reached.parts)


def test_a_film_that_cannot_be_cut_is_encoded_whole_until_it_is_as_good_as_wanted(tmp_path: Path) -> None:
    source = film(tmp_path / "film.mp4")
    wanted: dict[str, Any] = {"ffmpeg": ENCODE | {"codec": "h265", "quality": {"vmaf": 88, "floor": 80}}}
    profile = resolve(msgspec.convert(wanted, Profile))
    target = tmp_path / "output"
    aimed = encode_aimed(*(source, target, "s3://b/film.mp4", "mp4", profile, SETTINGS, Runner(), lambda _: None))
    reached = check(aimed.target, source, target, tmp_path)
    assert [part.name for part in reached.parts] == ["00:00:00-00:00:09"]
    assert [path.name for path in tmp_path.glob("output*") if not path.suffix] == ["output"]
