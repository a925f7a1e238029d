"""`python -m tests.fakes.weighing <lines> <pages>`: a process that looks through a manifest, then expands pages of it.

It prints its weight, `Weight` in JSON. The functions are the product's own, as is reading S3; the network is not.
"""

import json
import logging
import re
import subprocess
import sys
import time
from pathlib import Path

import msgspec
from msgspec import Struct

from tests.fakes.instant import PAGES, SURVEYS, Instant, delivered, handlers, take_in
from tests.support import ROOT


class Weight(Struct):
    """MiB at the most of the process, before and behind it all, and CPU seconds of what was done."""

    before: float
    surveyed: float
    expanded: float
    survey_cpu: float
    pages: int


def weigh(lines: int, pages: int = 0) -> Weight:
    """Have it done in a process of its own."""
    command = [sys.executable, "-m", "tests.fakes.weighing", str(lines), str(pages)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return msgspec.json.decode(done.stdout, type=Weight)


def _weigh(lines: int, pages: int) -> Weight:
    logging.disable()
    aws = Instant(kept_pages=pages)
    with aws.serving():
        made = handlers()
        take_in(made["batch"], lines)
        before = _peak()
        (message,) = aws.taken(SURVEYS)
        burnt, theirs = time.process_time(), aws.cpu
        made["survey"](delivered([message]), None)
        cpu = time.process_time() - burnt - (aws.cpu - theirs)
        surveyed = _peak()
        # Threads send the messages, in any order, and the first pages alone are kept.
        tasks = sorted(aws.taken(PAGES), key=lambda task: int(json.loads(task["MessageBody"])["page"]))
        for task in tasks[:pages]:
            made["expand"](delivered([task]), None)
            if not aws.new_jobs():
                raise RuntimeError("no jobs were made")
    return Weight(before, surveyed, _peak(), cpu, len(tasks))


def _peak() -> float:
    """The most that this process has had in memory. What `getrusage` says begins with what its parent had."""
    match = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    if not match:
        raise RuntimeError("the system does not say")
    return int(match[1]) / 1024


if __name__ == "__main__":
    print(msgspec.json.encode(_weigh(int(sys.argv[1]), int(sys.argv[2]))).decode())
