"""A worker on a sick host: its pauses, and what it logs."""

import logging
import threading

import pytest

from worker import health
from worker.errors import HostError
from worker.health import Health
from worker.host_faults import disk_full, memory_short
from worker.settings import Settings

SETTINGS = Settings.read({"WORKER_TYPE": "debug", "QUEUE_NAME": "q", "CONTROL_PLANE": "c"})


class Pauses(threading.Event):
    """Records pauses instead of waiting, and is set after so many of them."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.seconds: list[float | None] = []
        self._most = most

    def wait(self, timeout: float | None = None) -> bool:
        self.seconds.append(timeout)
        if len(self.seconds) == self._most:
            self.set()
        return self.is_set()


def host(monkeypatch: pytest.MonkeyPatch, *faults: HostError | None) -> Health:
    """The health of a host that has these faults, check by check, and the last for ever."""
    checks = list(faults)
    found = Health(SETTINGS, lambda: None)
    monkeypatch.setattr(found, "fault", lambda _: checks.pop(0) if len(checks) > 1 else checks[0])
    return found


def test_pauses_grow_up_to_five_minutes_while_the_host_is_not_well(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses = Pauses(9)
    host(monkeypatch, disk_full()).wait(pauses)
    assert pauses.seconds == [5, 10, 20, 40, 80, 160, 300, 300, 300]


def test_it_logs_each_reason_once_and_once_that_the_host_is_well(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        host(monkeypatch, disk_full(), disk_full(), memory_short(), memory_short(), None).wait(Pauses(9))
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR", "INFO"]
    assert ["disk-full" in caplog.messages[0], "memory-short" in caplog.messages[1]] == [True, True]


def test_a_well_host_is_checked_at_the_start_and_after_a_fault_of_a_job_only(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses = Pauses(9)
    well = host(monkeypatch, None)
    well.wait(pauses)
    monkeypatch.setattr(well, "fault", lambda _: pytest.fail("checked again"))
    well.wait(pauses)
    assert pauses.seconds == []


def test_a_host_that_a_job_suspects_pauses_before_its_next_job_even_if_it_looks_well(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pauses = Pauses(9)
    well = host(monkeypatch, None)
    for _ in range(3):
        well.suspect(memory_short())
        well.wait(pauses)
    assert pauses.seconds == [5, 5, 5]


def test_refused_credentials_are_well_when_aws_takes_them_again(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[HostError | None] = [HostError("credentials-refused", "no"), None]
    sick = Health(SETTINGS, lambda: answers.pop(0))
    suspicion = HostError("credentials-refused", "no")
    assert sick.fault(suspicion) is not None
    assert sick.fault(suspicion) is None
    assert sick.fault(disk_full()) is None
    assert answers == []


def test_a_host_without_memory_is_not_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "available_memory", lambda: 1 << 20)
    fault = Health(SETTINGS, lambda: None).fault()
    assert fault
    assert fault.failure.code == "memory-short"
