"""The option `userPrefixes` and what it makes in the template."""

import json
from typing import Any

import pytest

from infra import options
from tests.infra.test_stack import CONTEXT, environment, faults, synth, template
from tests.unit.test_drops import given_drop

READ = "s3:GetObject"
WRITE = {"s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts", "s3:GetObject", "s3:DeleteObject"}
PREFIXES = [
    {"prefix": "users/{userID}/"},
    {"prefix": "s3://library/films/", "access": "read"},
    {"prefix": "s3://inbox/{userID}/", "access": "write"},
]
OWN = {"Ref": "StorageMedia9333CB25"}


def as_text(*prefixes: dict[str, str]) -> str:
    """As on the command line."""
    return json.dumps(prefixes)


def role(**changes: Any) -> tuple[dict[str, Any], dict[str, set[str]]]:
    """The role for jobs: whom it trusts, and action → the objects, the media bucket called `own`."""
    found = template(**changes)["Resources"]
    (made,) = [each for key, each in found.items() if each["Type"] == "AWS::IAM::Role" and key.startswith("JobAccess")]
    (policy,) = [
        each for key, each in found.items() if each["Type"] == "AWS::IAM::Policy" and key.startswith("JobAccess")
    ]
    may: dict[str, set[str]] = {}
    for statement in policy["Properties"]["PolicyDocument"]["Statement"]:
        assert statement["Effect"] == "Allow"
        actions, objects = (
            given if isinstance(given, list) else [given] for given in (statement["Action"], statement["Resource"])
        )
        own = {_plain(each) for each in objects if "StorageParts" not in str(each)} if "s3:" in str(actions) else set()
        for action in actions if own else ():
            may.setdefault(action, set()).update(own)
    return made["Properties"]["AssumeRolePolicyDocument"], may


def test_the_role_for_jobs_opens_keys_of_packages_by_one_key_and_below_one_name() -> None:
    (policy,) = [
        each
        for key, each in template()["Resources"].items()
        if each["Type"] == "AWS::IAM::Policy" and key.startswith("JobAccess")
    ]
    statements = policy["Properties"]["PolicyDocument"]["Statement"]
    (opens,) = [each for each in statements if each["Action"] == "kms:Decrypt"]
    assert opens["Resource"]["Fn::GetAtt"][0].startswith("StorageSealing")
    (reads,) = [each for each in statements if each["Action"] == "secretsmanager:GetSecretValue"]
    assert reads["Resource"]["Fn::Join"][1][-1] == ":secret:elasticrecode/*"
    others = {"kms:Decrypt", "secretsmanager:GetSecretValue"}
    assert all(str(each["Action"]).count("s3:") or each["Action"] in others for each in statements)


def _plain(arn: Any) -> str:
    parts = arn["Fn::Join"][1]
    text = "".join(
        part if isinstance(part, str) else {"AWS::Partition": "aws"}.get(part["Ref"], "own") for part in parts
    )
    assert text.startswith("arn:aws:s3:::")
    return text.removeprefix("arn:aws:s3:::")


def test_the_role_for_jobs_allows_only_the_prefixes_of_the_tagged_user() -> None:
    _, may = role(userPrefixes=as_text(*PREFIXES), batchBuckets="films", drops="[]")
    tag = "${aws:PrincipalTag/userID}"
    assert may.keys() == {READ} | WRITE
    assert may[READ] == {f"own/users/{tag}/*", "library/films/*", f"inbox/{tag}/*", f"own/uploads/{tag}/*"}
    for action in WRITE - {READ}:
        assert may[action] == {f"own/users/{tag}/*", f"inbox/{tag}/*"}


def test_without_prefixes_the_role_allows_the_buckets_that_options_name() -> None:
    drops = [given_drop(), given_drop(bucket="theirs", prefix="raw/", output="s3://results/x/")]
    _, may = role(batchBuckets="films", drops=json.dumps(drops))
    assert {each for each in may[READ] if not each.startswith("own/")} == {"films/*", "theirs/raw/*", "results/x/*"}
    assert "own/*" in may[READ]
    for action in WRITE - {READ}:
        assert {each for each in may[action] if not each.startswith("own/")} == {"results/x/*"}
        assert "own/*" in may[action]
    assert role()[1] == {action: {"own/*"} for action in {READ} | WRITE}


def test_read_prefixes_grant_no_writing() -> None:
    uploads = "own/uploads/${aws:PrincipalTag/userID}/*"
    assert role(userPrefixes=as_text(PREFIXES[1]))[1] == {READ: {"library/films/*", uploads}}


def test_roles_of_the_account_may_assume_the_role_with_a_tag() -> None:
    ((statement,),) = (role()[0]["Statement"],)
    assert statement["Action"] == ["sts:AssumeRole", "sts:TagSession"]
    assert json.dumps(statement["Principal"]).count(":root") == 1
    assert template()["Outputs"]["JobRole"]["Value"]["Fn::GetAtt"][1] == "Arn"


