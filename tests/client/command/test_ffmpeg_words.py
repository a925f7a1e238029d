"""ffmpeg's own words: what a profile can say is translated, and what it cannot is named, all at once."""

import json
import shlex
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elasticrecode.jobs.requests import read_jobs
from elasticrecode_client.command.ffmpeg_options import READERS
from elasticrecode_client.command.ffmpeg_tables import (
    ALIASES,
    AUDIO_CODECS,
    BENEATH,
    CODECS,
    CRFS,
    FLAGS,
    NOT_HERE,
    PRESETS,
)
from elasticrecode_client.command.ffmpeg_words import Translation, canonical, split, translate
from tests.conftest import contract


def translated(line: str) -> Translation:
    return translate(split(shlex.split(line))[0])


def profile(line: str) -> dict[str, Any]:
    """The profile of options without faults, which the API takes."""
    translation = translated(line)
    assert not translation.faults
    read_jobs(json.dumps(contract("job") | {"profile": translation.profile}).encode())
    return dict(translation.profile)


def refused(line: str) -> dict[str, tuple[str, str]]:
    return {fault.flag: (fault.reason, fault.instead) for fault in translated(line).faults}


X264 = "-c:v libx264 -b:v 3M -s 1280x720 "
BASE = {"codec": "h264", "bitrate": "3M", "scale": "1280:720", "fit": "exact"}
VIDEO = [
    ("-c:v libx264", {"codec": "h264"}),
    ("-vcodec libx264", {"codec": "h264"}),
    ("-codec:v:0 hevc", {"codec": "h265"}),
    ("-c:v libx265", {"codec": "h265"}),
    ("-c:v libsvtav1", {"codec": "av1"}),
    ("-c:v h264_nvenc", {"codec": "h264", "platform": "gpu"}),
    ("-c:v hevc_nvenc -hwaccel cuda", {"codec": "h265", "platform": "gpu"}),
    ("-b:v 3000k", {"bitrate": "3M"}),
    ("-b:v 2500k", {"bitrate": "2500K"}),
    ("-b:v 4000000", {"bitrate": "4M"}),
    ("-b:v 1.5M", {"bitrate": "1500K"}),
    ("-b:v:0 2M", {"bitrate": "2M"}),
    ("-b:v 3M -maxrate 3000k -bufsize 6M", {"bitrate": "3M", "buffersize": "6M"}),
    ("-preset ultrafast", {"speed": "fast"}),
    ("-preset veryfast", {"speed": "fast"}),
    ("-preset medium", {"speed": "medium"}),
    ("-preset slow", {"speed": "slow"}),
    ("-preset 4", {"speed": "slow"}),
    ("-preset p1", {"speed": "fast"}),
    ("-tune zerolatency", {"profile": "latency"}),
    ("-tune hq", {}),
    ("-profile:v high", {}),
    ("-c:v libx265 -profile:v main10", {"codec": "h265", "bitDepth": 10}),
    ("-c:v libx265 -pix_fmt yuv420p10le", {"codec": "h265", "bitDepth": 10}),
    ("-pix_fmt yuv420p", {"bitDepth": 8}),
    ("-r 30", {"frameRate": "30"}),
    ("-r 29.97", {"frameRate": "30000/1001"}),
    ("-r 23.976", {"frameRate": "24000/1001"}),
    ("-r 59.94", {"frameRate": "60000/1001"}),
    ("-r ntsc-film", {"frameRate": "24000/1001"}),
    ("-r 12.5", {"frameRate": "25/2"}),
    ("-r 30 -g 60", {"frameRate": "30", "keyframeSeconds": 2.0}),
    ("-g 48 -r 24000/1001", {"frameRate": "24000/1001", "keyframeSeconds": 2.002}),
    ("-force_key_frames expr:gte(t,n_forced*4)", {"keyframeSeconds": 4.0}),
    ("-x264-params keyint=50:scenecut=0 -r 25", {"frameRate": "25", "keyframeSeconds": 2.0}),
    ("-ss 10", {"start": 10.0}),
    ("-ss 00:01:30.5 -to 2:00", {"start": 90.5, "end": 120.0}),
    ("-ss 10 -t 5", {"start": 10.0, "end": 15.0}),
    ("-t 500ms", {"end": 0.5}),
    ("-ss 10 -i a.mp4 -to 20", {"start": 10.0, "end": 30.0}),
    ("-ss 10 -to 20 -i a.mp4", {"start": 10.0, "end": 20.0}),
    ("-i a.mp4 -ss 10 -to 20", {"start": 10.0, "end": 20.0}),
    ("-vf fps=25", {"frameRate": "25"}),
    ("-vf yadif", {"deinterlace": "auto"}),
    ("-vf yadif=1", {"deinterlace": "double"}),
    ("-vf bwdif=mode=send_field", {"deinterlace": "double"}),
    ("-vf bwdif=0:-1:1", {"deinterlace": "auto"}),
    ("-vf setsar=1,format=yuv420p", {"bitDepth": 8}),
    ("-vf zscale=t=linear:npl=100,tonemap=hable", {"dynamicRange": "sdr"}),
    ("-y -hide_banner -loglevel error -threads 8 -movflags_of_nobody", None),
    ("-y -hide_banner -nostdin -loglevel error -threads 8 -sc_threshold 0 -keyint_min 48 -tag:v hvc1", {}),
    ("-movflags +faststart", {}),
]


