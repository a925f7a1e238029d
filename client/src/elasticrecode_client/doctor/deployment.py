"""The deployment under examination: its stack as CloudFormation knows it, clients of AWS, and its API."""

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import httpx

from elasticrecode_client.auth import Auth, environment_region
from elasticrecode_client.doctor.advice import Advice
from elasticrecode_client.doctor.api import Api
from elasticrecode_client.doctor.template import Template
from elasticrecode_client.exchange import origin
from elasticrecode_client.problems import ElasticRecodeError

if TYPE_CHECKING:
    from elasticrecode_client.doctor.trial import Trial

T = TypeVar("T")

DOCS = "docs/how-to/doctor.md"
_CALL_SECONDS = 20
_MARKS = {"SocketManagementUrl", "JobRole", "RestUrl"}
"""Outputs by which a stack is known to be one of ElasticRecode."""
_DENIED = ("AccessDenied", "Unauthorized", "NotAuthorized", "OptInRequired", "SubscriptionRequired")


class NotReached(Exception):
    """A part that could not be looked at: why, and what to type. `is_fault` tells a fault from a reason to skip."""

    def __init__(self, part: str, reason: str, remedy: str = "", *, is_fault: bool = False) -> None:
        super().__init__(reason)
        self.part, self.remedy, self.is_fault = part, remedy, is_fault


@dataclass(frozen=True)
class Options:
    """Which deployment to check, and how.

    `stack` is its name in CloudFormation, `url` its address; either may be "", and with both "" the Region must have
    one stack of ElasticRecode. `auth` signs requests to the API. `webhook_url` is an address at which the stack reaches
    a web server that answers 2xx. `job_seconds` is how long a job may take.
    """

    stack: str = ""
    url: str = ""
    region: str = ""
    profile: str = ""
    auth: Auth | None = None
    webhook_url: str = ""
    job_seconds: float = 120


