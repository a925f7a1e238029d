"""Resource patterns of IAM policies: wildcards, policy variables, and escaped characters such as `${*}`.

See https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html. ministack 1.5.33 matches
wildcards only, and not across line breaks. This module runs under ministack's interpreter, so it imports nothing of
the product.
"""

import re
from collections.abc import Iterable, Mapping

_PARTS = re.compile(r"(\$\{[^}]*\}|\*|\?)")
_WILD = {"*": ".*", "?": "."}


def matches(arn: str, patterns: Iterable[str], known: Mapping[str, object]) -> bool:
    """Whether a pattern matches a resource. `known` holds the values of variables by their names in lower case."""
    return any(regex and re.fullmatch(regex, arn, re.DOTALL) for regex in (_regex(each, known) for each in patterns))


def _regex(pattern: str, known: Mapping[str, object]) -> str | None:
    """A pattern as a regular expression; None when a variable has no value, so that the pattern matches nothing."""
    regex = ""
    for part in _PARTS.split(pattern):
        name = part[2:-1].lower() if part.startswith("${") else ""
        if name and name not in "*?$" and not isinstance(known.get(name), str):
            return None
        regex += _WILD.get(part) or re.escape(str(known[name]) if name in known else name or part)
    return regex