@pytest.mark.parametrize(("words", "fields"), VIDEO, ids=[words for words, _ in VIDEO])
def test_an_option_of_the_picture_is_a_field_of_the_encode(words: str, fields: dict[str, Any] | None) -> None:
    if fields is None:
        assert translated(X264 + words).faults
    else:
        assert profile(X264 + words)["ffmpeg"] == BASE | fields


SIZES = [
    ("-s hd720", {"scale": "1280:720", "fit": "exact"}),
    ("-s 1920x1080", {"scale": "1920:1080", "fit": "exact"}),
    ("-vf scale=1280:720", {"scale": "1280:720", "fit": "exact"}),
    ("-vf scale=w=1280:h=720:flags=lanczos", {"scale": "1280:720", "fit": "exact"}),
    ("-vf scale=1280x720", {"scale": "1280:720", "fit": "exact"}),
    ("-vf scale=-2:720", {"scale": "720p"}),
    ("-vf scale=-1:1080", {"scale": "1080p"}),
    ("-vf scale=1920:-2", {"scale": "1080p"}),
    ("-vf scale=-2:480", {"scale": "854:480", "fit": "contain"}),
    ("-filter:v scale=-2:240", {"scale": "426:240", "fit": "contain"}),
    ("-vf scale=iw:ih", {"scale": "source"}),
    ("-vf scale=1280:720:force_original_aspect_ratio=decrease", {"scale": "720p"}),
    ("-vf scale=1000:1000:force_original_aspect_ratio=decrease", {"scale": "1000:1000", "fit": "contain"}),
    (
        "-vf scale=1280:720:force_original_aspect_ratio=decrease,pad=1280:720:(ow-iw)/2:(oh-ih)/2",
        {"scale": "1280:720", "fit": "pad"},
    ),
    (
        "-vf scale=1080:1920:force_original_aspect_ratio=decrease,pad=1080:1920:-1:-1:color=black",
        {"scale": "1080:1920", "fit": "pad"},
    ),
    (
        "-vf scale=1080:1920:force_original_aspect_ratio=increase,crop=1080:1920,fps=30",
        {"scale": "1080:1920", "fit": "crop", "frameRate": "30"},
    ),
]


@pytest.mark.parametrize(("words", "fields"), SIZES, ids=[words for words, _ in SIZES])
def test_a_size_is_a_scale_and_how_it_is_filled(words: str, fields: dict[str, Any]) -> None:
    assert profile("-c:v libx264 -b:v 3M " + words)["ffmpeg"] == {"codec": "h264", "bitrate": "3M"} | fields


