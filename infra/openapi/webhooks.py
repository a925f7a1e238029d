"""Operations on webhooks."""

from elasticrecode.api.http import CURSOR
from elasticrecode.contract.routes import (
    ADD_WEBHOOK,
    REMOVE_WEBHOOK,
    RETRY_WEBHOOK,
    TEST_WEBHOOK,
    WEBHOOK_FAILURES,
    WEBHOOKS,
)
from elasticrecode.jobs.events import Event
from elasticrecode.webhooks.answers import DeliveryOutcome, GivenUp, NewWebhook, Sent, WebhookRecord, WebhookRemoved
from elasticrecode.webhooks.request import WEBHOOKS_LIMIT, WebhookRequest
from infra.openapi.operation import USER, Area, Body, Json, Operation, webhook_links
from infra.openapi.schemas import TRUNCATED, schema

_HEADERS = {
    "webhook-id": "The event's `eventID`, the same for every try: store it to recognise a repeated event.",
    "webhook-timestamp": "The time of this try, in Unix seconds.",
    "webhook-signature": "`v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body` with the webhook's secret.",
}
_TEXT: Json = {"type": "string"}

DELIVERY: Json = {
    "operationId": "receiveEvent",
    "tags": ["Webhooks"],
    "summary": "Receive an event",
    "description": "Posts one event of a user to the URL of their webhook, signed by the Standard Webhooks scheme, at "
    "least once, and in the order of each job. Any answer but 2xx within 10 s is tried again, for a day.",
    "security": [],
    "parameters": [
        {"name": name, "in": "header", "required": True, "description": description, "schema": _TEXT}
        for name, description in _HEADERS.items()
    ],
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"allOf": [schema(Event), {"properties": TRUNCATED}]}}},
    },
    "responses": {
        "2XX": {"description": "The receiver has the event."},
        "410": {"description": "The receiver wants no more events: the webhook is disabled."},
        "429": {
            "description": "The receiver wants a pause.",
            "headers": {
                "Retry-After": {"description": "Seconds, from 5 to 3600, in which nothing is sent.", "schema": _TEXT}
            },
        },
    },
}
"""The request that a receiver of events gets."""

AREA = Area(
    "Webhooks",
    "URLs of users to which events are posted.",
    {
        ADD_WEBHOOK: Operation(
            "addWebhook",
            "Create a webhook",
            "Creates a webhook. Only this answer shows its secret. Answers 409 for a user who has "
            f"{WEBHOOKS_LIMIT} webhooks.",
            {201: NewWebhook},
            (409, 503),
            body=Body((WebhookRequest,), {}),
            links=webhook_links("/webhookID"),
        ),
        WEBHOOKS: Operation(
            "listWebhooks",
            "List webhooks",
            "Lists a user's webhooks, with the state of their deliveries.",
            {200: list[WebhookRecord]},
            (503,),
            query=(USER,),
            links=webhook_links("/0/webhookID"),
        ),
        REMOVE_WEBHOOK: Operation(
            "removeWebhook",
            "Remove a webhook",
            "Removes a webhook; its pending deliveries are discarded.",
            {200: WebhookRemoved},
            (503,),
        ),
        TEST_WEBHOOK: Operation(
            "testWebhook",
            "Test a webhook",
            "Posts one signed event of action `WebhookTest` to a webhook, also a disabled one, and answers with the "
            "receiver's status. The event is not sent again, and a failure does not count.",
            {200: DeliveryOutcome},
            (503,),
        ),
        WEBHOOK_FAILURES: Operation(
            "listFailures",
            "List failed deliveries",
            "Lists the failed deliveries of a webhook, with the reason, by the time of their events.",
            {200: list[GivenUp]},
            (503,),
            cursor=CURSOR.pattern,
        ),
        RETRY_WEBHOOK: Operation(
            "retryFailures",
            "Retry failed deliveries",
            "Delivers the failed deliveries of a webhook again, and enables it. Repeat it while the answer has `more`.",
            {202: Sent},
            (503,),
        ),
    },
)
