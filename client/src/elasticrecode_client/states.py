"""The states of jobs and of plans, and the events by which a job ends. Pure."""

from __future__ import annotations

from typing import Literal, get_args

State = Literal["accepted", "queued", "running", "finished", "failed", "cancelled"]
STATES: tuple[State, ...] = get_args(State)
"""All states, in the order of a job's life."""
ENDED: frozenset[str] = frozenset({"finished", "failed", "cancelled"})
"""The states that end a job, or a plan."""
ENDINGS = ("JobCancelled", "JobFailed", "JobFinished")
"""The actions of the events that end a job."""
