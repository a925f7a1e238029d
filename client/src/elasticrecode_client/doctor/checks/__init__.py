"""The checks by topic. Importing this package registers them all, in the order of the report."""

from elasticrecode_client.doctor.checks import (  # noqa: I001 - the order of the report
    identity,
    configuration,
    functions,
    flow,
    grants,
    sign_in,
    jobs,
    clocks,
    quotas,
    alarms,
    exposure,
)

__all__ = [
    "alarms",
    "clocks",
    "configuration",
    "exposure",
    "flow",
    "functions",
    "grants",
    "identity",
    "jobs",
    "quotas",
    "sign_in",
]
