"""What browsers are told not to do: headers of the home page and of the API's answers, for both front doors."""

from collections.abc import Collection

HSTS_SECONDS = 365 * 86_400
"""So long a browser that has been here over https comes back over nothing else. Over http it heeds the header not."""

CONTENT_SECURITY_POLICY = "Content-Security-Policy"
HSTS = "Strict-Transport-Security"
CONTENT_TYPE_OPTIONS = "X-Content-Type-Options"
FRAME_OPTIONS = "X-Frame-Options"
REFERRER_POLICY = "Referrer-Policy"

_FEATURES = ("camera", "display-capture", "geolocation", "microphone", "midi", "payment", "serial", "usb")
_EVERYWHERE = {HSTS: f"max-age={HSTS_SECONDS}", CONTENT_TYPE_OPTIONS: "nosniff"}

ANSWER = {
    **_EVERYWHERE,
    CONTENT_SECURITY_POLICY: "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}
"""For every answer of the API: it is data, and nobody's to keep."""

PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, POST, PUT, DELETE",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, Idempotency-Key",
    "Access-Control-Max-Age": "7200",
}
"""What a page of an origin that may ask may ask with; browsers heed it only beside the origin's name."""


def cross_origin(named: Collection[str], origin: str) -> dict[str, str]:
    """What lets pages of the origin read an answer, where it is named, or any is by `*`."""
    if not named:
        return {}
    told = {"Access-Control-Expose-Headers": "Link, Retry-After"}
    if "*" in named:
        return told | {"Access-Control-Allow-Origin": "*"}
    # Caches must not give one origin what was told to another.
    return {"Vary": "Origin"} | (told | {"Access-Control-Allow-Origin": origin} if origin in named else {})


def page(sign_in_url: str = "") -> dict[str, str]:
    """For the home page, whose scripts and styles are files of its own origin, and which asks one other at the most."""
    sources = {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self'",
        "connect-src": f"'self' {sign_in_url}".rstrip(),
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return {
        **_EVERYWHERE,
        CONTENT_SECURITY_POLICY: "; ".join(f"{name} {value}" for name, value in sources.items()),
        FRAME_OPTIONS: "DENY",
        REFERRER_POLICY: "no-referrer",
        "Permissions-Policy": ", ".join(f"{feature}=()" for feature in _FEATURES),
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
    }
