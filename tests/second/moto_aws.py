"""moto's server as a second AWS: the synthesised template through its CloudFormation, and the functions over its HTTP.

moto reads more of CloudFormation than it runs. `prepared` leaves out what it has no resource for and mends its two
defects; nothing else of the template is changed. It has no Lambda without containers: here `Second` polls the streams
and queues as the deployed event source mappings say, and calls the handlers with the environment of the deployed
functions.
"""

import base64
import io
import json
import os
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from unittest.mock import patch

import boto3
from moto.cloudformation.parsing import resource_class_from_type
from moto.dynamodb.models import dynamodb_backends
from moto.server import ThreadedMotoServer
from moto.sqs.models import sqs_backends

from tests.fakes.stack import selected
from tests.support import function

Json = dict[str, Any]

WITHOUT_METHODS = "AWS::ApiGateway::Deployment"
"""moto's CloudFormation does not import an API's body, and refuses to deploy an API without methods."""
NOWHERE = "arn:aws:none:us-east-1:123456789012:left-out"
_ACCOUNT, _REGION = "123456789012", "us-east-1"
_ASSETS = "cdk-hnb659fds-assets-123456789012-us-east-1"


def is_left_out(kind: str) -> bool:
    """Whether moto's CloudFormation cannot create a kind of resource."""
    return kind == WITHOUT_METHODS or kind.startswith("Custom::") or not resource_class_from_type(kind)


def prepared(template: Json) -> Json:
    """A template as moto takes it, without the resources that moto has none for."""
    resources = {name: each for name, each in template["Resources"].items() if not is_left_out(each["Type"])}
    buses = {name: each["Properties"]["Name"] for name, each in resources.items() if each["Type"].endswith("EventBus")}

    def mended(value: Any) -> Any:
        match value:
            case {"Ref": name} if name in buses:  # moto puts an object of its own there, not the bus's name
                return buses[name]
            case {"Ref": name} if (
                not name.startswith("AWS::") and name not in resources and name in template["Resources"]
            ):
                return "left-out"
            case {"Fn::GetAtt": [name, _]} if name not in resources:
                return NOWHERE
            case dict():
                return {key: mended(each) for key, each in value.items()}
            case list():
                return [mended(each) for each in value]
        return value

    result = {name: mended(each) for name, each in resources.items()}
    for name, each in result.items():
        needed = each.get("DependsOn", [])
        each["DependsOn"] = [other for other in ([needed] if isinstance(needed, str) else needed) if other in result]
        if each["Type"] == "AWS::SQS::Queue" and each["Properties"].get("FifoQueue"):
            # AWS gives such a queue a name that ends so, as CDK's own integration tests rely on; moto does not.
            each["Properties"].setdefault("QueueName", f"{name}.fifo")
    return {**template, "Resources": result, "Outputs": mended(template.get("Outputs", {}))}


