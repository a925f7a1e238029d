"""Rules between the fields of a profile: each contradiction is refused at its field, and what makes sense is taken."""

import json
from typing import Any

import msgspec
import pytest

from elasticrecode.batches.request import read_batch
from elasticrecode.batches.survey import Line, Survey
from elasticrecode.drops import rules as drops
from elasticrecode.errors import Invalid
from elasticrecode.jobs.job import Job, flaws, products
from elasticrecode.jobs.requests import read_jobs, read_preset, read_vmaf
from elasticrecode.media.generations import beyond_first, first_generation_message
from elasticrecode.validation import Body
from tests.conftest import contract

ENCODE = {"codec": "h264", "scale": "720p", "bitrate": "2M"}
QUALITY = {"codec": "h264", "scale": "720p", "quality": {"crf": 22}}
RUNG = {"scale": "720p", "bitrate": "2M"}
KEY = "00112233445566778899aabbccddeeff"
BARE = {"scheme": "cbcs", "keyUri": "https://keys.example/1"}
LOCK = BARE | {"secretId": "elasticrecode/ana/film"}
AV1 = {"codec": "av1", "scale": "720p", "bitrate": "2M"}


def request(profile: Any, **changes: Any) -> bytes:
    return json.dumps(contract("job") | {"profile": profile} | changes).encode()


def faults(profile: Any, **changes: Any) -> dict[str, str]:
    with pytest.raises(Invalid) as caught:
        read_jobs(request(profile, **changes))
    return dict(caught.value.faults)


