"""The command on the deployed stack: real uploads, real ffmpeg, in a pipe and in a terminal; examples of its help."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from local import users
from tests.client.command.test_help import EXAMPLES
from tests.client.command.test_run import COMMAND, Terminal
from tests.conftest import ROOT, Tell
from tests.e2e.conftest import FFMPEG, FFPROBE, Deployed, wait_for
from tests.e2e.test_deployed import BUNNY
from tests.fakes.receiver import Receiver, running

pytestmark = pytest.mark.timeout(900)
Shell = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def folder(deployed: Deployed, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with films, a profile and lists, as the examples of the help have them."""
    place = tmp_path_factory.mktemp("command")
    ffmpeg = [str(FFMPEG)]
    cut = [*ffmpeg, "-v", "error", "-y", "-t", "4.5", "-i", str(BUNNY), "-c", "copy", str(place / "film.mov")]
    subprocess.run(cut, check=True)
    small = ["-vf", "scale=480:270", "-c:v", "libx264", "-preset", "veryfast", "-b:v", "600k", str(place / "clip.mp4")]
    subprocess.run([*ffmpeg, "-v", "error", "-y", "-i", str(place / "film.mov"), *small], check=True)
    (place / "profile.json").write_text('{"ffmpeg": {"codec": "h264", "scale": "360p", "bitrate": "1M"}}')
    deployed.put(place / "film.mov", "in/film.mov")
    deployed.put(place / "clip.mp4", "out/film.mp4")
    (place / "inputs.txt").write_text(f"s3://{deployed.bucket}/in/film.mov\n")
    return place


@pytest.fixture(scope="module")
def environment(deployed: Deployed, folder: Path) -> dict[str, str]:
    return {
        "PATH": f"{folder}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT / "client" / "src"),
        "HOME": str(folder / "home"),
        "ELASTICRECODE_URL": deployed.place.url,
        "ELASTICRECODE_TOKEN": deployed.signed(users.OPERATOR)["Authorization"].removeprefix("Bearer "),
        "TERM": "xterm",
        "COLUMNS": "140",
    }


@pytest.fixture(scope="module")
def shell(environment: dict[str, str], folder: Path) -> Shell:
    """Runs the command, or with `line` a line of a shell, and holds that no traceback shows."""

    def run(*words: str, line: str = "", **more: str) -> "subprocess.CompletedProcess[str]":
        command = ["bash", "-o", "pipefail", "-c", line] if line else [*COMMAND, *words]
        ended = subprocess.run(
            command, capture_output=True, text=True, check=False, env=environment | more, cwd=folder, timeout=400
        )
        assert "Traceback" not in ended.stderr, ended.stderr
        assert "\x1b" not in ended.stdout + ended.stderr
        return ended

    return run


def answer(ended: "subprocess.CompletedProcess[str]", status: int = 0) -> Any:
    """The one JSON document on standard output."""
    assert ended.returncode == status, ended.stderr + ended.stdout
    return json.loads(ended.stdout)


def test_a_local_file_is_transcoded_and_comes_back(shell: Shell, deployed: Deployed, folder: Path) -> None:
    words = "submit film.mov -c:v libx264 -crf 30 -preset veryfast -vf scale=-2:360 -an --wait --download back"
    worker, watchers = deployed.supervisor.pids()["worker-ffmpeg-0"], deployed.watchers()
    os.kill(worker, signal.SIGSTOP)  # until the command watches: the job must not be done by then
    with ThreadPoolExecutor(1) as threads:
        command = threads.submit(shell, *words.split())
        try:
            wait_for(lambda: deployed.watchers() - watchers or command.done(), "the command's watch")
        finally:
            os.kill(worker, signal.SIGCONT)
        ended = command.result()
    assert ended.returncode == 0, ended.stderr
    lines = ended.stdout.splitlines()
    assert lines[0].startswith("submitted ")
    # After 15 s without an event the command reads the record, and a first chain of functions may start slower.
    assert all(lines[0].split()[1] in line and "film.mov" in line for line in lines[1:-1]), lines
    starts, ends = (sum(action in line for line in lines) for action in ("JobStart", "JobFinished"))
    assert (starts, ends) in ((1, 1), (1, 0), (0, 0)), lines
    assert lines[-1].startswith("finished  film.mov  → s3://")
    shown = ["-show_entries", "stream=codec_type,height", "-of", "csv=p=0"]
    probe = [str(FFPROBE), "-v", "error", *shown, str(folder / "back" / "film.mov")]
    assert subprocess.run(probe, capture_output=True, text=True, check=True).stdout.split() == ["video,360"]
    job = lines[0].split()[1]
    (told,) = answer(shell("download", job, "-o", "again", "--json"))
    keys = [output["uri"].rpartition("/")[2] for output in answer(shell("status", job, "--json"))["outputs"]]
    assert sorted(told["files"]) == sorted(f"again/{key}" for key in keys)
    for file in told["files"]:
        assert (folder / file).read_bytes() == (folder / file.replace("again/", "back/")).read_bytes()


