"""`make iam-proof`: remove each grant of the deployed stack in turn, and write the test that then fails to grants.md.

The proof reads the grants from the deployed roles. It fails for a grant that no test needs. A test counts only when it
fails while the embedded AWS denies the action, and it must pass again with all grants.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest

from local.identities import WORKER as WORKER_ROLE
from tests.conftest import ROOT
from tests.grants.conftest import deployed, stage
from tests.grants.exercises import EXERCISES, JOB, WORKER, Exercise
from tests.grants.stage import Stage

__all__ = ["deployed", "stage"]

Stage.patience = 1

_PAGE = ROOT / "docs" / "reference" / "grants.md"
_TEST = "tests/e2e/test_grants.py::test_each_role_may_do_what_it_needs"
_HEAD = f"""# What each part may do, and what fails without it

This table lists the actions that the roles of functions and workers grant, each with a test that fails without it.
`make iam-proof` deploys the stack with IAM enforced and writes this page. It removes one grant at a time, runs cases of
`{_TEST}` until one of them fails because the
embedded AWS denies the action, and restores the grant. At the end all cases pass again. The proof fails for a grant
that no case needs.

Resources have their logical ids from the stack's template. `worker` is the managed policy for workers (output
`WorkerPolicy`), and `job role` is the [role for jobs](workers.md#what-a-job-may-do).

"""
_WRITING_LOGS = ("logs:CreateLogStream", "logs:PutLogEvents")
_SEEING_DELETED = ("collect", "s3:ListBucket")
_UNPROVED = """
The proof leaves out two kinds of grants, because the embedded AWS does not check them:

- `logs:CreateLogStream` and `logs:PutLogEvents` of each function on its own log group. Lambda writes its log with them.
- `s3:ListBucket` of `collect` on the buckets of drops. Without it, S3 answers 403 and not 404 for an object that does
  not exist, and `collect` would retry for a day an object that was put and deleted again.

{more}
"""


class Grant(NamedTuple):
    """An action on a resource, and the function or worker whose role grants it."""

    owner: str
    action: str
    resource: str


class Role:
    """The grants of a role: those of its inline policy, or of the managed policy `attached`."""

    def __init__(self, stage: Stage, name: str, attached: str = "") -> None:
        self._iam = stage.iam
        self.name = name
        self._attached = attached
        if attached:
            version = self._iam.get_policy(PolicyArn=attached)["Policy"]["DefaultVersionId"]
            found = self._iam.get_policy_version(PolicyArn=attached, VersionId=version)["PolicyVersion"]["Document"]
            self._policy, self._document = "proof", found
        else:
            (self._policy,) = self._iam.list_role_policies(RoleName=name)["PolicyNames"]
            self._document = self._iam.get_role_policy(RoleName=name, PolicyName=self._policy)["PolicyDocument"]

    def pairs(self) -> list[tuple[str, str]]:
        """Each granted action with its resource."""
        return [
            (action, resource)
            for statement in self._document["Statement"]
            for action in _listed(statement["Action"])
            for resource in _listed(statement["Resource"])
        ]

    def actions(self) -> list[str]:
        """Each granted action."""
        return [action for action, _ in self.pairs()]

    @contextmanager
    def without(self, left_out: tuple[str, str]) -> Iterator[None]:
        """Grant all actions but one inside the context."""
        statements = [
            {"Effect": "Allow", "Action": action, "Resource": resource}
            for action, resource in self.pairs()
            if (action, resource) != left_out
        ]
        self._put({"Version": "2012-10-17", "Statement": statements})
        if self._attached:
            self._iam.detach_role_policy(RoleName=self.name, PolicyArn=self._attached)
        try:
            yield
        finally:
            if self._attached:
                self._iam.attach_role_policy(RoleName=self.name, PolicyArn=self._attached)
                self._iam.delete_role_policy(RoleName=self.name, PolicyName=self._policy)
            else:
                self._put(self._document)

    def _put(self, document: dict[str, Any]) -> None:
        self._iam.put_role_policy(RoleName=self.name, PolicyName=self._policy, PolicyDocument=json.dumps(document))


_PROVED: dict[Grant, str] = {}
"""Grant → the exercise that fails without it; empty where none does."""


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("owner", EXERCISES)
def test_each_grant_is_needed(stage: Stage, owner: str, capsys: pytest.CaptureFixture[str]) -> None:
    role, called, exercises = _role_of(owner, stage), _Names(stage), list(EXERCISES[owner])
    for pair in role.pairs():
        if pair[0] in _WRITING_LOGS or (owner, pair[0]) == _SEEING_DELETED:
            continue
        grant = Grant(owner, pair[0], called.of(pair[1]))
        _PROVED[grant] = test = _failing(role, pair, exercises, stage)
        with capsys.disabled():
            print(
                f"\n{grant.owner:<11} {grant.action:<30} {grant.resource:<42} {test or 'NOT NEEDED'}",
                end="",
                flush=True,
            )
    _all_pass(owner, stage)
    assert [grant for grant, test in _PROVED.items() if grant.owner == owner and not test] == []


def test_nothing_else_is_granted(stage: Stage) -> None:
    granted = {owner for owner in stage.functions if set(_role_of(owner, stage).actions()) - set(_WRITING_LOGS)}
    assert granted | {WORKER, JOB} == EXERCISES.keys()
    assert {grant.owner for grant in _PROVED} == EXERCISES.keys()
    assert all(_PROVED.values())
    _PAGE.write_text(_page(_PROVED, _Names(stage).others))


def _all_pass(owner: str, stage: Stage) -> None:
    faults = {exercise.__name__: _fault(exercise, stage) for exercise in EXERCISES.get(owner, ())}
    assert not any(faults.values()), f"with all its grants {owner} fails {faults}"


def _role_of(owner: str, stage: Stage) -> Role:
    """The role of a function, of a worker, or for jobs."""
    if owner == WORKER:
        return Role(stage, WORKER_ROLE, stage.stack["WorkerPolicy"])
    return Role(stage, stage.stack["JobRole"].rsplit("/", 1)[-1] if owner == JOB else stage.role(owner))


def _failing(role: Role, pair: tuple[str, str], exercises: list[Exercise], stage: Stage) -> str:
    """The exercise that fails without a grant because the action is denied; empty where none does.

    It moves to the front of `exercises`, because it may need the next grant, too.
    """
    size = stage.log.stat().st_size
    with role.without(pair):
        for exercise in exercises:
            if _fault(exercise, stage) and stage.denied_since(size, role.name, pair[0]):
                exercises.remove(exercise)
                exercises.insert(0, exercise)
                return exercise.__name__
    return ""


def _fault(exercise: Exercise, stage: Stage) -> str:
    """The error of an exercise; empty where it passes."""
    try:
        exercise(stage)
    except Exception as error:  # noqa: BLE001
        return repr(error)
    return ""


class _Names:
    """Logical ids of resources, without their hashes. Generated names would change with each deployment.

    `others` are the roles of neither functions nor jobs.
    """

    def __init__(self, stage: Stage) -> None:
        self._logical = {
            physical.rsplit("/", 1)[-1]: logical[:-8] for logical, physical in stage.deployed.resources().items()
        }
        proved = {"JobAccessRole", *(f"Functions{name.capitalize()}Role" for name in stage.functions)}
        roles = stage.deployed.resources("AWS::IAM::Role")
        self.others = sorted(logical[:-8] for logical in roles if logical[:-8] not in proved)

    def of(self, arn: str) -> str:
        """A resource by its ARN."""
        name = arn.split(":", 5)[-1]
        parts = [self._logical.get(part, part) for part in name.removeprefix("table/").split("/")]
        return "/".join(part for part in parts if not part.startswith("20"))  # the time in a stream's name


def _page(proved: dict[Grant, str], others: list[str]) -> str:
    lines = ["| function | action | resource | test |", "|---|---|---|---|"]
    lines += [f"| {grant.owner} | `{grant.action}` | {grant.resource} | {test} |" for grant, test in proved.items()]
    more = (
        f"CDK writes the policies of the stack's other roles: {', '.join(others)}."
        if others
        else "No other roles exist."
    )
    return _HEAD + "\n".join(lines) + "\n" + _UNPROVED.format(more=more)


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value