@pytest.mark.parametrize(
    ("part", "fields", "pointer", "detail"),
    [
        ("ffmpeg", {"codec": "h264", "scale": "720p"}, "ffmpeg/bitrate", "is required, or quality"),
        ("ffmpeg", ENCODE | {"quality": {"crf": 22}}, "ffmpeg/bitrate", "beside quality"),
        ("ffmpeg", ENCODE | {"maxBitrate": "4M"}, "ffmpeg/maxBitrate", "goes with quality"),
        ("ffmpeg", QUALITY | {"maxBitrate": "1K"}, "ffmpeg/maxBitrate", "from 50K to 200000K"),
        ("ffmpeg", QUALITY | {"buffersize": "4M"}, "ffmpeg/buffersize", "needs maxBitrate"),
        ("ffmpeg", QUALITY | {"quality": {"crf": 52}}, "ffmpeg/quality/crf", "at most 51 for h264"),
        ("ffmpeg", AV1 | {"quality": {"crf": 64}}, "ffmpeg/quality/crf", "at most 63"),
        ("ffmpeg", QUALITY | {"quality": {"crf": 0}, "platform": "gpu"}, "ffmpeg/quality/crf", "more than 0 on gpu"),
        ("ffmpeg", QUALITY | {"quality": {}}, "ffmpeg/quality", "either crf or vmaf"),
        ("ffmpeg", QUALITY | {"quality": {"crf": 20, "vmaf": 93}}, "ffmpeg/quality", "either crf or vmaf"),
        ("ffmpeg", QUALITY | {"quality": {"crf": 20, "floor": 90}}, "ffmpeg/quality/floor", "goes with vmaf"),
        ("ffmpeg", QUALITY | {"quality": {"crf": 20, "model": "v1"}}, "ffmpeg/quality/model", "goes with vmaf"),
        ("ffmpeg", QUALITY | {"quality": {"crf": 20, "tolerance": 1}}, "ffmpeg/quality/tolerance", "goes with vmaf"),
        ("ffmpeg", QUALITY | {"quality": {"vmaf": 90, "floor": 91}}, "ffmpeg/quality/floor", "at most the target, 90"),
        ("ffmpeg", QUALITY | {"quality": {"vmaf": 100}}, "ffmpeg/quality/vmaf", "99"),
        ("ffmpeg", QUALITY | {"quality": {"vmaf": 93}, "platform": "gpu"}, "ffmpeg/quality/vmaf", "on gpu"),
        ("ffmpeg", ENCODE | {"bitDepth": 10}, "ffmpeg/bitDepth", "must be 8 for h264"),
        ("ffmpeg", ENCODE | {"bitDepth": 12}, "ffmpeg/bitDepth", "one of 8, 10"),
        ("ffmpeg", ENCODE | {"dynamicRange": "keep"}, "ffmpeg/dynamicRange", "auto or sdr for h264"),
        ("ffmpeg", AV1 | {"dynamicRange": "keep", "bitDepth": 8}, "ffmpeg/dynamicRange", "HDR needs 10 bits"),
        ("ffmpeg", ENCODE | {"start": 5, "end": 5}, "ffmpeg/end", "after start, 5, not 5"),
        ("ffmpeg", ENCODE | {"end": 0}, "ffmpeg/end", "must be more than 0, not 0"),
        ("ffmpeg", ENCODE | {"scale": "source", "fit": "pad"}, "ffmpeg/fit", "no box to fill"),
        ("ffmpeg", ENCODE | {"fit": "stretch"}, "ffmpeg/fit", "one of contain, crop, exact, pad"),
        ("ffmpeg", ENCODE | {"frameRate": "0"}, "ffmpeg/frameRate", "1 to 240 frames"),
        ("ffmpeg", ENCODE | {"keyframeSeconds": 0}, "ffmpeg/keyframeSeconds", "at least 0.1"),
        ("ffmpeg", ENCODE | {"originCodec": "av1"}, "ffmpeg/originCodec", "one of h264"),
        ("ffmpeg", AV1 | {"platform": "gpu"}, "ffmpeg/codec", "av1 is encoded on cpu"),
        ("ffmpeg", ENCODE | {"bitrate": "145K"}, "ffmpeg/bitrate", "from 1M to 15M, not 145K"),
        ("audio", {"codec": "copy", "loudness": -23}, "audio/loudness", "beside codec copy"),
        ("audio", {"codec": "copy", "channels": "stereo"}, "audio/channels", "beside codec copy"),
        ("audio", {"codec": "copy", "bitrate": "96K"}, "audio/bitrate", "beside codec copy"),
        ("audio", {"codec": "none", "tracks": "all"}, "audio/tracks", "beside codec none"),
        ("audio", {"codec": "opus", "channels": "mono", "bitrate": "320K"}, "audio/bitrate", "at most 256K for mono"),
        ("audio", {"loudness": 0}, "audio/loudness", "at most -5"),
        ("audio", {"tracks": []}, "audio/tracks", "must hold at least 1, not 0"),
        ("audio", {"tracks": ["en"] * 33}, "audio/tracks", "must hold at most 32, not 33"),
        ("audio", {"tracks": ["en", "EN"]}, "audio/tracks/1", "repeats /profile/audio/tracks/0"),
        ("audio", {"tracks": ["english"]}, "audio/tracks/0", "a language tag"),
        ("audio", {"tracks": "some"}, "audio/tracks", "must be one of all, first or an array, not"),
        ("audio", {"tracks": 7}, "audio/tracks", "must be one of all, first or an array, not 7"),
        ("subtitles", {"tracks": ["de", "de"]}, "subtitles/tracks/1", "repeats"),
        ("subtitles", {"burn": "x"}, "subtitles/burn", "a language tag"),
        ("images", {"sprite": {"everySeconds": 0}}, "images/sprite/everySeconds", "at least 1"),
        ("images", {"poster": "yes"}, "images/poster", "must be"),
        ("package", {"formats": []}, "package/formats", "at least 1"),
        ("package", {"formats": ["hls", "hls"]}, "package/formats/1", "repeats hls"),
        ("package", {"ladder": []}, "package/ladder", "at least 1"),
        ("package", {"ladder": [RUNG] * 13}, "package/ladder", "at most 12"),
        ("package", {"ladder": [RUNG, RUNG]}, "package/ladder/1", "repeats /profile/package/ladder/0"),
        ("package", {"ladder": [RUNG | {"maxBitrate": "1M"}]}, "package/ladder/0/maxBitrate", "at least the bitrate"),
        ("package", {"ladder": [RUNG | {"codec": "vp9"}]}, "package/ladder/0/codec", "one of av1, h264, h265"),
        ("package", {"ladder": [RUNG | {"scale": "9:9"}]}, "package/ladder/0/scale", "even sides"),
        ("package", {"ladder": "automatic"}, "package/ladder", "one of auto, av1, h264, h265 or an array"),
        ("package", {"auto": {}}, "package/auto", "needs the ladder auto"),
        ("package", {"ladder": "auto", "auto": {"codec": "vp9"}}, "package/auto/codec", "one of av1, h264, h265"),
        ("package", {"ladder": "auto", "auto": {"topVmaf": 100}}, "package/auto/topVmaf", "at most 99"),
        ("package", {"ladder": "auto", "auto": {"bottomBitrate": "1K"}}, "package/auto/bottomBitrate", "from 50K"),
        (
            "package",
            {"ladder": "auto", "auto": {"bottomBitrate": "2M", "maxBitrate": "1M"}},
            "package/auto/maxBitrate",
            "at least the bottomBitrate, 2M, not 1M",
        ),
        ("package", {"ladder": "auto", "dynamicRange": "keep"}, "package/dynamicRange", "cannot carry HDR"),
        ("package", {"dynamicRange": "keep"}, "package/dynamicRange", "cannot carry HDR"),
        ("package", {"segmentSeconds": 0}, "package/segmentSeconds", "at least 1"),
        ("package", {"encryption": LOCK | {"scheme": "cenc"}}, "package/encryption/scheme", "one of aes-128, cbcs"),
        ("package", {"encryption": LOCK | {"scheme": "aes-128"}}, "package/encryption/scheme", "must be cbcs for dash"),
        ("package", {"encryption": LOCK | {"key": KEY}}, "package/encryption/secretId", "beside key"),
        ("package", {"encryption": BARE}, "package/encryption/secretId", "or key in its place"),
        ("package", {"encryption": LOCK | {"sealedKey": "AA=="}}, "package/encryption/sealedKey", "not for requests"),
        (
            "package",
            {"encryption": BARE | {"key": KEY, "keyId": KEY.upper()}},
            "package/encryption/keyId",
            "hold the key",
        ),
        (
            "package",
            {"encryption": {"scheme": "cbcs", "keyUri": f"https://keys.example/{KEY}", "key": KEY}},
            "package/encryption/keyUri",
            "hold the key",
        ),
        ("package", {"encryption": LOCK | {"secretId": "other"}}, "package/encryption/secretId", "elasticrecode/"),
        (
            "package",
            {"encryption": LOCK | {"keyUri": 'http://a/"'}},
            "package/encryption/keyUri",
            "http:// or https://",
        ),
        ("package", {"encryption": LOCK, "early": True}, "package/early", "not encrypted"),
        ("package", {"formats": ["dash"], "early": True}, "package/early", "without hls"),
        ("split", "sometimes", "split", "one of auto, never"),
    ],
)
def test_a_contradiction_points_to_its_field(part: str, fields: Any, pointer: str, detail: str) -> None:
    result = faults({"ffmpeg": ENCODE, part: fields})
    assert detail in result[f"/profile/{pointer}"]


