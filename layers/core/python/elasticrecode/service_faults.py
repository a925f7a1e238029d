"""Service faults: errors of AWS that pass by themselves. Pure."""

import re

_BUSY = re.compile(
    r"throttl|slow.?down|toomanyrequests|limitexceeded|throughputexceeded|priorrequestnotcomplete|busy"
    r"|timeout|internal|unavailable|aborted|conflict|inprogress",
    re.IGNORECASE,
)
"""Parts of AWS's codes for "not now", in the spellings of all its services."""
_PASSING = {
    "ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired",
    "IDPCommunicationError", "IDPCommunicationErrorException",
    # The bytes did not arrive as they were sent.
    "BadDigest", "IncompleteBody", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch", "ClientDisconnected",
    # The upload was aborted by another; the next attempt begins one of its own.
    "NoSuchUpload",
}  # fmt: skip
_PASSING_STATUSES = {408, 425, 429}


def passes(code: str, status: int) -> bool:
    """Whether an error of AWS, by code and HTTP status, passes by itself: throttling, faults, expired credentials."""
    return status >= 500 or status in _PASSING_STATUSES or code in _PASSING or bool(_BUSY.search(code))
