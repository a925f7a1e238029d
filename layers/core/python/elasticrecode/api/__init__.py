"""The REST API: requests, problems, idempotency, the OpenAPI document."""
