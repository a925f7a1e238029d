"""Routing: the share of each queue, queues without a share, and the reasons."""

import random
from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from elasticrecode.errors import Refused
from elasticrecode.jobs.job import Job
from elasticrecode.jobs.placement import Choice, Want, wanted
from elasticrecode.media.profiles import Ec2
from elasticrecode.workers.fleet import Load, Queue
from elasticrecode.workers.routing import STALL_SECONDS, Router
from tests.conftest import contract

NOW = 1_700_000_000.0
WANT = Want("cpu", "normal", 0)


def queue(name: str, ready: int | None = 4, seconds: float | None = 30.0, **given: Any) -> Queue:
    """A queue that was measured just now and is empty, unless `load` has other values."""
    load = {"at": NOW, "seconds": seconds} | given.pop("load", {})
    return Queue(
        **({"name": name, "group": "cpu", "url": f"https://sqs/{name}", "ready": ready} | given), load=Load(**load)
    )


def sent(queues: list[Queue], jobs: int, want: Want = WANT, seed: int = 1) -> Counter[str]:
    """Queue → how many of `jobs` one router sends there."""
    router = Router(queues, random.Random(seed))
    return Counter(router.choose(want, NOW).queue for _ in range(jobs))


def chosen(queues: list[Queue], want: Want = WANT, leaving: str = "") -> Choice:
    return Router(queues, random.Random(1)).choose(want, NOW, leaving)


# Shares


@pytest.mark.parametrize("backlog", [0, 100])
def test_a_queue_that_is_three_times_as_fast_gets_three_quarters_of_a_batch(backlog: int) -> None:
    fast = queue("fast", seconds=10.0, load={"visible": 3 * backlog})
    slow = queue("slow", seconds=30.0, load={"visible": backlog})
    assert sent([fast, slow], 200)["fast"] == pytest.approx(150, abs=15)


def test_a_queue_with_three_times_the_workers_gets_three_quarters_of_a_batch() -> None:
    assert sent([queue("many", ready=6), queue("few", ready=2)], 200)["many"] == pytest.approx(150, abs=15)


def test_200_independent_routers_share_by_speed() -> None:
    load = {"arrivals": 20.0}
    queues = [queue("fast", seconds=10.0, load=load), queue("slow", seconds=30.0, load=load)]
    total: Counter[str] = Counter()
    for seed in range(200):
        total += sent(queues, 1, seed=seed)
    assert total["fast"] == pytest.approx(150, abs=20)


def test_16_routers_with_one_measurement_do_not_all_choose_the_best_queue() -> None:
    queues = [queue("a", load={"visible": 10, "arrivals": 30.0}), queue("b", load={"visible": 12, "arrivals": 30.0})]
    total: Counter[str] = Counter()
    for seed in range(16):
        total += sent(queues, 25, seed=seed)
    assert total["a"] == pytest.approx(total["b"], abs=60)


def test_a_shorter_backlog_gets_the_difference() -> None:
    counted = sent([queue("long", load={"visible": 100}), queue("short")], 200)
    assert counted["short"] - counted["long"] == pytest.approx(100, abs=20)


def test_jobs_finished_since_the_measurement_do_not_count() -> None:
    queues = [queue("a", load={"visible": 100, "at": NOW - 50, "seconds": 2.0}), queue("b", seconds=2.0)]
    assert sent(queues, 200)["a"] == pytest.approx(100, abs=15)


def test_three_times_the_weight_gets_three_quarters() -> None:
    assert sent([queue("a", weight=1.5), queue("b", weight=0.5)], 200)["a"] == pytest.approx(150, abs=15)


def test_a_queue_that_was_never_measured_counts_as_the_median() -> None:
    queues = [queue("new", seconds=None), queue("a", seconds=10.0), queue("b", seconds=40.0), queue("c", seconds=20.0)]
    assert sent(queues, 900)["new"] == pytest.approx(sent(queues, 900)["c"], rel=0.2)


def test_configured_and_discovered_queues_share_jobs() -> None:
    queues = [queue("by-hand", ready=None, load={"in_flight": 4}), queue("discovered", load={"in_flight": 4})]
    counted = sent(queues, 200)
    assert counted["by-hand"] == pytest.approx(100, abs=15)


def test_an_idle_fast_queue_gets_every_single_job() -> None:
    assert {chosen([queue("fast", seconds=10.0), queue("slow", seconds=300.0)]).queue for _ in range(20)} == {"fast"}


