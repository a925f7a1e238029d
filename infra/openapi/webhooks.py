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
from elasticrecode.webhooks.answers import DeliveryOutcome, GivenUp, NewWebhook, Sent, WebhookRecord, WebhookRemoved
from elasticrecode.webhooks.request import WEBHOOKS_LIMIT, WebhookRequest
from infra.openapi.operation import USER, Area, Body, Operation, webhook_links

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