def test_a_ladder_of_no_known_name_has_one_fault() -> None:
    with pytest.raises(Invalid) as caught:
        read_jobs(request({"package": {"ladder": "automatic"}}))
    assert [fault.pointer for fault in caught.value.faults] == ["/profile/package/ladder"]


def test_rules_leave_out_no_fault_of_another_place() -> None:
    assert set(faults({"package": {"ladder": "automatic", "segmentSeconds": 0}, "audio": {"loudness": 0}})) == {
        "/profile/package/ladder",
        "/profile/package/segmentSeconds",
        "/profile/audio/loudness",
    }


@pytest.mark.parametrize(
    "profile",
    [
        {"ffmpeg": QUALITY | {"maxBitrate": "8M", "buffersize": "16M"}},
        {"ffmpeg": AV1 | {"bitrate": "145K", "bitDepth": 10, "dynamicRange": "keep"}},
        {"ffmpeg": {"codec": "av1", "scale": "source", "quality": {"crf": 63}}},
        {"ffmpeg": {"codec": "av1", "scale": "source", "quality": {"vmaf": 93, "tolerance": 0.3, "floor": 90}}},
        {"ffmpeg": QUALITY | {"quality": {"vmaf": 93, "model": "v1"}}, "vmaf": {"scale": "720p", "model": "v1"}},
        {"ffmpeg": ENCODE | {"bitrate": "20M", "scale": "2160p"}},
        {"ffmpeg": ENCODE | {"bitrate": "365K", "fit": "contain", "start": 0, "end": 0.5}},
        {"ffmpeg": ENCODE | {"profile": "latency", "speed": "slow"}},
        {"ffmpeg": ENCODE | {"dynamicRange": "sdr", "bitDepth": 8, "frameRate": "30000/1001", "deinterlace": "double"}},
        {"ffmpeg": ENCODE, "audio": {"codec": "copy", "channels": "source", "tracks": "all"}},
        {"ffmpeg": ENCODE, "audio": {"codec": "none"}, "images": {"poster": True, "sprite": {}}},
        {"ffmpeg": ENCODE, "audio": {"tracks": ["en", "pt-BR"]}, "subtitles": {"tracks": "all", "burn": "en"}},
        {"audio": {"loudness": -14, "tracks": "all"}},
        {"audio": {"codec": "opus", "tracks": ["en"]}, "ec2": {"priceModel": "spot"}},
    ],
)
def test_a_profile_that_makes_sense_is_taken_by_every_door(profile: dict[str, Any]) -> None:
    (job,) = read_jobs(request(profile))
    body = {"userid": "u", "output": "s3://outputs/", "profile": profile, "inputs": ["s3://films/a.mp4"]}
    assert read_batch(json.dumps(body).encode(), "b", 0).batch.profile == job.profile
    assert read_preset(Body(json.dumps({"profile": profile}).encode())) == job.profile
    drop = {"prefix": "in/", "userid": "u", "output": "s3://outputs/", "profile": profile}
    assert list(drops.faults([drop])) == []
    assert msgspec.convert(msgspec.to_builtins(job), type(job)) == job