def test_all_files_of_a_package_come(shell: Shell, deployed: Deployed, folder: Path) -> None:
    words = ("--format", "hls,dash", "--speed", "fast", "--poster", "--sprite", "--wait", "--json")
    output = f"s3://{deployed.bucket}/packed/"
    (job,) = answer(shell("package", f"s3://{deployed.bucket}/in/film.mov", *words, "--output", output))
    (told,) = answer(shell("download", job["jobID"], "-o", "packed", "--json"))
    assert sorted(told["files"]) == deployed.keys("packed/")


def test_a_repetition_with_a_key_makes_no_second_job(shell: Shell) -> None:
    words = "submit film.mov --preset h264-360p --key the-key --json"
    ((first,), (second,)) = (answer(shell(*words.split(), XDG_CACHE_HOME=cache)) for cache in ("here", "elsewhere"))
    assert first["jobid"] == second["jobid"]
    assert shell("watch", first["jobid"]).returncode == 0


def test_scores_here_and_on_the_fleet_are_equal_and_hold_the_bar(shell: Shell, tell: Tell) -> None:
    words = ("clip.mp4", "film.mov", "--scale", "480x270", "--json")
    fleet = answer(shell("vmaf", *words, "--min-vmaf", "10"))["quality"]
    here = answer(shell("compare", *words, "--min-vmaf", "10"))["quality"]
    assert here["vmaf"]["mean"] == pytest.approx(fleet["vmaf"]["mean"], abs=0.01)
    means = {"here": here["vmaf"]["mean"], "fleet": fleet["vmaf"]["mean"]}
    tell("VMAF × 100", {name: round(100 * mean) for name, mean in means.items()})
    assert answer(shell("vmaf", *words, "--min-vmaf", "99.9"), 3)["quality"]["passed"] is False
    assert answer(shell("compare", *words, "--min-vmaf", "99.9"), 3)["quality"]["passed"] is False


def test_a_plan_is_shown_and_carried_out(shell: Shell) -> None:
    plan = answer(shell("submit", "film.mov", "--preset", "h264-360p", "--speed", "fast", "--plan", "--json"))
    assert plan["state"] == "finished"
    (job,) = answer(shell("submit", "--plan-id", plan["planID"], "--wait", "--json"))
    assert (job["state"], job["plan"]) == ("finished", plan["planID"])


def test_jobs_have_bars_in_a_terminal(environment: dict[str, str], folder: Path) -> None:
    words = ("submit", "film.mov", "clip.mp4", "--preset", "h264-360p", "--no-reuse", "--wait")
    screen = Terminal(environment, folder, *words)
    screen.until(r"━", 300)
    screen.until(r"finished  film\.mov", 300)
    screen.until(r"finished  clip\.mp4", 300)
    assert screen.end() == 0


