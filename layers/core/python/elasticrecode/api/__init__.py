"""The REST API: requests, answers, problems and idempotency."""
