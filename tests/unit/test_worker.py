"""The worker without AWS: command lines, names, progress, settings, ffprobe's reports, errors and logs."""

import logging
import math
import os
import re
import signal
import sys
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any, cast

import boto3
import msgspec
import pytest
from botocore.config import Config
from botocore.exceptions import EndpointConnectionError, ReadTimeoutError
from botocore.stub import Stubber

from elasticrecode.jobs.events import Failure, Progress
from elasticrecode.jobs.job import Job
from elasticrecode.jobs.uris import Outputs, output_name
from elasticrecode.media.codecs import container
from tests.conftest import ROOT, contract
from worker import __main__ as command
from worker import loop, pipeline
from worker.errors import JobError, PermanentError, TransientError
from worker.lease import Lease
from worker.log_format import LineFormatter, printable
from worker.media import video
from worker.media.progress import ProgressReader
from worker.reporter import Reporter
from worker.sandbox import isolation
from worker.sandbox.limits import JobLimits
from worker.sandbox.machine import cores, memory
from worker.sandbox.runner import Runner, last_lines
from worker.settings import ConfigurationError, Settings
from worker.storage import Storage
from worker.uploads import Uploads


@pytest.mark.parametrize(
    ("name", "muxer", "output"),
    [
        ("a.mp4", "mp4", "a.mp4"),
        ("a.MOV", "mov", "a.MOV"),
        ("a.b.mkv", "matroska", "a.b.mkv"),
        ("a.ts", "mpegts", "a.ts"),
        ("talk.webm", None, "talk.webm.mp4"),
        ("noextension", None, "noextension.mp4"),
        ("-i", None, "-i.mp4"),
    ],
)
def test_the_output_is_named_after_the_input(name: str, muxer: str | None, output: str) -> None:
    assert container(name) == muxer
    assert output_name(f"s3://b/x/{name}") == output


@pytest.mark.parametrize(
    ("name", "output"), [("a.mov", "a.mov.mp4"), ("a.ts", "a.ts.mp4"), ("a.mkv", "a.mkv"), ("a.m4v", "a.m4v")]
)
@pytest.mark.parametrize("codec", ["av1", "libsvtav1"])
def test_av1_goes_to_mp4_where_the_input_s_container_cannot_hold_it(name: str, output: str, codec: str) -> None:
    assert output_name(f"s3://b/x/{name}", codec) == output
    assert Outputs.of({"ffmpeg": {"codec": codec}}).names(f"s3://b/x/{name}")[0] == output
    assert output_name(f"s3://b/x/{name}", "h265") == name


def report(reader: ProgressReader, frame: int, elapsed: float) -> Progress:
    for line in (f"frame={frame}", "fps=50.0", "out_time_us=N/A"):
        assert reader.feed(line, elapsed) is None
    progress = reader.feed("progress=continue", elapsed)
    assert progress
    return progress


def test_the_estimate_is_right_after_a_quarter_at_a_steady_rate() -> None:
    reader = ProgressReader(frames=1000, duration=40.0)
    assert report(reader, 0, 1.0).etaSeconds is None  # the encoder fills its lookahead
    report(reader, 50, 2.0)
    progress = report(reader, 250, 6.0)  # 50 frames a second
    assert progress.percent == 25.0
    assert progress.etaSeconds == pytest.approx(15.0, rel=0.05)
    assert progress.speed == pytest.approx(2.0, rel=0.05)


@pytest.mark.parametrize("frame", ["inf", "nan", "1e400", "N/A", ""])
def test_a_frame_that_is_no_number_is_not_counted(frame: str) -> None:
    reader = ProgressReader(frames=1000, duration=40.0)
    for line in (f"frame={frame}", f"fps={frame}"):
        assert reader.feed(line, 1.0) is None
    assert reader.feed("progress=continue", 1.0) == Progress(frame=0, fps=None, percent=0.0)


def test_without_a_known_length_there_is_no_percentage() -> None:
    progress = report(ProgressReader(None, None), 10, 1.0)
    assert (progress.percent, progress.frame) == (None, 10)


