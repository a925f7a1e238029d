"""The API holds what its description says, and refuses what it does not."""

from typing import Any

import pytest
import schemathesis

from tests.conftest import Tell
from tests.fakes.api_gateway import STAGE, Front
from tests.fuzz import api
from tests.sizes import SEED, sized

_EXAMPLES, _RUNS, _STEPS = sized((3, 10, 6), (8, 25, 8), (200, 300, 15))
_BOUNDARIES: dict[str, Any] = {"examples": {"enabled": True}, "coverage": {"enabled": True}}
_CHANCE: dict[str, Any] = {
    "fuzzing": {"enabled": True},
    "stateful": {"enabled": True, "max-steps": _STEPS, "generation": {"max-examples": _RUNS}},
}


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("phases", "others"), [(_BOUNDARIES, _CHANCE), (_CHANCE, _BOUNDARIES)], ids=["boundaries", "chance-and-links"]
)
def test_every_request_is_answered_as_described(
    front: Front, phases: dict[str, Any], others: dict[str, Any], tell: Tell
) -> None:
    told = api.configuration(_EXAMPLES, phases | {name: {"enabled": False} for name in others}, SEED)
    outcome = api.run(schemathesis.openapi.from_wsgi(f"{STAGE}/v1/openapi.json", front, config=told))
    tell(f"schemathesis, {'boundaries' if phases is _BOUNDARIES else 'chance and links'}", outcome.counts())
    assert not outcome.failures, "\n".join(outcome.failures[:20])
    assert outcome.checks["positive_data_acceptance"] > 100
    assert outcome.links.total() > 0 or "stateful" in others
