"""Every function answers the health event once it has its settings, and does nothing."""

import pytest

from elasticrecode import __version__
from elasticrecode.contract.settings import TallySettings
from elasticrecode.runtime import HEALTH_EVENT, compose

_ENVIRONMENT = {
    "JOBS_TABLE": "jobs",
    "BATCHES_TABLE": "batches",
    "RETENTION_DAYS": "1",
    "EVENT_RETENTION_SECONDS": "60",
}


@pytest.mark.parametrize("place", ["on Lambda", "elsewhere"])
def test_the_health_event_is_answered_with_the_version_and_reaches_no_handler(
    monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    for name, value in _ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    if place == "on Lambda":
        monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "tally")
    events: list[object] = []
    handler = compose(lambda _: lambda event, _: events.append(event), TallySettings)
    assert handler(HEALTH_EVENT, None) == {"status": "ok", "version": __version__}
    assert events == []
    handler({"Records": []}, None)
    assert events == [{"Records": []}]


def test_a_function_that_lacks_a_setting_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JOBS_TABLE", raising=False)
    handler = compose(lambda _: lambda event, _: None, TallySettings)
    with pytest.raises(KeyError, match="JOBS_TABLE"):
        handler(HEALTH_EVENT, None)
