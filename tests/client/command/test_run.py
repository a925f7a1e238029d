"""The command as a shell runs it, against a server of its own: exit statuses, JSON, bars, Ctrl-C with real signals."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import threading
import time
from codecs import getincrementaldecoder
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.client.server import Reply, Server, problem
from tests.conftest import ROOT

COMMAND = [sys.executable, "-m", "elasticrecode_client.command"]
JOBS = "GET /api/v1/jobs"
Run = Callable[..., "subprocess.CompletedProcess[str]"]


def record(job_id: str, state: str, **more: Any) -> dict[str, Any]:
    """A job's record, as the API answers it."""
    empty = dict.fromkeys(
        (
            *("queueReason", "origin", "batchID", "queuedAt", "startedAt", "endedAt", "progress", "outputs", "copyOf"),
            *("quality", "ladder", "warnings", "division", "plan", "budget", "dollars", "error", "replaces"),
            *("replacedBy", "queue"),
        )
    )
    known = {"jobID": job_id, "userID": "ann", "kind": "ffmpeg", "state": state, "attempt": 1, "priority": 0}
    places = {"input": f"s3://films/{job_id}.mov", "output": "s3://films/out/", "profile": {}, "createdAt": 1.7e9}
    return empty | known | places | more


FINISHED = record(
    "a", "finished", endedAt=1.7e9, outputs=[{"uri": "s3://films/out/a.mov", "bytes": 10, "role": "file"}]
)
FAILED = record(
    "a", "failed", endedAt=1.7e9, error={"code": "input-empty", "message": "The input is empty.", "log": []}
)
SCORE = {"mean": 80.0, "harmonicMean": 79.0, "min": 60.0, "p5": 70.0, "model": "vmaf_v0.6.1", "frames": 10}
BELOW = record("a", "finished", endedAt=1.7e9, quality={"vmaf": SCORE, "passed": False})


@pytest.fixture
def environment(server: Server, tmp_path: Path) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT / "client" / "src"),
        "HOME": str(tmp_path),
        "ELASTICRECODE_URL": server.url,
        "TERM": "xterm",
        "COLUMNS": "120",
    }


