"""Fixtures and settings for all tests: the contract's examples, an environment without an account, and lanes."""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import core as hypothesis_core
from moto.core.config import default_user_config
from xdist.scheduler import LoadScopeScheduling

from tests.sizes import SEED, SIZE

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
# A busy machine makes an example slow, not wrong.
_SLOW: dict[str, Any] = {"deadline": None, "suppress_health_check": [hypothesis.HealthCheck.too_slow]}
hypothesis.settings.register_profile("sample", derandomize=True, database=None, **_SLOW)
hypothesis.settings.register_profile("random", **_SLOW)
hypothesis.settings.load_profile("sample" if SIZE == "sample" else "random")
if SIZE != "sample":
    hypothesis_core.global_force_seed = SEED  # type: ignore[assignment]
# botocore caches the credentials that it reads first, and only the embedded AWS knows these.
default_user_config["core"]["mock_credentials"] = False

_LONGEST_FIRST = (
    "e2e",
    "players",
    "quality",
    "packaging",
    "hostile",
    "infra",
    "second",
    "fuzz",
    "chaos",
    "aws",
    "discovery",
    "posting",
    "kit",
    "unit",
)
_SHARING = ("e2e", "players", "quality", "hostile", "infra", "packaging", "second")
"""Folders whose files share the deployed stack, other expensive fixtures, or templates."""
_APART = ("tests/e2e/test_job_role.py", "tests/e2e/test_upgrade.py")
"""Files of these folders that share nothing."""
_COUNTED = "counted"


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers."""
    config.addinivalue_line("markers", "full: left out of `make test`; `make test-all` runs it")
    config.addinivalue_line("markers", "alone: in step with real time; `make test` runs it behind the others, alone")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what this size leaves out, and put the suites that take longest first."""
    if SIZE == "sample":
        left_out = [item for item in items if item.get_closest_marker("full")]
        if left_out:
            config.hook.pytest_deselected(items=left_out)
            items[:] = [item for item in items if not item.get_closest_marker("full")]
    items.sort(key=lambda item: _LONGEST_FIRST.index(_folder(item)) if _folder(item) in _LONGEST_FIRST else -1)


class Groups(LoadScopeScheduling):  # type: ignore[misc]
    """Runs the tests of a group in one process of pytest-xdist, one after another."""

    def _split_scope(self, nodeid: str) -> str:
        """The folder where files share something, else the file."""
        path = nodeid.partition("::")[0]
        folder = path.split("/")[1]
        return folder if folder in _SHARING and path not in _APART else path


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """Distribute tests by these groups."""
    return Groups(config, log)


def _folder(item: pytest.Item) -> str:
    """The folder of `tests/` that a test lies in."""
    return item.path.relative_to(ROOT / "tests").parts[0]


def contract(name: str) -> Any:
    """One of the contract's documented examples."""
    return json.loads((CONTRACT / f"{name}.json").read_text())


@pytest.fixture
def job() -> dict[str, Any]:
    """The documented job."""
    found: dict[str, Any] = contract("job")
    return found


Tell = Callable[[str, Mapping[str, int]], None]


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Tell:
    """Reports what a bulk test counted at the end of the run; counts under one title are joined."""

    def report(title: str, counts: Mapping[str, int]) -> None:
        record_property(_COUNTED, {"title": title, "counts": dict(counts)})

    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print what the bulk tests counted, and how to repeat a run with the same random choices."""
    reports = [report for name in ("passed", "failed") for report in terminalreporter.stats.get(name, ())]
    counted: dict[str, dict[str, int]] = {}
    for report in reports:
        for key, value in report.user_properties:
            if key == _COUNTED:
                counted.setdefault(value["title"], {}).update(value["counts"])
    if counted:
        terminalreporter.section(f"counts, SIZE={SIZE} SEED={SEED}")
    for title, counts in counted.items():
        terminalreporter.write_line(f"{title}: {', '.join(f'{name} {count:,}' for name, count in counts.items())}")
