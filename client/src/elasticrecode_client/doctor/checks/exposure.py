"""What the world can see: public buckets, requests without TLS, certificates."""

import json
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from elasticrecode_client.doctor.advice import Advice
from elasticrecode_client.doctor.check import check
from elasticrecode_client.doctor.checks.functions import side_by_side
from elasticrecode_client.doctor.deployment import Deployment
from elasticrecode_client.doctor.results import Finding, Verdict, failed, skipped, warning
from elasticrecode_client.doctor.template import Resource

_BLOCKS = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
_DAY_SECONDS = 86_400
_SOON_DAYS = 21


@check("buckets", "Buckets are private")
def buckets(deployment: Deployment) -> Verdict:
    """Whether each bucket exists, blocks public access, and refuses requests without TLS."""
    own = deployment.template.resources("AWS::S3::Bucket")
    looked = side_by_side(lambda each: _look(deployment, each), own)
    findings = [
        finding
        for each, (blocks, policy) in looked
        for finding in judge_bucket(each, blocks, policy, deployment.advice)
    ]
    return Verdict.of(f"{len(own)} buckets", findings)


def _look(deployment: Deployment, bucket: Resource) -> tuple[Mapping[str, bool] | None, Mapping[str, Any] | None]:
    """What a bucket blocks, and its policy; both None where the bucket does not exist."""
    client = deployment.client("s3")

    def ask(call: str, member: str, *absent: str) -> Any:
        try:
            return getattr(client, call)(Bucket=bucket.name)[member]
        except client.exceptions.ClientError as error:
            code = error.response["Error"]["Code"]
            if code == "NoSuchBucket":
                return None
            if code in absent:
                return "{}" if member == "Policy" else {}
            raise

    blocks = ask("get_public_access_block", "PublicAccessBlockConfiguration", "NoSuchPublicAccessBlockConfiguration")
    policy = ask("get_bucket_policy", "Policy", "NoSuchBucketPolicy")
    return blocks, None if policy is None else json.loads(policy)


def judge_bucket(
    bucket: Resource, blocks: Mapping[str, bool] | None, policy: Mapping[str, Any] | None, advice: Advice
) -> Iterator[Finding]:
    """The faults of a bucket by its public access block and its policy; None for one that does not exist."""
    where = f"bucket {bucket.name}"
    if blocks is None or policy is None:
        yield failed(where, f"The bucket ({bucket.label}) does not exist.", advice.restore())
        return
    open_ = [each for each in _BLOCKS if not blocks.get(each)]
    block = ",".join(f"{each}=true" for each in _BLOCKS)
    close = advice.cli(
        f"s3api put-public-access-block --bucket {bucket.name} --public-access-block-configuration {block}"
    )
    if is_public(policy):
        sentence = "Its policy lets anyone in." + ("" if open_ else " The public access block still holds.")
        remedy = f"{close}   then   {advice.restore()}" if open_ else advice.restore()
        yield failed(where, sentence, remedy)
    if open_:
        yield failed(where, f"It does not block public access ({', '.join(open_)}).", close)
    if not denies_plain(policy):
        yield warning(where, "Its policy does not refuse requests without TLS.", advice.restore())


def is_public(policy: Mapping[str, Any]) -> bool:
    """Whether a policy allows anyone something, without a condition."""
    return any(
        each.get("Effect") == "Allow"
        and not each.get("Condition")
        and each.get("Principal") in ("*", {"AWS": "*"}, {"AWS": ["*"]})
        for each in _statements(policy)
    )


def denies_plain(policy: Mapping[str, Any]) -> bool:
    """Whether a policy denies requests without TLS."""
    return any(
        each.get("Effect") == "Deny"
        and str(each.get("Condition", {}).get("Bool", {}).get("aws:SecureTransport", "")).lower() == "false"
        for each in _statements(policy)
    )


def _statements(policy: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    statements = policy.get("Statement", [])
    return statements if isinstance(statements, list) else [statements]


@check("tls", "TLS")
def tls(deployment: Deployment) -> Verdict:
    """Whether the address is https, with a certificate that lasts."""
    parts = urlsplit(deployment.api.base)
    host = parts.hostname or ""
    if parts.scheme != "https":
        if host in ("localhost", "127.0.0.1", "::1"):
            return Verdict(deployment.api.base, (skipped("TLS", "Plain http on loopback, where nobody can listen."),))
        sentence = "The address is plain http: tokens and files can be read on the way."
        return Verdict(
            deployment.api.base, (failed("TLS", sentence, "Use the output Url of the stack, which is https."),)
        )
    try:
        with (
            socket.create_connection((host, parts.port or 443), timeout=10) as plain,
            ssl.create_default_context().wrap_socket(plain, server_hostname=host) as secured,
        ):
            certificate, version = secured.getpeercert() or {}, secured.version() or ""
    except ssl.SSLError as error:
        remedy = "aws acm list-certificates --region us-east-1   (option certificate must cover the domain)"
        return Verdict(host, (failed("TLS", f"The certificate is not valid: {error}.", remedy),))
    days = (ssl.cert_time_to_seconds(str(certificate["notAfter"])) - time.time()) / _DAY_SECONDS
    return Verdict.of(f"{version}, certificate for {days:.0f} days", judge_tls(version, days))


def judge_tls(version: str, days: float) -> Iterator[Finding]:
    """The faults of a connection's version and the days that its certificate lasts."""
    if version not in ("TLSv1.2", "TLSv1.3"):
        yield failed("TLS", f"The connection uses {version}.", "make deploy   (the template asks for TLS 1.2)")
    if days < _SOON_DAYS:
        remedy = "aws acm list-certificates --region us-east-1   (renewal waits for a DNS record)"
        yield warning("TLS", f"The certificate ends in {days:.0f} days.", remedy)
