"""schemathesis against the whole API: answers match the OpenAPI document."""

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
def test_every_answer_matches_the_openapi_document(
    front: Front, phases: dict[str, Any], others: dict[str, Any], tell: Tell
) -> None:
    config = api.configuration(_EXAMPLES, phases | {name: {"enabled": False} for name in others}, SEED)
    outcome = api.run(schemathesis.openapi.from_wsgi(f"{STAGE}/v1/openapi.json", front, config=config))
    tell(f"schemathesis, {'boundaries' if phases is _BOUNDARIES else 'chance and links'}", outcome.counts())
    assert not outcome.failures, "\n".join(outcome.failures[:20])
    assert outcome.checks["positive_data_acceptance"] > 100
    assert outcome.links.total() > 0 or "stateful" in others