def test_all_contradictions_are_reported_at_once_by_every_door() -> None:
    profile = {
        "ffmpeg": {"codec": "h264", "scale": "source", "bitDepth": 10, "fit": "crop", "start": 9, "end": 1},
        "audio": {"codec": "none", "loudness": -20},
        "subtitles": {"tracks": ["en", "en"]},
        "vmaf": {"scale": "720p", "onFail": "fail"},
    }
    expected = {
        "/profile/ffmpeg/bitrate", "/profile/ffmpeg/bitDepth", "/profile/ffmpeg/fit", "/profile/ffmpeg/end",
        "/profile/audio/loudness", "/profile/subtitles/tracks/1", "/profile/vmaf/min",
    }  # fmt: skip
    assert set(faults(profile)) == expected
    with pytest.raises(Invalid) as caught:
        read_preset(Body(json.dumps({"profile": profile}).encode()))
    assert {fault.pointer for fault in caught.value.faults} == expected
    body = {"userid": "u", "output": "s3://outputs/", "profile": profile, "inputs": ["s3://films/a.mp4"]}
    with pytest.raises(Invalid) as caught:
        read_batch(json.dumps(body).encode(), "b", 0)
    assert {fault.pointer for fault in caught.value.faults} == expected
    drop = {"prefix": "in/", "userid": "u", "output": "s3://outputs/", "profile": profile}
    assert {fault.pointer for fault in drops.faults([drop])} == {f"/0{pointer}" for pointer in expected}


