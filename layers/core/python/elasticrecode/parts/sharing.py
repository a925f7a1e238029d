"""Which worker encodes which part."""

from collections.abc import Collection, Mapping


def share(
    costs: Mapping[int, float],
    holders: Mapping[int, str],
    unclaimed: Collection[int],
    workers: Collection[str],
    me: str,
) -> list[int]:
    """The unclaimed parts that worker `me` is to claim, the longest first.

    `costs` are those of all parts, `holders` the workers of the parts that are held, and `workers` those that hold none
    and are free. Each part goes to the worker with the least to do, the longest part first. Workers that see the same
    get shares that do not overlap and leave nothing.
    """
    loads = dict.fromkeys({*holders.values(), *workers, me}, 0.0)
    for held, worker in holders.items():
        loads[worker] += costs[held]
    mine: list[int] = []
    for part in sorted(unclaimed, key=lambda each: (-costs[each], each)):
        worker = min(loads, key=lambda each: (loads[each], each))
        loads[worker] += costs[part]
        if worker == me:
            mine.append(part)
    return mine