@pytest.mark.parametrize("name", ["submit", "vmaf", "batch", "survey", "files"])
def test_functions_that_check_files_have_the_prefixes(name: str) -> None:
    text = "".join(
        part if isinstance(part, str) else "own"
        for part in environment(name, userPrefixes=as_text(*PREFIXES))["USER_PREFIXES"]["Fn::Join"][1]
    )
    placed = [
        {"prefix": "s3://own/users/{userID}/", "access": "read-write"},
        {"prefix": "s3://library/films/", "access": "read"},
        {"prefix": "s3://inbox/{userID}/", "access": "write"},
        {"prefix": "s3://own/uploads/{userID}/", "access": "read"},
    ]
    assert json.loads(text) == placed
    assert json.loads(environment(name)["USER_PREFIXES"]) == []


def test_prefixes_are_read_from_cdk_json_and_from_the_command_line() -> None:
    told = options.read(CONTEXT | {"userPrefixes": PREFIXES})
    assert told == options.read(CONTEXT | {"userPrefixes": as_text(*PREFIXES)})
    assert [each.access for each in told.userPrefixes] == ["read-write", "read", "write"]


@pytest.mark.parametrize(
    "prefix",
    [
        "s3://media", "s3://media/x", "x", "/x/", "s3://media//x/", "s3://{userID}/x/", "s3://m-{userID}/", "s3:///x/",
        "a*/", "a?/", "a$/", "${aws:username}/", "{userid}/", "{user}/", "{userID/", "a b/", "é/", "../", "x/../y/",
        "./", "x" * 512 + "/", "s3://Media/x/", "a\n/",
    ],
)  # fmt: skip
def test_an_invalid_prefix_is_refused(prefix: str) -> None:
    found = faults(userPrefixes=[PREFIXES[0], {"prefix": prefix}])
    assert list(found) == ["userPrefixes/1/prefix"]
    assert "{userID} for the user" in found["userPrefixes/1/prefix"]


def test_all_faults_of_all_prefixes_are_reported_at_once() -> None:
    wrong = [
        {"prefix": "x"},
        {"prefix": "{userID}/", "access": "all"},
        {"access": "read"},
        {"prefix": "a/", "user": "b"},
    ]
    found = faults(userPrefixes=wrong, cors="maybe")
    assert set(found) == {
        "userPrefixes/0/prefix", "userPrefixes/1/access", "userPrefixes/2/prefix", "userPrefixes/3/user", "cors",
    }  # fmt: skip
    meeting = faults(userPrefixes=[{"prefix": "x/{userID}/"}, {"prefix": 7}, {"prefix": "x/library/"}])
    assert set(meeting) == {"userPrefixes/1/prefix", "userPrefixes/2/prefix"}
    assert "are the same place for some users" in meeting["userPrefixes/2/prefix"]
    for text in ("all", "{}", '[{"prefix": '):
        assert list(faults(userPrefixes=text)) == ["userPrefixes"]


def test_prefixes_too_large_for_a_functions_environment_are_refused() -> None:
    many = [{"prefix": f"s3://bucket-{n}/users/{{userID}}/"} for n in range(40)]
    assert "have room for" in faults(userPrefixes=many)["userPrefixes"]
    house = {f"p{n}": {"vmaf": {"scale": "720p", "min": 90.5, "psnr": "enable"}} for n in range(35)}
    assert options.read(CONTEXT | {"presets": house})
    said = faults(presets=house, userPrefixes=many[:20])
    assert "beside the queues and userPrefixes" in said["presets"]


def test_a_drop_reads_and_writes_only_in_its_users_prefixes() -> None:
    mine = given_drop(userid="ann", prefix="users/ann/in/", output="users/ann/out/")
    theirs = given_drop(userid="bob", prefix="users/ann/more/", output="s3://results/")
    shared = given_drop(userid="bob", bucket="library", prefix="films/", output="s3://inbox/bob/")
    assert options.read(CONTEXT | {"drops": [mine, shared], "userPrefixes": PREFIXES})
    found = faults(drops=[mine, theirs, shared], userPrefixes=PREFIXES)
    assert found == {
        "drops/1/prefix": "must be below a prefix that bob may read: users/bob/, s3://library/films/",
        "drops/1/output": "must be below a prefix that bob may write: users/bob/, s3://inbox/bob/",
    }


def test_wrong_prefixes_stop_synth_with_a_sentence(tmp_path: Any) -> None:
    done = synth(tmp_path, userPrefixes=[{"prefix": "s3://media"}])
    assert done.returncode != 0
    assert "option userPrefixes/0/prefix: must be an s3://bucket/prefix/ URI" in done.stderr
    assert "Traceback" not in done.stderr
