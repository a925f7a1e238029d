"""The API holds what its description says, and refuses what it does not."""

import time
import schemathesis

from tests.front import STAGE, Front
from tests.fuzz import api


def test_every_request_is_answered_as_described(front: Front) -> None:
    schema = schemathesis.openapi.from_wsgi(f"{STAGE}/v1/openapi.json", front, config=api.configuration(10, 6))
    t = time.time()
    outcome = api.run(schema)
    print(time.time() - t, outcome._replace(failures=[]))
    for f in outcome.failures:
        print(f)
    print(len(outcome.failures))
    assert not outcome.failures
