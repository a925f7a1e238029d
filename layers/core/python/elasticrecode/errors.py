"""Every error the product raises on purpose.

ElasticRecodeError
├── Problem               what a client is told, as RFC 9457 problem details
│   ├── Malformed    400  the body is not JSON
│   ├── Invalid      422  the body is JSON and says something impossible; carries every fault
│   ├── BadParameter 400  a path or query parameter is out of range
│   ├── Unauthorized 401  nobody knows who asks
│   ├── Forbidden    403  it is known who asks, and not theirs to ask for
│   ├── NotFound     404
│   ├── NotAllowed   405  the path has other methods
│   ├── Refused      409  the request is sound, the deployment or the job's state forbids it
│   ├── TooLarge     413
│   ├── TooManyRequests 429  this user has asked for enough this minute
│   └── Unavailable  503  AWS refused or throttled after retries, or no queue serves the request
├── Unreadable            what a batch names as its inputs can't be read; the batch fails with its code
└── UnreadableEvent       a control-queue message that is no worker event
"""

from typing import NamedTuple

_SOON = 5


class Fault(NamedTuple):
    """One thing wrong in a body: an RFC 6901 pointer to it and a sentence about it."""

    pointer: str
    detail: str


class ElasticRecodeError(Exception):
    """Base of all errors below."""


class Problem(ElasticRecodeError):
    """An answer other than success. `detail` is written for the person who reads it."""

    status = 500
    title = "Internal error"
    retry_after = 0
    """Seconds after which the same request may fare better, 0 when it will not."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class Malformed(Problem):
    """The body could not be read as JSON at all."""

    status = 400
    title = "The body is not JSON"


class Invalid(Problem):
    """The body was read; `faults` lists everything wrong with it. Nothing was stored or sent."""

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
    """Nobody knows who asks."""

    status = 401
    title = "Unauthorized"


class Forbidden(Problem):
    """The caller is known, and may not do this."""

    status = 403
    title = "Forbidden"


class NotFound(Problem):
    """There is no such thing, it has expired, or it is not the caller's."""

    status = 404
    title = "Not found"


class NotAllowed(Problem):
    """The path is there, and has other methods: `allowed`."""

    status = 405
    title = "Not this method"

    def __init__(self, allowed: str) -> None:
        super().__init__(f"This path has {allowed}.")
        self.allowed = allowed


class Refused(Problem):
    """The request is well-formed, and the deployment's options or the present state forbid it."""

    status = 409
    title = "Refused"


class Busy(Refused):
    """An earlier request with the same Idempotency-Key is still at work."""

    title = "Still at work"
    retry_after = _SOON


class KeyReused(Problem):
    """The Idempotency-Key was used with another body."""

    status = 422
    title = "The Idempotency-Key was used before"


class TooLarge(Problem):
    """The body is over the documented limit."""

    status = 413
    title = "The body is too large"


class TooManyRequests(Problem):
    """The user has asked for as much as one user may, until so many seconds have passed."""

    status = 429
    title = "Too many requests"

    def __init__(self, detail: str, retry_after: int) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class Unavailable(Problem):
    """Nothing can take the request now. Nothing the answer does not name was stored."""

    status = 503
    title = "Not available now"
    retry_after = _SOON


class UnreadableEvent(ElasticRecodeError):
    """A message on the control queue that cannot be understood; its text is the reason."""


class Unreadable(ElasticRecodeError):
    """The inputs of a batch can't be read: a code to act on, a sentence to read."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