def test_the_same_seed_chooses_the_same() -> None:
    queues = [queue("a"), queue("b"), queue("c")]
    routers = [Router(queues, random.Random(7)) for _ in range(2)]
    first, second = ([router.choose(WANT, NOW) for _ in range(100)] for router in routers)
    assert first == second


# Queues without a share


def test_a_paused_queue_gets_no_jobs() -> None:
    assert set(sent([queue("a"), queue("b", paused=True), queue("c")], 200)) == {"a", "c"}


def test_a_job_is_held_while_all_queues_of_its_group_are_paused() -> None:
    choice = chosen([queue("a", paused=True), queue("b", paused=True), queue("gpu", group="gpu")])
    assert choice == ("", "every queue that serves it is paused or without weight: a, b")


def test_a_queue_with_a_fault_gets_no_jobs() -> None:
    assert set(sent([queue("a"), queue("b", fault="no such queue"), queue("c", weight=0.0)], 50)) == {"a"}
    held = chosen([queue("a", fault="no such queue"), queue("b", weight=0.0)])
    assert held == ("", "every queue that serves it is paused or without weight: b")
    with pytest.raises(Refused, match=r"No queue can take cpu jobs: a \(no such queue\)\."):
        chosen([queue("a", fault="no such queue")])


def test_a_queue_without_ready_workers_is_the_last_choice() -> None:
    assert set(sent([queue("none", ready=0), queue("some", ready=1, load={"visible": 10_000})], 200)) == {"some"}
    assert set(sent([queue("none", ready=0), queue("unknown", ready=None)], 200)) == {"unknown"}
    alone = chosen([queue("none", ready=0), queue("neither", ready=0)])
    assert alone.queue
    assert alone.reason.startswith("no queue has a ready worker; about ")


def test_a_stalled_queue_is_avoided() -> None:
    stalled = queue("stalled", load={"visible": 3, "oldest": 900.0})
    assert set(sent([stalled, queue("busy", load={"visible": 40, "in_flight": 4, "oldest": 300.0})], 50)) == {"busy"}
    late = queue("late", load={"visible": 3, "in_flight": 4, "oldest": 900.0})
    assert sent([late, queue("other")], 200)["late"] == pytest.approx(97, abs=20)


def test_a_job_beyond_the_first_generation_goes_only_to_queues_of_the_second() -> None:
    new, old = queue("new"), queue("old", generation=1)
    want = WANT._replace(beyond="ffmpeg.fit")
    assert set(sent([new, old], 50, want)) == {"new"}
    assert set(sent([new, old], 50)) == {"new", "old"}
    assert chosen([structs.replace(new, paused=True), old], want).queue == ""
    assert chosen([new, old], want, leaving="new").queue == ""
    with pytest.raises(Refused, match=r"No queue serves cpu jobs with ffmpeg\.fit: .* and old have older ones\."):
        chosen([old, queue("gpu", group="gpu")], want)


def test_a_queue_of_the_second_generation_gives_no_surplus_to_one_of_the_first() -> None:
    load = {"visible": 1000}
    new, old = queue("new", load=load), queue("old", generation=1, load=load)
    assert surplus(new, queue("idle", generation=1)) == {}
    assert surplus(old, queue("idle")) == {"old": 500}
    assert surplus(structs.replace(new, ready=0, served=NOW - 301), queue("idle", generation=1)) == {}
    assert surplus(structs.replace(old, ready=0, served=NOW - 301), queue("idle")) == {"old": 1000}


def test_a_group_without_queues_is_refused_with_the_groups_that_have_some() -> None:
    with pytest.raises(Refused, match=r"No queue serves vmaf jobs; there are queues for cpu, gpu\."):
        chosen([queue("a"), queue("b", group="gpu"), queue("c")], Want("vmaf", "normal", 0))
    with pytest.raises(Refused, match="there are queues for nothing"):
        chosen([])


# Prices and priorities


def test_jobs_go_to_queues_of_their_price_model() -> None:
    queues = [queue("normal", load={"visible": 1000}), queue("spot", price="spot")]
    assert set(sent(queues, 50)) == {"normal"}
    assert set(sent(queues, 50, WANT._replace(price="spot"))) == {"spot"}


