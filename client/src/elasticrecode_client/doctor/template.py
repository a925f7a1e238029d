"""A deployed CloudFormation template with the names of its resources: which parts a stack has, and how. Pure."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

UNKNOWN = "\N{REPLACEMENT CHARACTER}"
"""Stands in a resolved text for a value that the template does not tell."""

_ARNS = {
    "AWS::DynamoDB::Table": "dynamodb:{region}:{account}:table/{name}",
    "AWS::DynamoDB::GlobalTable": "dynamodb:{region}:{account}:table/{name}",
    "AWS::Lambda::Function": "lambda:{region}:{account}:function:{name}",
    "AWS::Logs::LogGroup": "logs:{region}:{account}:log-group:{name}:*",
    "AWS::SQS::Queue": "sqs:{region}:{account}:{name}",
    "AWS::S3::Bucket": "s3:::{name}",
    "AWS::IAM::Role": "iam::{account}:role/{name}",
    "AWS::KMS::Key": "kms:{region}:{account}:key/{name}",
    "AWS::Events::EventBus": "events:{region}:{account}:event-bus/{name}",
    "AWS::Cognito::UserPool": "cognito-idp:{region}:{account}:userpool/{name}",
}
_VARIABLE = re.compile(r"\$\{([^}!]+)\}")


class Resource(NamedTuple):
    """One resource of a stack: its type, its names in the template and in AWS, and its properties, resolved."""

    kind: str
    logical: str
    name: str
    label: str
    properties: Mapping[str, Any]


class Grant(NamedTuple):
    """A statement that a policy of the stack allows: whose role or policy it is, and its actions on resources."""

    holder: Resource
    actions: tuple[str, ...]
    resources: tuple[str, ...]


@dataclass(frozen=True)
class Template:
    """The template `body` of a stack, with `names` of its resources in AWS by their logical ids.

    `streams` are the ARNs of tables' streams by the tables' names, which no template tells.
    """

    body: Mapping[str, Any]
    names: Mapping[str, str]
    region: str
    account: str
    partition: str = "aws"
    streams: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)

    def resources(self, *kinds: str) -> list[Resource]:
        """The stack's resources of these types."""
        entries = self.body["Resources"].items()
        return [self._resource(logical, entry) for logical, entry in entries if entry["Type"] in kinds]

    def by_name(self, kind: str, name: str) -> Resource | None:
        """The resource of a type with a name in AWS."""
        return next((each for each in self.resources(kind) if each.name == name), None)

    def functions(self) -> list[Resource]:
        """The product's Lambda functions, whose labels are their folders in `functions/`; not those of CDK."""
        return [each for each in self.resources("AWS::Lambda::Function") if _is_own(each)]

    def helpers(self) -> list[Resource]:
        """CDK's own Lambda functions, which act while a stack changes."""
        return [each for each in self.resources("AWS::Lambda::Function") if not _is_own(each)]

    def grants(self) -> list[Grant]:
        """Each statement of the stack's policies, with the role it is for, or the managed policy."""
        return [
            Grant(holder, tuple(_listed(statement["Action"])), tuple(_listed(statement["Resource"])))
            for holder, document in self._policies()
            for statement in _listed(document["Statement"])
            if statement.get("Effect") == "Allow" and "Action" in statement and "Resource" in statement
        ]

    def _policies(self) -> Iterator[tuple[Resource, Mapping[str, Any]]]:
        roles = {each.name: each for each in self.resources("AWS::IAM::Role")}
        for policy in self.resources("AWS::IAM::Policy"):
            for role in policy.properties.get("Roles", ()):
                if role in roles:
                    yield roles[role], policy.properties["PolicyDocument"]
        for role in roles.values():
            for inline in role.properties.get("Policies", ()):
                yield role, inline["PolicyDocument"]
        for managed in self.resources("AWS::IAM::ManagedPolicy"):
            yield managed, managed.properties["PolicyDocument"]

    def arn(self, logical: str) -> str:
        """The ARN of a resource; UNKNOWN for a type whose ARNs are not known here."""
        kind, name = self.body["Resources"][logical]["Type"], self._name(logical)
        if name.startswith("arn:") or UNKNOWN in name:
            return name
        pattern = _ARNS.get(kind)
        if not pattern:
            return UNKNOWN
        own = name.rsplit("/", 1)[-1] if kind == "AWS::SQS::Queue" else name
        return f"arn:{self.partition}:" + pattern.format(region=self.region, account=self.account, name=own)

    def _resource(self, logical: str, entry: Mapping[str, Any]) -> Resource:
        path = entry.get("Metadata", {}).get("aws:cdk:path", "").split("/")[1:-1]
        label = "/".join(path) or logical
        if path[:1] == ["Functions"] and len(path) == 2:
            label = path[1].lower() if entry["Type"] == "AWS::Lambda::Function" else path[1]
        properties = self._resolved(entry.get("Properties", {}))
        return Resource(entry["Type"], logical, self._name(logical), label, properties)

    def _name(self, logical: str) -> str:
        return self.names.get(logical) or UNKNOWN

    def _resolved(self, value: Any) -> Any:
        """A value with its references replaced by names and ARNs."""
        if isinstance(value, list):
            return [self._resolved(each) for each in value if each != {"Ref": "AWS::NoValue"}]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((key, argument),) = value.items()
            if key == "Ref" or key.startswith("Fn::"):
                return self._called(key, argument)
        return {key: self._resolved(each) for key, each in value.items()}

    def _called(self, key: str, argument: Any) -> Any:
        """The value of an intrinsic function."""
        if key == "Ref":
            return self._referred(argument)
        if key == "Fn::GetAtt":
            logical, attribute = argument if isinstance(argument, list) else argument.split(".", 1)
            return self._attribute(logical, attribute)
        if key == "Fn::Join":
            parts = self._resolved(argument[1])
            return argument[0].join(map(str, parts)) if isinstance(parts, list) else UNKNOWN
        if key == "Fn::Select":
            among = self._resolved(argument[1])
            return among[int(argument[0])] if isinstance(among, list) and len(among) > int(argument[0]) else UNKNOWN
        if key == "Fn::Split":
            return str(self._resolved(argument[1])).split(argument[0])
        if key == "Fn::Sub" and isinstance(argument, str):
            return _VARIABLE.sub(lambda match: self._referred(match[1]), argument)
        return UNKNOWN

    def _referred(self, name: str) -> str:
        pseudo = {
            "AWS::Region": self.region,
            "AWS::AccountId": self.account,
            "AWS::Partition": self.partition,
            "AWS::URLSuffix": "amazonaws.com.cn" if self.partition == "aws-cn" else "amazonaws.com",
        }
        return pseudo.get(name) or self.parameters.get(name) or self._name(name)

    def _attribute(self, logical: str, attribute: str) -> str:
        name = self._name(logical)
        if attribute in ("Arn", "UserPoolArn"):
            return self.arn(logical)
        if attribute == "QueueName":
            return name.rsplit("/", 1)[-1]
        if attribute == "StreamArn":
            return self.streams.get(name, UNKNOWN)
        return UNKNOWN


def _is_own(function: Resource) -> bool:
    return "Environment" in function.properties and function.logical.startswith("Functions")


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
