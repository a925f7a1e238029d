"""Errors in words for a person: what is wrong, at which flag, and what to do."""

import json
from typing import NamedTuple

from elasticrecode_client.command.exits import Exit
from elasticrecode_client.problems import (
    ConnectionFailed,
    ElasticRecodeError,
    Fault,
    Forbidden,
    NotFound,
    Problem,
    SettingsError,
    SignInFailed,
    TooManyRequests,
    TransferFailed,
    Unauthorised,
    Unavailable,
    printable,
)


class Refusal(Exception):
    """The command refuses: a file is missing, an option makes no sense, or words have no translation."""

    def __init__(self, *lines: str, status: Exit = Exit.REFUSED) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines
        self.status = status


class Explanation(NamedTuple):
    """An error for people as lines of `text`, for programs as `json`, and the exit status."""

    text: str
    json: str
    status: Exit


_FLAGS = {
    "/input": "FILE",
    "/batchInputs": "FILE",
    "/origin": "ORIGIN",
    "/output": "--output",
    "/priority": "--priority",
    "/budget/dollars": "--budget-dollars",
    "/budget/seconds": "--budget-seconds",
    "/plan": "--plan-id",
    "/userid": "--user",
    "/userID": "--user",
    "/manifest": "--manifest",
    "/prefix": "--prefix",
    "/suffixes": "--suffix",
    "/inputs": "FILE",
    "/profile/preset": "--preset",
    "/profile/vmaf/scale": "--score",
    "/url": "URL",
    "/actions": "--on",
    "/secret": "--secret",
    "/name": "NAME",
    "/bytes": "FILE",
}
_PROFILE_FLAGS: dict[str, str] = {}


def name_flags(flags: dict[str, str]) -> None:
    """Let faults of a profile name these flags: pointer → what was typed for it."""
    _PROFILE_FLAGS.update(flags)


def flag_of(pointer: str) -> str:
    """The flag that a fault is about; the pointer itself where no flag has that field."""
    flags = {**_FLAGS, **_PROFILE_FLAGS}
    parts = pointer.split("/")
    for length in range(len(parts), 1, -1):
        if (flag := flags.get("/".join(parts[:length]))) is not None:
            rest = "/".join(parts[length:])
            return f"{flag} ({rest})" if rest else flag
    return pointer or "the request"


def explained(error: Exception) -> Explanation:
    """An error as words, as JSON, and as an exit status."""
    status = _status(error)
    lines = [*(error.lines if isinstance(error, Refusal) else (_first(error),)), *_faults(error)]
    if advice := _advice(error):
        lines.append(advice)
    if isinstance(error, Problem) and error.request_id and status in (Exit.UNREACHABLE, Exit.INTERNAL):
        lines.append(f"The logs of the deployment have it as request {error.request_id}.")
    document: dict[str, object] = {"exit": int(status), "message": _first(error)}
    if isinstance(error, Problem):
        faults = [{"pointer": one.pointer, "flag": flag_of(one.pointer), "detail": one.detail} for one in error.errors]
        document |= {"code": error.code, "status": error.status, "errors": faults, "request": error.request_id}
    return Explanation("\n".join(map(printable, lines)), json.dumps({"error": document}, ensure_ascii=False), status)


def _status(error: Exception) -> Exit:
    match error:
        case Refusal():
            return error.status
        case Unauthorised() | Forbidden() | SignInFailed():
            return Exit.FORBIDDEN
        case ConnectionFailed() | TransferFailed() | Unavailable() | TooManyRequests():
            return Exit.UNREACHABLE
        case Problem() if error.status >= 500:
            return Exit.UNREACHABLE
        case TimeoutError():
            return Exit.TIMEOUT
        case ElasticRecodeError() | OSError():
            return Exit.REFUSED
    return Exit.INTERNAL


def _first(error: Exception) -> str:
    if isinstance(error, Problem):
        if error.errors:
            count = len(error.errors)
            return f"The request has {count} fault{'s' if count > 1 else ''}; nothing was stored."
        return error.detail or error.title
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, ElasticRecodeError | Refusal | TimeoutError | OSError):
        return str(error)
    return f"elasticrecode has a fault of its own: {type(error).__name__}: {error}"


def _faults(error: Exception) -> list[str]:
    faults: tuple[Fault, ...] = error.errors if isinstance(error, Problem) else ()
    return [f"  {flag_of(fault.pointer)}: {fault.detail}" for fault in faults]


def _advice(error: Exception) -> str:
    match error:
        case Unauthorised() | SignInFailed():
            return "Sign in: `elasticrecode login`, or set ELASTICRECODE_TOKEN."
        case Forbidden():
            return "Ask an operator of the deployment, or sign in as another user: `elasticrecode login`."
        case ConnectionFailed():
            return "Is the address right? It comes from --url, ELASTICRECODE_URL, or `elasticrecode login`."
        case Unavailable() | TransferFailed():
            return "Try again in a minute: what was uploaded and submitted is kept."
        case TooManyRequests():
            return f"Try again in {error.retry_after:.0f} s." if error.retry_after else "Try again in a minute."
        case NotFound() if "job" in error.detail:
            return "`elasticrecode list` shows your jobs; another user's are not found, either."
        case SettingsError() | Refusal() | Problem() | TimeoutError() | OSError():
            return ""
    return "Please report it; with ELASTICRECODE_DEBUG=1 it shows where."
