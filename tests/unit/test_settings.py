"""What the stack writes into a function's environment is what the function reads."""

import json
import re
from typing import get_type_hints

import pytest

from elasticrecode.contract.auth import Auth, SignIn
from elasticrecode.contract.routes import ROUTES
from elasticrecode.contract.settings import DispatchSettings
from elasticrecode.contract.wiring import FUNCTIONS, Wiring
from infra import option_table, options
from tests.conftest import ROOT
from tests.fakes.wiring import wired


@pytest.mark.parametrize("name", FUNCTIONS)
def test_settings_come_back_as_they_were_written(name: str) -> None:
    written = wired(
        auth=Auth("iam", ("ops",)),
        sign_in=SignIn("https://cognito.example", "client"),
        presets={"a": {"vmaf": {"scale": "720p", "min": 90.5}}},
        user_prefixes=[{"prefix": "s3://b/{userID}/", "access": "read"}],
    ).settings_of(name)
    assert type(written).read(written.environ()) == written


def test_every_function_has_its_settings_in_the_wiring() -> None:
    assert {path.parent.name for path in ROOT.glob("functions/*/handler.py")} == FUNCTIONS.keys()
    wiring = get_type_hints(Wiring)
    for kind in FUNCTIONS.values():
        for field, type_ in get_type_hints(kind).items():
            assert wiring.get(field) == type_, f"Wiring lacks {field} of {kind.__name__}, or has another type"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_handler_reads_the_settings_class_of_the_wiring(name: str) -> None:
    source = (ROOT / "functions" / name / "handler.py").read_text()
    composed = re.findall(r"^handler = compose\(\w+, (\w+)\)", source, re.MULTILINE)
    assert composed == [FUNCTIONS[name].__name__]


def test_a_missing_variable_is_named() -> None:
    with pytest.raises(KeyError, match="JOBS_TABLE"):
        DispatchSettings.read({"QUEUES": "{}"})


def test_no_route_is_answered_twice() -> None:
    routes = [route for served in ROUTES.values() for route in served]
    assert len(routes) == len(set(routes))


def test_the_page_of_options_has_the_table_of_the_options_class() -> None:
    page = (ROOT / "docs" / "reference" / "options.md").read_text()
    assert option_table.table() in page, "run `python -m infra.option_table`"
    assert option_table.document(page) == page


def test_the_options_are_the_defaults_where_cdk_json_sets_none() -> None:
    context = json.loads((ROOT / "cdk.json").read_text())["context"]
    assert options.read(context) == options.Options()


def test_every_route_is_in_the_docs() -> None:
    page = (ROOT / "docs" / "reference" / "api.md").read_text()
    documented = {
        f"{method} {path.removeprefix('/api').partition('?')[0] or '/'}"
        for method, cell in re.findall(r"^\| (GET|POST|PUT|DELETE) ([^|]+) \|", page, re.MULTILINE)
        for path in re.findall(r"`(/[^`]*)`", cell)
    }
    assert documented == {route for served in ROUTES.values() for route in served}
