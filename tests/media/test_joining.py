"""Chunks that are joined show what an undivided encode shows, at the same ticks; or one is refused by name."""

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from elasticrecode.media.profiles import Profile, resolve
from tests.media.case import FFMPEG, FFPROBE, SETTINGS, ffmpeg
from tests.media.chunks import EVEN, FILM, UNEVEN, encode_chunks, encode_of, encode_whole, frame_times, packets, times
from worker.cuts.fragments import description
from worker.errors import PermanentError
from worker.joining.chunks import ChunkFile, read_table
from worker.joining.join import Cap, join
from worker.media.encode import inspect
from worker.media.plan import Plan, make_plan
from worker.sandbox.runner import Runner

TICKS = 90_000
CLOCKS = {"even": EVEN, "uneven": UNEVEN}
SEAMS = {
    "four seconds": (0, 4 * TICKS),
    "three chunks": (0, 2 * TICKS, 6 * TICKS),
    "a single frame at the end": (0, 4 * TICKS, 199 * 3600 - 1),
    "a single frame in the middle": (0, 4 * TICKS, 4 * TICKS + 3000),
}


def planned(folder: Path, encode: dict[str, Any], filters: str) -> tuple[Plan, Path]:
    """The plan of an encode of the film with a clock, and the film without loss."""
    source = folder / "film.mkv"
    if not source.exists():
        ffmpeg(
            folder, "film.mp4", "-f", "lavfi", "-i", FILM, "-vf", filters, "-fps_mode", "passthrough",
            "-enc_time_base", f"1/{TICKS}", "-c:v", "libx264", "-qp", 0, "-preset", "ultrafast", "-pix_fmt", "yuv420p",
            "-video_track_timescale", TICKS, "-movie_timescale", TICKS,
        )  # fmt: skip
        source = folder / "film.mp4"
    profile = resolve(msgspec.convert({"ffmpeg": encode}, Profile))
    assert profile.ffmpeg
    return make_plan(inspect(source, SETTINGS, Runner()), profile, profile.ffmpeg, "mp4"), source


def pixels(path: Path) -> list[str]:
    """A digest of each decoded frame."""
    command = [FFMPEG, "-v", "error", "-i", str(path), "-map", "0:v:0", "-f", "framemd5", "-"]
    text = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    return [line.split(",")[-1].strip() for line in text.splitlines() if not line.startswith("#")]


@pytest.mark.parametrize("seams", SEAMS)
@pytest.mark.parametrize("clock", CLOCKS)
@pytest.mark.parametrize("codec", ["h264", "h265", "av1"])
def test_every_frame_has_the_time_of_the_undivided_encode(tmp_path: Path, codec: str, clock: str, seams: str) -> None:
    plan, source = planned(tmp_path, encode_of(codec), CLOCKS[clock])
    whole = encode_whole(tmp_path, plan, source)
    opened = ("-i", source)
    every = frame_times(plan, opened)
    chunks = encode_chunks(tmp_path, plan, opened, [seam and seam + every[0] for seam in SEAMS[seams]], every)
    parts = [pixels(chunk.file) for chunk in chunks]
    joined = join(chunks, tmp_path / "joined.mp4", TICKS, FFPROBE, Runner())
    actual, expected = times(joined.file), times(whole)
    assert [pts for pts, _, _ in sorted(actual)] == [pts for pts, _, _ in sorted(expected)]
    assert [dts for _, dts, _ in actual] == [dts for _, dts, _ in expected]
    assert [step for _, _, step in actual[:-1]] == [step for _, _, step in expected[:-1]]
    assert (joined.frames, joined.overflow) == (200, 0)
    assert pixels(joined.file) == [digest for part in parts for digest in part]
    assert joined.bytes == sum(int(packet["size"]) for packet in packets(joined.file))


def small(folder: Path, *arguments: object, name: str = "chunk.mp4", frames: int = 20, rate: int = 25) -> Path:
    """A chunk that is encoded in no time."""
    source = f"testsrc2=size=64x36:rate={rate}"
    clock = ("-video_track_timescale", TICKS, "-movie_timescale", TICKS, "-preset", "ultrafast", "-bf", 2)
    return ffmpeg(folder, name, "-f", "lavfi", "-i", source, "-frames:v", frames, *clock, *arguments)


def refusal(chunks: Sequence[ChunkFile], target: Path) -> str:
    with pytest.raises(PermanentError) as refused:
        join(chunks, target, TICKS, FFPROBE, Runner())
    assert refused.value.failure.code == "output-invalid"
    assert not target.exists()
    return refused.value.failure.message


