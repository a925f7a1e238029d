"""Workers of the deployed stack behind a proxy that breaks their requests, with wrong clocks, that freeze."""

import hashlib
import os
import signal
import threading
import time
from collections import Counter
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from elasticrecode.jobs.items import record_key
from elasticrecode.jobs.lifecycle import ENDED
from elasticrecode.jobs.uris import MARK
from local.processes import Program, programs
from tests.conftest import ROOT
from tests.e2e.conftest import FFMPEG, Deployed, wait_for
from tests.e2e.test_deployed import MAX_ATTEMPTS
from tests.fakes.proxy import Proxy

SKEWED = ROOT / "tests" / "fakes" / "skewed"
NOISE = ("-f", "lavfi", "-i", "nullsrc=size=320x180:rate=25:duration={},geq=random(1)*255:128:128", "-c:v", "libx264")
"""A clip that does not compress well: its output has as many bytes as its bitrate allows."""
_ENCODER = """#!/bin/sh
# ffmpeg, whose outputs all differ: each has a title that no other has.
n=$#
while [ $n -gt 0 ]; do
    argument=$1
    shift
    [ $n -eq 1 ] && set -- "$@" -metadata "title=$(cat /proc/sys/kernel/random/uuid)"
    set -- "$@" "$argument"
    n=$((n - 1))
done
exec {ffmpeg} "$@"
"""
_NEXT = {
    "JobSummit": {"JobStart", "JobLost", "JobReturned"},
    "JobStart": {"JobFinished", "JobReturned", "JobLost"},
    "JobReturned": {"JobStart", "JobLost", "JobFinished"},
    "JobLost": {"JobStart", "JobLost", "JobReturned", "JobFailed", "JobFinished"},
    "JobFinished": {"JobLost"},  # another took it for lost while its end was on the way
    "JobFailed": set(),
}
"""What a log may show next, by the senders' clocks.

A worker that is killed between its claim and JobStart is lost without a start.

A worker that adopts a job whose outputs are committed starts no attempt: it ends the one that was lost or returned.
"""


class Hindered:
    """The workers of one test. `folder` takes their encoder."""

    def __init__(self, deployed: Deployed, proxy: Proxy, folder: Path) -> None:
        self.deployed, self.proxy = deployed, proxy
        self.names: list[str] = []
        self._encoder = folder / "encoder"
        self._encoder.write_text(_ENCODER.replace("{ffmpeg}", str(FFMPEG)))
        self._encoder.chmod(0o755)
        self._pids: dict[str, int] = {}
        self._frozen: dict[str, threading.Timer | None] = {}
        self._lock = threading.Lock()

    def keep(self, skews: list[float]) -> None:
        """Let exactly so many workers run, with clocks that go wrong by so many seconds. Others are ended."""
        place = self.deployed.place._replace(workers=len(skews))
        kept = [self._hindered(each, skews) for each in programs(place, self.deployed.stack)]
        self.names = [f"worker-ffmpeg-{n}" for n in range(len(skews))]
        self.deployed.supervisor.keep([each for each in kept if "worker-vmaf" not in each.name])
        self.look()

    def _hindered(self, program: Program, skews: list[float]) -> Program:
        if not program.name.startswith("worker-ffmpeg-"):
            return program
        own = {
            "AWS_ENDPOINT_URL": self.proxy.url(program.name),
            "PYTHONPATH": f"{SKEWED}:{program.environment['PYTHONPATH']}",
            "CLOCK_SKEW_SECONDS": str(skews[int(program.name.rpartition("-")[2])]),
            "FFMPEG": str(self._encoder),
            "SANDBOX": "off",  # the encoder is a script that runs another program
        }
        return program._replace(environment={**program.environment, **own})

    def look(self) -> None:
        """Note which processes run, so that a worker can be frozen without a question to supervisord."""
        self._pids = self.deployed.supervisor.pids()

    def freeze(self, name: str, seconds: float | None = None, *, alone: bool = False) -> bool:
        """Stop a worker with its programs, or alone, for so many seconds or until `thaw`; False when it is frozen."""
        with self._lock:
            if name in self._frozen or name not in self._pids:
                return False
            timer = threading.Timer(seconds, self.thaw, (name,)) if seconds is not None else None
            self._frozen[name] = timer
        self._signal(name, signal.SIGSTOP, alone=alone)
        if timer:
            timer.daemon = True
            timer.start()
        return True

    def thaw(self, name: str) -> None:
        """Let a worker and its programs go on."""
        with self._lock:
            self._frozen.pop(name, None)
        self._signal(name, signal.SIGCONT)

    def thaw_all(self) -> None:
        """Let all go on."""
        for name in tuple(self._frozen):
            self.thaw(name)

    def strike(self, name: str, number: signal.Signals) -> None:
        """Send a signal to a worker; its supervisor starts it again."""
        self.look()
        pid = self._pids.get(name)
        if pid:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
            self.thaw(name)
            wait_for(lambda: self.deployed.supervisor.pids().get(name, pid) != pid, f"a new {name}", 90)
            self.look()

    def _signal(self, name: str, number: signal.Signals, *, alone: bool = False) -> None:
        with suppress(ProcessLookupError, KeyError):
            (os.kill if alone else os.killpg)(self._pids[name], number)


