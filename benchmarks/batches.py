"""Batches: AWS calls, CPU and dollars per job as batches grow, the limits of a million jobs, and who waits behind it.

`benchmarks/batch_course.py` runs the batches and measures them.

Dollars: list prices of us-east-1. A write costs a unit per started KiB, in the table and in each index that has the
item, and twice that in a transaction. Workers and their events are left out.

Counting is what a batch adds: all of `tally`, and what `dispatch` does for jobs of batches beyond what it does for
others. It is compared with one write unit for each change of a job, the least that a counter would take.

Rates: AWS's documented limits compared with a million jobs accepted in ten minutes, the survey included. A value is the
share of the limit that this takes.
"""

import logging
import math
import random
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from types import SimpleNamespace
from unittest import mock

from benchmarks.batch_course import DISORDER, LONGEST, SHARE, STREAM_BATCH, TABLE, Course, Run
from benchmarks.prices import PRICES
from elasticrecode.batches.counting import STRIP_SIZE, Change, Strip
from elasticrecode.contract import tables
from elasticrecode.jobs.items import SHARDS
from elasticrecode.jobs.lifecycle import State, state_shards
from elasticrecode.workers import loads, registry
from infra.batches import EXPAND_MIB, EXPANDING, TALLYING
from tests.fakes.instant import Handler, handlers
from tests.fakes.weighing import Weight, weigh

_SIZES = (1_000, 10_000, 100_000)
_COUNTED = 10_000
_STRIP_KEYS_BYTES = 120
"""Size of a strip's item without the packed strip."""
_MILLION = 1_000_000
_ALLOWED_SECONDS = 600
_MEMORY_LIMIT_MIB = 400
"""Limit of `survey`, which shares its memory with Lambda's own runtime."""
_SHARDS = 4
"""Shards of a new table's stream. This is an assumption: one for each partition of a table that takes 4,000 writes a
second. One invocation at a time reads a shard."""
_NEW_TABLE, _QUOTA, _PARTITION = 4_000, 40_000, 1_000
"""Write units per second of a new table on demand and of each of its indexes; of a table with all its indexes by the
default quota; of a partition."""

Rows = Iterator[tuple[str, str, str, float, float]]


def rows() -> Rows:
    """Costs per job of the dearest batch relative to the cheapest, shares of limits, and memory by its limits."""
    disabled = logging.root.manager.disable
    logging.disable()
    try:
        functions = handlers()
        still = SimpleNamespace(time=lambda: 1_800_000_000.0)
        with mock.patch.object(registry, "time", still), mock.patch.object(loads, "time", still):
            Course(functions, _SIZES[0]).run()  # warms up
            runs = _interleaved(functions)
            yield from _growing(runs)
            yield from _counting(functions)
        million = weigh(_MILLION)
        yield from _binding(runs[-1], million.survey_cpu / SHARE["survey"])
        yield from _keeping_up(runs[-1])
        yield from _weighing(million)
    finally:
        logging.disable(disabled)