def test_ctrl_c_cancels_a_job(environment: dict[str, str], folder: Path, shell: Shell) -> None:
    queue = "ffmpeg_job"
    assert shell("queues", "pause", queue).returncode == 0
    try:
        screen = Terminal(environment, folder, "submit", "film.mov", "--preset", "h264-360p", "--wait")
        screen.until(r"1 waiting|0/1|job ", 300)
        screen.until(r"submitted (\S+)\s", 60)
        job = re.findall(r"submitted (\S+)", screen.text)[0]
        screen.until("waiting", 60)
        screen.interrupt()
        screen.until(r"Cancel the job\?", 60)
        screen.type("y\n")
        screen.until("cancelled", 60)
        assert screen.end() == 130
    finally:
        assert shell("queues", "resume", queue).returncode == 0
    assert answer(shell("status", job, "--json"), 1)["state"] == "cancelled"


def test_a_batch_of_a_list_is_followed_to_its_end(shell: Shell, deployed: Deployed) -> None:
    words = ("batch", "submit", "--list", "inputs.txt", "--preset", "h264-360p", "--wait", "--json")
    record = answer(shell(*words, "--output", f"s3://{deployed.bucket}/b/"))
    assert (record["state"], record["total"], record["finished"]) == ("finished", 1, 1)
    assert record["batchID"] in {one["batchID"] for one in answer(shell("batch", "list", "--json"))}
    assert shell("batch", "cancel", record["batchID"]).returncode == 2


def test_presets_are_stored_used_and_removed(shell: Shell) -> None:
    stored = answer(shell("presets", "put", "tiny", *["-crf", "34", "-vf", "scale=-2:240"], "--json"))
    assert stored["profile"]["ffmpeg"]["quality"] == {"crf": 34}
    assert "tiny" in {one["name"] for one in answer(shell("presets", "list", "--json"))}
    assert shell("presets", "remove", "tiny").returncode == 0
    assert shell("presets", "remove", "tiny").returncode == 2


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with running() as started:
        yield started


def test_a_webhook_is_added_tested_and_removed(shell: Shell, receiver: Receiver) -> None:
    hook = answer(shell("webhooks", "add", receiver.url, "--on", "JobFinished", "--json"))
    assert hook["secret"].startswith("whsec_")

    def arrives() -> bool:
        ended = shell("webhooks", "test", hook["webhookID"], "--json")
        return ended.returncode == 0 and answer(ended)["error"] is None

    wait_for(arrives, "a test that arrives")  # one does not while the receiver stands still for longer than it may
    assert answer(shell("webhooks", "failures", hook["webhookID"], "--json")) == []
    assert answer(shell("webhooks", "retry", hook["webhookID"], "--json")) == {"sent": 0}
    assert shell("webhooks", "remove", hook["webhookID"]).returncode == 0
    assert hook["webhookID"] not in {one["webhookID"] for one in answer(shell("webhooks", "list", "--json"))}


def test_who_is_not_signed_in_gets_nothing(shell: Shell) -> None:
    assert shell("list", ELASTICRECODE_TOKEN="no.such.token").returncode == 4


NOT_HERE = ("login", "completion", "webhooks", "example.com", "--ladder auto", "queues pause", "queues resume")
"""Examples that need a person, a name on the internet, minutes of work, or an id; other tests run these commands."""
READING = [
    example
    for _, example in EXAMPLES
    if not any(word in example for word in NOT_HERE) and not re.search(r"\b(JOB|BATCH|WEBHOOK)2?\b", example)
    if example.split()[1] in ("list", "presets", "queues", "workers", "compare", "watch")
]


@pytest.mark.parametrize("example", READING)
def test_an_example_of_the_help_runs(shell: Shell, deployed: Deployed, folder: Path, example: str) -> None:
    script = folder / "elasticrecode"
    if not script.exists():
        script.write_text(f'#!/bin/sh\nexec {" ".join(COMMAND)} "$@"\n')
        script.chmod(0o755)
        if not shutil.which("jq"):
            check = "import sys, json; [json.loads(line) for line in sys.stdin]"
            (folder / "jq").write_text(f"#!/bin/sh\nexec {sys.executable} -c '{check}'\n")
            (folder / "jq").chmod(0o755)
    ended = shell(line=example.replace("s3://films", f"s3://{deployed.bucket}"))
    assert ended.returncode == 0, ended.stderr + ended.stdout