class Deployment:
    """What checks look at. Everything is looked up once, when the first check needs it; raises NotReached."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self._lock = threading.RLock()
        self._kept: dict[str, tuple[Any, Exception | None]] = {}
        self._locks: dict[str, threading.Lock] = {}

    # AWS

    def client(self, service: str, region: str = "") -> Any:
        """A boto3 client. Raises NotReached without boto3."""
        return self.once(f"client {service} {region}", lambda: self._client(service, region))

    def _client(self, service: str, region: str) -> Any:
        try:
            from botocore.config import Config
        except ImportError:
            reason = "boto3 is not installed, so nothing of AWS is checked."
            raise NotReached("AWS", reason, "pip install 'elasticrecode[aws]'") from None
        config = Config(
            connect_timeout=5,
            read_timeout=_CALL_SECONDS,
            retries={"mode": "adaptive", "total_max_attempts": 6},
            user_agent_extra="elasticrecode-doctor",
        )
        with self._lock:  # sessions make one client at a time
            return self._session().client(service, region_name=region or None, config=config)

    def _session(self) -> Any:
        def make() -> Any:
            import boto3

            region = self.options.region or environment_region()
            session = boto3.Session(profile_name=self.options.profile or None, region_name=region)
            if not session.region_name:
                raise NotReached("AWS", "No Region is configured.", "export AWS_REGION=eu-west-1   (yours)")
            if not session.get_credentials():
                reason = "There are no AWS credentials, so nothing of AWS is checked."
                raise NotReached("AWS", reason, "aws configure sso   (or export AWS_PROFILE=…)")
            return session

        return self.once("session", make)

    @property
    def region(self) -> str:
        """The Region of the deployment."""
        return str(self._session().region_name)

    @property
    def identity(self) -> Mapping[str, Any]:
        """The caller of AWS, as STS answers, with the answer's headers."""
        answer: Mapping[str, Any] = self.once("identity", lambda: self.client("sts").get_caller_identity())
        return answer

    @property
    def is_embedded(self) -> bool:
        """Whether this is the stack on one machine, with the embedded AWS."""
        try:
            host = urlsplit(self.client("sts").meta.endpoint_url).hostname or ""
        except NotReached:
            host = urlsplit(self.options.url).hostname or ""
        return host in ("localhost", "127.0.0.1", "::1")

    # The stack

    @property
    def stack(self) -> Mapping[str, Any]:
        """The stack, as CloudFormation describes it."""
        described: Mapping[str, Any] = self.once("stack", self._find)
        return described

    def _find(self) -> Mapping[str, Any]:
        pages = self.client("cloudformation").get_paginator("describe_stacks")
        named = {"StackName": self.options.stack} if self.options.stack else {}
        where = f"the stack in {self.region}"
        try:
            stacks = [each for page in pages.paginate(**named) for each in page["Stacks"]]
        except Exception as error:
            if "does not exist" not in str(error):
                raise
            reason = f"There is no stack {self.options.stack} in {self.region}."
            remedy = "aws cloudformation list-stacks --query 'StackSummaries[].StackName'   (then --stack NAME)"
            raise NotReached(where, reason, remedy, is_fault=True) from None
        ours = [each for each in stacks if outputs_of(each).keys() >= _MARKS]
        url = self.options.url.rstrip("/")
        at_url = [each for each in ours if url and url == outputs_of(each).get("Url", "").rstrip("/")]
        candidates = at_url or ours
        if len(candidates) == 1:
            only: Mapping[str, Any] = candidates[0]
            return only
        names = ", ".join(each["StackName"] for each in candidates)
        reason = (
            f"There are several stacks of ElasticRecode: {names}." if names else "There is no stack of ElasticRecode."
        )
        remedy = "elasticrecode doctor --stack NAME" if names else "make deploy   (or --region, --profile)"
        raise NotReached(where, reason, remedy, is_fault=True)

    @property
    def outputs(self) -> Mapping[str, str]:
        """The stack's outputs."""
        return outputs_of(self.stack)

    @property
    def template(self) -> Template:
        """The template that is deployed, with the names of its resources."""
        template: Template = self.once("template", self._template)
        return template

    def _template(self) -> Template:
        stacks, name = self.client("cloudformation"), self.stack["StackName"]
        body = stacks.get_template(StackName=name)["TemplateBody"]
        pages = stacks.get_paginator("list_stack_resources").paginate(StackName=name)
        names = {
            each["LogicalResourceId"]: each.get("PhysicalResourceId", "")
            for page in pages
            for each in page["StackResourceSummaries"]
        }
        parts = self.stack["StackId"].split(":")
        given = {each["ParameterKey"]: each.get("ParameterValue", "") for each in self.stack.get("Parameters", ())}
        template = Template(
            json.loads(body) if isinstance(body, str) else body,
            names,
            parts[3],
            parts[4],
            parts[1],
            parameters=given,
        )
        streams = {}
        for table in template.resources("AWS::DynamoDB::Table"):
            if "StreamSpecification" in table.properties:
                described = self.described_table(table.name)
                if described and described.get("StreamSpecification", {}).get("StreamEnabled"):
                    streams[table.name] = described["LatestStreamArn"]
        return Template(template.body, names, parts[3], parts[4], parts[1], streams, given)

    def described_table(self, name: str) -> Mapping[str, Any] | None:
        """A table, as DynamoDB describes it; None when there is none."""

        def describe() -> Any:
            tables = self.client("dynamodb")
            try:
                return tables.describe_table(TableName=name)["Table"]
            except tables.exceptions.ResourceNotFoundException:
                return None

        table: Mapping[str, Any] | None = self.once(f"table {name}", describe)
        return table

    # The API

    @property
    def api(self) -> Api:
        """The API at the address of the options, or at that of the stack's outputs."""

        def make() -> Api:
            url = self.options.url.rstrip("/") or self.outputs.get("Url", "")
            if url:
                return Api(url, f"ws{origin(url).removeprefix('http')}/ws", self.options.auth)
            return Api(self.outputs["RestUrl"], self.outputs["SocketUrl"], self.options.auth)

        api: Api = self.once("api", make)
        return api

    def trial(self) -> "Trial":
        """The jobs that were sent through the deployment, which all checks of jobs share."""
        from elasticrecode_client.doctor.trial import run

        trial: Trial = self.once("trial", lambda: run(self))
        return trial

    @property
    def advice(self) -> Advice:
        """What to type about this deployment."""
        parameters = [each["ParameterKey"] for each in self.stack.get("Parameters", ())]
        name, profile = self.stack["StackName"], self.options.profile
        return Advice(self.region, name, profile, parameters, self.is_embedded)

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            kept = [value for value, _ in self._kept.values()]
        for value in kept:
            if callable(getattr(value, "close", None)):
                value.close()

    def once(self, key: str, make: Callable[[], T]) -> T:
        """What `make` returns or raises, made once for all threads."""
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            if key not in self._kept:
                try:
                    self._kept[key] = make(), None
                except Exception as error:  # noqa: BLE001 - each check that needs it reports it
                    self._kept[key] = None, error
        value, reason = self._kept[key]
        if reason:
            raise reason
        kept: T = value
        return kept


def outputs_of(stack: Mapping[str, Any]) -> dict[str, str]:
    """The outputs of a described stack."""
    return {each["OutputKey"]: each["OutputValue"] for each in stack.get("Outputs", ())}


def explained(error: Exception) -> NotReached | None:
    """Why AWS or the network refused a check; None for other errors. Botocore is not imported: it may be absent."""
    if isinstance(error, ElasticRecodeError):
        return NotReached("credentials", str(error), "elasticrecode doctor --help   (how to sign in)", is_fault=True)
    answer = getattr(error, "response", None)
    if isinstance(answer, dict) and "Error" in answer:
        code, operation = answer["Error"].get("Code", ""), getattr(error, "operation_name", "?")
        if any(word in code for word in _DENIED):
            reason = f"These credentials may not call {operation} ({code})."
            return NotReached("AWS", reason, f"Attach the policy of {DOCS} to your role or user.")
        return NotReached(
            "AWS", f"{operation} was refused: {code} {answer['Error'].get('Message', '')}"[:300], is_fault=True
        )
    if type(error).__module__.startswith("botocore") or isinstance(error, httpx.HTTPError):
        reason = f"{type(error).__name__}: {error}"[:300]
        return NotReached(
            "the network", reason, "Check the address, the Region and the network, and repeat.", is_fault=True
        )
    return None
