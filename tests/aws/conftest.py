"""A fresh stack on moto for each test."""

from collections.abc import Iterator

import pytest
from moto import mock_aws

from tests.fakes.stack import Stack
from tests.fakes.turns import answer_in_turn, call_in_turn


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    """A fresh stack, whose AWS calls are made one after another."""
    answer_in_turn(monkeypatch)
    call_in_turn(monkeypatch)
    with mock_aws():
        yield Stack()