@pytest.mark.parametrize("part", ["audio", "subtitles", "images"])
def test_a_request_for_a_score_has_no_part_of_a_transcode(part: str) -> None:
    body = contract("vmaf")
    body["profile"][part] = {}
    with pytest.raises(Invalid) as caught:
        read_vmaf(json.dumps(body).encode())
    assert dict(caught.value.faults) == {f"/profile/{part}": "is not for a score alone"}


def test_a_preset_that_only_scores_has_no_pictures_and_no_sound() -> None:
    profile = {"vmaf": {"scale": "720p"}, "images": {"poster": True}, "audio": {}}
    with pytest.raises(Invalid) as caught:
        read_preset(Body(json.dumps({"profile": profile}).encode()))
    assert [fault.pointer for fault in caught.value.faults] == ["/profile/audio", "/profile/images"]


def test_sound_alone_is_encoded_and_has_no_pictures() -> None:
    result = faults({"audio": {"codec": "copy"}, "images": {"poster": True}, "subtitles": {"tracks": "all"}})
    assert set(result) == {"/profile/audio/codec", "/profile/images", "/profile/subtitles"}
    assert "one track" in faults({"audio": {"codec": "opus", "tracks": "all"}})["/profile/audio/tracks"]


CERTIFICATE = ["film.mov.certificate.json", "film.mov.certificate.html"]


@pytest.mark.parametrize(
    ("profile", "names"),
    [
        ({"ffmpeg": ENCODE}, ["film.mov", *CERTIFICATE]),
        ({"ffmpeg": AV1}, ["film.mov.mp4", *CERTIFICATE]),
        ({"audio": {}}, ["film.m4a"]),
        ({"audio": {"codec": "opus"}}, ["film.opus"]),
        (
            {"ffmpeg": ENCODE, "images": {"poster": True, "sprite": {}}, "vmaf": {"scale": "720p"}},
            ["film.mov", "film.jpg", "film.thumbnails.vtt", "film.mov.vmaf.json", "film.mov.vmaf.html", *CERTIFICATE],
        ),
        ({"ffmpeg": ENCODE, "images": {"poster": False}}, ["film.mov", *CERTIFICATE]),
        ({"package": {"formats": ["hls"]}}, [*CERTIFICATE, "film/master.m3u8"]),
    ],
)
def test_a_job_writes_the_documented_files(profile: dict[str, Any], names: list[str]) -> None:
    (job,) = read_jobs(request(profile, input="s3://films/film.mov", output="s3://outputs/x/"))
    assert products(job) == [f"s3://outputs/x/{name}" for name in names]
    assert job.kind == "ffmpeg"


@pytest.mark.parametrize("part", [{"images": {"poster": True}}, {"subtitles": {"tracks": "all"}}])
def test_two_inputs_with_one_stem_collide_where_both_would_write_beside_their_film(part: dict[str, Any]) -> None:
    inputs = ["s3://films/a/film.mp4", "s3://films/b/film.mkv"]
    body = contract("job_batch") | {"batchInputs": inputs, "profile": {"ffmpeg": ENCODE}}
    assert len(read_jobs(json.dumps(body).encode())) == 2
    body["profile"] |= part
    with pytest.raises(Invalid) as caught:
        read_jobs(json.dumps(body).encode())
    assert "overwrite that of /batchInputs/0" in dict(caught.value.faults)["/batchInputs/1"]
    batch = {"userid": "u", "output": "s3://outputs/", "profile": body["profile"], "manifest": "s3://films/list.txt"}
    survey = Survey(read_batch(json.dumps(batch).encode(), "b", 0).batch)
    list(survey.pages([Line(n, uri) for n, uri in enumerate(inputs, 1)]))
    assert [(fault.line, "overwrite that of line 1" in fault.detail) for fault in survey.result.faults] == [(2, True)]


