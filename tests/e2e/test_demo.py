"""The main job, as `make run` does it on a stack that is up."""

import re

import pytest

from local.demo import demonstrate
from tests.e2e.conftest import Deployed


def test_the_main_job_runs_and_what_it_shows_is_there(deployed: Deployed, capsys: pytest.CaptureFixture[str]) -> None:
    demonstrate(deployed.place, deployed.supervisor)
    printed = capsys.readouterr().out
    assert re.search(r"^VMAF \d\d\.\d, PSNR \d\d\.\d dB, SSIM 0\.9\d\d$", printed, re.MULTILINE)
    addresses = re.findall(r"^  (?:download|quality|certificate) .*?(http://\S+)$", printed, re.MULTILINE)
    assert len(addresses) == 3
    for address in addresses:
        bucket, _, key = address.removeprefix(f"{deployed.place.aws_url}/").partition("/")
        assert deployed.s3.head_object(Bucket=bucket, Key=key)["ContentLength"]
