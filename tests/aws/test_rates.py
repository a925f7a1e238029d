"""Allowances: how many changing requests a user may make in a minute."""

from collections.abc import Iterator

import boto3
import pytest
from moto import mock_aws

from elasticrecode.access.callers import ANYBODY, Caller
from elasticrecode.access.rates import Rates
from elasticrecode.contract.settings import Rate
from elasticrecode.contract.tables import RATES_KEYS, TTL
from elasticrecode.errors import TooManyRequests, Unavailable

ANN, BOB = Caller("ann"), Caller("bob")
OPERATOR = Caller("olga", operator=True)
NOON = 1_800_000_000 - 1_800_000_000 % 60


class Clock:
    """A clock that shows the time it is set to."""

    def __init__(self, now: float) -> None:
        self.now = now

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock(NOON + 10)
    monkeypatch.setattr("elasticrecode.access.rates.time", clock)
    return clock


@pytest.fixture(autouse=True)
def table(clock: Clock) -> Iterator[None]:
    with mock_aws():
        boto3.client("dynamodb").create_table(
            TableName="rates",
            KeySchema=[
                {"AttributeName": RATES_KEYS[0], "KeyType": "HASH"},
                {"AttributeName": RATES_KEYS[1], "KeyType": "RANGE"},
            ],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in RATES_KEYS],
            BillingMode="PAY_PER_REQUEST",
        )
        yield


def passed(rates: Rates, caller: Caller, times: int) -> int:
    """How many of that many requests pass."""
    through = 0
    for _ in range(times):
        try:
            rates.count(caller)
            through += 1
        except TooManyRequests:
            pass
    return through


def items() -> list[dict[str, dict[str, str]]]:
    return list(boto3.client("dynamodb").scan(TableName="rates")["Items"])  # type: ignore[arg-type]


def test_a_user_has_a_new_allowance_each_minute(clock: Clock) -> None:
    rates = Rates(Rate("rates", 5))
    assert passed(rates, ANN, 9) == 5
    clock.now += 60
    assert passed(rates, ANN, 9) == 5


def test_functions_share_the_count(clock: Clock) -> None:
    one, other = Rates(Rate("rates", 5)), Rates(Rate("rates", 5))
    assert passed(one, ANN, 3) + passed(other, ANN, 9) + passed(one, ANN, 9) == 5


def test_each_user_has_an_own_allowance_and_operators_are_not_counted() -> None:
    rates = Rates(Rate("rates", 5))
    assert passed(rates, ANN, 9) == 5
    assert passed(rates, BOB, 5) == 5
    assert passed(rates, OPERATOR, 50) == 50
    assert passed(rates, ANYBODY, 50) == 50
    assert {item["user"]["S"] for item in items()} == {"ann", "bob"}


def test_a_refusal_says_when_to_retry(clock: Clock) -> None:
    rates = Rates(Rate("rates", 1))
    rates.count(ANN)
    with pytest.raises(TooManyRequests) as caught:
        rates.count(ANN)
    assert caught.value.retry_after == 50
    assert "allowance of 1 changing" in caught.value.detail


def test_a_flood_costs_no_writes_beyond_the_allowance_and_counts_expire(clock: Clock) -> None:
    rates = Rates(Rate("rates", 5))
    passed(rates, ANN, 1000)
    (item,) = items()
    assert int(item["count"]["N"]) == 6
    assert clock.now < int(item[TTL]["N"]) < clock.now + 3600


def test_without_an_allowance_nothing_is_counted() -> None:
    assert passed(Rates(Rate()), ANN, 100) == 100
    assert not items()


def test_a_request_that_cannot_be_counted_is_refused() -> None:
    rates = Rates(Rate("rates", 5))
    refuse = boto3.client("dynamodb").exceptions.ProvisionedThroughputExceededException
    rates._table._dynamodb.meta.events.register(
        "before-send.dynamodb.UpdateItem",
        lambda **_: (_ for _ in ()).throw(refuse({"Error": {"Code": refuse.__name__}}, "x")),
    )
    with pytest.raises(Unavailable):
        rates.count(ANN)