def test_cover_art_is_not_a_video() -> None:
    art = {"codec_type": "video", "index": 1, "width": 300, "height": 300, "disposition": {"attached_pic": 1}}
    with pytest.raises(PermanentError) as caught:
        video.parse_report({"streams": [{"codec_type": "audio", "index": 0}, art], "format": {"format_name": "mp3"}})
    assert caught.value.failure.code == "input-no-video"


def test_the_error_names_every_wrong_setting() -> None:
    with pytest.raises(ConfigurationError) as caught:
        Settings.read({"WORKER_TYPE": "cook", "CORE": "TPU", "CONTROL_PLANE": "c", "LEASE_SECONDS": "1"})
    for name in ("WORKER_TYPE", "CORE", "QUEUE_NAME", "LEASE_SECONDS"):
        assert name in str(caught.value)


def test_four_variables_are_enough() -> None:
    settings = Settings.read({"WORKER_TYPE": "ffmpeg", "CORE": "CPU", "QUEUE_NAME": "q", "CONTROL_PLANE": "c"})
    assert (settings.kind, settings.jobs_table, settings.lease_seconds) == ("ffmpeg", "", 30.0)


def test_only_folders_of_this_worker_are_removed_at_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    settings = Settings.read({"WORKER_TYPE": "vmaf", "QUEUE_NAME": "q", "CONTROL_PLANE": "c", "POD_NAME": "w[1]"})
    for name in ("job-w[1]-abc", "job-w1-abc", "other"):
        (tmp_path / name).mkdir()
    pipeline.remove_leftovers(settings)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["job-w1-abc", "other"]


def test_programs_get_no_aws_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    assert not any(name.startswith("AWS_") for name in isolation.program_environment())
    assert isolation.program_environment()["PATH"]


@pytest.mark.parametrize(
    ("quota", "most"), [("max 100000", 10**6), ("100000 100000", 1), ("50000 100000", 1), ("x", 10**6)]
)
def test_cores_follow_the_quota_of_the_container(tmp_path: Path, quota: str, most: int) -> None:
    (tmp_path / "cpu.max").write_text(quota)
    assert 1 <= cores(tmp_path / "cpu.max") <= most


def test_documented_limits_have_their_defaults() -> None:
    page = (ROOT / "docs" / "reference" / "workers.md").read_text()
    rows = dict(re.findall(r"^\| `(MAX_\w+)` \| (\d+) \|", page, re.MULTILINE))
    assert rows == {f"MAX_{name.upper()}": str(value) for name, value in JobLimits()._asdict().items()}


def test_limits_come_from_the_environment_and_the_error_names_every_wrong_one() -> None:
    needed = {"WORKER_TYPE": "ffmpeg", "QUEUE_NAME": "q", "CONTROL_PLANE": "c"}
    settings = Settings.read(needed | {"MAX_PIXELS": "2073600", "MAX_CPU_SECONDS": "", "SANDBOX": "required"})
    assert settings.limits == JobLimits(pixels=2073600)
    assert settings.sandbox == "required"
    wrong = {
        "MAX_STREAMS": "0",
        "MAX_DISK_BYTES": "20Gi",
        "MAX_PIXELS": "-1",
        "MAX_JOB_SECONDS": "9" * 30,
        "SANDBOX": "no",
    }
    with pytest.raises(ConfigurationError) as caught:
        Settings.read(needed | wrong)
    for name in wrong:
        assert name in str(caught.value)


