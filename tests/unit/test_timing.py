"""The clock of a transcode: lengths and rates that can be true, filters of a part, damage, and progress."""

import pytest

from elasticrecode.jobs.events import Progress
from elasticrecode.media.profiles import Ffmpeg
from worker.media import timing
from worker.media.clock import Clock, is_doubtful, read_clock
from worker.media.packets import FileMeter, PacketHead, PictureClock
from worker.media.progress import JobProgress, ProgressReader
from worker.media.video import Video

RATE = {"average": 25.0, "nominal": 25.0, "ticks": 90000.0}


def clock(demuxer: str = "mpegts", **fields: object) -> Clock:
    values: dict[str, object] = {
        "duration": None, "file_duration": None, "size": None, "counted": None, "declared": None, **RATE, **fields,
    }  # fmt: skip
    return read_clock(demuxer, **values)  # type: ignore[arg-type]


def film(**fields: object) -> Video:
    values: dict[str, object] = {"duration": 60.0, "frames": 1500, "rate": 25.0, **fields}
    return Video("mov", 0, "h264", 640, 360, bitrate=None, **values)  # type: ignore[arg-type]


def encode(**fields: object) -> Ffmpeg:
    return Ffmpeg(codec="h264", scale="360p", **fields)  # type: ignore[arg-type]


def test_a_length_for_which_a_file_has_no_bytes_is_unknown() -> None:
    jumped = clock(duration=36_012.0, file_duration=36_012.0, size=2_244_344)
    assert (jumped.duration, jumped.file_duration, jumped.frames) == (None, None, None)


def test_a_length_that_the_bytes_allow_is_believed() -> None:
    whole = clock(duration=12.0, file_duration=12.02, size=142_880)
    assert (whole.duration, whole.file_duration, whole.frames) == (12.0, 12.02, 300)


def test_the_picture_lasts_as_long_as_its_file_where_the_track_tells_nothing() -> None:
    assert clock("matroska", file_duration=5.3, size=600_000).duration == 5.3


def test_a_rate_that_only_empty_chunks_have_is_to_be_measured() -> None:
    avi = clock("avi", average=600.0, declared=7200, duration=12.0, size=230_000)
    assert (avi.is_rate_guessed, avi.rate, avi.frames) == (True, 25.0, 300)
    assert is_doubtful(avi, "avi", 640 * 360, 230_000)


def test_an_index_is_believed_at_any_rate() -> None:
    slow = clock("mov", average=240.0, declared=480, duration=2.0, size=900_000)
    assert (slow.is_rate_guessed, slow.is_counted, slow.frames, slow.rate) == (False, True, 480, 240.0)


def test_a_transport_stream_of_too_few_bits_is_doubted_and_measured() -> None:
    long = clock(duration=43_200.0, file_duration=43_200.0, size=2_000_000_000)
    assert is_doubtful(long, "mpegts", 1920 * 1080, 2_000_000_000)
    assert long.measured(25.0, 8e6, 2_000_000_000).duration is None
    assert long.measured(25.0, 400e3, 2_000_000_000).duration == 43_200.0


def test_the_rate_of_the_first_packets_leaves_out_empty_ones_and_jumps() -> None:
    head = PacketHead(0)
    for time in (0.0, 0.04, 0.08, 36_000.0, 36_000.04):
        head.take(f"0,{time},{time},0.04,1000\n")
        head.take(f"0,{time + 0.02},{time + 0.02},0.04,0\n")
    assert head.rate == pytest.approx(25)


def test_the_peak_of_a_track_is_its_busiest_second() -> None:
    meter = FileMeter()
    for n in range(75):
        meter.take(f"0,{n / 25},{n / 25},0.04,{5000 if 25 <= n < 50 else 100}\n")
    track = meter.tracks[0]
    assert track.frames == 75
    assert [track.seconds, track.rate] == pytest.approx([3.0, 25.0])
    assert track.peak_bits == 25 * 5000 * 8


def test_a_gap_is_told_with_its_second_and_length() -> None:
    meter = FileMeter()
    for n in [*range(50), *range(75, 100)]:
        meter.take(f"0,{10 + n / 25},N/A,0.04,100\n")
    (gap,) = meter.tracks[0].gaps()
    assert gap == pytest.approx((2.0, 1.0))