@pytest.fixture
def run(environment: dict[str, str], tmp_path: Path) -> Run:
    """Runs the command in a pipe, and holds that it shows no traceback and no escape sequence."""

    def call(*arguments: str, stdin: str = "", **more: str) -> "subprocess.CompletedProcess[str]":
        ended = subprocess.run(
            [*COMMAND, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            env=environment | more,
            cwd=tmp_path,
            timeout=60,
        )
        assert "Traceback" not in ended.stderr
        assert "\x1b" not in ended.stdout + ended.stderr
        return ended

    return call


STATUSES = [
    (["status", "a"], Reply(200, FINISHED), 0),
    (["status", "a"], Reply(200, FAILED), 1),
    (["status", "a"], Reply(200, BELOW), 3),
    (["status", "a"], problem(404, "Not found", "There is no job a."), 2),
    (["status", "a"], problem(401, "Unauthorized", "Send a token."), 4),
    (["status", "a"], problem(403, "Forbidden", "For operators only."), 4),
    (["status", "a"], problem(409, "Conflict", "It has ended."), 2),
]


@pytest.mark.parametrize(
    ("words", "reply", "status"), STATUSES, ids=[str(reply.status) + str(n) for _, reply, n in STATUSES]
)
def test_the_exit_status_says_how_it_ended(
    run: Run, server: Server, words: list[str], reply: Reply, status: int
) -> None:
    server.replies["GET /api/v1/jobs/a/status"] = [reply] * 3
    assert run(*words).returncode == status
    as_json = run(*words, "--json")
    assert as_json.returncode == status
    assert json.loads(as_json.stdout or as_json.stderr)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["frobnicate"], "There is no command 'frobnicate'."),
        (["lst"], "Did you mean list?"),
        (["list", "--stat", "failed"], "--state"),
        (["list", "--state", "broken"], "'broken' is not one of"),
        (["list", "--since", "yore"], "write 30m, 2h"),
        (["list", "--since", "9999-12-31T23:59:59-12:00"], "write 30m, 2h"),
        (["list", "--since", f"{'9' * 30}d"], "write 30m, 2h"),
        (["submit", "s3://films/a.mov", "--keyframe-seconds", "inf"], "'inf' is no number."),
        (["submit", "s3://films/a.mov", "--loudness", "nan"], "'nan' is no number."),
        (["status"], "Missing argument"),
        (["submit"], "Which profile?"),
        (["submit", "-crf", "23"], "Which FILE?"),
        (["submit", "no.mov", "ftp://x/y", "-crf", "23"], "no.mov: there is no such file here"),
        (["submit", "a.mov", "--preset", "x", "--profile", "y"], "give one of them"),
        (["submit", "a.mov", "--profile", "no.json"], "no.json: No such file or directory"),
        (["submit", "a.mov", "-level", "4", "-pass", "1"], "-pass 1: workers encode in one pass"),
        (["submit", "s3://films/a.mov", "-crf", "23"], "--output: say where outputs of s3://films/a.mov go"),
        (["submit", "-i", "s3://films/a.mov", "-crf", "23", "b.mp4"], "outputs keep the name of their input"),
        (["batch", "submit", "--preset", "x", "--output", "s3://films/o/"], "Which inputs?"),
        (["retry"], "Which jobs?"),
        (["submit", ".", "-crf", "23"], ".: is a folder"),
        (["submit", "/dev/null", "-crf", "23"], "/dev/null: is no regular file"),
        (["compare", ".", "nor.mov"], ".: is a folder"),
        (["compare", "a.mov", "a.mov", "--min-vmaf", "101"], "'--min-vmaf': 101"),
        (["compare", "no.mov", "nor.mov"], "nor.mov: there is no such file here"),
        (["list", "--deployment", "none"], "There is no profile 'none'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage_is_named(run: Run, words: list[str], message: str) -> None:
    ended = run(*words)
    assert ended.returncode == 2
    assert message in ended.stderr
    assert not ended.stdout


def test_wrong_usage_is_json_too(run: Run) -> None:
    for words, message in ((["lst"], "Did you mean list?"), (["status"], "Missing argument"), (["submit"], "Which")):
        error = json.loads(run(*words, "--json").stderr)["error"]
        assert error["exit"] == 2
        assert message in error["message"]


def test_a_service_that_does_not_answer_is_soon_said_to_be_out_of_reach(run: Run, tmp_path: Path) -> None:
    (tmp_path / "film.mov").write_bytes(b"film")
    lines = ("queues list", "submit film.mov --preset x", "watch a", "batch show a --wait")
    with ThreadPoolExecutor(len(lines)) as threads:
        for ended in threads.map(lambda line: run(*line.split(), ELASTICRECODE_URL="http://127.0.0.1:9"), lines):
            assert ended.returncode == 5
            assert "Is the address right?" in ended.stderr


def test_a_fault_is_named_by_what_was_typed(run: Run, server: Server) -> None:
    errors = [
        {"pointer": "/profile/ffmpeg/bitrate", "detail": "must be less"},
        {"pointer": "/profile/audio/loudness", "detail": "must be more"},
        {"pointer": "/output", "detail": "must lie elsewhere"},
    ]
    refusal = problem(422, "Invalid", "3 faults", errors=errors)
    server.replies["POST /api/v1/jobs"] = [refusal, refusal]
    words = ["submit", "s3://films/a.mov", "-b:v", "3M", "--loudness", "-5", "--output", "s3://films/o/"]
    ended = run(*words)
    assert ended.returncode == 2
    assert ended.stderr.splitlines() == [
        "The request has 3 faults; nothing was stored.",
        "  -b:v 3M: must be less",
        "  --loudness: must be more",
        "  --output: must lie elsewhere",
    ]
    error = json.loads(run(*words, "--json").stderr)["error"]
    assert (error["exit"], error["errors"][0]) == (2, errors[0] | {"flag": "-b:v 3M"})


def submitted(*jobs: str) -> Reply:
    entries = [
        {"jobid": job, "input": f"s3://films/{job}.mov", "status": {"status": "accepted"}, "userid": "ann"}
        for job in jobs
    ]
    return Reply(200, entries)


def test_a_local_file_is_uploaded_and_sent(run: Run, server: Server, tmp_path: Path) -> None:
    (tmp_path / "film.mov").write_bytes(b"film" * 1000)
    server.always["GET /api/v1/presets"] = [{"name": "h264-720p", "profile": {}}]
    server.replies["POST /api/v1/jobs"] = [submitted("a")]
    ended = run("submit", "film.mov", "--preset", "h264-720p", "--output", "s3://films/o/", "--key", "k", "--json")
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)[0]["jobid"] == "a"
    assert server.content("u0") == b"film" * 1000
    (sent,) = server.requests("POST /api/v1/jobs")
    assert sent.json == {
        "userid": "ann",
        "input": "s3://media/film.mov",
        "output": "s3://films/o/",
        "profile": {"preset": "h264-720p"},
    }
    assert sent.headers["idempotency-key"] == "k"