def test_opus_in_a_mov_is_refused_by_every_door() -> None:
    profile = {"ffmpeg": ENCODE, "audio": {"codec": "opus"}}
    assert "mov holds no opus" in faults(profile, input="s3://films/film.MOV")["/input"]
    batch = {"userid": "u", "output": "s3://outputs/", "profile": profile, "manifest": "s3://films/list.txt"}
    survey = Survey(read_batch(json.dumps(batch).encode(), "b", 0).batch)
    pages = list(survey.pages([Line(1, "s3://films/a.mov"), Line(2, "s3://films/b.mp4"), Line(3, "s3://films/c.webm")]))
    assert [inputs for _, (_, inputs) in pages] == [["s3://films/b.mp4", "s3://films/c.webm"]]
    drop = {"prefix": "in/", "userid": "u", "output": "s3://outputs/", "profile": profile, "suffixes": [".mp4", ".mov"]}
    assert [fault.pointer for fault in drops.faults([drop])] == ["/0/suffixes/1"]


@pytest.mark.parametrize(
    ("profile", "field"),
    [
        ({"ffmpeg": ENCODE}, ""),
        ({"ffmpeg": ENCODE | {"scale": "1920:1080"}}, ""),
        ({"ffmpeg": ENCODE | {"fit": "exact"}}, ""),
        ({"ffmpeg": ENCODE | {"scale": "3840:2160"}}, ""),
        ({"ffmpeg": ENCODE | {"profile": "latency", "platform": "gpu", "originCodec": "h264"}}, ""),
        ({"ffmpeg": AV1}, "ffmpeg.codec"),
        ({"ffmpeg": ENCODE | {"codec": "libsvtav1"}}, "ffmpeg.codec"),
        ({"ffmpeg": ENCODE | {"scale": "2160p"}}, "ffmpeg.scale"),
        ({"ffmpeg": ENCODE | {"scale": "source"}}, "ffmpeg.scale"),
        ({"ffmpeg": ENCODE | {"fit": "contain"}}, "ffmpeg.fit"),
        ({"ffmpeg": ENCODE | {"scale": "3840:2160", "bitrate": "20M"}}, "ffmpeg.bitrate"),
        ({"ffmpeg": QUALITY}, "ffmpeg.quality"),
        ({"ffmpeg": ENCODE | {"bitDepth": 8}}, "ffmpeg.bitDepth"),
        ({"ffmpeg": ENCODE, "audio": {"codec": "none"}}, "audio"),
        ({"ffmpeg": ENCODE, "subtitles": {"tracks": "all"}}, "subtitles"),
        ({"ffmpeg": ENCODE, "images": {"poster": True}}, "images"),
        ({"ffmpeg": ENCODE, "split": "auto"}, "split"),
        ({"audio": {}}, "audio"),
        ({"ffmpeg": ENCODE, "vmaf": {"scale": "720p", "model": "v0.6.1neg"}}, ""),
        ({"ffmpeg": ENCODE, "vmaf": {"scale": "720p", "model": "v1"}}, "vmaf.model"),
    ],
)
def test_a_job_needs_the_second_generation_for_what_the_first_does_not_know(profile: Any, field: str) -> None:
    (job,) = read_jobs(request(profile))
    assert beyond_first(job.profile) == field


@pytest.mark.parametrize(
    ("part", "field", "value"),
    [
        ("ffmpeg", "bitrate", "2M -f null"),
        ("ffmpeg", "maxBitrate", "fast"),
        ("ffmpeg", "buffersize", "-1M"),
        ("ffmpeg", "frameRate", "30,movie=x"),
        ("audio", "bitrate", "x"),
        ("audio", "tracks", ["en:title=x"]),
        ("subtitles", "tracks", ["../x"]),
        ("subtitles", "burn", "en'"),
    ],
)
def test_a_message_that_bypassed_the_doors_is_checked_before_ffmpeg_reads_it(part: str, field: str, value: Any) -> None:
    (job,) = read_jobs(request({"ffmpeg": QUALITY, "audio": {}, "subtitles": {}}))
    assert flaws(job) == []
    message = msgspec.to_builtins(job)
    message["profile"][part][field] = value
    assert len(flaws(msgspec.convert(message, Job))) == 1