SOUND = [
    ("-c:a aac", {"codec": "aac"}),
    ("-acodec libfdk_aac -ab 192k", {"codec": "aac", "bitrate": "192K"}),
    ("-c:a libopus -b:a 96k", {"codec": "opus", "bitrate": "96K"}),
    ("-c:a copy", {"codec": "copy"}),
    ("-an", {"codec": "none"}),
    ("-c:a aac -an -ac 2", {"codec": "none"}),
    ("-ac 1", {"channels": "mono"}),
    ("-ac 2 -ar 48000", {"channels": "stereo"}),
    ("-ac 6", {"channels": "5.1"}),
    ("-af loudnorm=I=-16:TP=-1.5:LRA=11", {"loudness": -16.0}),
    ("-af loudnorm", {"loudness": -24.0}),
    ("-map 0:v -map 0:a", {"tracks": "all"}),
    ("-map 0:v:0 -map 0:a:0", {"tracks": "first"}),
    ("-map 0:v -map 0:a:m:language:eng -map 0:a:m:language:fra", {"tracks": ["eng", "fra"]}),
]


@pytest.mark.parametrize(("words", "fields"), SOUND, ids=[words for words, _ in SOUND])
def test_an_option_of_the_sound_is_a_field_of_the_audio(words: str, fields: dict[str, Any]) -> None:
    assert profile(X264 + words)["audio"] == fields


def test_text_tracks_are_carried_where_they_are_mapped() -> None:
    assert profile(X264 + "-c:s mov_text")["subtitles"] == {"tracks": "all"}
    everything = profile(X264 + "-map 0")
    assert everything["subtitles"] == {"tracks": "all"}
    assert everything["audio"] == {"tracks": "all"}


def test_sound_alone_is_a_profile_without_pictures() -> None:
    assert profile("-vn -c:a libopus -b:a 96k") == {"audio": {"codec": "opus", "bitrate": "96K"}}
    assert profile("-vn") == {"audio": {"codec": "aac"}}
    assert profile("-map 0:a") == {"audio": {"tracks": "all"}}


def test_pictures_are_encoded_unless_they_are_left_out() -> None:
    assert profile("-an") == {
        "ffmpeg": {"codec": "h264", "scale": "source", "quality": {"crf": 23}},
        "audio": {"codec": "none"},
    }


@pytest.mark.parametrize(("codec", "word"), [("libx264", "h264"), ("libx265", "h265"), ("libsvtav1", "av1")])
def test_without_a_rate_the_quality_is_that_of_ffmpeg_and_a_note_says_so(codec: str, word: str) -> None:
    assert profile(f"-c:v {codec}")["ffmpeg"] == {"codec": word, "scale": "source", "quality": {"crf": CRFS[word]}}
    assert translated(f"-c:v {codec}").notes == [f"Without -b:v and -crf: -crf {CRFS[word]}, as in ffmpeg."]


def test_a_quality_may_have_a_cap() -> None:
    encode = profile("-c:v libx264 -crf 23 -maxrate 5M -bufsize 10M -b:v 0")["ffmpeg"]
    assert encode == {
        "codec": "h264",
        "scale": "source",
        "quality": {"crf": 23},
        "maxBitrate": "5M",
        "buffersize": "10M",
    }
    assert profile("-c:v h264_nvenc -cq 25.5")["ffmpeg"]["quality"] == {"crf": 25.5}


def test_a_bitrate_beyond_the_first_generation_is_taken_with_the_word_that_it_needs() -> None:
    assert profile("-c:v libx264 -b:v 500k -vf scale=-2:360")["ffmpeg"]["fit"] == "contain"


def test_what_differs_a_little_is_a_note() -> None:
    assert translated("-crf 20 -preset slower").notes == ["-preset slower becomes slow: slow or 4 or p7 by encoder."]
    assert translated("-crf 20 -vf scale=-2:480").notes == [
        "scale=-2:480 becomes 854:480: inside that box, never enlarged."
    ]
    assert translated("-crf 20 -c:v libaom-av1").notes[0].startswith("-c:v libaom-av1 becomes libsvtav1")
    assert not translated("-crf 20 -preset veryfast").notes


