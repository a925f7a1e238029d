"""A stand-in for CloudFront with origin access control: it signs plain requests for the objects of a bucket."""

import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

_SENT_ON = ("Range", "Origin", "Access-Control-Request-Method", "Access-Control-Request-Headers")
_OPERATIONS = {"GET": "get_object", "HEAD": "head_object", "OPTIONS": "get_object"}
_OWN = ("connection", "date", "server", "transfer-encoding")
"""Headers of a connection, which are not passed on."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, s3: Any, bucket: str, *others: Any) -> None:
        self._s3, self._bucket = s3, bucket
        super().__init__(*others)

    def do_GET(self) -> None:
        """S3's answer to the same request, signed."""
        key = unquote(self.path.partition("?")[0].lstrip("/"))
        url = self._s3.generate_presigned_url(_OPERATIONS[self.command], Params={"Bucket": self._bucket, "Key": key})
        headers = {name: self.headers[name] for name in _SENT_ON if name in self.headers}
        request = urllib.request.Request(url, method=self.command, headers=headers)
        try:
            answer = urllib.request.urlopen(request, timeout=40)
        except urllib.error.HTTPError as error:
            answer = error
        with answer, suppress(ConnectionError):  # players give up requests when they switch
            body = answer.read()
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                if name.lower() not in (*_OWN, "content-length"):
                    self.send_header(name, value)
            length = answer.headers["Content-Length"] if self.command == "HEAD" else len(body)
            self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(body)

    do_HEAD = do_OPTIONS = do_GET

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@contextmanager
def serving(s3: Any, bucket: str) -> Iterator[str]:
    """The address of a bucket's objects, without a slash at the end."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, s3, bucket)) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
