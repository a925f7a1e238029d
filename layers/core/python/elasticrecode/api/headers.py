"""Security and CORS headers of the home page and of the API's answers, on AWS and on one machine."""

from collections.abc import Collection, Sequence

HSTS_SECONDS = 365 * 86_400
"""How long a browser uses https only, once it has. It ignores the header over http."""

CONTENT_SECURITY_POLICY = "Content-Security-Policy"
HSTS = "Strict-Transport-Security"
CONTENT_TYPE_OPTIONS = "X-Content-Type-Options"
FRAME_OPTIONS = "X-Frame-Options"
REFERRER_POLICY = "Referrer-Policy"

_FEATURES = ("camera", "display-capture", "geolocation", "microphone", "midi", "payment", "serial", "usb")
_SHARED = {HSTS: f"max-age={HSTS_SECONDS}", CONTENT_TYPE_OPTIONS: "nosniff"}

ANSWER = {
    **_SHARED,
    CONTENT_SECURITY_POLICY: "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}
"""Headers of every answer of the API: it is data that no cache may keep and no page may frame."""

PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, POST, PUT, DELETE",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, Idempotency-Key",
    "Access-Control-Max-Age": "7200",
}
"""Further headers of CORS preflight answers. Browsers ignore them without `Access-Control-Allow-Origin`."""


def cross_origin(allowed: Collection[str], origin: str) -> dict[str, str]:
    """The CORS headers of an answer to a page of `origin`; `allowed` are origins, or `*` for any."""
    if not allowed:
        return {}
    exposed = {"Access-Control-Expose-Headers": "Link, Retry-After"}
    if "*" in allowed:
        return exposed | {"Access-Control-Allow-Origin": "*"}
    # `Vary` keeps caches from serving the answer for one origin to another.
    return {"Vary": "Origin"} | (exposed | {"Access-Control-Allow-Origin": origin} if origin in allowed else {})


def page(sign_in_url: str = "", media: Sequence[str] = ()) -> dict[str, str]:
    """The headers of the home page.

    All that it loads is of its own origin, but for the media of jobs, which are of the origins `media`. It may connect
    to these and to `sign_in_url`. Players hand a video to the browser piece by piece, as a `blob:`.
    """
    connected = dict.fromkeys(["'self'", *([sign_in_url] if sign_in_url else []), *media])
    sources = {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": " ".join(["'self'", *media]),
        "media-src": " ".join(["blob:", *media]),
        "connect-src": " ".join(connected),
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return {
        **_SHARED,
        CONTENT_SECURITY_POLICY: "; ".join(f"{name} {value}" for name, value in sources.items()),
        FRAME_OPTIONS: "DENY",
        REFERRER_POLICY: "no-referrer",
        "Permissions-Policy": ", ".join(f"{feature}=()" for feature in _FEATURES),
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
    }
