"""Rules that the worker checks of its outputs, for the certificate."""

from msgspec import Struct


class Rule(Struct, frozen=True, omit_defaults=True):
    """A rule that the worker has checked, what it measured, and where: the name of a track or file."""

    rule: str
    passed: bool
    measured: str
    where: str = ""