def test_the_same_file_and_key_make_the_same_request(run: Run, server: Server, tmp_path: Path) -> None:
    server.replies["POST /api/v1/jobs"] = [submitted("a"), submitted("a")]
    words = ("submit", "film.mov", "-crf", "23", "--output", "s3://films/o/", "--key", "k")
    for cache in ("one machine", "another machine"):
        (tmp_path / "film.mov").write_bytes(b"film" * 1000)
        assert run(*words, XDG_CACHE_HOME=str(tmp_path / cache)).returncode == 0
    first, second = server.requests("POST /api/v1/jobs")
    assert (first.body, first.headers["idempotency-key"]) == (second.body, second.headers["idempotency-key"])
    assert len(server.uploads) == 1


def test_a_preset_that_nobody_knows_is_refused_before_the_upload(run: Run, server: Server, tmp_path: Path) -> None:
    (tmp_path / "film.mov").write_bytes(b"film" * 1000)
    server.always["GET /api/v1/presets"] = [{"name": "h264-720p", "profile": {}}]
    ended = run("submit", "film.mov", "--preset", "h264-72p", "--output", "s3://films/o/")
    assert ended.returncode == 2
    assert "there is no preset h264-72p" in ended.stderr
    assert not server.requests("POST /api/v1/uploads")


def test_jobs_are_followed_line_by_line_in_a_pipe(run: Run, server: Server) -> None:
    server.replies["POST /api/v1/jobs"] = [submitted("a")]
    server.always["GET /api/v1/jobs/a/status"] = record("a", "running")
    with_error = {"error": {"code": "input-empty", "message": "The input is empty.", "log": []}}

    def later() -> None:
        while not server.sockets:
            time.sleep(0.05)
        server.event("a", "JobStart")
        server.event("a", "JobProgress", progress={"percent": 50, "speed": 2.0, "etaSeconds": 61})
        server.always["GET /api/v1/jobs/a/status"] = FAILED
        server.event("a", "JobFailed", **with_error)

    threading.Thread(target=later, daemon=True).start()
    ended = run("submit", "s3://films/a.mov", "-crf", "23", "--output", "s3://films/o/", "--wait")
    assert ended.returncode == 1
    lines = ended.stdout.splitlines()
    assert lines[0] == "submitted a  a.mov"
    assert lines[-4].endswith("  a  JobStart     a.mov")
    assert lines[-3].endswith("  a  JobProgress  a.mov  50 %, 2.0×, 1:01 left")
    assert lines[-2].endswith("JobFailed    a.mov  input-empty: The input is empty.")
    assert lines[-1] == "failed    a.mov  input-empty: The input is empty."


def _begin(terminal: int) -> None:
    """Take the terminal, and Ctrl-C, which whatever runs the tests may ignore."""
    os.close(os.open(os.ttyname(terminal), os.O_RDWR))
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Terminal:
    """The command in a terminal of its own."""

    def __init__(self, environment: dict[str, str], folder: Path, *arguments: str) -> None:
        self.text = ""
        self._decoder = getincrementaldecoder("utf-8")("replace")  # a read may end within a character
        self._screen, inner = pty.openpty()
        self._process = subprocess.Popen(
            [*COMMAND, *arguments], stdin=inner, stdout=inner, stderr=inner, env=environment, cwd=folder,
            start_new_session=True, preexec_fn=lambda: _begin(inner),
        )  # fmt: skip
        os.close(inner)

    def until(self, words: str, seconds: float = 90.0) -> None:
        """Read until the screen has shown these words."""
        end = time.monotonic() + seconds
        while not re.search(words, self.text):
            assert time.monotonic() < end, self.text
            if select.select([self._screen], [], [], 0.1)[0]:
                try:
                    self.text += self._decoder.decode(os.read(self._screen, 65536))
                except OSError:
                    break
        assert re.search(words, self.text), self.text

    def type(self, text: str) -> None:
        os.write(self._screen, text.encode())

    def interrupt(self) -> None:
        """Ctrl-C, as the terminal sends it."""
        self._process.send_signal(signal.SIGINT)

    def end(self) -> int:
        """The exit status, once it has ended."""
        with suppress(AssertionError):
            self.until("a text that never comes")
        status = self._process.wait(90)
        os.close(self._screen)
        return status