VIDEO = {"index": 0, "codec_type": "video", "codec_name": "h264", "width": 320, "height": 180}
PROBED: dict[str, Any] = {"streams": [VIDEO], "format": {"format_name": "mov,mp4,m4a", "duration": "8.0"}}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("index", "0"), ("index", -1), ("index", None), ("index", 10**400), ("width", "320"), ("width", 1e308),
        ("width", float("nan")), ("width", True), ("height", 0), ("height", []), ("codec_name", 7), ("duration", "nan"),
        ("duration", "1e999"), ("duration", -5), ("duration", {}), ("nb_frames", "9" * 5000), ("nb_frames", "N/A"),
        ("avg_frame_rate", "1/0"), ("avg_frame_rate", "9e300/1e-300"), ("avg_frame_rate", 25), ("avg_frame_rate", "/"),
        ("bit_rate", "inf"), ("bit_rate", -1), ("sample_aspect_ratio", "1:999999999"), ("sample_aspect_ratio", None),
        ("pix_fmt", None), ("bits_per_raw_sample", 10**9), ("disposition", []), ("disposition", {"attached_pic": "x"}),
        ("side_data_list", {}), ("side_data_list", [None, 1, {"rotation": "x"}, {"rotation": 1e300}]),
        ("side_data_list", [{"displaymatrix": "1 2\n3"}, {"displaymatrix": "0: a b c\n1: d e f\n2: g h i"}]),
        ("side_data_list", [{"displaymatrix": 5}]), ("color_transfer", []), ("field_order", {"a": 1}),
    ],
)  # fmt: skip
def test_absurd_values_of_ffprobe_are_unknown_or_no_video(name: str, value: object) -> None:
    try:
        probed = video.parse_report({**PROBED, "streams": [VIDEO | {name: value}]})
    except PermanentError as error:
        assert error.failure.code == "input-no-video"  # noqa: PT017
        return
    assert probed.width > 0
    assert min(probed.upright) > 0
    assert all(math.isfinite(number) for number in (probed.rate, probed.pixel_aspect, probed.duration or 0.0))
    msgspec.json.encode(probed)  # raises for a number that is not JSON, or exceeds 64 bits


@pytest.mark.parametrize("probed", [None, [], 1, "x", {}, {"streams": 1}, {"streams": [1, None]}, {"format": []}])
def test_a_malformed_report_has_no_video(probed: object) -> None:
    with pytest.raises(PermanentError) as caught:
        video.parse_report(probed)
    assert caught.value.failure.code == "input-no-video"


@pytest.mark.parametrize("name", ["hls", "concat", "", "image2,mov", 5])
def test_only_accepted_containers_are_read(name: object) -> None:
    with pytest.raises(PermanentError) as caught:
        video.parse_report({**PROBED, "format": {"format_name": name}})
    assert caught.value.failure.code == "input-not-video"


