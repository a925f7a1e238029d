"""The routes about webhooks: add, list, test and remove them; list failed deliveries and send them again."""

import time
from typing import Any

import msgspec
from msgspec import UNSET
from msgspec.structs import asdict

from elasticrecode.access.rates import Rates
from elasticrecode.api import http
from elasticrecode.clock import now_ms
from elasticrecode.contract.routes import (
    ADD_WEBHOOK,
    REMOVE_WEBHOOK,
    RETRY_WEBHOOK,
    TEST_WEBHOOK,
    WEBHOOK_FAILURES,
    WEBHOOKS,
)
from elasticrecode.contract.settings import WebhooksSettings
from elasticrecode.errors import BadParameter, Fault, NotFound, Refused, Unavailable
from elasticrecode.runtime import compose
from elasticrecode.validation import Body, Reader
from elasticrecode.webhooks import addresses, courier
from elasticrecode.webhooks.answers import DeliveryOutcome, NewWebhook, Sent, WebhookRecord, WebhookRemoved
from elasticrecode.webhooks.courier import Courier, Undeliverable
from elasticrecode.webhooks.queue import Addressed, Deliveries
from elasticrecode.webhooks.request import FORMATS, WEBHOOKS_LIMIT, WebhookRequest, is_url
from elasticrecode.webhooks.store import WebhooksTable
from elasticrecode.webhooks.webhook import Delivery, Webhook, head, is_secret, new, sample_event

_BODY_LIMIT = 8192
_RETRY_SECONDS = 15
_RETRY_PAGE = 100

_webhook_request = Reader(WebhookRequest, FORMATS)


class WebhookRoutes:
    """The routes about webhooks. Each raises Unavailable when AWS refuses."""

    def __init__(self, settings: WebhooksSettings) -> None:
        self._table = WebhooksTable(settings.webhooks_table)
        self._deliveries = Deliveries(settings.deliveries_queue)
        self._allowed = addresses.networks(settings.networks)
        self._courier = Courier(self._allowed)

    def add(self, request: http.Request) -> http.Response:
        """Create a webhook: 201 with its secret. Raises Refused for a user with WEBHOOKS_LIMIT of them."""
        body = Body(request.body(_BODY_LIMIT))
        new_webhook = _webhook_request.read(body, self._faults(body.fields))
        request.caller.act_for(new_webhook.userID)
        if len(self._table.of(new_webhook.userID)) >= WEBHOOKS_LIMIT:
            raise Refused(f"A user has at most {WEBHOOKS_LIMIT} webhooks; remove one first.")
        webhook = new(new_webhook.userID, new_webhook.url, new_webhook.actions, new_webhook.secret)
        self._table.create(webhook)
        return http.Response(NewWebhook(**asdict(_shown(webhook)), secret=webhook.secret), 201)

    def show_all(self, request: http.Request) -> http.Response:
        """List a user's webhooks, without their secrets."""
        user_id = request.query.get("userID")
        if not user_id:
            raise BadParameter("userID is required: webhooks are listed for one user.")
        request.caller.act_for(user_id)
        return http.Response([_shown(webhook) for webhook in self._table.of(user_id)])

    def remove(self, request: http.Request) -> http.Response:
        """Remove a webhook. Deliveries on their way to it end."""
        webhook = self._existing(request)
        self._table.remove(webhook)
        return http.Response(WebhookRemoved(webhook.webhookID))

    def test(self, request: http.Request) -> http.Response:
        """Post one test event to a webhook, also a disabled one. Neither success nor failure changes the webhook."""
        webhook = self._existing(request)
        event = sample_event(webhook, now_ms())
        began, error = time.monotonic(), None
        status: int | None
        try:
            status = self._courier.post(webhook.url, webhook.secret, event.eventID, msgspec.json.encode(event))
        except Undeliverable as failure:
            status, error = failure.status, str(failure)
        return http.Response(DeliveryOutcome(status, round(time.monotonic() - began, 3), error))

    def failures(self, request: http.Request) -> http.Response:
        """List a page of failed deliveries."""
        limit, after = request.page()
        page = self._table.failures(self._existing(request).webhookID, limit, after)
        return http.Response(list(page.failures.values()), headers=request.next_link(page.after))

    def retry(self, request: http.Request) -> http.Response:
        """Enable a webhook and send its failed deliveries again: 202, with `more` when some are left after 15 s."""
        webhook = self._existing(request)
        self._table.enable(webhook)
        until, sent, after = time.monotonic() + _RETRY_SECONDS, 0, ""
        while True:
            page = self._table.failures(webhook.webhookID, _RETRY_PAGE, after)
            again = now_ms()
            refused = self._deliveries.send(
                {
                    position: Addressed(
                        Delivery(userID=webhook.userID, webhookID=webhook.webhookID, event=failure.event, again=again),
                        head(failure.event),
                    )
                    for position, failure in page.failures.items()
                }
            )
            done = [position for position in page.failures if position not in refused]
            self._table.forget(webhook.webhookID, done)
            sent, after = sent + len(done), page.after
            if refused:
                raise Unavailable(
                    f"{sent} deliveries were sent again; AWS could not take the next. Try again in a moment."
                )
            if not after or time.monotonic() > until:
                break
        return http.Response(Sent(sent, True if after else UNSET), 202)

    def _existing(self, request: http.Request) -> Webhook:
        """The webhook in the path. Raises NotFound when there is none, or it is another user's."""
        webhook_id = request.parameters["webhookID"]
        webhook = self._table.get(webhook_id)
        if not webhook or not request.caller.may_act_for(webhook.userID):
            raise NotFound(f"There is no webhook {webhook_id}.")
        return webhook

    def _faults(self, fields: dict[str, Any]) -> list[Fault]:
        """Faults that the schema misses: an address that is not allowed, and a wrong secret, without showing it."""
        faults = []
        url, secret = fields.get("url"), fields.get("secret")
        if isinstance(secret, str) and secret and not is_secret(secret):
            faults.append(Fault("/secret", "must be whsec_ and 24 to 64 bytes in base64"))
        if isinstance(url, str) and is_url(url):
            try:
                courier.checked(addresses.parse(url), self._allowed)
            except Undeliverable as error:
                faults.append(Fault("/url", f"can't be used: {error}"))
        return faults


def _shown(webhook: Webhook) -> WebhookRecord:
    """A webhook for its owner, without its secret."""
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


def build(settings: WebhooksSettings) -> http.LambdaHandler:
    """The Lambda handler."""
    webhooks = WebhookRoutes(settings)
    routes = {
        ADD_WEBHOOK: webhooks.add,
        WEBHOOKS: webhooks.show_all,
        REMOVE_WEBHOOK: webhooks.remove,
        TEST_WEBHOOK: webhooks.test,
        WEBHOOK_FAILURES: webhooks.failures,
        RETRY_WEBHOOK: webhooks.retry,
    }
    return http.handler(routes, settings, Rates(settings.rate).count)


handler = compose(build, WebhooksSettings)
