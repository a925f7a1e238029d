"""What browsers are told not to do: headers of the home page and of the API's answers, for both front doors."""

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


def page(*connect: str) -> dict[str, str]:
    """For the home page, whose scripts and styles are files of its own origin; `connect` are other origins it asks."""
    sources = {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self'",
        "connect-src": " ".join(["'self'", *connect]),
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
