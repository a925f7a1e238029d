"""What a deployment costs in a month without work: resources of the template, and calls counted on moto.

`python -m benchmarks.standing` writes the table of docs/explanation/costs.md.
"""

import os
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from botocore.client import BaseClient
from moto import mock_aws

from benchmarks.prices import PRICES
from tests.fakes.stack import Stack

PAGE = Path(__file__).resolve().parent.parent / "docs" / "explanation" / "costs.md"
MINUTES = 43_830
"""Minutes of a month."""
MONTHLY = {"alarm": 0.10, "metric": 0.30, "key": 1.00}
"""US dollars a month for an alarm, a metric and a KMS key, us-east-1."""
POLLS = 15
"""Assumed requests a minute of Lambda at an idle queue: five long polls of 20 s side by side."""
RUN_SECONDS = 0.5
"""Assumed duration of `reconcile` where nothing is to do."""


class Line(NamedTuple):
    """One item of the bill: how many of what a month, and US dollars."""

    item: str
    number: int
    dollars: float


def lines(template: dict[str, Any]) -> list[Line]:
    """The monthly bill of a template of the default options."""
    kinds = Counter(resource["Type"] for resource in template["Resources"].values())
    mappings = [
        resource["Properties"]
        for resource in template["Resources"].values()
        if resource["Type"] == "AWS::Lambda::EventSourceMapping"
    ]
    polled = sum("StartingPosition" not in mapping for mapping in mappings) * POLLS * MINUTES
    (memory,) = (
        resource["Properties"]["MemorySize"]
        for name, resource in template["Resources"].items()
        if name.startswith("FunctionsReconcile") and resource["Type"] == "AWS::Lambda::Function"
    )
    calls, metrics = idle_run()
    ran = MINUTES * (PRICES["invocation"] + RUN_SECONDS * memory / 1024 * PRICES["gb-second"]) / 1e6
    reads = sum(calls[name] for name in ("Query", "GetItem", "BatchGetItem")) * MINUTES
    writes = sum(calls[name] for name in ("PutItem", "UpdateItem", "DeleteItem")) * MINUTES
    requests = sum(count for name, count in calls.items() if name.endswith(("Attributes", "Message"))) * MINUTES
    return [
        Line("alarms", kinds["AWS::CloudWatch::Alarm"], kinds["AWS::CloudWatch::Alarm"] * MONTHLY["alarm"]),
        Line("metrics of `reconcile`", metrics, metrics * MONTHLY["metric"]),
        Line("KMS keys", kinds["AWS::KMS::Key"], kinds["AWS::KMS::Key"] * MONTHLY["key"]),
        Line("requests of Lambda to idle queues", polled, polled * PRICES["sqs"] / 1e6),
        Line("runs of `reconcile`", MINUTES, ran),
        Line("its requests to queues", requests, requests * PRICES["sqs"] / 1e6),
        Line("its reads of tables, half a unit each", reads, reads / 2 * PRICES["read"] / 1e6),
        Line("its writes, a unit each", writes, writes * PRICES["write"] / 1e6),
    ]


def idle_run() -> tuple[Counter[str], int]:
    """The AWS calls of a run of `reconcile` with nothing to do, and how many metrics it publishes."""
    counted: Counter[str] = Counter()
    real = BaseClient._make_api_call  # type: ignore[attr-defined]  # noqa: SLF001

    def counting(client: Any, operation: str, arguments: dict[str, Any]) -> Any:
        counted[operation] += 1
        return real(client, operation, arguments)

    with mock_aws():
        reconcile = Stack().build("reconcile")
        reconcile({}, None)
        BaseClient._make_api_call = counting  # type: ignore[attr-defined]  # noqa: SLF001
        try:
            settled = reconcile({}, None)
        finally:
            BaseClient._make_api_call = real  # type: ignore[attr-defined]  # noqa: SLF001
    return counted, len(settled)


def table(template: dict[str, Any]) -> str:
    """The bill as a table of docs/explanation/costs.md."""
    bill = lines(template)
    rows = [f"| {line.item} | {line.number:,} | ${line.dollars:.2f} |" for line in bill]
    total = f"| **all** | | **${sum(line.dollars for line in bill):.2f}** |"
    return "\n".join(["| in a month | number | price |", "|---|---|---|", *rows, total])


def main() -> None:
    """Write the table into the page."""
    os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")
    from tests.infra.test_stack import template  # the options and the template of tests

    PAGE.write_text(document(PAGE.read_text(), template()))


def document(page: str, template: dict[str, Any]) -> str:
    """The page with the table of this template."""
    before, _, rest = page.partition("<!-- standing -->\n")
    _, _, after = rest.partition("<!-- /standing -->")
    return f"{before}<!-- standing -->\n{table(template)}\n<!-- /standing -->{after}"


if __name__ == "__main__":
    main()