def test_a_chunk_that_is_not_the_one_expected_is_refused_by_name(tmp_path: Path) -> None:
    good = ChunkFile(small(tmp_path), "00:00:00-00:00:01", 0, TICKS, 20)
    end = TICKS * 2
    other = ChunkFile(tmp_path / "none", "00:00:01-00:00:02", TICKS, end, 20)
    target = tmp_path / "joined.mp4"

    def refused(file: Path, **fields: Any) -> str:
        message = refusal([good, other._replace(file=file, **fields)], target)
        assert message.startswith("Chunk 00:00:01-00:00:02 ")
        return message.removeprefix("Chunk 00:00:01-00:00:02 ")

    assert refused(small(tmp_path, name="a.mp4", frames=19)) == "has 19 frames, not 20."
    assert refused(small(tmp_path, name="b.mp4", frames=21)) == "has 21 frames, not 20."
    slow = small(tmp_path, name="c.mp4", rate=10)
    assert refused(slow) == "has frames outside its time."
    large = small(tmp_path, "-s", "96x54", name="d.mp4")
    assert refused(large) == "is coded in another way than the first: it has another size."
    hevc = small(tmp_path, "-c:v", "libx265", "-x265-params", "log-level=none", name="e.mp4")
    assert refused(hevc) == "is coded in another way than the first: it has codec hev1, not avc1."
    deep = small(tmp_path, "-pix_fmt", "yuv420p10le", name="f.mp4")
    assert refused(deep) == "is coded in another way than the first: it has another avcC."
    red = small(tmp_path, "-vf", "setparams=colorspace=bt470bg", name="g.mp4")
    assert "another avcC" in refused(red)
    clock = small(tmp_path, "-video_track_timescale", 12_800, name="h.mp4")
    assert refused(clock) == "has a clock of 12800 ticks a second, not 90000."
    assert refused(good.file, start=TICKS + 1) == "does not begin where the one before it ends."
    whole = good.file.read_bytes()
    cut = tmp_path / "i.mp4"
    cut.write_bytes(whole[: len(whole) // 2])
    assert refused(cut).startswith("cannot be read: ")
    assert refused(tmp_path / "absent.mp4").startswith("cannot be read: ")
    open_group = ffmpeg(tmp_path, "j.mp4", "-ss", 0.2, "-i", good.file, "-c", "copy", "-copyinkf")
    assert refused(open_group, frames=None)


def test_frames_before_a_keyframe_are_refused(tmp_path: Path) -> None:
    film = small(tmp_path, "-g", 10, name="film.mp4")
    table = read_table(ChunkFile(film, "x", 0, None), FFPROBE, Runner())
    late = ffmpeg(tmp_path, "late.mp4", "-i", film, "-c", "copy", "-bsf:v", "noise=drop='not(n)'", "-copyinkf")
    assert len(table.samples) == 20
    assert (
        refusal([ChunkFile(late, "x", 0, None)], tmp_path / "joined.mp4") == "Chunk x does not begin with a keyframe."
    )


def test_chunks_are_removed_as_they_are_used_where_the_caller_wants_that(tmp_path: Path) -> None:
    chunks = [
        ChunkFile(small(tmp_path, name=f"{n}.mp4"), f"{n}", n * TICKS, (n + 1) * TICKS if n < 2 else None, 20)
        for n in range(3)
    ]
    kept = join(chunks, tmp_path / "kept.mp4", TICKS, FFPROBE, Runner())
    assert all(chunk.file.exists() for chunk in chunks)
    used = join(chunks, tmp_path / "used.mp4", TICKS, FFPROBE, Runner(), consume=True)
    assert not any(chunk.file.exists() for chunk in chunks)
    assert kept.file.read_bytes() == used.file.read_bytes()


def test_a_film_tells_by_how_much_it_exceeds_its_cap(tmp_path: Path) -> None:
    chunk = ChunkFile(small(tmp_path), "0", 0, None, 20)
    sizes = [8 * int(packet["size"]) for packet in packets(chunk.file)]
    exact = join([chunk], tmp_path / "a.mp4", TICKS, FFPROBE, Runner(), cap=Cap(1, sum(sizes)))
    over = join([chunk], tmp_path / "b.mp4", TICKS, FFPROBE, Runner(), cap=Cap(1, sum(sizes) - 1000))
    assert (exact.overflow, over.overflow) == (0, 1000)


def test_the_options_that_x265_writes_into_its_head_may_differ(tmp_path: Path) -> None:
    """It tells them to decoders in a message, which a chunk with a rate of its own has differently."""
    files = [
        small(tmp_path, "-c:v", "libx265", "-x265-params", f"log-level=none:crf={crf}", name=f"{crf}.mp4")
        for crf in (28, 30)
    ]
    chunks = [ChunkFile(files[0], "0", 0, TICKS), ChunkFile(files[1], "1", TICKS, None)]
    one, other = (read_table(chunk, FFPROBE, Runner()) for chunk in chunks)
    heads = [{box.kind: box.body for box in description(table.moov, 0).members}[b"hvcC"] for table in (one, other)]
    assert heads[0] != heads[1]
    assert join(chunks, tmp_path / "joined.mp4", TICKS, FFPROBE, Runner()).frames == 40
