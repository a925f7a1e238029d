"""Which queue a job goes to: who gets how much, who gets nothing, and what is said about it."""

import random
from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from elasticrecode.errors import Refused
from elasticrecode.fleet import Load, Queue
from elasticrecode.jobs import Job
from elasticrecode.profiles import Ec2
from elasticrecode.routing import Choice, Router, Want, wanted
from tests.conftest import contract

NOW = 1_700_000_000.0
WANT = Want("cpu", "normal", 0)


def queue(name: str, ready: int | None = 4, seconds: float | None = 30.0, **given: Any) -> Queue:
    """A queue that was looked at just now and is empty, unless `load` says otherwise."""
    load = {"at": NOW, "seconds": seconds} | given.pop("load", {})
    return Queue(
        **({"name": name, "group": "cpu", "url": f"https://sqs/{name}", "ready": ready} | given), load=Load(**load)
    )


def sent(queues: list[Queue], jobs: int, want: Want = WANT, seed: int = 1) -> Counter[str]:
    """How many of a batch one router sends where."""
    router = Router(queues, random.Random(seed))
    return Counter(router.choose(want, NOW).queue for _ in range(jobs))


def chosen(queues: list[Queue], want: Want = WANT, leaving: str = "") -> Choice:
    return Router(queues, random.Random(1)).choose(want, NOW, leaving)


# Who gets how much


@pytest.mark.parametrize("backlog", [0, 100])
def test_a_queue_that_is_three_times_as_fast_gets_three_quarters_of_a_batch(backlog: int) -> None:
    fast = queue("fast", seconds=10.0, load={"visible": 3 * backlog})
    slow = queue("slow", seconds=30.0, load={"visible": backlog})
    assert sent([fast, slow], 200)["fast"] == pytest.approx(150, abs=15)


def test_a_queue_with_three_times_the_workers_gets_three_quarters_of_a_batch() -> None:
    assert sent([queue("many", ready=6), queue("few", ready=2)], 200)["many"] == pytest.approx(150, abs=15)


def test_200_routers_that_know_nothing_of_each_other_share_by_speed() -> None:
    load = {"arrivals": 20.0}
    queues = [queue("fast", seconds=10.0, load=load), queue("slow", seconds=30.0, load=load)]
    total: Counter[str] = Counter()
    for seed in range(200):
        total += sent(queues, 1, seed=seed)
    assert total["fast"] == pytest.approx(150, abs=20)


def test_16_routers_with_one_view_do_not_pile_up_on_the_queue_that_looked_best() -> None:
    queues = [queue("a", load={"visible": 10, "arrivals": 30.0}), queue("b", load={"visible": 12, "arrivals": 30.0})]
    total: Counter[str] = Counter()
    for seed in range(16):
        total += sent(queues, 25, seed=seed)
    assert total["a"] == pytest.approx(total["b"], abs=60)


def test_a_longer_backlog_is_made_up_for() -> None:
    counted = sent([queue("long", load={"visible": 100}), queue("short")], 200)
    assert counted["short"] - counted["long"] == pytest.approx(100, abs=20)


def test_what_was_done_since_the_look_does_not_count_any_more() -> None:
    queues = [queue("a", load={"visible": 100, "at": NOW - 50, "seconds": 2.0}), queue("b", seconds=2.0)]
    assert sent(queues, 200)["a"] == pytest.approx(100, abs=15)


def test_a_weight_of_three_gets_three_quarters() -> None:
    assert sent([queue("a", weight=1.5), queue("b", weight=0.5)], 200)["a"] == pytest.approx(150, abs=15)


def test_a_queue_that_was_never_measured_counts_as_usual() -> None:
    queues = [queue("new", seconds=None), queue("a", seconds=10.0), queue("b", seconds=40.0), queue("c", seconds=20.0)]
    assert sent(queues, 900)["new"] == pytest.approx(sent(queues, 900)["c"], rel=0.2)


