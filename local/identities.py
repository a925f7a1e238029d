"""The role of this machine's workers, with the stack's policy for workers.

On EKS, Pod Identity gives workers their role. Here a profile for SDKs does: they assume the role and renew its
credentials.
"""

import json
import os
from typing import Any

from local import aws
from local.place import ACCOUNT, Place

_MACHINE, WORKER = "elasticrecode-machine", "elasticrecode-worker"
_ROLE_ARN = f"arn:aws:iam::{ACCOUNT}:role/{WORKER}"


def prepare(place: Place, policy_arn: str) -> None:
    """Create role and profile once, and attach the policy `policy_arn` to the role in place of any other."""
    iam = aws.client(place, "iam")
    if not place.worker_profile.exists():
        _create(iam, place)
    attached = iam.list_attached_role_policies(RoleName=WORKER)["AttachedPolicies"]
    for arn in {policy["PolicyArn"] for policy in attached} - {policy_arn}:
        iam.detach_role_policy(RoleName=WORKER, PolicyArn=arn)
    iam.attach_role_policy(RoleName=WORKER, PolicyArn=policy_arn)


def _create(iam: Any, place: Place) -> None:
    """Create the role, a user that may only assume it, and the profile."""
    machine = iam.create_user(UserName=_MACHINE)["User"]["Arn"]
    assumed = {"Effect": "Allow", "Action": "sts:AssumeRole"}
    iam.create_role(RoleName=WORKER, AssumeRolePolicyDocument=_policy(assumed | {"Principal": {"AWS": machine}}))
    iam.put_user_policy(
        UserName=_MACHINE, PolicyName="assume", PolicyDocument=_policy(assumed | {"Resource": _ROLE_ARN})
    )
    key = iam.create_access_key(UserName=_MACHINE)["AccessKey"]
    text = f"""[profile machine]
aws_access_key_id = {key["AccessKeyId"]}
aws_secret_access_key = {key["SecretAccessKey"]}

[profile worker]
role_arn = {_ROLE_ARN}
source_profile = machine
"""
    with os.fdopen(os.open(place.worker_profile, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


def _policy(statement: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})