def test_the_message_for_the_first_generation_has_neither_fit_nor_reuse_and_is_else_the_same() -> None:
    (job,) = read_jobs(request({"ffmpeg": ENCODE | {"scale": "1920:1080"}, "reuse": False}))
    assert beyond_first(job.profile) == ""
    message = json.loads(first_generation_message(msgspec.json.encode(job)))
    del (expected := json.loads(msgspec.json.encode(job)))["profile"]["ffmpeg"]["fit"]
    assert expected["profile"].pop("reuse") is False
    assert message == expected
    assert list(message["profile"]["ffmpeg"]) == list(contract("queue_message")["profile"]["ffmpeg"])


def test_a_package_goes_alone_and_beside_an_encode_and_a_score() -> None:
    score = {"scale": "720p"}
    profiles: list[dict[str, Any]] = [{}, {"vmaf": score}, {"ffmpeg": ENCODE, "images": {}}]
    for beside in profiles:
        profile = beside | {"package": {}}
        (job,) = read_jobs(request(profile))
        assert job.kind == "ffmpeg"
        assert beyond_first(job.profile) == "package"
        assert flaws(job) == []
        named = [uri.removeprefix(job.output) for uri in products(job) if "/" in uri.removeprefix(job.output)]
        assert [name.partition("/")[2] for name in named] == ["master.m3u8", "manifest.mpd"]


def test_a_package_is_not_for_gpus_copied_sound_and_scores_alone() -> None:
    assert "rungs are encoded on cpu" in faults({"package": {}, "ec2": {"platform": "gpu"}})["/profile/ec2/platform"]
    assert "beside package" in faults({"package": {}, "audio": {"codec": "copy"}})["/profile/audio/codec"]
    body = contract("vmaf") | {"profile": {"vmaf": {"scale": "720p"}, "package": {}}}
    with pytest.raises(Invalid) as caught:
        read_vmaf(json.dumps(body).encode())
    assert dict(caught.value.faults)["/profile/package"] == "is not for a score alone"


def test_no_preset_and_no_drop_holds_a_key() -> None:
    profile = {"package": {"encryption": BARE | {"key": KEY}}}
    with pytest.raises(Invalid) as caught:
        read_preset(Body(json.dumps({"profile": profile}).encode()))
    assert [pointer for pointer, _ in caught.value.faults] == ["/profile/package/encryption/key"]
    drop = {"prefix": "in/", "output": "out/", "userid": "ana", "profile": profile}
    assert "/0/profile/package/encryption/key" in {pointer for pointer, _ in drops.faults([drop])}


def test_no_fault_shows_a_key() -> None:
    for encryption in (BARE | {"key": KEY + "0"}, BARE | {"key": [KEY]}, KEY, [KEY]):
        found = faults({"package": {"encryption": encryption}})
        assert KEY not in str(found)


def test_a_package_that_plays_early_owns_the_file_that_players_open_first() -> None:
    (job,) = read_jobs(request({"package": {"early": True}}))
    assert products(job)[-1].endswith("/early.m3u8")
    (job,) = read_jobs(request({"package": {"early": False}}))
    assert not any(uri.endswith("/early.m3u8") for uri in products(job))


def test_packages_of_equal_stems_collide_and_are_not_read_again() -> None:
    profile: dict[str, Any] = {"package": {"formats": ["hls"]}}
    inputs = ["s3://films/a/film.mp4", "s3://films/b/film.mkv"]
    body = contract("job") | {"profile": profile, "batchInputs": inputs, "output": "s3://films/x/"}
    body.pop("input", None)
    with pytest.raises(Invalid) as caught:
        read_jobs(json.dumps(body).encode())
    assert any("would overwrite that of /batchInputs/0" in detail for _, detail in caught.value.faults)
    drop = {"prefix": "a/", "suffixes": [".mp4"], "output": "a/out/", "userid": "ana", "profile": profile}
    assert any("would put outputs into this drop" in detail for _, detail in drops.faults([drop]))