class Judged:
    """What has come of jobs: `counts`, and in `wrong` what must not be."""

    def __init__(self, deployed: Deployed) -> None:
        self.deployed = deployed
        self.counts: Counter[str] = Counter()
        self.wrong: dict[str, list[Any]] = {"lost": [], "doubled": [], "unfit": [], "illegal": []}

    def judge(self, job_id: str, keys: list[str]) -> None:
        """Compare a job's record with its log and, byte by byte, with the objects of its keys."""
        record, shown = self.deployed.record(job_id), self.deployed.actions(job_id)
        failed = record["state"] == "failed" and shown.count("JobLost") == MAX_ATTEMPTS
        self.counts["jobs"] += 1
        self.counts["attempts"] += record["attempt"]
        self.counts["lost too often"] += failed
        if record["state"] != "finished" and not failed:
            self.wrong["lost"].append((job_id, record["state"], record.get("error"), shown))
        if shown.count("JobFinished") + shown.count("JobFailed") != 1:
            self.wrong["doubled"].append((job_id, shown))
        behind_end = shown[shown.index("JobFinished") + 1 :] if "JobFinished" in shown else []
        if any(after not in _NEXT[before] for before, after in pairwise(shown)) or set(behind_end) - {"JobLost"}:
            self.wrong["illegal"].append((job_id, shown))
        named = {output["uri"].split("/", 3)[3]: output for output in record["outputs"] or ()}
        if sorted(named) != (sorted(keys) if record["state"] == "finished" else []):
            self.wrong["unfit"].append((job_id, sorted(named), keys))
        for key in keys:
            if unfit := self._unfit(job_id, key, named.get(key)):
                self.wrong["unfit"].append((job_id, key, unfit))

    def _unfit(self, job_id: str, key: str, named: dict[str, Any] | None) -> str:
        """How an object differs from what the record says of it; empty when it fits."""
        try:
            found = self.deployed.s3.get_object(Bucket=self.deployed.bucket, Key=key)
        except self.deployed.s3.exceptions.NoSuchKey:
            return "there is no object" if named else ""
        content = found["Body"].read()
        self.counts["objects"] += 1
        if not named:
            return "there is an object"
        actual = (len(content), hashlib.sha256(content).hexdigest(), found["Metadata"].get(MARK))
        return "" if actual == (named["bytes"], named.get("sha256"), job_id) else f"{actual}, not {named}"

    def uploads(self, prefix: str) -> list[Any]:
        """The multipart uploads below a prefix that were neither completed nor aborted."""
        listed = self.deployed.s3.list_multipart_uploads(Bucket=self.deployed.bucket, Prefix=prefix)
        return list(listed.get("Uploads", ()))

    @property
    def faults(self) -> dict[str, list[Any]]:
        """What is wrong."""
        return {name: cases for name, cases in self.wrong.items() if cases}


def all_ended(deployed: Deployed, ids: list[str]) -> bool:
    """Whether every job has ended, by the table; False while AWS does not answer."""
    table, ended = deployed.stack["JobsTable"], 0
    try:
        for some in (ids[n : n + 100] for n in range(0, len(ids), 100)):
            keys: Any = [record_key(job_id) for job_id in some]
            answer = deployed.dynamodb.batch_get_item(RequestItems={table: {"Keys": keys, "ConsistentRead": True}})
            ended += sum(item["state"]["S"] in ENDED for item in answer["Responses"][table])
    except (BotoCoreError, ClientError):
        return False
    return ended == len(ids)


def seconds_since(began: float) -> int:
    """Whole seconds since a moment of the monotonic clock."""
    return round(time.monotonic() - began)