REFUSED = [
    ("-c:v copy", "-c:v copy", "-c:v libx264"),
    ("-c:v libvpx-vp9", "-c:v libvpx-vp9", "libsvtav1"),
    ("-c:v prores_ks", "-c:v prores_ks", "libx265"),
    ("-c copy", "-c copy", "-c:a copy"),
    ("-c:a libmp3lame", "-c:a libmp3lame", "-c:a aac"),
    ("-crf 23 -b:v 3M", "-b:v 3M", "-maxrate 3M"),
    ("-b:v 3M -maxrate 5M", "-maxrate 5M", "-crf 23 -maxrate 5M"),
    ("-maxrate 5M", "-maxrate 5M", "-crf 23 -maxrate 5M"),
    ("-b:v 3M -minrate 1M", "-minrate 1M", "-b:v alone"),
    ("-crf 23 -bufsize 3M", "-bufsize 3M", "-maxrate"),
    ("-b:v 10k", "-b:v 10k", "50K"),
    ("-b:v fast", "-b:v fast", "3M"),
    ("-crf 70", "-crf 70", "0 to 51"),
    ("-crf 60", "-crf 60", "-crf 51"),
    ("-g 60", "-g 60", "-r 30 -g 60"),
    ("-r 30 -g 5000", "-g 5000", "60 s"),
    ("-r 500", "-r 500", "240"),
    ("-r quick", "-r quick", "30"),
    ("-ss 20 -to 10", "-to 10", ""),
    ("-ss -10", "-ss -10", "-ss"),
    ("-pix_fmt yuv422p10le", "-pix_fmt yuv422p10le", "yuv420p10le"),
    ("-c:v libx264 -pix_fmt yuv420p10le", "-pix_fmt yuv420p10le", "libx265"),
    ("-tune film", "-tune film", "zerolatency"),
    ("-profile:v baseline", "-profile:v baseline", "leave it out"),
    ("-preset nimble", "-preset nimble", "slow"),
    ("-ac 8", "-ac 8", "-ac 6"),
    ("-ar 22050", "-ar 22050", "leave it out"),
    ("-s 1281x720", "-s 1281x720", "1280x720"),
    ("-vf scale=iw/2:ih/2", "-vf scale=iw/2:ih/2", "scale=-2:720"),
    ("-vf crop=100:100", "-vf crop=100:100", "--fit crop"),
    ("-vf pad=100:100", "-vf pad=100:100", "--fit pad"),
    ("-vf scale=1280:720:force_original_aspect_ratio=decrease,pad=1280:720:0:0", "-vf pad=1280:720:0:0", "-1:-1"),
    ("-vf scale=1280:720:force_original_aspect_ratio=increase", None, "crop="),
    ("-vf subtitles=a.srt", "-vf subtitles=a.srt", "--burn"),
    ("-vf transpose=1", "-vf transpose=1", ""),
    ("-vf [0:v]scale=2:2[a];[a]fps=3", None, "scale=-2:720"),
    ("-af volume=2", "-af volume=2", "--loudness"),
    ("-af loudnorm=I=-60", "-af loudnorm=I=-60", "-40"),
    ("-map 0:v -map 0:3", "-map 0:3", "language"),
    ("-filter_complex x", "-filter_complex x", "-vf"),
    ("-lavfi x", "-lavfi x", "-vf"),
    ("-level:v 4.1", "-level:v 4.1", "-maxrate"),
    ("-pass 1", "-pass 1", "--vmaf"),
    ("-q:v 3", "-q:v 3", "-crf"),
    ("-f hls", "-f hls", "package"),
    ("-hls_time 6", "-hls_time 6", "package"),
    ("-movflags +faststart+frag_keyframe", "-movflags +faststart+frag_keyframe", "leave it out"),
    ("-movflags frag_keyframe", "-movflags frag_keyframe", "leave it out"),
    ("-shortest", "-shortest", "-t"),
    ("-bf 3", "-bf 3", "-preset slow"),
    ("-x264-params rc-lookahead=40", "-x264-params rc-lookahead=40", "-preset slow"),
    ("-force_key_frames 1,2,3", "-force_key_frames 1,2,3", "n_forced"),
    ("-maxrat 3M", "-maxrat 3M", "-maxrate"),
    ("-frobnicate 3", "-frobnicate 3", ""),
    ("-crf", "-crf ", ""),
    ("-c:a copy -b:a 128k", "-b:a 128k", "-c:a aac"),
    ("-c:a copy -af loudnorm", "-af loudnorm", "-c:a aac"),
    ("-vn -c:a copy", "-c:a copy", "-c:a aac"),
    ("-vn -an", "-vn", ""),
    ("-crf inf", "-crf inf", ""),
    ("-crf nan", "-crf nan", ""),
    ("-ss 99999999999:00:01", "-ss 99999999999:00:01", "00:01:30.5"),
]