def _interleaved(functions: Mapping[str, Handler]) -> list["Run"]:
    """A batch of each size in turns, ten of the smallest together, so that other load affects all alike."""
    small, middle, large = _SIZES
    courses = Course(functions, middle), Course(functions, large)
    middle_steps = courses[0].steps()
    smalls: list[Run] = []
    for step, _ in enumerate(courses[1].steps()):
        if step % (large // middle) == 0:
            next(middle_steps, None)
            if len(smalls) * small < middle:
                smalls.append(Course(functions, small).run())
    deque(middle_steps, maxlen=0)
    total = smalls[0]
    for run in smalls[1:]:
        spent = {function: total.spent[function].and_(run.spent[function]) for function in run.spent}
        total = total._replace(jobs=total.jobs + run.jobs, spent=spent)
    return [total, *(course.result() for course in courses)]


# Figures


def _growing(runs: Sequence[Run]) -> Rows:
    sizes = ", ".join(f"{size:,}" for size in _SIZES)
    calls = [run.whole.calls / run.jobs for run in runs]
    cpu = [run.whole.cpu / run.jobs * 1000 for run in runs]
    dollars = [sum(run.whole.dollars().values()) / run.jobs for run in runs]
    for figure, each, form, unit, limit in (
        ("AWS calls a job", calls, "{:.3f}", "", 1.1),
        ("CPU a job", cpu, "{:.3f}", " ms", 1.25),
        ("$ a million jobs", dollars, "{:.2f}", "", 1.1),
    ):
        figures = ", ".join(map(form.format, each))
        yield f"{figure}: {sizes}", form.format(each[-1]) + unit, figures, max(each) / min(each), limit
    largest = runs[-1]
    for function, spent in list(largest.spent.items())[1:]:
        called, us = spent.calls / largest.jobs, spent.cpu / largest.jobs * 1e6
        paid = sum(spent.dollars().values()) / largest.jobs
        yield f"… of it {function}", f"{us:.1f} us", f"{called:.4f} calls, ${paid:.3f}/M", us, math.inf
    parts = {kind: paid / largest.jobs for kind, paid in largest.whole.dollars().items()}
    most = sorted(parts, key=parts.__getitem__)[:-4:-1]
    dearest = ", ".join(f"{kind} {parts[kind]:.3f}" for kind in most)
    yield "… of it by price", f"${sum(parts.values()):.2f}/M", dearest, sum(parts.values()), math.inf


def _counting(functions: Mapping[str, Handler]) -> Rows:
    """Dollars per million jobs of counting three changes of each, relative to one write for each."""
    plain = 3 * PRICES["write"]
    for records, disorder, name in (
        (STREAM_BATCH, DISORDER, "2,000 changes a second"),
        (25, DISORDER, "100 changes a second"),
        (25, _COUNTED, "100, strips in disorder"),
    ):
        counting = Course(functions, _COUNTED, records, disorder, beside=True).run().counting
        dollars = sum(counting.dollars().values()) / _COUNTED
        yield f"$ of counting, {name}", f"${dollars:.3f}/M", f"3 writes ${plain:.3f}/M", dollars / plain, 0.2
    yield _scattered(plain)


def _scattered(plain: float) -> tuple[str, str, str, float, float]:
    """The same where the changes are of any of a million jobs, as when all failed jobs are retried."""
    rng = random.Random(_MILLION)
    strip, changes, count = Strip(0), 100, _MILLION // STRIP_SIZE
    moves: tuple[tuple[int, State], ...] = ((0, "queued"), (1, "running"), (2, "finished"))
    strip.merge(Change(position, *rng.choice(moves)) for position in range(STRIP_SIZE))
    units = math.ceil((len(strip.pack()) + _STRIP_KEYS_BYTES) / 1024)
    touched = count * (1 - (1 - 1 / count) ** changes)
    dollars = 3 * touched / changes * (units * PRICES["write"] + math.ceil(units / 4) * PRICES["read"])
    return (
        "$ of counting, 100, of any of a million",
        f"${dollars:.3f}/M",
        f"3 writes ${plain:.3f}/M",
        (dollars / plain),
        math.inf,
    )


def _binding(run: Run, survey_seconds: float) -> Rows:
    """Shares of limits that a million jobs in ten minutes take."""
    rate = _MILLION / (_ALLOWED_SECONDS - survey_seconds)
    user, state, due = tables.USER_INDEX, tables.STATE_INDEX, tables.DUE_INDEX
    units, queued = run.units, len(state_shards("queued"))
    yield (
        "a million surveyed",
        f"{survey_seconds:.0f} s",
        f"{_ALLOWED_SECONDS} s, then {rate:,.0f} jobs/s",
        (survey_seconds / _ALLOWED_SECONDS),
        1.0,
    )
    stored = run.partition["survey"] / run.jobs
    yield (
        "… and stored in its partition",
        f"{stored * _MILLION / _PARTITION:.0f} s",
        f"{stored:.3f} units a job, {_PARTITION}/s",
        (stored * _MILLION / _PARTITION / _ALLOWED_SECONDS),
        1.0,
    )
    expanded = run.partition["expand"] / run.jobs
    shards, shared = f"{SHARDS} shards, a new index", f"half of {SHARDS} shards in one partition"
    for figure, needed, limit, unit in (
        ("expand, by CPU", 1, EXPANDING * run.rate("expand"), f"{EXPANDING} at once"),
        ("writes, table", units[TABLE], _NEW_TABLE, "a new table"),
        (f"writes, table, {LONGEST}", units[f"{TABLE}, {LONGEST}"], _NEW_TABLE, "a new table"),
        ("writes, with indexes", units[TABLE] + units[user] + units[state] + units[due], _QUOTA, "default quota"),
        ("index user, one user", units[user], min(SHARDS * _PARTITION, _NEW_TABLE), shards),
        (f"index user, {LONGEST}", units[f"{user}, {LONGEST}"], min(SHARDS * _PARTITION, _NEW_TABLE), shards),
        ("index user, shards placed badly", units[user], 2 * _PARTITION, shared),
        ("index state, new jobs of one user", units[state], min(queued * _PARTITION, _NEW_TABLE), f"{queued} shards"),
        ("index due, one queue", units[due], min(SHARDS * _PARTITION, _NEW_TABLE), shards),
        ("batch's partition, pages", expanded, _PARTITION, "one partition"),
        ("dispatch, by CPU", 1, _SHARDS * run.rate("dispatch new"), f"{_SHARDS} shards"),
        ("tally, by CPU", 1, TALLYING * run.rate("tally"), f"{TALLYING} at once"),
    ):
        yield (
            f"1M in 10 min: {figure}",
            f"{rate * needed:,.0f}/s",
            f"{limit:,.0f}/s, {unit}",
            rate * needed / limit,
            1.0,
        )
    calls = run.spent["dispatch new"].calls / run.jobs * rate
    yield "1M in 10 min: calls to SQS", f"{calls:,.0f}/s", "nearly unlimited", 0.0, math.inf


def _keeping_up(run: Run) -> Rows:
    """Jobs per second that `expand` stores, relative to the writes of a new table and to what `dispatch` sends.

    Above 1 the writes of others would be refused, or the jobs of others would wait in the stream. No shard has more
    records than a partition takes writes.
    """
    stored, sent = EXPANDING * run.rate("expand"), run.rate("dispatch new")
    taken = _NEW_TABLE / run.units[TABLE]
    yield "expand by what a new table takes", f"{stored:,.0f}/s", f"{taken:,.0f}/s", stored / taken, 1.0
    for shards in (1, _SHARDS):
        figure = f"expand by dispatch, {shards} of {_SHARDS} shards"
        brought = stored * shards / _SHARDS
        yield figure, f"{brought:,.0f}/s", f"{shards * sent:,.0f}/s", brought / shards / sent, math.inf
    yield "a partition by dispatch of its shard", f"{_PARTITION:,}/s", f"{sent:,.0f}/s", _PARTITION / sent, 0.5


def _weighing(million: Weight) -> Rows:
    for lines in (10_000, 100_000, _MILLION):
        weight = million if lines == _MILLION else weigh(lines)
        limits = f"{weight.before:.0f} before, {_MEMORY_LIMIT_MIB} MiB"
        yield (
            f"memory of survey, {lines:,} lines",
            f"{weight.surveyed:.0f} MiB",
            limits,
            (weight.surveyed / _MEMORY_LIMIT_MIB),
            1.0,
        )
    for pages in (1, 50):
        weight = weigh(50_000, pages)
        limits = f"{weight.surveyed:.0f} before, {EXPAND_MIB} MiB"
        yield (
            f"memory of expand, {pages} pages",
            f"{weight.expanded:.0f} MiB",
            limits,
            weight.expanded / EXPAND_MIB,
            0.8,
        )
