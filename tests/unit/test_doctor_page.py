"""The page of doctor lists every check, and a policy that IAM can read."""

import json
import re

from click.testing import CliRunner

from elasticrecode_client.doctor import CHECKS
from elasticrecode_client.doctor.command import doctor
from tests.conftest import ROOT

_PAGE = (ROOT / "docs" / "how-to" / "doctor.md").read_text()


def test_the_page_lists_every_check_in_the_order_of_the_report() -> None:
    table = _PAGE.split("## The checks")[1].split("\n## ")[0]
    assert re.findall(r"^\| `([a-z-]+)` \|", table, re.MULTILINE) == [each.id for each in CHECKS]


def test_the_page_names_every_option() -> None:
    options = {name for parameter in doctor.params for name in parameter.opts}
    assert {name for name in options if f"`{name}" not in _PAGE} == set()


def test_the_policy_of_the_page_only_reads_invokes_and_removes_what_doctor_has_put_there() -> None:
    (text,) = re.findall(r"```json\n(.*?)```", _PAGE, re.DOTALL)
    statements = json.loads(text)["Statement"]
    actions = [
        action
        for each in statements
        for action in ([each["Action"]] if isinstance(each["Action"], str) else each["Action"])
    ]
    assert actions == list(dict.fromkeys(actions))
    changing = {
        each for each in actions if not re.match(r"\w[\w-]*:(Describe|List|Get|GET|View|Filter|Simulate)", each)
    }
    assert changing == {"lambda:InvokeFunction", "s3:DeleteObject"}
    assert {each["Resource"] for each in statements if each["Action"] == "lambda:InvokeFunction"} == {
        "arn:aws:lambda:*:*:function:ElasticRecode-*"
    }


def test_the_command_lists_the_checks_and_refuses_others() -> None:
    listed = CliRunner().invoke(doctor, ["--list"])
    assert [line.split()[0] for line in listed.output.splitlines()] == [each.id for each in CHECKS]
    refused = CliRunner().invoke(doctor, ["--only", "nothing"])
    assert refused.exit_code == 2
    assert "There is no check nothing" in refused.output
