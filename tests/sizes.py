"""How much a run tests, chosen by the environment variable SIZE, and from which seed, by SEED.

| SIZE | run by | bulk tests | seed | tests marked `full` |
|---|---|---|---|---|
| `sample` (default) | `make test` | a small sample | 1: every run is the same | left out |
| `full` | `make test-all` | several times that | new in each run | run |
| `bulk` | `make chaos`, `make fuzz` | as much as an hour takes | new in each run | run |
"""

import os
import random
from typing import Literal, TypeVar

T = TypeVar("T")
Size = Literal["sample", "full", "bulk"]

_SIZES: tuple[Size, ...] = ("sample", "full", "bulk")
_DEFAULT_SEED = 1


def _read_size() -> Size:
    name = os.environ.setdefault("SIZE", "sample")
    for size in _SIZES:
        if name == size:
            return size
    raise ValueError(f"SIZE={name} is unknown: use one of {', '.join(_SIZES)}")


def _read_seed(size: Size) -> int:
    drawn = _DEFAULT_SEED if size == "sample" else random.randrange(2**32)
    return int(os.environ.setdefault("SEED", str(drawn)))  # the workers of pytest-xdist inherit it


SIZE = _read_size()
SEED = _read_seed(SIZE)


def sized(sample: T, full: T, bulk: T) -> T:
    """The value for this run's size."""
    return {"sample": sample, "full": full, "bulk": bulk}[SIZE]
