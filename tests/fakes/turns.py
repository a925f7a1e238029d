"""Threads that take turns, so that a test with a seed always runs the same way."""

import threading
from typing import Any

import pytest
from moto.dynamodb.models import DynamoDBBackend

from elasticrecode.aws import clients


class InTurn:
    """A thread pool that runs its calls one after another."""

    map = staticmethod(map)


def call_in_turn(patch: pytest.MonkeyPatch) -> None:
    """Make the product's parallel AWS calls one after another.

    moto gives one message to two receivers that ask at once, and one sequence number to two changes.
    """
    patch.setattr(clients, "_threads", InTurn())


def transact_in_turn(patch: pytest.MonkeyPatch) -> None:
    """Let moto run one DynamoDB transaction at a time: each copies whole tables."""
    transact, turn = DynamoDBBackend.transact_write_items, threading.Lock()

    def in_turn(*arguments: Any) -> Any:
        with turn:
            return transact(*arguments)

    patch.setattr(DynamoDBBackend, "transact_write_items", in_turn)
