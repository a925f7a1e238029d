"""Uploads a file in parts, several at a time, and goes on where an earlier process broke off."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Sent(NamedTuple):
    """How far an upload is: bytes that S3 has, and bytes of the file."""

    sent: int
    total: int


Progress = Callable[[Sent], None]
