"""What all tests share: the contract's fixtures, and an environment without anyone's account."""

import json
import os
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from moto.core.config import default_user_config

ROOT = Path(__file__).resolve().parent.parent
CONTRACT = ROOT / "tests" / "contract"

os.environ.update(
    AWS_ACCESS_KEY_ID="test",
    AWS_SECRET_ACCESS_KEY="test",
    AWS_REGION="us-east-1",
    AWS_DEFAULT_REGION="us-east-1",
    AWS_CONFIG_FILE=os.devnull,
    AWS_SHARED_CREDENTIALS_FILE=os.devnull,
    AWS_EC2_METADATA_DISABLED="true",
    POWERTOOLS_DEV="false",
)
settings.register_profile("patient", deadline=None)  # a busy machine is no fault of what is tested
settings.load_profile("patient")
default_user_config["core"]["mock_credentials"] = False
"""These stay: botocore keeps what it reads first, and moto's own are good for no other AWS."""


def contract(name: str) -> Any:
    """One of the contract's documented examples."""
    return json.loads((CONTRACT / f"{name}.json").read_text())


@pytest.fixture
def job() -> dict[str, Any]:
    """The documented job."""
    found: dict[str, Any] = contract("job")
    return found


FULL = os.environ.get("CHAOS") == "full"
"""Whether chaos is asked for in bulk, as `make chaos` does."""
SEED = int(os.environ.get("CHAOS_SEED") or random.randrange(2**32))
"""What chaos follows from: CHAOS_SEED shows the same again."""
Tell = Callable[[str, Mapping[str, int]], None]


@pytest.fixture
def tell(capsys: pytest.CaptureFixture[str]) -> Tell:
    """Prints the seed and what was counted, past pytest's capture."""

    def told(what: str, counts: Mapping[str, int]) -> None:
        with capsys.disabled():
            listed = ", ".join(f"{name} {count:,}" for name, count in counts.items())
            print(f"\nchaos, {what}, seed {SEED}: {listed}")

    return told
