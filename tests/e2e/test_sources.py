"""The corpus of odd sources on the deployed stack: sent over HTTPS, made by a real worker, measured from the object."""

import json
from pathlib import Path

import msgspec
import pytest

from elasticrecode.jobs.events import Notice, Output
from tests.conftest import contract
from tests.e2e.conftest import Deployed
from tests.media.case import Made
from tests.media.table import cases
from tests.sizes import SIZE

CASES = {case.name: case for _, case in cases() if not {"images", "subtitles"} & case.profile.keys()}
"""Those with one output; `tests/aws/test_beside.py` has jobs with more."""
EVERY = 25
"""A sample has one case in this many; `make test` runs all of them without the stack."""
CHOSEN = list(CASES) if SIZE != "sample" else list(CASES)[::EVERY]


@pytest.mark.parametrize("name", CHOSEN)
def test_an_odd_source_comes_out_right_on_the_stack(deployed: Deployed, tmp_path: Path, name: str) -> None:
    case, place = CASES[name], f"sources/{list(CASES).index(name)}"
    (tmp_path / "source").mkdir()
    source = case.make(tmp_path / "source")
    uri = deployed.put(source, f"{place}/{source.name}")
    body = contract("job") | {"input": uri, "output": f"s3://{deployed.bucket}/{place}/out/", "profile": case.profile}
    status, answer, _ = deployed.call("POST", "/api/v1/jobs", body)
    assert status == 200, answer
    record = deployed.until(answer[0]["jobid"], "finished", "failed")
    target = tmp_path / "output"
    outputs = msgspec.convert(record["outputs"] or [], list[Output])
    main = next((output for output in outputs if output.role in ("file", "audio")), None)
    if main:
        deployed.s3.download_file(deployed.bucket, main.uri.split("/", 3)[3], str(target))
    notices = msgspec.convert(record["warnings"] or [], list[Notice])
    failure = record["error"]["code"] if record["error"] else ""
    made = Made(source, target, main, notices, [], failure)
    expected = {measure.__name__: value for measure, value in case.right.items()}
    assert {measure.__name__: measure(made) for measure in case.right} == expected, json.dumps(record)
