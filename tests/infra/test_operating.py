"""docs/how-to/operate.md names every alarm and metric of the stack, and the pages name every output."""

import json
import re
from typing import Any

from benchmarks import standing
from benchmarks.prices import PRICES
from elasticrecode.contract import metrics
from tests.conftest import ROOT
from tests.infra.test_stack import template

PAGE = (ROOT / "docs" / "how-to" / "operate.md").read_text()
DROPS = json.dumps([{"prefix": "in/", "userid": "a", "output": "out/", "profile": {"preset": "web-720p"}}])
SERVED = {"serveMedia": "public:out/"}


def built() -> dict[str, Any]:
    """The template with all that has alarms or outputs."""
    return template(drops=DROPS, discovery="true", clusters="a", **SERVED)


def rows(head: str) -> list[list[str]]:
    """The cells of the table below a head."""
    _, _, after = PAGE.partition(f"| {head} |")
    lines = after.partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_page_has_each_alarm_with_its_description_and_something_to_do() -> None:
    alarms = {
        re.sub(r"^Alarms|[0-9A-F]{8}$", "", name): resource["Properties"]["AlarmDescription"]
        for name, resource in built()["Resources"].items()
        if resource["Type"] == "AWS::CloudWatch::Alarm"
    }
    listed = rows("alarm")
    assert {name.strip("`"): meaning for name, meaning, _ in listed} == alarms
    assert all(len(remedy) > 20 for *_, remedy in listed)


def test_the_page_has_each_metric() -> None:
    names = {value for name, value in vars(metrics).items() if name.isupper() and name != "METRICS"}
    assert {name.strip("`") for name, *_ in rows("metric")} == names
    assert f"`{metrics.METRICS}`" in PAGE


def test_each_output_of_the_stack_is_in_the_docs() -> None:
    pages = "".join(path.read_text() for path in (ROOT / "docs").rglob("*.md"))
    outputs = {name for name in built()["Outputs"] if not name.startswith("ApiRestEndpoint")}
    assert {name for name in outputs if not re.search(rf"`{name}`|output {name}\b", pages)} == set()


def test_the_page_of_costs_has_the_prices_and_the_standing_costs_of_the_template() -> None:
    page = standing.PAGE.read_text()
    listed = dict(re.findall(r"^\| `([\w-]+)`: .+ \| ([\d.]+) \|$", page, re.MULTILINE))
    assert {name: float(price) for name, price in listed.items()} == PRICES
    assert standing.document(page, template()) == page, "run `python -m benchmarks.standing`"