@pytest.mark.parametrize(("words", "flag", "instead"), REFUSED, ids=[words for words, _, _ in REFUSED])
def test_what_a_profile_cannot_say_is_named_with_the_nearest_thing(words: str, flag: str | None, instead: str) -> None:
    faults = refused(words)
    assert len(faults) == 1
    ((named, (reason, nearest)),) = faults.items()
    assert flag in (None, named)
    assert reason
    assert instead in nearest


def test_all_faults_are_named_at_once() -> None:
    line = "-c:v libvpx-vp9 -level 4.1 -pass 2 -vf transpose=1,scale=1280:721,hue=s=0 -c:a mp3 -ac 8"
    assert list(refused(line)) == [
        *("-c:v libvpx-vp9", "-level 4.1", "-pass 2", "-vf transpose=1", "-vf scale=1280:721", "-vf hue=s=0"),
        *("-c:a mp3", "-ac 8"),
    ]


def test_a_fault_reads_as_a_sentence() -> None:
    assert [str(fault) for fault in translated("-c:a mp3 -vf transpose=1").faults] == [
        "-c:a mp3: workers do not encode it. Nearest: -c:a aac, -c:a libopus or -c:a copy",
        "-vf transpose=1: pictures are turned as the file's own rotation says.",
    ]


def test_options_are_taken_out_of_a_command_line() -> None:
    flags, others = split(shlex.split("a.mp4 -crf 23 -an --wait -i b.mp4 --loudness -16 s3://films/c.mp4 -h -- -x"))
    assert [flag.text for flag in flags] == ["-crf 23", "-an", "-i b.mp4"]
    assert others == ["a.mp4", "--wait", "--loudness", "-16", "s3://films/c.mp4", "-h", "--", "-x"]
    assert translate(flags).inputs == ["b.mp4"]


def test_no_options_are_an_empty_profile() -> None:
    assert translated("") == ({}, [], [], [])


def test_every_option_has_one_meaning() -> None:
    tables = set(READERS), set(NOT_HERE), set(BENEATH)
    assert not tables[0] & tables[1]
    assert not tables[0] & tables[2]
    assert not tables[1] & tables[2]
    assert set(ALIASES.values()) <= set.union(*tables)
    assert set.union(*tables) >= FLAGS
    assert {name: canonical(name) for name in READERS} == {name: name for name in READERS}


WORDS = [*READERS, *ALIASES, *NOT_HERE, *BENEATH, "-zz"]
VALUES = [
    *CODECS,
    *AUDIO_CODECS,
    *PRESETS,
    "3M",
    "0",
    "-1",
    "50",
    "1:30",
    "scale=-2:720",
    "pad=3:3",
    "crop",
    "a=b=c",
    "0:a",
    "",
    "ΩΩ",
]


@given(st.lists(st.sampled_from(WORDS + VALUES) | st.text(max_size=20), max_size=14))
def test_no_command_line_breaks_the_translation(arguments: list[str]) -> None:
    flags, others = split(arguments)
    translation = translate(flags)
    assert len(others) + sum(1 + (flag.value is not None) for flag in flags) >= len(arguments)
    if not translation.faults and translation.profile:
        read_jobs(json.dumps(contract("job") | {"profile": translation.profile}).encode())
