"""The settings of functions in tests: plain names of tables, and queues that lead nowhere until a test makes them."""

from collections.abc import Callable
from typing import Any

from msgspec import structs

from elasticrecode.contract.settings import Rate
from elasticrecode.contract.wiring import Wiring
from infra.options import Options
from tests.support import function

Handler = Callable[[dict[str, Any], Any], Any]

WIRING = Wiring(
    jobs_table="jobs",
    batches_table="batches",
    feed_table="feed",
    connections_table="connections",
    registry_table="registry",
    webhooks_table="webhooks",
    rate=Rate(),
    queues={"cpu": {"ffmpeg_job": "http://127.0.0.1:9/ffmpeg_job"}, "gpu": {}, "vmaf": {}},
    control_queue="http://127.0.0.1:9/control_plane",
    control_queue_name="control_plane",
    dead_letter_queue="http://127.0.0.1:9/dead",
    events_dead_letter_queue="http://127.0.0.1:9/events-dead",
    reserved=[],
    surveys_queue="http://127.0.0.1:9/surveys",
    pages_queue="http://127.0.0.1:9/pages",
    tally_queue="http://127.0.0.1:9/tallies",
    deliveries_queue="http://127.0.0.1:9/deliveries.fifo",
    event_bus="bus",
    sealing_key="arn:aws:kms:us-east-1:123456789012:key/none",
    socket_management_url="http://127.0.0.1:9/ws",
    s3_url="https://{bucket}.s3.us-east-1.amazonaws.com",
    build="2026.01.02.030405",
    commit="c",
    time_limit=30,
    issuer="",
    jwks_url="",
    audience=[],
    user_claim="sub",
    groups_claim="groups",
    sign_in=None,
    **Options(auth="none", discovery=True, retentionDays=7, idempotencyDays=1).wiring("media"),
)


def wired(**changes: Any) -> Wiring:
    """The wiring of tests with some fields changed."""
    return structs.replace(WIRING, **changes)


def build(name: str, **changes: Any) -> Handler:
    """A function's handler with the settings of the tests' wiring, some fields changed."""
    handler: Handler = function(name).build(wired(**changes).settings_of(name))
    return handler