def following(server: Server) -> None:
    server.replies["POST /api/v1/jobs"] = [submitted("a", "b")]
    for job in ("a", "b"):
        server.always[f"GET /api/v1/jobs/{job}/status"] = record(job, "running", progress={"percent": 25.0})


SUBMIT = ("submit", "s3://films/a.mov", "s3://films/b.mov", "-crf", "23", "--output", "s3://films/o/", "--wait")


def test_running_jobs_have_bars_on_a_terminal(server: Server, environment: dict[str, str], tmp_path: Path) -> None:
    following(server)
    screen = Terminal(environment, tmp_path, *SUBMIT)
    screen.until(r"a\.mov.*25%")
    screen.until(r"b\.mov.*25%")
    server.event("a", "JobProgress", progress={"percent": 75.0, "speed": 3.0, "etaSeconds": 5})
    screen.until(r"75%.*3\.0×  0:05 left")
    for job in ("a", "b"):
        server.always[f"GET /api/v1/jobs/{job}/status"] = FINISHED | record(job, "finished", endedAt=1.7e9)
        server.event(job, "JobFinished")
    screen.until(r"finished  a\.mov")
    screen.until(r"finished  b\.mov")
    assert screen.end() == 0
    assert "\x1b[?25h" in screen.text.rpartition("\x1b[?25l")[2]  # the cursor is back


def test_no_color_turns_colours_off(server: Server, environment: dict[str, str], tmp_path: Path) -> None:
    server.always["GET /api/v1/jobs"] = [FINISHED]
    coloured, plain = (
        Terminal(environment | {"NO_COLOR": value}, tmp_path, "list", "--limit", "5") for value in ("", "1")
    )
    for screen in (coloured, plain):
        screen.until(r"a\.mov")
        assert screen.end() == 0
    assert "\x1b[32m" in coloured.text
    assert "\x1b" not in plain.text


def test_ctrl_c_asks_and_cancels(server: Server, environment: dict[str, str], tmp_path: Path) -> None:
    following(server)
    screen = Terminal(environment, tmp_path, *SUBMIT)
    screen.until(r"b\.mov.*25%")
    screen.interrupt()
    screen.until(r"Cancel the 2 jobs\? Ctrl-C leaves them running \[y/N\]")
    for job in ("a", "b"):
        server.always[f"DELETE /api/v1/jobs/{job}"] = record(job, "cancelled")
    screen.type("y\n")
    screen.until("cancelled b")
    assert screen.end() == 130
    assert [one.path for one in server.seen if one.method == "DELETE"] == ["/api/v1/jobs/a", "/api/v1/jobs/b"]


def test_a_second_ctrl_c_leaves_jobs_running(server: Server, environment: dict[str, str], tmp_path: Path) -> None:
    following(server)
    screen = Terminal(environment, tmp_path, *SUBMIT)
    screen.until(r"b\.mov.*25%")
    screen.interrupt()
    screen.until(r"\[y/N\]")
    screen.interrupt()
    screen.until(r"The 2 jobs go on: `elasticrecode watch a b` watches on\.")
    assert screen.end() == 130
    assert "Traceback" not in screen.text
    assert not [one for one in server.seen if one.method == "DELETE"]


def batch_record(state: str) -> dict[str, Any]:
    """A batch's record, as the API answers it, with one job in a state."""
    states = ("accepted", "queued", "running", "finished", "failed", "cancelled")
    empty = dict.fromkeys(("manifest", "prefix", "suffixes", "priority", "endedAt", "error"))
    known = {
        "batchID": "b1",
        "userID": "ann",
        "state": state,
        "total": 1,
        "output": "s3://films/o/",
        "createdAt": 1.7e9,
    }
    lists = {"progress": {}, "failures": {}, "profile": {}, "faultCount": 0, "faults": [], "warnings": []}
    return empty | known | lists | {each: int(each == state) for each in states}


