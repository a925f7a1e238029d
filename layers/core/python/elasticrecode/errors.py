"""Every error that the product raises on purpose.

ElasticRecodeError
├── Problem               an error answer, sent as RFC 9457 problem details
│   ├── Malformed    400  the body is not JSON
│   ├── BadParameter 400  a path or query parameter is out of range
│   ├── Unauthorized 401  there is no token, or one that cannot be used
│   ├── Forbidden    403  the caller is known and may not do this
│   ├── NotFound     404  it does not exist, has expired, or is another user's
│   ├── NotAllowed   405  the path has other methods
│   ├── Refused      409  the request is valid, and the deployment or the present state forbids it
│   │   └── Busy     409  the first request with this Idempotency-Key is still running
│   ├── TooLarge     413  the body is over its limit
│   ├── Invalid      422  the body is JSON and not valid; carries every fault
│   ├── KeyReused    422  the Idempotency-Key belongs to another request
│   ├── TooManyRequests 429  the user's allowance for this minute is used up
│   └── Unavailable  503  AWS refused after retries, or no queue serves the request
├── Unreadable            the inputs of a batch cannot be read; the batch fails with its code
└── UnreadableEvent       a control-queue message that is not a worker event
"""

from typing import NamedTuple

_SOON_SECONDS = 5


class Fault(NamedTuple):
    """One thing wrong in a body: an RFC 6901 pointer to it, and what is wrong, such as `is required`."""

    pointer: str
    detail: str


class ElasticRecodeError(Exception):
    """Base of all errors below."""


class Problem(ElasticRecodeError):
    """An error answer of the API. `detail` is for people: what is wrong, and what to do."""

    status = 500
    title = "Internal error"
    retry_after = 0
    """Seconds after which the same request may succeed; 0 when it will not."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class Malformed(Problem):
    """The body is not JSON."""

    status = 400
    title = "The body is not JSON"


class Invalid(Problem):
    """The body is JSON and not valid; `faults` lists everything wrong with it. Nothing was stored or sent."""

    status = 422
    title = "The request is not valid"

    def __init__(self, faults: list[Fault]) -> None:
        count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        super().__init__(f"{count}; nothing was stored or sent.")
        self.faults = faults


class BadParameter(Problem):
    """A path or query parameter is out of range."""

    status = 400
    title = "A parameter is not valid"


class Unauthorized(Problem):
    """The request has no token, or one that cannot be used."""

    status = 401
    title = "Unauthorized"


class Forbidden(Problem):
    """The caller is known and may not do this."""

    status = 403
    title = "Forbidden"


class NotFound(Problem):
    """It does not exist, has expired, or is another user's."""

    status = 404
    title = "Not found"


class NotAllowed(Problem):
    """The path exists and has other methods: `allowed`, as the header Allow lists them."""

    status = 405
    title = "Method not allowed"

    def __init__(self, allowed: str) -> None:
        super().__init__(f"Use one of the methods of this path: {allowed}.")
        self.allowed = allowed


class Refused(Problem):
    """The request is valid, and the deployment's options or the present state forbid it."""

    status = 409
    title = "Refused"


class Busy(Refused):
    """The first request with this Idempotency-Key is still running."""

    title = "Request in progress"
    retry_after = _SOON_SECONDS


class KeyReused(Problem):
    """The Idempotency-Key belongs to a request with another body."""

    status = 422
    title = "The Idempotency-Key is in use"


class TooLarge(Problem):
    """The body is over the documented limit."""

    status = 413
    title = "The body is too large"


class TooManyRequests(Problem):
    """The user's allowance is used up for the next `retry_after` seconds."""

    status = 429
    title = "Too many requests"

    def __init__(self, detail: str, retry_after: int) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class Unavailable(Problem):
    """AWS refused after retries, or no queue serves the request. Nothing was stored that the answer does not name."""

    status = 503
    title = "Unavailable"
    retry_after = _SOON_SECONDS


class UnreadableEvent(ElasticRecodeError):
    """A message on the control queue that is no worker event; its text is the reason."""


class Unreadable(ElasticRecodeError):
    """The inputs of a batch cannot be read: `code` is for programs, `message` for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