def test_a_price_that_no_queue_has_is_let_go_with_a_note() -> None:
    assert chosen([queue("a")], WANT._replace(price="spot")) == ("a", "no spot queue; the only queue")
    assert chosen([queue("a", price="spot")]) == ("a", "no normal queue; the only queue")


def test_a_priority_goes_to_the_queues_whose_band_includes_it() -> None:
    queues = [queue("low", priority=(0, 49)), queue("high", priority=(50, 100))]
    for priority, name in ((0, "low"), (49, "low"), (50, "high"), (100, "high")):
        assert set(sent(queues, 20, WANT._replace(priority=priority))) == {name}


def test_a_priority_outside_all_bands_goes_to_the_nearest_with_a_note() -> None:
    queues = [queue("low", priority=(0, 20)), queue("high", priority=(80, 100))]
    assert chosen(queues, WANT._replace(priority=30)) == (
        "low",
        "no queue for priority 30; the only queue of 2 that fits",
    )
    assert chosen(queues, WANT._replace(priority=70)).queue == "high"


# Jobs that move away from a queue


def test_a_job_does_not_go_back_to_the_queue_it_leaves() -> None:
    queues = [queue("left", ready=0), queue("other", load={"visible": 1000})]
    assert chosen(queues, leaving="left").queue == "other"


def test_a_job_moves_only_to_a_queue_that_finishes_it_sooner() -> None:
    left, other = queue("left", load={"visible": 100}), queue("other", load={"visible": 20})
    assert chosen([left, other], leaving="left") == ("other", "about 150 s expected, sooner than on left")
    assert chosen([left, other], leaving="other") == ("", "no other queue is done with it sooner")
    slow = queue("slow", ready=100, seconds=1000.0)
    assert chosen([left, slow], leaving="left").queue == ""
    assert chosen([left, slow, other], leaving="left").queue == "other"


def test_jobs_stop_moving_when_both_queues_finish_together() -> None:
    router = Router([queue("left", load={"visible": 100}), queue("other")], random.Random(1))
    moved = Counter(router.choose(WANT, NOW, "left").queue for _ in range(90))
    assert moved["other"] == pytest.approx(50, abs=5)
    assert moved["other"] + moved[""] == 90


def test_a_job_moves_to_no_queue_that_fits_it_less() -> None:
    full = {"visible": 1000}
    spot = WANT._replace(price="spot")
    queues = [queue("normal", load=full), queue("spot", price="spot", load=full), queue("low", priority=(0, 9))]
    assert chosen(queues[:2], leaving="normal").queue == ""
    assert chosen([queue("normal", load=full), queue("spot", price="spot")], leaving="normal").queue == ""
    assert chosen([queue("normal"), queue("spot", price="spot", load=full)], spot, "spot").queue == ""
    assert chosen(queues, WANT._replace(priority=50), "normal").queue == ""
    assert chosen(queues, leaving="normal").queue == "low"
    assert chosen([queue("normal", load=full), queue("spot", price="spot")], spot, "normal").queue == "spot"


def test_a_job_that_moves_keeps_its_price_where_it_can() -> None:
    want = WANT._replace(price="spot")
    spot, other, normal = (queue("spot", 0, price="spot"), queue("other", price="spot"), queue("normal"))
    assert chosen([spot, other, normal], want, leaving="spot").queue == "other"
    assert chosen([spot, normal], want, leaving="spot").queue == "normal"


def test_a_job_stays_where_no_other_queue_has_workers() -> None:
    queues = [queue("left", ready=0), queue("none", ready=0)]
    assert chosen(queues, leaving="left") == ("", "no other queue has a ready worker")


# The expected wait


def wait(queue: Queue) -> float | None:
    return Router([queue]).wait(queue, NOW)


def test_a_job_waits_until_the_jobs_ahead_are_finished() -> None:
    assert wait(queue("a", ready=4, seconds=30.0, load={"visible": 98, "in_flight": 4})) == 750
    assert wait(queue("a", ready=4, seconds=30.0, weight=2.0, load={"visible": 98, "in_flight": 4})) == 375
    assert wait(queue("a", ready=4, seconds=30.0, load={"visible": 98, "in_flight": 4, "at": NOW - 30})) == 720


def test_a_job_waits_for_no_idle_worker() -> None:
    assert wait(queue("a", ready=4, load={"in_flight": 3})) == 0
    assert wait(queue("a", ready=4, load={"in_flight": 4})) == 15
    assert wait(queue("by-hand", ready=None)) == 0