@pytest.mark.parametrize("is_wanted", [True, False], ids=["yes", "no"])
def test_ctrl_c_asks_whether_a_batch_ends(
    server: Server, environment: dict[str, str], tmp_path: Path, is_wanted: bool
) -> None:
    server.always["GET /api/v1/batches/b1"] = batch_record("running")
    server.always["DELETE /api/v1/batches/b1"] = batch_record("cancelled")
    screen = Terminal(environment, tmp_path, "batch", "show", "b1", "--wait")
    screen.until("1 running")
    screen.interrupt()
    screen.until(r"Cancel the batch\? Ctrl-C leaves it running \[y/N\]")
    screen.type("y\n" if is_wanted else "n\n")
    screen.until("cancelled b1" if is_wanted else "The batch goes on: `elasticrecode batch show b1 --wait` waits on")
    assert screen.end() == 130
    assert len([one for one in server.seen if one.method == "DELETE"]) == is_wanted


def test_a_job_that_nobody_knows_keeps_no_other_from_being_cancelled(run: Run, server: Server) -> None:
    server.always["DELETE /api/v1/jobs/b"] = record("b", "cancelled")
    ended = run("cancel", "a", "b")
    assert ended.returncode == 2
    assert "cancelled b" in ended.stderr


def test_a_timeout_leaves_jobs_running(run: Run, server: Server) -> None:
    following(server)
    ended = run(*SUBMIT, "--timeout", "1")
    assert ended.returncode == 6
    assert ended.stderr.strip() == (
        "2 of 2 jobs have not ended within 1 s. They go on: `elasticrecode watch a b` watches on."
    )


def test_text_of_others_moves_no_cursor(run: Run, server: Server) -> None:
    evil = FAILED | {"error": {"code": "x", "message": "\x1b[2J\u202eowned\r", "log": []}}
    server.always["GET /api/v1/jobs/a/status"] = evil
    assert "\N{REPLACEMENT CHARACTER}[2J" in run("status", "a").stdout


EVIL = "[red]a\nfinished  forged\r\t\x85\u2028\x1b[2K"
"""A name that would begin a line of its own, and paint it."""


def evil_routes() -> dict[str, Any]:
    """Answers whose every text is evil, for commands that list and show."""
    gone = record("a", "failed", input=f"s3://films/{EVIL}", output=EVIL, origin=EVIL, queue=EVIL, queueReason=EVIL)
    gone |= {"endedAt": 1.7e9, "kind": EVIL, "batchID": EVIL, "error": {"code": EVIL, "message": EVIL, "log": [EVIL]}}
    gone |= {"outputs": [{"uri": EVIL, "bytes": 1, "videoCodec": EVIL}], "warnings": [{"message": EVIL}]}
    event = {"jobID": "a", "action": "JobFailed", "msg": EVIL, "error": {"code": EVIL, "message": EVIL, "log": [EVIL]}}
    load: dict[str, Any] = dict.fromkeys(("queue", "kind", "platform", "fault", "outage"), EVIL)
    load |= dict.fromkeys(("visible", "inFlight", "readyReplicas", "expectedSeconds"), 1) | {"paused": False}
    worker = dict.fromkeys(("Queue", "workerType", "Platform", "Replicas", "desiredReplicas"), EVIL)
    faults = {"failures": {EVIL: 1}, "faults": [{"line": 1, "detail": EVIL}], "warnings": [EVIL]}
    batch = batch_record("failed") | {"prefix": EVIL, "output": EVIL, "endedAt": 1.7e9} | faults
    hook: dict[str, Any] = dict.fromkeys(("webhookID", "url", "state", "reason"), EVIL) | {"lastSuccessMs": 1}
    return {
        "GET /api/v1/jobs/a/status": gone,
        "GET /api/v1/jobs/a": [event],
        "GET /api/v1/jobs": [gone],
        "GET /api/v1/batches/b1": batch,
        "GET /api/v1/batches": [batch],
        "GET /api/v1/worker/queues": {EVIL: [EVIL]},
        "GET /api/v1/worker/backlog": [load],
        "GET /api/v1/worker/deployments": {EVIL: worker},
        "GET /api/v1/presets": [{"name": EVIL, "source": EVIL, "profile": {}, "resolved": {}}],
        "GET /api/v1/webhooks": [hook],
    }


