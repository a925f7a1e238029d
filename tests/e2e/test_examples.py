"""Each of `examples/`, as a user runs it, against the deployed stack."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import boto3
import pytest
import yaml

from local import users
from local.place import REGION, TOOLS
from tests.browser import chromium
from tests.conftest import ROOT
from tests.e2e.conftest import Deployed, free_ports, wait_for
from tests.players.driver import serving

EXAMPLES = ROOT / "examples"
CLIP = ("-f", "lavfi", "-i", "testsrc2=duration=4:size=640x360:rate=25", "-pix_fmt", "yuv420p")
Clips = Callable[..., Path]
WORKER = "worker-ffmpeg-0"


def variables(deployed: Deployed, **more: str) -> dict[str, str]:
    """The environment of a user who has signed in, with an AWS account and the tools of this checkout."""
    return {
        "PATH": f"{Path(sys.executable).parent}:{TOOLS / 'bin'}:{ROOT / 'node_modules' / '.bin'}:{os.environ['PATH']}",
        "HOME": os.environ.get("HOME", "/"),
        "AWS_ENDPOINT_URL": deployed.place.aws_url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "ELASTICRECODE_URL": deployed.place.url,
        "ELASTICRECODE_TOKEN": deployed.signed()["Authorization"].removeprefix("Bearer "),
        "ELASTICRECODE_USER": users.OPERATOR,
        **more,
    }


def run(deployed: Deployed, *command: str | Path, status: int = 0) -> str:
    """What an example prints, which ends with this exit status."""
    done = subprocess.run(
        [EXAMPLES / command[0], *command[1:]],
        env=variables(deployed),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


@contextmanager
def beside(deployed: Deployed, command: Sequence[str | Path], **more: str) -> Iterator[subprocess.Popen[str]]:
    """An example that runs until its user ends it."""
    with subprocess.Popen(
        [sys.executable, EXAMPLES / command[0], *command[1:]],
        env=variables(deployed, **more),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.terminate()


@pytest.fixture(scope="module", autouse=True)
def _command(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The command of this checkout on the PATH."""
    script = tmp_path_factory.mktemp("bin") / "elasticrecode"
    python = f'PYTHONPATH="{ROOT / "client" / "src"}" exec "{sys.executable}"'
    script.write_text(f'#!/bin/sh\n{python} -m elasticrecode_client.command "$@"\n')
    script.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{script.parent}:{os.environ['PATH']}")
        yield


@pytest.fixture
def film(deployed: Deployed, clips: Clips) -> str:
    """The URI of a film of the user."""
    return deployed.put(clips("example.mp4", *CLIP), "examples/film.mp4")


def test_every_example_has_a_paragraph() -> None:
    folders = {path.name for path in EXAMPLES.iterdir() if path.is_dir()}
    assert set(re.findall(r"^## .*\(`(.+?)/`\)$", (EXAMPLES / "README.md").read_text(), re.MULTILINE)) == folders


def test_curl_submits_and_waits(deployed: Deployed, film: str) -> None:
    record = json.loads(run(deployed, "curl/submit.sh", film, f"s3://{deployed.bucket}/by-curl/"))
    assert record["state"] == "finished"
    assert "by-curl/film.mp4" in deployed.keys("by-curl/")
    missing = run(deployed, "curl/submit.sh", film + ".none", f"s3://{deployed.bucket}/by-curl/", status=1)
    assert json.loads(missing)["error"]["code"] == "input-not-found"


def test_wscat_watches(deployed: Deployed, film: str) -> None:
    run(deployed, "curl/submit.sh", film, f"s3://{deployed.bucket}/watched/")

    def shows_an_end() -> bool:  # it ends after 20 s, of which a stall may take most
        printed = run(deployed, "wscat/watch.sh", "20")
        return "JobFinished" in {json.loads(line)["action"] for line in re.findall(r"\{.*\}", printed)}

    wait_for(shows_an_end, "the end of a job in what wscat prints")


