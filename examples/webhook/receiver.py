"""receiver.py SECRET [PORT]: take webhooks, and print each event once. `pip install standardwebhooks`."""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks import Webhook, WebhookVerificationError

webhook, seen = Webhook(sys.argv[1]), set[str]()


class Receiver(BaseHTTPRequestHandler):
    """Answers 204 to what ElasticRecode signed in the last five minutes, else 401."""

    def do_POST(self) -> None:
        """Verify over the raw bytes first. The same event may come again: its id says so."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        try:
            event = webhook.verify(body, {name.lower(): value for name, value in self.headers.items()})
        except WebhookVerificationError:
            self.send_error(401)
            return
        self.send_response(204)
        self.end_headers()
        if event["eventID"] not in seen:
            seen.add(event["eventID"])
            print(event["action"], event["jobID"], flush=True)  # put it on a queue of yours, and do the work later

    def log_message(self, *_: object) -> None:
        """Print events only."""


ThreadingHTTPServer(("", int(sys.argv[2]) if sys.argv[2:] else 8000), Receiver).serve_forever()