def test_a_job_waits_long_for_workers_that_take_none() -> None:
    waited = wait(queue("stalled", load={"visible": 1, "oldest": 900.0}))
    assert waited is not None
    assert waited >= 900


def test_the_wait_is_unknown_where_nothing_takes_jobs_and_before_a_measurement() -> None:
    full = {"visible": 10}
    assert wait(queue("none", ready=0, load=full)) is None
    assert wait(queue("weightless", weight=0.0, load=full)) is None
    assert wait(queue("fault", fault="there is no such queue", load=full)) is None
    assert wait(queue("new", load=full | {"at": 0.0})) is None


def test_a_paused_queue_shows_how_long_it_has_jobs() -> None:
    assert wait(queue("paused", paused=True, load={"visible": 98, "in_flight": 4})) == 750


# Surplus


def surplus(*queues: Queue) -> dict[str, int]:
    return Router(queues, random.Random(1)).surplus(NOW)


def test_no_job_should_leave_queues_that_finish_together() -> None:
    busy = {"visible": 1000, "in_flight": 4}
    assert surplus(queue("a", load=busy), queue("b", load=busy)) == {}
    assert surplus(queue("fast", seconds=10.0, load={"visible": 3000}), queue("slow", load={"visible": 1000})) == {}
    assert surplus(queue("a"), queue("b")) == {}
    assert surplus(queue("alone", load={"visible": 10**6})) == {}


@pytest.mark.parametrize(("visible", "others"), [(12, 0), (20, 8), (140, 100), (1900, 1000)])
def test_no_job_should_leave_for_small_differences(visible: int, others: int) -> None:
    assert surplus(queue("a", load={"visible": visible}), queue("b", load={"visible": others})) == {}


def test_the_surplus_of_a_long_queue_makes_all_finish_together() -> None:
    assert surplus(queue("a", load={"visible": 1000}), queue("b", load={"visible": 200})) == {"a": 400}
    assert surplus(queue("a", load={"visible": 1000}), queue("b", ready=12, load={"visible": 200})) == {"a": 700}


def test_a_queue_whose_workers_return_gets_its_share() -> None:
    stays, returns = queue("stays", price="spot", load={"visible": 900}), queue("returns", ready=8, price="spot")
    assert surplus(stays, structs.replace(returns, ready=0)) == {}
    assert surplus(stays, returns) == {"stays": 600}


def test_more_workers_attract_jobs_and_fewer_give_them_up() -> None:
    a, b = (queue(name, load={"visible": 1000, "in_flight": 4}) for name in "ab")
    assert surplus(a, structs.replace(b, ready=36))["a"] == pytest.approx(800, abs=2)
    assert surplus(structs.replace(a, ready=1), b)["a"] == pytest.approx(600, abs=2)


def test_all_jobs_should_leave_a_deserted_queue_once_others_have_workers() -> None:
    deserted = queue("deserted", ready=0, served=NOW - 301, load={"visible": 70})
    assert surplus(deserted, queue("busy", load={"visible": 10**6})) == {"deserted": 70}
    assert surplus(deserted, queue("busy", price="spot", priority=(50, 60))) == {"deserted": 70}
    gone = structs.replace(deserted, fault="no Deployment serves it any more")
    assert surplus(gone, queue("unknown", ready=None)) == {"deserted": 70}
    assert surplus(deserted, queue("neither", ready=0, served=NOW - 301)) == {}
    assert surplus(deserted, queue("other", group="gpu")) == {}


def test_a_queue_without_a_worker_for_less_than_five_minutes_keeps_its_jobs() -> None:
    assert surplus(queue("starts", ready=0, served=NOW - 299, load={"visible": 1000}), queue("idle")) == {}


def test_no_job_should_leave_for_a_closed_queue() -> None:
    full = {"visible": 1000}
    for closed in ({"paused": True}, {"fault": "gone"}, {"weight": 0.0}, {"ready": 0}):
        assert surplus(queue("full", load=full), queue("closed", **closed)) == {}
        deserted = queue("full", ready=0, served=NOW - 301, load=full)
        assert surplus(deserted, queue("closed", **closed)) == {}


def test_a_paused_queue_gives_up_jobs() -> None:
    assert surplus(queue("paused", paused=True, load={"visible": 1000}), queue("open")) == {"paused": 500}