def test_queues_made_by_hand_and_discovered_ones_serve_together() -> None:
    queues = [queue("by-hand", ready=None, load={"in_flight": 4}), queue("discovered", load={"in_flight": 4})]
    counted = sent(queues, 200)
    assert counted["by-hand"] == pytest.approx(100, abs=15)


def test_an_idle_fast_queue_gets_a_job_alone() -> None:
    assert {chosen([queue("fast", seconds=10.0), queue("slow", seconds=300.0)]).queue for _ in range(20)} == {"fast"}


def test_the_same_seed_chooses_the_same() -> None:
    queues = [queue("a"), queue("b"), queue("c")]
    routers = [Router(queues, random.Random(7)) for _ in range(2)]
    first, second = ([router.choose(WANT, NOW) for _ in range(100)] for router in routers)
    assert first == second


# Who gets nothing


def test_a_paused_queue_gets_none() -> None:
    assert set(sent([queue("a"), queue("b", paused=True), queue("c")], 200)) == {"a", "c"}


def test_a_job_is_held_while_all_that_serve_it_are_paused() -> None:
    choice = chosen([queue("a", paused=True), queue("b", paused=True), queue("gpu", group="gpu")])
    assert choice == ("", "every queue that serves it is paused: a, b")


def test_a_queue_that_cannot_be_sent_to_gets_none() -> None:
    assert set(sent([queue("a"), queue("b", fault="no such queue"), queue("c", weight=0.0)], 50)) == {"a"}
    held = chosen([queue("a", fault="no such queue"), queue("b", weight=0.0)])
    assert held == ("", "every queue that serves it is paused: b")
    with pytest.raises(Refused, match=r"No queue can take cpu jobs: a \(no such queue\)\."):
        chosen([queue("a", fault="no such queue")])


def test_a_queue_without_ready_workers_gets_a_job_only_if_there_is_nothing_better() -> None:
    assert set(sent([queue("none", ready=0), queue("some", ready=1, load={"visible": 10_000})], 200)) == {"some"}
    assert set(sent([queue("none", ready=0), queue("unknown", ready=None)], 200)) == {"unknown"}
    alone = chosen([queue("none", ready=0), queue("neither", ready=0)])
    assert alone.queue
    assert alone.reason.startswith("no queue has a ready worker; about ")


def test_a_queue_whose_workers_do_not_take_work_is_avoided() -> None:
    stalled = queue("stalled", load={"visible": 3, "oldest": 900.0})
    assert set(sent([stalled, queue("busy", load={"visible": 40, "in_flight": 4, "oldest": 300.0})], 50)) == {"busy"}
    late = queue("late", load={"visible": 3, "in_flight": 4, "oldest": 900.0})
    assert sent([late, queue("other")], 200)["late"] == pytest.approx(97, abs=20)


def test_what_no_queue_serves_is_refused_and_told_what_is_served() -> None:
    with pytest.raises(Refused, match=r"No queue serves vmaf jobs; there are queues for cpu, gpu\."):
        chosen([queue("a"), queue("b", group="gpu"), queue("c")], Want("vmaf", "normal", 0))
    with pytest.raises(Refused, match="there are queues for nothing"):
        chosen([])


# Prices and priorities


def test_each_price_has_its_queues() -> None:
    queues = [queue("normal", load={"visible": 1000}), queue("spot", price="spot")]
    assert set(sent(queues, 50)) == {"normal"}
    assert set(sent(queues, 50, WANT._replace(price="spot"))) == {"spot"}


def test_a_price_that_no_queue_has_spills_over_and_says_so() -> None:
    assert chosen([queue("a")], WANT._replace(price="spot")) == ("a", "no spot queue; the only queue")
    assert chosen([queue("a", price="spot")]) == ("a", "no normal queue; the only queue")


