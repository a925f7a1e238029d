"""The API holds what its description says, and refuses what it does not."""

from typing import Any

import pytest
import schemathesis

from tests.front import STAGE, Front
from tests.fuzz import FULL, SEED, api

_BOUNDARIES = {"examples", "coverage"}
_CHANCE = {"fuzzing", "stateful"}


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("phases", [_BOUNDARIES, _CHANCE], ids=["boundaries", "chance-and-links"])
def test_every_request_is_answered_as_described(
    front: Front, phases: set[str], capsys: pytest.CaptureFixture[str]
) -> None:
    chosen: dict[str, Any] = {name: {"enabled": name in phases} for name in _BOUNDARIES | _CHANCE}
    told = api.configuration(200 if FULL else 8, 12 if FULL else 6, SEED, chosen)
    outcome = api.run(schemathesis.openapi.from_wsgi(f"{STAGE}/v1/openapi.json", front, config=told))
    with capsys.disabled():
        print(f"\n{outcome}")
    assert not outcome.failures, "\n".join(outcome.failures[:20])
    assert outcome.checks["positive_data_acceptance"] > 100
    assert outcome.links.total() > 0 or phases == _BOUNDARIES
