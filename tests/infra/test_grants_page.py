"""docs/reference/grants.md has each action that the template grants to functions, workers and jobs, and no other."""

import json
import re

from tests.conftest import ROOT
from tests.grants.exercises import EXERCISES, JOB, WORKER
from tests.infra.test_stack import template
from tests.unit.test_drops import given_drop

DROPS = json.dumps([given_drop()])
ROLES = {"StorageWorkerPolicy": WORKER, "JobAccessRole": JOB} | {
    f"Functions{owner.capitalize()}Role": owner for owner in EXERCISES if owner not in (WORKER, JOB)
}
UNPROVED = {"logs:CreateLogStream", "logs:PutLogEvents"}
"""The page names them below its table."""


def granted() -> set[tuple[str, str]]:
    """Each owner with the actions that its role grants."""
    found = set()
    for logical, resource in template(drops=DROPS, discovery="true", clusters="one")["Resources"].items():
        for owner in (owner for start, owner in ROLES.items() if logical.startswith(start)):
            properties = resource["Properties"]
            documents = [
                properties.get("PolicyDocument"),
                *(one["PolicyDocument"] for one in properties.get("Policies", ())),
            ]
            for statement in (one for document in filter(None, documents) for one in document["Statement"]):
                actions = statement["Action"]
                found |= {(owner, action) for action in ([actions] if isinstance(actions, str) else actions)}
    return {(owner, action) for owner, action in found if action not in UNPROVED} - {("collect", "s3:ListBucket")}


def test_the_page_has_each_granted_action_and_no_other() -> None:
    page = (ROOT / "docs" / "reference" / "grants.md").read_text()
    assert set(re.findall(r"^\| (.+?) \| `(\S+)` \|", page, re.MULTILINE)) == granted(), "run `make iam-proof`"
