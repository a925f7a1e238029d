"""Which resources an IAM policy means: wildcards, variables, and what stands for itself, such as `${*}`.

ministack knows the wildcards only, and takes no line break for a character. Nothing of the product is imported here, as
it runs under ministack's interpreter.
"""

import re
from collections.abc import Iterable, Mapping

_PARTS = re.compile(r"(\$\{[^}]*\}|\*|\?)")
_WILD = {"*": ".*", "?": "."}


def matches(arn: str, patterns: Iterable[str], known: Mapping[str, object]) -> bool:
    """Whether one of the patterns means a resource. `known` are values of variables, by their names in lower case."""
    return any(regex and re.fullmatch(regex, arn, re.DOTALL) for regex in (_regex(each, known) for each in patterns))


def _regex(pattern: str, known: Mapping[str, object]) -> str | None:
    """A pattern as a regular expression; None where it has a variable without a value, and means nothing."""
    found = ""
    for part in _PARTS.split(pattern):
        name = part[2:-1].lower() if part.startswith("${") else ""
        if name and name not in "*?$" and not isinstance(known.get(name), str):
            return None
        found += _WILD.get(part) or re.escape(str(known[name]) if name in known else name or part)
    return found