@pytest.mark.parametrize(
    ("ticks", "rate", "expected"),
    [
        (12_800, None, 12_800), (25, None, 90_000), (1000, None, 90_000), (10_000_000, None, 90_000), (0, None, 90_000),
        (24_000, None, 24_000), (7, None, 90_006), (1000, "24000/1001", 24_000), (1000, "30", 90_000),
    ],
)  # fmt: skip
def test_the_encoder_s_clock_holds_every_time_of_the_source(ticks: int, rate: str | None, expected: int) -> None:
    wanted = encode(frameRate=rate) if rate else encode()
    assert timing.ticks(film(clock=Clock(ticks=ticks)), wanted) == expected


def test_a_part_far_into_a_film_is_reached_by_seeking_and_cut_by_filters() -> None:
    part = encode(start=62.5, end=70.0)
    assert timing.seek_options(film(), part) == ("-ss", "42.500000")
    assert "trim=start=20.000000:end=27.500000" in timing.trim(film(duration=90.0), part).filters
    assert timing.sound_trim(film(), part) == ("atrim=start=20.000000:end=27.500000", "asetpts=PTS-round(20.000000/TB)")
    assert timing.cut_options(part) == ("-ss", "62.500000", "-t", "7.500000")


def test_a_part_without_a_key_frame_nearby_is_entered_further_back() -> None:
    part = encode(start=62.5, end=70.0)
    assert timing.seek_options(film(entry=28.0), part) == ("-ss", "28.000000")
    assert "trim=start=34.500000:end=42.000000" in timing.trim(film(entry=28.0, duration=90.0), part).filters
    assert timing.seek_options(film(entry=0.0), part) == ()


def test_the_clock_of_pictures_is_joined_where_it_jumps_and_shows_key_frames() -> None:
    seen = PictureClock()
    for first in (0.0, 36_000.0, 36_000.0):
        for n in range(50):
            seen.take(f"0,{first + n / 25},{first + n / 25},0.04,900,{'K__' if n % 25 == 0 else '___'}\n")
    assert (seen.jumps, seen.frames) == (2, 150)
    assert seen.length == pytest.approx(6.0)
    assert [seen.key_before(time) for time in (-1.0, 0.9, 1.5)] == [None, 0.0, 1.0]


def test_a_part_near_the_beginning_needs_no_seek() -> None:
    assert timing.seek_options(film(), encode(start=3.0)) == ()
    assert timing.seek_options(film(), encode()) == ()


def test_an_end_beyond_the_source_is_a_warning_with_both_numbers() -> None:
    source = film(clock=Clock(60.0, 60.0))
    (notice,) = timing.trim(source, encode(end=90.0)).notices
    assert notice.code == "end-beyond-source"
    assert "90 s" in notice.message
    assert "60.000 s" in notice.message


def test_frames_are_expected_of_the_part_and_the_rate_that_are_wanted() -> None:
    assert timing.expected_frames(film(), encode(), 25.0) == 1500
    assert timing.expected_frames(film(), encode(start=50.0, end=90.0), 25.0) == 250
    assert timing.expected_frames(film(), encode(frameRate="50"), 50.0) == 3000
    assert timing.expected_frames(film(duration=None, frames=None), encode(), 25.0) is None


def test_percent_is_absent_once_more_frames_came_than_were_expected_and_back_at_the_end() -> None:
    reader = ProgressReader(100, 4.0)
    seen = []
    for frame, word in ((50, "continue"), (150, "continue"), (160, "end")):
        reader.feed(f"frame={frame}", 1.0)
        progress = reader.feed(f"progress={word}", frame / 50)
        assert progress
        seen.append(progress.percent)
    assert seen == [50.0, None, 99.9]


def test_percent_of_a_job_never_falls() -> None:
    seen: list[float | None] = []
    report = JobProgress(lambda progress: seen.append(progress.percent))
    for percent in (10.0, 60.0, 40.0, None, 59.0, 61.0):
        report(Progress(percent=percent))
    assert seen == [10.0, 60.0, None, None, None, 61.0]