@pytest.mark.parametrize(
    "line",
    [
        *("status a", "logs a", "list", "watch a", "batch show b1", "batch list", "queues list", "workers backlog"),
        *("workers deployments", "presets list", "webhooks list", "status unknown", "submit"),
    ],
)
def test_no_name_forges_a_line(run: Run, server: Server, tmp_path: Path, line: str) -> None:
    server.always |= evil_routes()
    server.replies["GET /api/v1/jobs/unknown/status"] = [problem(404, EVIL, EVIL)]
    ended = run(*line.split(), *((f"{tmp_path}/{EVIL}", "-crf", "20") if line == "submit" else ()))
    shown = ended.stdout + ended.stderr
    assert "[red]a\N{REPLACEMENT CHARACTER}finished  forged" in shown
    assert "fault of its own" not in shown
    lines = shown.splitlines()
    assert not [each for each in lines if each.lstrip().startswith("finished")]
    assert not {"\r", "\t", "\x1b"} & set(shown)
    if line.split()[0] not in ("watch", "submit") and line != "status unknown":
        answered = json.loads(run(*line.split(), "--json").stdout)
        assert json.dumps(EVIL)[1:-1] in json.dumps(answered)


def test_no_name_forges_or_paints_a_bar(server: Server, environment: dict[str, str], tmp_path: Path) -> None:
    following(server)
    evil = record("a", "running", progress={"percent": 25.0}) | {"input": f"s3://films/{EVIL}"}
    server.always["GET /api/v1/jobs/a/status"] = evil
    screen = Terminal(environment, tmp_path, *SUBMIT)
    screen.until(r"\[red\]a\ufffdfinished  forged.*25%")
    for job in ("a", "b"):
        server.always[f"GET /api/v1/jobs/{job}/status"] = evil | {"jobID": job, "state": "finished", "endedAt": 1.7e9}
        server.event(job, "JobFinished")
    screen.until(r"finished  \[red\]a\ufffdfinished  forged")
    assert screen.end() == 0


def test_text_that_the_encoding_lacks_is_no_fault(run: Run, server: Server) -> None:
    server.always["GET /api/v1/jobs/a/status"] = FINISHED | {"input": "s3://films/é\ud800.mov"}
    assert "→" not in run("status", "a", PYTHONIOENCODING="ascii").stdout
    assert json.loads(run("status", "a", "--json").stdout)["input"] == "s3://films/é?.mov"


def test_a_login_is_kept_for_its_owner_alone(run: Run, server: Server, tmp_path: Path) -> None:
    ended = run("login", server.url, "--name", "farm", "--token", stdin="secret-token\n", ELASTICRECODE_URL="")
    assert ended.returncode == 0, ended.stderr
    kept = tmp_path / ".config" / "elasticrecode" / "config.toml"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert "secret-token" not in run("login", "--show", "--json").stdout
    server.always["GET /api/v1/worker/queues"] = {"cpu": ["q"]}
    assert run("queues", "list", ELASTICRECODE_URL="").returncode == 0
    assert server.requests("GET /api/v1/worker/queues")[0].headers["authorization"] == "Bearer secret-token"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_commands_and_options(run: Run, shell: str) -> None:
    script = run("completion", shell).stdout
    assert "_ELASTICRECODE_COMPLETE" in script
    words = {"COMP_WORDS": "elasticrecode li", "COMP_CWORD": "1" if shell != "fish" else "li"}
    completed = run(**words, _ELASTICRECODE_COMPLETE=f"{shell}_complete")
    assert "list" in completed.stdout
    words = {"COMP_WORDS": "elasticrecode list --st", "COMP_CWORD": "2" if shell != "fish" else "--st"}
    assert "--state" in run(**words, _ELASTICRECODE_COMPLETE=f"{shell}_complete").stdout


def test_a_reader_that_leaves_is_no_fault(server: Server, environment: dict[str, str], tmp_path: Path) -> None:
    server.always["GET /api/v1/jobs"] = [FINISHED] * 5000
    line = f"{' '.join(COMMAND)} list --all --json | head -c 10"
    ended = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line}"], env=environment, capture_output=True, text=True, cwd=tmp_path
    )
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_file_whose_name_is_not_utf_8_is_named(run: Run, tmp_path: Path) -> None:
    name = os.fsdecode(b"bad\xff.mov")
    (tmp_path / name).write_bytes(b"film")
    ended = run("submit", str(tmp_path / name), "-crf", "23")
    assert ended.returncode == 2
    assert "its name is not UTF-8" in ended.stderr


def test_the_package_runs_as_a_module(run: Run, environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "elasticrecode_client", "--version"]
    shown = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert shown.stdout == run("--version").stdout