def test_a_receiver_prints_what_is_signed_and_refuses_the_rest(deployed: Deployed, film: str) -> None:
    (port,) = free_ports(1)
    hook = {"userID": users.OPERATOR, "url": f"http://127.0.0.1:{port}/", "actions": ["JobFinished"]}
    status, hook, _ = deployed.call("POST", "/api/v1/webhooks", hook)
    assert status == 201, hook
    path = f"/api/v1/webhooks/{hook['webhookID']}"
    with beside(deployed, ["webhook/receiver.py", hook["secret"], str(port)]) as receiver:
        assert receiver.stdout
        try:
            wait_for(lambda: deployed.call("POST", f"{path}/test")[1]["status"] == 204, "the receiver")
            tested = f"WebhookTest {hook['webhookID']}\n"
            assert receiver.stdout.readline() == tested
            forged = {"webhook-id": "a", "webhook-timestamp": str(int(time.time())), "webhook-signature": "v1,AAAA"}
            assert deployed.call("POST", "/", {}, forged, f"http://127.0.0.1:{port}")[0] == 401
            time.sleep(5)  # a new webhook gets what happens five seconds later
            job_id = json.loads(run(deployed, "curl/submit.sh", film, f"s3://{deployed.bucket}/hooked/"))["jobID"]
            line = tested
            while line == tested:  # a test that was answered too late came again
                line = receiver.stdout.readline()
            assert line == f"JobFinished {job_id}\n"
        finally:
            deployed.call("DELETE", path)


def test_a_gate_lets_good_settings_pass_and_stops_bad_ones(deployed: Deployed, clips: Clips, tmp_path: Path) -> None:
    clip = clips("gate.mp4", *CLIP)
    here = variables(deployed, HOME=str(tmp_path))
    gate = [str(EXAMPLES / "quality-gate" / "gate.sh"), str(clip)]
    good = subprocess.run([*gate, "60"], env=here, capture_output=True, text=True, check=False)
    assert good.returncode == 0, good.stdout + good.stderr
    bad = subprocess.run([*gate, "99"], env=here | {"BITRATE": "50k"}, capture_output=True, text=True, check=False)
    assert bad.returncode == 3, bad.stdout + bad.stderr
    workflow = yaml.safe_load((EXAMPLES / "quality-gate" / "workflow.yml").read_text())
    steps = workflow["jobs"]["gate"]["steps"]
    assert steps[-1]["run"].split()[0] == "./gate.sh"


def test_a_dropped_file_becomes_a_job(deployed: Deployed, clips: Clips) -> None:
    clip = clips("dropped-example.mp4", *CLIP)
    command = [sys.executable, str(EXAMPLES / "s3-drop" / "drop.py"), str(clip), f"s3://{deployed.bucket}/drop/"]
    done = subprocess.run(command, env=variables(deployed), capture_output=True, text=True, check=True)
    assert done.stdout == f"s3://{deployed.bucket}/drop/dropped-example.mp4\n"
    wait_for(lambda: "dropped/dropped-example.mp4" in deployed.keys("dropped/"), "the output of the dropped file")


def test_a_library_is_transcoded_and_what_failed_is_named(deployed: Deployed, clips: Clips) -> None:
    clip = clips("example.mp4", *CLIP)
    for name in ("a.mp4", "b/c.mp4"):
        deployed.put(clip, f"masters/{name}")
    source = f"s3://{deployed.bucket}/masters/"
    run(deployed, "library/library.sh", source, f"s3://{deployed.bucket}/small/")
    assert {"small/a.mp4", "small/b/c.mp4"} <= set(deployed.keys("small/"))
    deployed.s3.put_object(Bucket=deployed.bucket, Key="masters/no-film.mp4", Body=b"no film")
    said = run(deployed, "library/library.sh", source, f"s3://{deployed.bucket}/small-2/", status=1)
    assert "✗ 1 input-" in said
    assert "no-film.mp4" in said.splitlines()[-1]


def test_a_package_plays_on_a_page(deployed: Deployed, film: str, tmp_path: Path) -> None:
    playlist = run(deployed, "web-page/package.sh", film, f"s3://{deployed.bucket}/page/").strip()
    assert playlist == f"s3://{deployed.bucket}/page/film/master.m3u8"
    for key in deployed.keys("page/film/"):
        (tmp_path / key).parent.mkdir(parents=True, exist_ok=True)
        deployed.s3.download_file(deployed.bucket, key, str(tmp_path / key))
    shutil.copy(EXAMPLES / "web-page" / "index.html", tmp_path)
    shutil.copy(ROOT / "node_modules" / "hls.js" / "dist" / "hls.min.js", tmp_path)
    with serving(tmp_path) as server, chromium() as browser:
        page = browser.new_page()
        page.goto(f"{server}/index.html?src=page/film/master.m3u8")
        page.evaluate("document.querySelector('video').play()")
        page.wait_for_function("document.querySelector('video').currentTime > 1", timeout=120_000)