class Second:
    """The stack as moto deployed it."""

    def __init__(self, url: str, template: Json) -> None:
        self.url = url
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # moto's, of deprecated parts of its own
            self._deploy(prepared(template))
        resources = self.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName="second")
        self.resources = [each for page in resources for each in page["StackResourceSummaries"]]
        self.physical = {each["LogicalResourceId"]: each["PhysicalResourceId"] for each in self.resources}
        functions = self.client("lambda").list_functions()["Functions"]
        self.functions = {each["FunctionName"]: each for each in functions}
        mappings = self.client("lambda").list_event_source_mappings()["EventSourceMappings"]
        self.mappings = {self._name(each["FunctionArn"].rpartition(":")[2]): each for each in mappings}
        _detach()
        self._behind: dict[str, str] = {}
        self._modules: dict[str, Any] = {}

    def client(self, service: str) -> Any:
        connect: Any = boto3.client
        return connect(service, endpoint_url=self.url)

    def _name(self, deployed: str) -> str:
        """The name of a function in `functions/`, for that of a deployed one."""
        (logical,) = [name for name, each in self.physical.items() if each == deployed]
        return str(logical).removeprefix("Functions")[:-8].lower()

    def environment(self, name: str) -> dict[str, str]:
        """The environment of a deployed function."""
        (found,) = [each for deployed, each in self.functions.items() if self._name(deployed) == name]
        variables: dict[str, str] = found["Environment"]["Variables"]
        return variables

    def invoke(self, name: str, event: Json) -> Any:
        """Call a function's handler as Lambda does, with the deployed environment."""
        module = self._modules.setdefault(name, function(name))
        with patch.dict(os.environ, {**self.environment(name), "AWS_ENDPOINT_URL": self.url}):
            return module.handler(event, None)

    def poll(self, *names: str) -> int:
        """Hand each function what its stream or queue has; how many records that were."""
        return sum(self._poll(name, self.mappings[name]) for name in names)

    def _poll(self, name: str, mapping: Json) -> int:
        source = mapping["EventSourceArn"]
        if ":sqs:" not in source:
            records = self._streamed(name, source)
            patterns = [json.loads(each["Pattern"]) for each in mapping.get("FilterCriteria", {}).get("Filters", [])]
            records = selected(records, patterns) if patterns else records
            if records:
                self.invoke(name, {"Records": records})
            return len(records)
        sqs, queue = self.client("sqs"), source.rpartition(":")[2]
        url = sqs.get_queue_url(QueueName=queue)["QueueUrl"]
        most = min(mapping["BatchSize"], 10)
        taken = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=most, AttributeNames=["All"]).get("Messages", [])
        if taken:
            answer = self.invoke(name, {"Records": [_received(each, source) for each in taken]}) or {}
            again = {each["itemIdentifier"] for each in answer.get("batchItemFailures", ())}
            for each in taken:
                if each["MessageId"] not in again:
                    sqs.delete_message(QueueUrl=url, ReceiptHandle=each["ReceiptHandle"])
        return len(taken)

    def _streamed(self, name: str, stream: str) -> list[Json]:
        """What a stream has for a function since its last look."""
        streams = self.client("dynamodbstreams")
        (shard,) = streams.describe_stream(StreamArn=stream)["StreamDescription"]["Shards"]
        place: Json = {"StreamArn": stream, "ShardId": shard["ShardId"], "ShardIteratorType": "TRIM_HORIZON"}
        if name in self._behind:
            place |= {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": self._behind[name]}
        iterator = streams.get_shard_iterator(**place)["ShardIterator"]
        records: list[Json] = streams.get_records(ShardIterator=iterator)["Records"]
        if records:
            self._behind[name] = records[-1]["dynamodb"]["SequenceNumber"]
        return [_in_json(each) for each in records]

    def _deploy(self, template: Json) -> None:
        s3 = self.client("s3")
        s3.create_bucket(Bucket=_ASSETS)
        code = io.BytesIO()
        with zipfile.ZipFile(code, "w") as archive:
            archive.writestr("handler.py", "")
        for resource in template["Resources"].values():
            for key in ("Code", "Content"):
                asset = resource["Properties"].get(key)
                if isinstance(asset, dict) and "S3Key" in asset:
                    s3.put_object(Bucket=_ASSETS, Key=asset["S3Key"], Body=code.getvalue())
        self.client("ssm").put_parameter(Name="/cdk-bootstrap/hnb659fds/version", Value="21", Type="String")
        self.client("cloudformation").create_stack(
            StackName="second", TemplateBody=json.dumps(template), Capabilities=["CAPABILITY_NAMED_IAM"]
        )


def _detach() -> None:
    """Keep moto from running functions in containers: without one it drops the records that it reads."""
    for table in dynamodb_backends[_ACCOUNT][_REGION].tables.values():
        table.lambda_event_source_mappings.clear()
    for queue in sqs_backends[_ACCOUNT][_REGION].queues.values():
        queue.lambda_event_source_mappings.clear()


def _received(message: Json, source: str) -> Json:
    return {
        "messageId": message["MessageId"], "receiptHandle": message["ReceiptHandle"], "body": message["Body"],
        "attributes": message["Attributes"], "messageAttributes": {}, "eventSource": "aws:sqs",
        "eventSourceARN": source, "awsRegion": "us-east-1",
    }  # fmt: skip


def _in_json(value: Any) -> Any:
    """A record as Lambda writes it: bytes in base64, times in Unix seconds."""
    match value:
        case dict():
            return {name: _in_json(each) for name, each in value.items()}
        case list():
            return [_in_json(each) for each in value]
        case bytes():
            return base64.b64encode(value).decode()
        case datetime():
            return value.timestamp()
    return value


@contextmanager
def served() -> Iterator[str]:
    """The URL of moto's server."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()