def test_no_job_should_leave_for_another_price_or_narrower_band() -> None:
    full = {"visible": 1000}
    assert surplus(queue("normal", load=full), queue("spot", price="spot")) == {}
    assert surplus(queue("spot", price="spot", load=full), queue("normal")) == {}
    assert surplus(queue("cpu", load=full), queue("gpu", group="gpu")) == {}
    assert surplus(queue("all", load=full), queue("high", priority=(50, 100))) == {}
    assert surplus(queue("high", priority=(50, 100), load=full), queue("all")) == {"high": 500}


def test_a_slow_queue_gets_no_job_that_it_finishes_later() -> None:
    full = queue("full", seconds=20.0, load={"visible": 100})
    assert surplus(full, queue("slow", ready=1000, seconds=1000.0)) == {}
    assert surplus(full, queue("slow", ready=1000, seconds=100.0)) == {"full": 80}


def test_a_queue_with_unknown_workers_counts_those_that_are_busy() -> None:
    busy = {"in_flight": 8}
    assert surplus(queue("full", load={"visible": 900}), queue("by-hand", ready=None, load=busy)) == {"full": 599}


def test_jobs_should_leave_a_stalled_queue() -> None:
    stalled = queue("stalled", load={"visible": 3, "oldest": 900.0})
    assert surplus(stalled, queue("busy", load={"visible": 10, "in_flight": 4})) == {"stalled": 3}


def test_a_queue_of_two_groups_gives_the_smaller_surplus() -> None:
    shared = queue("shared", ready=0, served=NOW - 301, load={"visible": 10})
    gpu = structs.replace(shared, group="gpu")
    assert surplus(shared, gpu, queue("cpu")) == {}
    assert surplus(shared, gpu, queue("cpu"), queue("gpu", group="gpu")) == {"shared": 10}


# What a router remembers


def test_a_router_counts_the_jobs_it_sent_since_the_measurement() -> None:
    queues = [queue("a"), queue("b", load={"visible": 100})]
    router = Router(queues, random.Random(1))
    first = Counter(router.choose(WANT, NOW).queue for _ in range(100))
    assert first["a"] > 80
    router.update([structs.replace(each, ready=5) for each in queues])
    again = Counter(router.choose(WANT, NOW).queue for _ in range(100))
    assert again["a"] == pytest.approx(50, abs=20)
    router.update([queue("a", load={"at": NOW + 1}), queue("b", load={"at": NOW + 1, "visible": 100})])
    assert Counter(router.choose(WANT, NOW + 1).queue for _ in range(100))["a"] > 80


def test_a_newer_measurement_is_used_at_once() -> None:
    router = Router([queue("a"), queue("b")], random.Random(1))
    router.choose(WANT, NOW)
    router.update([queue("a", paused=True), queue("b")])
    assert {router.choose(WANT, NOW).queue for _ in range(50)} == {"b"}


# Wants and reasons


def test_a_want_has_platform_price_and_priority_of_its_job() -> None:
    job: Job = msgspec.convert(contract("queue_message"), Job)
    assert wanted(job).group == "cpu"
    spot = structs.replace(job, priority=7, profile=structs.replace(job.profile, ec2=Ec2(priceModel="spot")))
    assert wanted(spot) == Want("cpu", "spot", 7)


def test_the_reason_has_the_expected_time_or_that_there_was_no_choice() -> None:
    assert chosen([queue("a"), queue("b"), queue("c")]).reason == "about 30 s expected, of 3 queues"
    assert chosen([queue("a", load={"visible": 400}), queue("b", load={"visible": 400})]).reason.startswith(
        "about 3000 s"
    )
    assert chosen([queue("a")]).reason == "the only queue"
    assert chosen([queue("a"), queue("b", paused=True)]).reason == "the only queue of 2 that fits"


# Properties of any fleet

loads = st.builds(
    Load,
    at=st.floats(NOW - 1000, NOW + 1000),
    visible=st.integers(0, 10**6),
    in_flight=st.integers(0, 10**5),
    oldest=st.floats(0, 10**6),
    arrivals=st.floats(0, 10**4),
    seconds=st.none() | st.floats(0, 10**5),
)
queues_of = st.builds(
    Queue,
    name=st.sampled_from("abcdefgh"),
    group=st.sampled_from(["cpu", "gpu"]),
    url=st.just(""),
    ready=st.none() | st.integers(0, 1000),
    price=st.sampled_from(["normal", "spot"]),
    priority=st.sampled_from([(0, 100), (0, 9), (50, 100)]),
    weight=st.sampled_from([0.0, 0.01, 1.0, 50.0]),
    paused=st.booleans(),
    fault=st.sampled_from(["", "", "gone"]),
    load=loads,
)


