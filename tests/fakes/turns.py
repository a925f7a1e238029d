"""Threads that take turns, so that a test with a seed always runs the same way."""

import threading
from typing import Any

import pytest
from moto.dynamodb.responses import DynamoHandler

from elasticrecode.aws import clients


class InTurn:
    """A thread pool that runs its calls one after another."""

    map = staticmethod(map)


def call_in_turn(patch: pytest.MonkeyPatch) -> None:
    """Make the product's parallel AWS calls one after another.

    moto gives one message to two receivers that ask at once, and one sequence number to two changes.
    """
    patch.setattr(clients, "_threads", InTurn())


def answer_in_turn(patch: pytest.MonkeyPatch) -> None:
    """Let moto answer one DynamoDB call at a time.

    Between a condition and its write it lets others write, and for a transaction it copies whole tables.
    """
    answer, turn = DynamoHandler.call_action, threading.Lock()

    def in_turn(handler: DynamoHandler) -> Any:
        with turn:
            return answer(handler)

    patch.setattr(DynamoHandler, "call_action", in_turn)