def test_memory_follows_the_limit_of_the_container(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("1048576\n")
    assert memory(tmp_path / "memory.max") == 1 << 20
    (tmp_path / "memory.max").write_text("max\n")
    assert memory(tmp_path / "memory.max") == memory(tmp_path / "none") > 1 << 20


def test_only_the_end_of_a_long_log_is_read(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(f"{tmp_path}/input: wrong\n" * 1_000_000)
    assert len(last_lines(log, tmp_path)) < 10_000
    assert last_lines(log, tmp_path)[-1] == "/input: wrong"


AWS_MESSAGE = "User: arn:aws:sts::123456789012:assumed-role/worker/i-1 is not authorized to perform: kms:Decrypt"
Call = Callable[[Storage, Path], None]


def download(storage: Storage, path: Path) -> None:
    storage.download("s3://media/in/a.mp4", path / "input", Runner())


def upload(storage: Storage, path: Path) -> None:
    Uploads(storage, "j", 1, Runner()).begin("s3://media/in/a.mp4", 4)


@pytest.mark.parametrize(("call", "method"), [(download, "head_object"), (upload, "create_multipart_upload")])
@pytest.mark.parametrize(
    ("code", "kind", "message"),
    [
        ("InvalidArgument", PermanentError, r"S3 refused s3://media/in/a\.mp4: InvalidArgument\."),
        ("SlowDown", TransientError, r"S3 did not serve s3://media/in/a\.mp4: SlowDown\."),
        ("KMS.DisabledException", PermanentError, r"The KMS key of s3://media/in/a\.mp4 .*: KMS\.DisabledException\."),
    ],
)
def test_users_see_the_code_of_an_aws_error_and_the_log_its_message(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    call: Call,
    method: str,
    code: str,
    kind: type[JobError],
    message: str,
) -> None:
    client = boto3.client("s3")
    with Stubber(client) as stub:
        stub.add_client_error(method, service_error_code=code, service_message=AWS_MESSAGE)
        with pytest.raises(kind) as caught:
            call(Storage(lambda: client), tmp_path)
    assert re.fullmatch(message, str(caught.value))
    assert caught.value.failure == Failure(caught.value.failure.code, str(caught.value), [])
    assert AWS_MESSAGE in caplog.text


@pytest.mark.parametrize(
    "error", [EndpointConnectionError(endpoint_url="http://10.1.2.3:9000/"), ReadTimeoutError(endpoint_url="http://x")]
)
def test_users_do_not_see_the_address_of_s3(tmp_path: Path, caplog: pytest.LogCaptureFixture, error: Exception) -> None:
    def connect() -> Any:
        raise error

    with pytest.raises(TransientError) as caught:
        download(Storage(connect), tmp_path)
    assert str(caught.value) == f"S3 could not be reached for s3://media/in/a.mp4: {type(error).__name__}."
    assert str(error) in caplog.text


def test_users_do_not_see_the_address_of_a_refused_connection(tmp_path: Path) -> None:
    never = Config(retries={"total_max_attempts": 1})
    storage = Storage(partial(boto3.client, "s3", endpoint_url="http://127.0.0.1:9", config=never))
    with pytest.raises(TransientError) as caught:
        download(storage, tmp_path)
    assert str(caught.value) == "S3 could not be reached for s3://media/in/a.mp4: EndpointConnectionError."


class FakeLeaseAndReporter:
    """A reporter that records events, and a lease that does nothing."""

    attempt = 1

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def send(self, action: str, **more: Any) -> None:
        self.events.append((action, more))

    def return_after(self, _: float) -> None:
        return

    def renew(self) -> None:
        return

    def check(self) -> None:
        return

    watched_closely = nullcontext


def test_users_see_the_class_of_an_unexpected_error_and_the_log_its_message(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError(AWS_MESSAGE)

    monkeypatch.setattr(loop, "run_job", fail)
    settings = Settings.read({"WORKER_TYPE": "ffmpeg", "QUEUE_NAME": "q", "CONTROL_PLANE": "c"})
    fake, job = FakeLeaseAndReporter(), msgspec.convert(contract("queue_message"), Job)
    work = loop._Work(job, loop._UNCLAIMED, cast(Lease, fake), cast(Reporter, fake), Runner())
    loop.Worker(settings)._run(work, 1)
    action, more = fake.events[-1]
    assert (action, more["error"].code, more["msg"]) == (
        "JobReturned",
        "worker-error",
        "The worker itself failed: RuntimeError.",
    )
    assert AWS_MESSAGE not in str(fake.events)
    assert AWS_MESSAGE in caplog.text


FORGED = "in/a.mp4\n2026-01-01 00:00:00,000 INFO job 1 finished\r\x1b[2J\u2028\u202e\x85\udc80é漢"


def test_text_from_users_cannot_forge_lines_of_the_log() -> None:
    assert printable("a b é 漢 \\n") == "a b é 漢 \\n"
    record = logging.LogRecord("x", logging.INFO, "", 1, "job %s finished", (FORGED,), None)
    line = LineFormatter("%(levelname)s %(message)s").format(record)
    assert line == (
        r"INFO job in/a.mp4\n2026-01-01 00:00:00,000 INFO job 1 finished\r\x1b[2J\u2028\u202e\x85\udc80é漢 finished"
    )
    try:
        raise ValueError(FORGED)
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, "", 1, "job %s failed", (FORGED,), sys.exc_info())
    first, *rest = LineFormatter("%(levelname)s %(message)s").format(record).split("\n")
    assert first.startswith("ERROR job")
    assert all(line.startswith("    ") and line.isprintable() for line in rest)


def test_the_worker_works_in_the_region_that_containers_of_aws_name(monkeypatch: pytest.MonkeyPatch) -> None:
    regions = []

    class Started:
        def __init__(self, settings: Settings) -> None:
            regions.append(boto3.session.Session().region_name)

        def run(self) -> None: ...

    variables = {"WORKER_TYPE": "debug", "QUEUE_NAME": "a", "CONTROL_PLANE": "b", "AWS_REGION": "eu-west-1"}
    monkeypatch.setattr(os, "environ", {**variables, "PATH": os.environ["PATH"]})
    monkeypatch.setattr(command, "Worker", Started)
    monkeypatch.setattr(sys, "argv", ["worker"])
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    assert command.main() == 0
    assert regions == ["eu-west-1"]
