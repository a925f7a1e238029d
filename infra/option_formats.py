"""Formats of the text of deployment options, each with the words of its fault."""

import re
from pathlib import Path

from elasticrecode.access import prefixes
from elasticrecode.drops import rules
from elasticrecode.jobs import formats
from elasticrecode.webhooks import addresses

ROOT = Path(__file__).resolve().parent.parent
"""The checkout."""

_QUEUE_ARN = re.compile(r"arn:aws[a-z-]*:sqs:[a-z0-9-]+:\d{12}:[\w-]{1,80}", re.ASCII)
_CLUSTER = re.compile(r"(arn:aws[a-z-]*:eks:[a-z0-9-]+:\d{12}:cluster/)?[0-9A-Za-z][\w-]{0,99}", re.ASCII)
_TAG = re.compile(r"tag:[^=,]{1,128}=[^,]{0,256}")
_ORIGIN = re.compile(r"https?://([a-z0-9-]+(\.[a-z0-9-]+)*|\[[0-9a-f:]+\])(:\d{1,5})?", re.ASCII)
"""As browsers write it: in lower case, and with a port only if it is not the scheme's default."""
_DOMAIN = re.compile(r"(\*\.)?([a-z0-9-]+\.)+[a-z0-9-]+", re.ASCII)
_WEB_ACL = re.compile(r"arn:aws[a-z-]*:wafv2:[a-z0-9-]+:\d{12}:(global|regional)/webacl/[\w-]+/[\w-]+", re.ASCII)
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII)
_SERVING = re.compile(r"(public|signed):([A-Za-z0-9_.-]+/)+", re.ASCII)
"""The rest of what S3 allows in keys would need escapes in CloudFront's origin path."""
_PUBLIC_KEY = re.compile(r"-----BEGIN PUBLIC KEY-----\n([A-Za-z0-9+/=]{1,64}\n)+-----END PUBLIC KEY-----\n?", re.ASCII)
_PLATFORM = re.compile(r"(aarch64|x86_64)-(manylinux_2_(28|31|32|33|34)|unknown-linux-gnu|apple-darwin)", re.ASCII)
"""Lambda has glibc 2.34, and the pinned packages have no wheels for less than 2.28, nor for musl or Windows."""
_QUEUE_NAME = re.compile(r"[\w-]{1,80}", re.ASCII)


def _is_queue_list(text: str) -> bool:
    names = [name.rsplit(":", 1)[-1] for name in listed(text)]
    return len(set(names)) == len(names) and all(
        _QUEUE_NAME.fullmatch(entry) or _QUEUE_ARN.fullmatch(entry) for entry in listed(text)
    )


def _is_network_list(text: str) -> bool:
    try:
        addresses.networks(listed(text))
    except ValueError:
        return False
    return True


def _is_acl_list(text: str) -> bool:
    matches = [_WEB_ACL.fullmatch(entry) for entry in listed(text)]
    scopes = [match.group(1) for match in matches if match]
    return None not in matches and len(set(scopes)) == len(scopes)


def listed(text: str) -> list[str]:
    """The entries of a comma-separated option."""
    return [entry.strip() for entry in text.split(",") if entry.strip()]


