"""The Python client on the deployed stack: it signs in, submits, watches over a connection that breaks, and uploads."""

import asyncio
import hashlib
import os
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from elasticrecode_client import AsyncClient, Client, Cognito, Forbidden, Invalid, NotFound, SignInFailed
from elasticrecode_client.uploading import Sent
from tests.conftest import ROOT
from tests.e2e.conftest import PASSWORD, TENANTS, Deployed

ANN, BOB = TENANTS
FFMPEG: Any = {"ffmpeg": {"codec": "h264", "scale": "240p", "bitrate": "1M"}}


class Cable:
    """Connections to a port of this machine that can be cut, all at once."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        while self._open:
            with suppress(OSError):
                self._open.pop().shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("localhost", self._to))
                self._open += [near, far]
                for source, target in ((near, far), (far, near)):
                    threading.Thread(target=self._copy, args=(source, target), daemon=True).start()

    @staticmethod
    def _copy(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while content := source.recv(65536):
                target.sendall(content)
        with suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)
        source.close()


@pytest.fixture
def cable(deployed: Deployed) -> Iterator[Cable]:
    laid = Cable(deployed.place.port)
    yield laid
    laid.close()


@pytest.fixture
def ann(deployed: Deployed) -> Iterator[Client]:
    with Client(deployed.place.url, auth=Cognito(ANN, PASSWORD)) as client:
        yield client


@pytest.fixture(scope="module")
def clip(clips: Callable[..., Path]) -> Path:
    return clips("client.mp4", "-f", "lavfi", "-i", "testsrc=s=320x240:d=2:r=10", "-pix_fmt", "yuv420p")


def test_a_user_uploads_a_file_submits_it_and_waits_for_it(deployed: Deployed, ann: Client, clip: Path) -> None:
    assert ann.version()["userID"] == ANN
    source = ann.upload(clip)
    job = ann.submit(source, f"s3://{deployed.bucket}/client/", FFMPEG)
    (record,) = ann.wait(job["jobid"], timeout=120)
    assert (record["state"], record["userID"]) == ("finished", ANN)
    assert record["outputs"]
    assert [event["action"] for event in ann.job_events(job["jobid"]) if event["action"] != "JobProgress"] == [
        "JobSummit",
        "JobStart",
        "JobFinished",
    ]
    assert {link["role"] for link in ann.links(job["jobid"])["links"]} >= {"input"}


def test_a_watch_sees_every_event_once_over_a_connection_that_breaks(
    deployed: Deployed, cable: Cable, clip: Path
) -> None:
    """Each event breaks the connection, and the next job is submitted only then: its events need another one."""
    uri = deployed.put(clip, "in/watched.mp4")
    with Client(cable.url, auth=Cognito(ANN, PASSWORD)) as client:

        def submit() -> str:
            return client.submit(uri, f"s3://{deployed.bucket}/watched{len(actions)}/", FFMPEG)["jobid"]

        actions: dict[str, list[str]] = {}
        actions[latest := submit()] = []
        with client.watch(since=client.job(latest)["createdAt"] - 5) as watch:
            for event in watch:
                cable.cut()
                if event["jobID"] in actions:
                    actions[event["jobID"]].append(event["action"])
                if (event["jobID"], event["action"]) == (latest, "JobFinished"):
                    if len(actions) == 3:
                        break
                    actions[latest := submit()] = []
            assert watch.following.connections > 2
    for told in actions.values():
        assert [action for action in told if action != "JobProgress"] == ["JobSummit", "JobStart", "JobFinished"]


def test_a_wait_in_asyncio_ends_with_many_jobs(deployed: Deployed, clip: Path) -> None:
    uri = deployed.put(clip, "in/waited.mp4")

    async def wait() -> list[Any]:
        async with AsyncClient(deployed.place.url, auth=Cognito(ANN, PASSWORD)) as client:
            submitted = [client.submit(uri, f"s3://{deployed.bucket}/waited{n}/", FFMPEG) for n in range(3)]
            jobs = [job["jobid"] for job in await asyncio.gather(*submitted)]
            records = await client.wait(jobs, timeout=150)
            listed = [record["jobID"] async for record in client.jobs(limit=1, state="finished")]
            assert set(jobs) <= set(listed)
            return records

    assert [record["state"] for record in asyncio.run(wait())] == ["finished"] * 3


def test_a_large_upload_goes_on_after_its_process_broke_off(
    deployed: Deployed, ann: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "film.mov"
    path.write_bytes(os.urandom(1 << 20) * 50)
    size = path.stat().st_size

    def break_off(sent: Sent) -> None:
        if sent.sent > 40 << 20:  # more than four parts of 8 MiB: one of them has arrived
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ann.upload(path, progress=break_off)
    seen: list[Sent] = []
    with Client(deployed.place.url, auth=Cognito(ANN, PASSWORD)) as another:
        uri = another.upload(path, progress=seen.append)
    assert seen[0].sent > 0
    assert seen[-1] == (size, size)
    stored = deployed.s3.get_object(Bucket=deployed.bucket, Key=uri.split("/", 3)[3])["Body"].read()
    assert hashlib.sha256(stored).digest() == hashlib.sha256(path.read_bytes()).digest()


def test_a_wrong_request_says_all_its_faults(deployed: Deployed, ann: Client) -> None:
    wrong: Any = {"ffmpeg": {"codec": "mpeg2", "scale": "240p", "bitrate": "1M"}}
    with pytest.raises(Invalid) as caught:
        ann.submit("file.mp4", "out", wrong)
    assert {fault.pointer for fault in caught.value.errors} >= {"/input", "/output", "/profile/ffmpeg/codec"}
    assert caught.value.request_id in str(caught.value)
    with pytest.raises(Forbidden):
        list(ann.jobs(user_id=BOB))
    with pytest.raises(NotFound):
        ann.job("no-such-job")


def test_a_repeated_key_makes_no_second_job(deployed: Deployed, ann: Client, clip: Path) -> None:
    uri = deployed.put(clip, "in/repeated.mp4")
    first, second = (ann.submit(uri, f"s3://{deployed.bucket}/repeated/", FFMPEG, key="the-key") for _ in range(2))
    assert first["jobid"] == second["jobid"]
    ann.wait(first["jobid"], timeout=120)


def test_a_wrong_password_is_refused_with_cognitos_words(deployed: Deployed) -> None:
    with Client(deployed.place.url, auth=Cognito(ANN, "wrong")) as client, pytest.raises(SignInFailed, match="ann"):
        client.version()


def test_the_code_of_the_how_to_runs(
    deployed: Deployed, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    deployed.put(clip, "in/a.mp4")
    (tmp_path / "film.mp4").write_bytes(clip.read_bytes())
    monkeypatch.chdir(tmp_path)
    settings = {"URL": deployed.place.url, "USERNAME": ANN, "PASSWORD": PASSWORD}
    for name, value in settings.items():
        monkeypatch.setenv(f"ELASTICRECODE_{name}", value)
    page = (ROOT / "docs" / "how-to" / "python.md").read_text()
    names: dict[str, Any] = {}
    for block in re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL):
        exec(block.replace("s3://films/", f"s3://{deployed.bucket}/"), names)
    names["client"].close()
    shown = capsys.readouterr().out
    assert shown.count("finished") >= 3
    assert "/input" in shown
