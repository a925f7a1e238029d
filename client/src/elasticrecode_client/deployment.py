"""The methods of both clients for the deployment: workers, webhooks, presets, uploads. `jobs` says what they share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from elasticrecode_client.calls import ME, Call, Listing, Method
from elasticrecode_client.types import (
    DeliveryOutcome,
    DeploymentRecord,
    FleetSample,
    GivenUp,
    Health,
    NewUpload,
    NewWebhook,
    PartLinks,
    PresetRecord,
    PresetRemoved,
    Profile,
    QueueBacklog,
    QueuePause,
    Queues,
    Sent,
    Server,
    SocketTicket,
    Uploaded,
    UploadRecord,
    WebhookRecord,
    WebhookRemoved,
    Words,
)


class Deployment:
    """The routes of the deployment itself."""

    # The deployment

    @Method
    def version(self) -> Call[Server]:
        """The server's version and build, and the caller as `userID` and `operator`."""
        return Call("GET /v1")

    @Method
    def schema(self) -> Call[Words]:
        """The words of the first generation that requests may hold."""
        return Call("GET /v1/schema")

    @Method
    def health(self) -> Call[Health]:
        """`{"status": "ok"}` while the deployment takes requests."""
        return Call("GET /v1/health")

    @Method
    def openapi(self) -> Call[dict[str, Any]]:
        """The OpenAPI document of the deployment."""
        return Call("GET /v1/openapi.json")

    @Method
    def asyncapi(self) -> Call[dict[str, Any]]:
        """The AsyncAPI document of the deployment: its WebSocket, and the queues of workers."""
        return Call("GET /v1/asyncapi.json")

    # Queues and workers

    @Method
    def queues(self) -> Call[Queues]:
        """The names of the worker queues by group."""
        return Call("GET /v1/worker/queues")

    @Listing
    def deployments(self, *, limit: int | None = None) -> Call[list[tuple[str, DeploymentRecord]]]:
        """The discovered Deployments, each with its name. For operators."""
        return Call("GET /v1/worker/deployments", query={"limit": limit})

    @Listing
    def backlog(self, *, limit: int | None = None) -> Call[list[QueueBacklog]]:
        """Each queue with its messages, its workers, and how long a job sent now would wait. For operators."""
        return Call("GET /v1/worker/backlog", query={"limit": limit})

    @Method
    def history(self) -> Call[list[FleetSample]]:
        """The queues' figures in each minute of the last hour. For operators."""
        return Call("GET /v1/worker/history")

    @Method
    def pause(self, queue: str) -> Call[QueuePause]:
        """Stop sending new jobs to a queue. For operators."""
        return Call("POST /v1/worker/queues/{queue}/pause", path={"queue": queue})

    @Method
    def resume(self, queue: str) -> Call[QueuePause]:
        """Send new jobs to a paused queue again. For operators."""
        return Call("POST /v1/worker/queues/{queue}/resume", path={"queue": queue})

    # Webhooks

    @Method
    def add_webhook(
        self, url: str, actions: Iterable[str], *, secret: str | None = None, user_id: str | None = None
    ) -> Call[NewWebhook]:
        """Create a webhook for a user's events. Its `secret` is in no other answer."""
        body = {"userID": user_id or ME, "url": url, "actions": list(actions), "secret": secret}
        return Call("POST /v1/webhooks", body=body)

    @Method
    def webhooks(self, user_id: str | None = None) -> Call[list[WebhookRecord]]:
        """The webhooks of a user, with their latest success and failure."""
        return Call("GET /v1/webhooks", query={"userID": user_id or ME})

    @Method
    def remove_webhook(self, webhook_id: str) -> Call[WebhookRemoved]:
        """Remove a webhook."""
        return Call("DELETE /v1/webhooks/{webhookID}", path={"webhookID": webhook_id})

    @Method
    def test_webhook(self, webhook_id: str) -> Call[DeliveryOutcome]:
        """Post one signed test event to a webhook now."""
        return Call("POST /v1/webhooks/{webhookID}/test", path={"webhookID": webhook_id})

    @Listing
    def webhook_failures(self, webhook_id: str, *, limit: int | None = None) -> Call[list[GivenUp]]:
        """Failed deliveries of a webhook, by the time of the event."""
        return Call("GET /v1/webhooks/{webhookID}/failures", path={"webhookID": webhook_id}, query={"limit": limit})

    @Method
    def retry_webhook(self, webhook_id: str) -> Call[Sent]:
        """Deliver failed deliveries again, and enable the webhook: repeat it while the answer has `more`."""
        return Call("POST /v1/webhooks/{webhookID}/failures/retry", path={"webhookID": webhook_id})

    # Presets

    @Listing
    def presets(self, *, limit: int | None = None) -> Call[list[PresetRecord]]:
        """The presets by name."""
        return Call("GET /v1/presets", query={"limit": limit})

    @Method
    def put_preset(self, name: str, profile: Profile) -> Call[PresetRecord]:
        """Store a preset, or replace a stored one. For operators. Raises Conflict for a built-in name."""
        return Call("PUT /v1/presets/{name}", path={"name": name}, body={"profile": profile})

    @Method
    def remove_preset(self, name: str) -> Call[PresetRemoved]:
        """Remove a stored preset. For operators."""
        return Call("DELETE /v1/presets/{name}", path={"name": name})

    # WebSockets and uploads; `watch` and `upload` use them

    @Method
    def socket_ticket(self) -> Call[SocketTicket]:
        """A ticket that opens one WebSocket within a minute."""
        return Call("POST /v1/socket-tickets")

    @Method
    def add_upload(self, name: str, size: int, *, user_id: str | None = None) -> Call[NewUpload]:
        """Begin the upload of a file of `size` bytes."""
        return Call("POST /v1/uploads", body={"userID": user_id or ME, "name": name, "bytes": size})

    @Method
    def upload_record(self, upload_id: str) -> Call[UploadRecord]:
        """An unfinished upload, with the numbers of the parts that S3 has."""
        return Call("GET /v1/uploads/{uploadID}", path={"uploadID": upload_id})

    @Method
    def part_links(self, upload_id: str, parts: Iterable[int]) -> Call[PartLinks]:
        """URLs to PUT up to 100 parts to, for 15 minutes. Raises Conflict when the upload is complete."""
        return Call("POST /v1/uploads/{uploadID}/links", path={"uploadID": upload_id}, body={"parts": list(parts)})

    @Method
    def complete_upload(self, upload_id: str) -> Call[Uploaded]:
        """Join the parts of an upload. Raises Conflict while parts are missing."""
        return Call("POST /v1/uploads/{uploadID}/complete", path={"uploadID": upload_id})

    @Method
    def cancel_upload(self, upload_id: str) -> Call[None]:
        """Remove an unfinished upload. Raises Conflict for one that is complete."""
        return Call("DELETE /v1/uploads/{uploadID}", path={"uploadID": upload_id})