@given(
    st.lists(queues_of, min_size=1, max_size=8, unique_by=lambda each: each.name),
    st.builds(Want, st.just("cpu"), st.sampled_from(["normal", "spot"]), st.integers(0, 100)),
    st.sampled_from(["", "a"]),
    st.integers(0, 1000),
)
def test_every_choice_is_an_open_queue_that_fits(queues: list[Queue], want: Want, leaving: str, seed: int) -> None:
    group = [each for each in queues if each.group == "cpu"]
    open_to = [each for each in group if not each.fault and each.weight and not each.paused]
    if leaving:
        open_to = [each for each in open_to if each.name != leaving and each.ready != 0]
    router = Router(queues, random.Random(seed))
    for step in range(30):
        try:
            choice = router.choose(want, NOW + step, leaving)
        except Refused:
            assert all(each.fault for each in group)
            continue
        assert choice.reason
        left = next((each for each in group if each.name == leaving and each.ready != 0), None)
        if left and not choice.queue:
            continue
        assert choice.queue in ({each.name for each in open_to} or {""})
        fits = [each for each in open_to if each.price == want.price]
        if fits and not (left and left.price != want.price):
            assert choice.queue in {each.name for each in fits}


fleets = st.lists(
    st.builds(
        queue,
        st.sampled_from("abcdef"),
        ready=st.none() | st.sampled_from([0, 1, 5, 50, 500]),
        seconds=st.none() | st.sampled_from([1.0, 20.0, 120.0, 1000.0]),
        price=st.sampled_from(["normal", "normal", "spot"]),
        priority=st.sampled_from([(0, 100), (0, 100), (0, 9), (50, 100)]),
        weight=st.sampled_from([0.0, 0.5, 1.0]),
        paused=st.sampled_from([False, False, True]),
        fault=st.sampled_from(["", "", "gone"]),
        served=st.sampled_from([NOW, NOW - 1000]),
        load=st.fixed_dictionaries(
            {
                "visible": st.integers(0, 30) | st.integers(0, 3000),
                "in_flight": st.integers(0, 50),
                "oldest": st.sampled_from([0.0, 30.0, 900.0]),
                "arrivals": st.sampled_from([0.0, 1.0, 100.0]),
            }
        ),
    ),
    min_size=1,
    max_size=6,
    unique_by=lambda each: each.name,
)


@given(fleets, st.integers(0, 1000))
def test_a_surplus_moves_to_open_queues_and_does_not_come_back(queues: list[Queue], seed: int) -> None:
    router = Router(queues, random.Random(seed))
    there = {each.name: each for each in queues}
    surplus_of = router.surplus(NOW)
    change: Counter[str] = Counter()
    for name, count in surplus_of.items():
        left = there[name]
        assert 0 < count <= left.load.visible
        want = Want(left.group, left.price, left.priority[0])
        before = change[name]
        for _ in range(count):
            choice = router.choose(want, NOW, name)
            if not choice.queue:
                break
            to = there[choice.queue]
            assert not to.paused
            assert not to.fault
            assert to.ready != 0
            assert to.weight
            assert left.ready == 0 or to.price == left.price
            change[choice.queue] += 1
            change[name] -= 1
        assert change[name] < before or len(surplus_of) > 1, "no job was received in vain"
    after = [structs.replace(each, load=_plus(each.load, change[each.name])) for each in queues]
    again = Router(after, random.Random(seed)).surplus(NOW)
    deserted = {name for name in surplus_of if there[name].ready == 0}
    assert not deserted & again.keys()
    # The jobs of deserted queues may have to be spread a second time. A queue that stalled looks empty once its jobs
    # have left.
    stalled = {name for name in surplus_of if there[name].load.oldest > STALL_SECONDS}
    if not deserted | stalled:
        assert sum(again.values()) <= sum(surplus_of.values()) / 2 + 2


def _plus(load: Load, jobs: int) -> Load:
    return structs.replace(load, visible=load.visible + jobs)