def test_a_priority_goes_to_the_queues_whose_band_holds_it() -> None:
    queues = [queue("low", priority=(0, 49)), queue("high", priority=(50, 100))]
    for priority, name in ((0, "low"), (49, "low"), (50, "high"), (100, "high")):
        assert set(sent(queues, 20, WANT._replace(priority=priority))) == {name}


def test_a_priority_that_no_band_holds_goes_to_the_nearest_and_says_so() -> None:
    queues = [queue("low", priority=(0, 20)), queue("high", priority=(80, 100))]
    assert chosen(queues, WANT._replace(priority=30)) == (
        "low",
        "no queue for priority 30; the only queue of 2 that fits",
    )
    assert chosen(queues, WANT._replace(priority=70)).queue == "high"


# Jobs that are taken away from a deserted queue


def test_a_job_does_not_go_back_to_the_queue_it_leaves() -> None:
    queues = [queue("left", ready=2), queue("other", load={"visible": 1000})]
    assert chosen(queues, leaving="left").queue == "other"


def test_a_job_that_leaves_keeps_its_price_and_priority_where_it_can() -> None:
    want = WANT._replace(price="spot")
    spot, other, normal = (queue("spot", 0, price="spot"), queue("other", price="spot"), queue("normal"))
    assert chosen([spot, other, normal], want, leaving="spot").queue == "other"
    assert chosen([spot, normal], want, leaving="spot").queue == "normal"


def test_a_job_that_leaves_stays_where_nothing_else_has_workers() -> None:
    queues = [queue("left", ready=0), queue("none", ready=0)]
    assert chosen(queues, leaving="left") == ("", "no other queue has a ready worker")


# What a router remembers


def test_a_router_counts_what_it_sent_while_the_look_is_the_same() -> None:
    queues = [queue("a"), queue("b", load={"visible": 100})]
    router = Router(queues, random.Random(1))
    first = Counter(router.choose(WANT, NOW).queue for _ in range(100))
    assert first["a"] > 80
    router.update([structs.replace(each, ready=5) for each in queues])
    again = Counter(router.choose(WANT, NOW).queue for _ in range(100))
    assert again["a"] == pytest.approx(50, abs=20)
    router.update([queue("a", load={"at": NOW + 1}), queue("b", load={"at": NOW + 1, "visible": 100})])
    assert Counter(router.choose(WANT, NOW + 1).queue for _ in range(100))["a"] > 80


def test_a_newer_look_is_used_at_once() -> None:
    router = Router([queue("a"), queue("b")], random.Random(1))
    router.choose(WANT, NOW)
    router.update([queue("a", paused=True), queue("b")])
    assert {router.choose(WANT, NOW).queue for _ in range(50)} == {"b"}


# What is asked and what is said


def test_a_job_wants_its_platform_its_price_and_its_priority() -> None:
    job: Job = msgspec.convert(contract("queue_message"), Job)
    assert wanted(job).group == "cpu"
    spot = structs.replace(job, priority=7, profile=structs.replace(job.profile, ec2=Ec2(priceModel="spot")))
    assert wanted(spot)[1:] == ("spot", 7)


def test_a_reason_tells_what_is_expected_or_that_there_was_no_choice() -> None:
    assert chosen([queue("a"), queue("b"), queue("c")]).reason == "about 30 s expected, of 3 queues"
    assert chosen([queue("a", load={"visible": 400}), queue("b", load={"visible": 400})]).reason.startswith(
        "about 3000 s"
    )
    assert chosen([queue("a")]).reason == "the only queue"
    assert chosen([queue("a"), queue("b", paused=True)]).reason == "the only queue of 2 that fits"


# Whatever the fleet looks like

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
def test_no_job_goes_where_it_must_not(queues: list[Queue], want: Want, leaving: str, seed: int) -> None:
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
        assert choice.queue in ({each.name for each in open_to} or {""})
        assert choice.reason
        fits = [each for each in open_to if each.price == want.price]
        if fits:
            assert choice.queue in {each.name for each in fits}
