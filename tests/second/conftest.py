"""The stack on a second AWS, deployed once."""

import json
from collections.abc import Iterator

import pytest

from tests.fakes.turns import answer_in_turn, call_in_turn
from tests.infra.test_stack import template
from tests.second.moto_aws import Json, Second, served
from tests.unit.test_drops import PROFILE

DROP = {"prefix": "in/", "userid": "ann", "output": "out/", "profile": PROFILE}


@pytest.fixture(scope="session")
def url() -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch, served() as found:
        answer_in_turn(patch)
        call_in_turn(patch)
        yield found


@pytest.fixture(scope="session")
def synthesised(url: str) -> Json:
    """A template whose functions need no tokens, may post webhooks to this machine, and collect files."""
    return template(auth="none", frontDoor="none", webhookNetworks="127.0.0.0/8", drops=json.dumps([DROP]), s3Url=url)


@pytest.fixture(scope="session")
def second(url: str, synthesised: Json) -> Second:
    return Second(url, synthesised)