FORMATS = {
    **formats.FORMATS,
    **rules.FORMATS,
    **prefixes.FORMATS,
    "queue-name": (lambda text: _QUEUE_NAME.fullmatch(text) is not None, "an SQS queue name"),
    "queue-list": (
        _is_queue_list,
        "different SQS queue names (of new queues) or ARNs (of existing queues), comma-separated",
    ),
    "queue-names": (
        lambda text: all(_QUEUE_NAME.fullmatch(entry) for entry in listed(text)),
        "SQS queue names, comma-separated",
    ),
    "queue-patterns": (
        lambda text: all(re.fullmatch(r"[\w-][\w*-]{0,79}", entry, re.ASCII) for entry in listed(text)),
        "patterns of SQS queue names that begin with a letter, digit, - or _, * standing for any characters",
    ),
    "cluster-list": (
        lambda text: (
            _TAG.fullmatch(text) is not None
            or (len(set(listed(text))) == len(listed(text)) and all(map(_CLUSTER.fullmatch, listed(text))))
        ),
        "different names or ARNs of EKS clusters, comma-separated, or one tag:key=value for all that have it",
    ),
    "topic": (
        lambda text: re.fullmatch(r"(arn:aws[a-z-]*:sns:[a-z0-9-]+:\d{12}:[\w-]{1,256})?", text, re.ASCII) is not None,
        "the ARN of an SNS topic, or empty",
    ),
    "origin-list": (
        lambda text: listed(text) == ["*"] or all(map(_ORIGIN.fullmatch, listed(text))),
        "origins of web pages, such as https://app.example.com, comma-separated; * for any, or empty for none",
    ),
    "domain-list": (
        lambda text: all(_DOMAIN.fullmatch(entry) for entry in listed(text)),
        "domain names such as video.example.com, comma-separated",
    ),
    "certificate": (
        lambda text: (
            re.fullmatch(r"(arn:aws[a-z-]*:acm:us-east-1:\d{12}:certificate/[\w-]+)?", text, re.ASCII) is not None
        ),
        "the ARN of a certificate of ACM in us-east-1, or empty",
    ),
    "web-acls": (
        _is_acl_list,
        "ARNs of WAF web ACLs, at most a global and a regional one, comma-separated",
    ),
    "bucket-list": (
        lambda text: all(_BUCKET.fullmatch(entry) for entry in listed(text)),
        "names of S3 buckets, comma-separated",
    ),
    "network-list": (_is_network_list, "networks in CIDR notation such as 10.1.0.0/16, comma-separated"),
    "table-name": (lambda text: re.fullmatch(r"[\w.-]{3,255}", text, re.ASCII) is not None, "a DynamoDB table name"),
    "stack-name": (
        lambda text: re.fullmatch(r"[A-Za-z][A-Za-z0-9-]{0,100}", text) is not None,
        "a CloudFormation stack name",
    ),
    "site-folder": (
        lambda text: (ROOT / text / "index.html").is_file() and (ROOT / text / "static").is_dir(),
        "a folder with index.html and static/ in it",
    ),
    "user-pool": (
        lambda text: re.fullmatch(r"([a-z]{2}(-[a-z]+)+-\d_[0-9A-Za-z]{1,55})?", text, re.ASCII) is not None,
        "the id of a Cognito user pool of this Region, or empty",
    ),
    "issuer": (
        lambda text: re.fullmatch(r"(https://[^\s?#/]+(/[^\s?#]*)?)?", text, re.ASCII) is not None,
        "the https URL of an OpenID issuer as in its tokens, or empty",
    ),
    "principal-list": (
        lambda text: all(re.fullmatch(r"[\w+=,.@-]{1,64}", entry, re.ASCII) for entry in listed(text)),
        "names of IAM roles and users, comma-separated",
    ),
    "serving": (
        lambda text: text == "off" or _SERVING.fullmatch(text) is not None,
        "off, public:<prefix> or signed:<prefix>, the prefix being a path such as out/ that ends in /",
    ),
    "public-key": (
        lambda text: not text or _PUBLIC_KEY.fullmatch(text) is not None,
        "a public key in PEM (-----BEGIN PUBLIC KEY-----), or empty",
    ),
    "lambda-platform": (
        lambda text: _PLATFORM.fullmatch(text) is not None,
        "aarch64 or x86_64 and a Linux that runs the pinned packages on Lambda, such as aarch64-manylinux_2_28 or "
        "x86_64-manylinux_2_28 (glibc 2.28 to 2.34)",
    ),
    "execute-api": (
        lambda text: re.fullmatch(r"https?://\S*\{apiId\}\S*", text) is not None,
        "a URL with {apiId} where an API's id belongs",
    ),
}