def test_a_short_worker_finishes_jobs(deployed: Deployed, clips: Clips, film: str) -> None:
    text = (EXAMPLES / "worker" / "worker.py").read_text()
    assert len([line for line in text.splitlines() if line and not re.match(r'(import|from|""")', line)]) <= 44
    stack = deployed.stack
    names = {"QUEUE_URL": stack["CpuQueue"], "CONTROL_URL": stack["ControlQueue"], "JOBS_TABLE": stack["JobsTable"]}
    names["PYTHONPATH"] = str(ROOT / "layers" / "core" / "python")
    supervisor = deployed.supervisor
    supervisor._ask("stopProcess", WORKER)
    try:
        with beside(deployed, ["worker/worker.py"], **names):
            good = deployed.submit(film, "by-example/")
            deployed.until(good, "finished")
            broken = deployed.put(clips("example.mp4", *CLIP), "examples/broken.mp4")
            deployed.s3.put_object(Bucket=deployed.bucket, Key="examples/broken.mp4", Body=b"no film")
            bad = deployed.submit(broken, "by-example/")
            wait_for(lambda: "JobReturned" in deployed.actions(bad), "the return of a job that cannot be encoded")
            assert deployed.call("DELETE", f"/api/v1/jobs/{bad}")[0] == 202
    finally:
        supervisor._ask("startProcess", WORKER)
    assert deployed.actions(good) == ["JobSummit", "JobStart", "JobFinished"]
    ended = deployed.call("GET", f"/api/v1/jobs/{good}")[1][-1]
    assert (ended["action"], ended["podName"]) == ("JobFinished", "example")
    assert deployed.keys("by-example/") == ["by-example/film.mp4"]


@pytest.fixture(scope="module")
def published(deployed: Deployed, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URL of a template of the embedded mode's options and of other names, published without CDK."""
    folder = tmp_path_factory.mktemp("synthesised")
    names = {
        "stackName": "Plain",
        "jobsTable": "plain-jobs",
        "controlQueue": "plain-control",
        "cpuQueues": "plain-cpu",
        "vmafQueues": "plain-vmaf",
    }
    options = deployed.place.options() | names | {"discovery": "false", "clusters": "", "auth": "none"}
    words = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
    command = [str(ROOT / "node_modules/.bin/cdk"), "synth", "--quiet", "--no-notices", "--output", str(folder), *words]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | variables(deployed), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    deployed.s3.create_bucket(Bucket="templates-of-mine")
    command = [sys.executable, str(EXAMPLES / "cloudformation" / "publish.py"), str(folder), "templates-of-mine"]
    done = subprocess.run(command, env=variables(deployed), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_cloudformation_makes_the_stack_without_cdk(deployed: Deployed, published: str) -> None:
    assert published == f"{deployed.place.aws_url}/templates-of-mine/elasticrecode.template.json"
    template = json.loads(
        deployed.s3.get_object(Bucket="templates-of-mine", Key="elasticrecode.template.json")["Body"].read()
    )
    assert "cdk-hnb659fds" not in json.dumps(template)
    assert "Parameters" not in template
    client = boto3.client("cloudformation", endpoint_url=deployed.place.aws_url)
    client.create_stack(StackName="Plain", TemplateURL=published, Capabilities=["CAPABILITY_NAMED_IAM"])
    client.get_waiter("stack_create_complete").wait(StackName="Plain", WaiterConfig={"Delay": 1, "MaxAttempts": 120})
    (stack,) = client.describe_stacks(StackName="Plain")["Stacks"]
    outputs = {each["OutputKey"]: each["OutputValue"] for each in stack["Outputs"]}
    assert deployed.call("GET", "/v1/health", base=outputs["RestUrl"].rstrip("/"), user=None)[0] == 200
    client.delete_stack(StackName="Plain")


def test_terraform_reads_outputs_that_the_stack_has(deployed: Deployed) -> None:
    text = (EXAMPLES / "terraform" / "main.tf").read_text()
    outputs = set(re.findall(r'\.outputs\["(\w+)"\]', text))
    assert outputs == {"Url", "WorkerPolicy"} <= deployed.stack.keys()
    assert text.count("{") == text.count("}")
