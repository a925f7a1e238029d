"""Users' webhooks: make, list and remove them; what could not be delivered, and sending it again."""

import time
from typing import Any

from msgspec import UNSET
from msgspec.structs import asdict

from elasticrecode.access.rates import Rates
from elasticrecode.api import http
from elasticrecode.clock import now_ms
from elasticrecode.contract.routes import ADD_WEBHOOK, REMOVE_WEBHOOK, RETRY_WEBHOOK, WEBHOOK_FAILURES, WEBHOOKS
from elasticrecode.contract.settings import WebhooksSettings
from elasticrecode.errors import BadParameter, Fault, NotFound, Refused, Unavailable
from elasticrecode.runtime import compose
from elasticrecode.validation import Body, Reader
from elasticrecode.webhooks import addresses, courier
from elasticrecode.webhooks.answers import NewWebhook, Sent, WebhookRecord, WebhookRemoved
from elasticrecode.webhooks.courier import Undeliverable
from elasticrecode.webhooks.queue import Addressed, Deliveries
from elasticrecode.webhooks.request import FORMATS, WebhookRequest, is_url
from elasticrecode.webhooks.store import WebhooksTable
from elasticrecode.webhooks.webhook import Delivery, Webhook, head, is_secret, new

_BODY_LIMIT = 8192
_MOST = 20
"""Webhooks of one user."""
_RETRY_SECONDS = 15
_RETRY_PAGE = 100

_webhook_request = Reader(WebhookRequest, FORMATS)


def build(settings: WebhooksSettings) -> http.LambdaHandler:
    """The handler over the table of webhooks and the queue of deliveries."""
    table, deliveries = WebhooksTable(settings.webhooks_table), Deliveries(settings.deliveries_queue)
    allowed = addresses.networks(settings.networks)

    def add(request: http.Request) -> http.Response:
        body = Body(request.body(_BODY_LIMIT))
        asked = _webhook_request.read(body, _faults(body.fields))
        request.caller.act_for(asked.userID)
        if len(table.of(asked.userID)) >= _MOST:
            raise Refused(f"A user has at most {_MOST} webhooks; remove one first.")
        webhook = new(asked.userID, asked.url, asked.actions, asked.secret)
        table.create(webhook)
        return http.Response(NewWebhook(**asdict(_shown(webhook)), secret=webhook.secret), 201)

    def listing(request: http.Request) -> http.Response:
        user_id = request.query.get("userID")
        if not user_id:
            raise BadParameter("userID is required: webhooks are listed for one user.")
        request.caller.act_for(user_id)
        return http.Response([_shown(webhook) for webhook in table.of(user_id)])

    def remove(request: http.Request) -> http.Response:
        webhook = _existing(request)
        table.remove(webhook)
        return http.Response(WebhookRemoved(webhook.webhookID))

    def failures(request: http.Request) -> http.Response:
        limit, after = request.page()
        page = table.failures(_existing(request).webhookID, limit, after)
        return http.Response(list(page.found.values()), headers=request.next_link(page.after))

    def retry(request: http.Request) -> http.Response:
        webhook = _existing(request)
        table.enable(webhook)
        until, sent, after = time.monotonic() + _RETRY_SECONDS, 0, ""
        while True:
            page = table.failures(webhook.webhookID, _RETRY_PAGE, after)
            again = now_ms()
            refused = deliveries.send(
                {
                    position: Addressed(
                        Delivery(userID=webhook.userID, webhookID=webhook.webhookID, event=found.event, again=again),
                        head(found.event),
                    )
                    for position, found in page.found.items()
                }
            )
            done = [position for position in page.found if position not in refused]
            table.forget(webhook.webhookID, done)
            sent, after = sent + len(done), page.after
            if refused:
                raise Unavailable(f"{sent} were sent again; AWS could not take the next. Try again in a moment.")
            if not after or time.monotonic() > until:
                break
        return http.Response(Sent(sent, True if after else UNSET), 202)

    def _existing(request: http.Request) -> Webhook:
        webhook_id = request.parameters["webhookID"]
        webhook = table.get(webhook_id)
        if not webhook or not request.caller.may_act_for(webhook.userID):
            raise NotFound(f"There is no webhook {webhook_id}.")
        return webhook

    def _faults(fields: dict[str, Any]) -> list[Fault]:
        """What no schema says: where the URL leads now, and of a secret without showing it."""
        faults = []
        url, secret = fields.get("url"), fields.get("secret")
        if isinstance(secret, str) and secret and not is_secret(secret):
            faults.append(Fault("/secret", "must be whsec_ and 24 to 64 bytes in base64"))
        if isinstance(url, str) and is_url(url):
            try:
                courier.checked(addresses.parse(url), allowed)
            except Undeliverable as error:
                faults.append(Fault("/url", f"can't be used: {error}"))
        return faults

    return http.handler(
        {
            ADD_WEBHOOK: add,
            WEBHOOKS: listing,
            REMOVE_WEBHOOK: remove,
            WEBHOOK_FAILURES: failures,
            RETRY_WEBHOOK: retry,
        },
        settings,
        Rates(settings.rate).count,
    )


def _shown(webhook: Webhook) -> WebhookRecord:
    """A webhook as its owner sees it, without its secret."""
    return WebhookRecord(
        webhookID=webhook.webhookID,
        userID=webhook.userID,
        url=webhook.url,
        actions=webhook.actions,
        state="disabled" if webhook.disabled else "enabled",
        reason=webhook.disabled or None,
        lastFailure=webhook.lastFailure or None,
        createdMs=webhook.createdMs or None,
        failingSinceMs=webhook.failingSinceMs or None,
        pausedUntilMs=webhook.pausedUntilMs or None,
        lastSuccessMs=webhook.lastSuccessMs or None,
        lastFailureMs=webhook.lastFailureMs or None,
    )


handler = compose(build, WebhooksSettings)
