"""The stage, for tests and for the proof."""

import os
from collections.abc import Iterator
from unittest.mock import patch

import pytest

from tests.e2e.conftest import Deployed, deployed
from tests.grants.stage import Stage

__all__ = ["deployed"]


@pytest.fixture(scope="module")
def stage(deployed: Deployed) -> Iterator[Stage]:
    """The deployed stack, with no worker at work."""
    with patch.dict(os.environ, AWS_ENDPOINT_URL=deployed.place.aws_url):
        stage = Stage(deployed)
        with stage.quiet():
            yield stage
