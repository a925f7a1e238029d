"""The register of rules: each computes findings about a package, and each finding passes or not."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from tests.packages.package import Package

Demand = Literal["MUST", "SHOULD"]


class Finding(NamedTuple):
    """What a rule measured at one place, and whether that meets it."""

    where: str
    measured: str
    passed: bool


Check = Callable[["Package"], Iterable[Finding]]


class Rule(NamedTuple):
    """A demand of a specification: the clause, how strong it is, its text, and the function that measures it."""

    name: str
    clause: str
    demand: Demand
    text: str
    check: Check


RULES: dict[str, Rule] = {}


def rule(name: str, clause: str, demand: Demand = "MUST") -> Callable[[Check], Check]:
    """Register a check; the first line of its docstring is the text of the rule."""

    def register(check: Check) -> Check:
        assert name not in RULES, name
        RULES[name] = Rule(name, clause, demand, (check.__doc__ or "").splitlines()[0], check)
        return check

    return register
