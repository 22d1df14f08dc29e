"""A receiver of webhooks for tests: verifies each request with the public `standardwebhooks` library.

It keeps every request as a JSON file, prints {"port": N} when it listens and ends with its standard input. The file
`mode` holds one JSON object: {"status": 503, "headers": {"Retry-After": "2"}, "body": "...", "delay": 1.5}.
"""

import argparse
import itertools
import json
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from standardwebhooks import Webhook

numbers = itertools.count()


class Receiver(BaseHTTPRequestHandler):
    directory: Path
    secret: str | None

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        mode = self.directory / "mode"
        answer = json.loads(mode.read_text()) if mode.exists() else {}
        status = answer.get("status", 200)
        verified = None
        if self.secret:
            try:
                Webhook(self.secret).verify(body, {k.lower(): v for k, v in self.headers.items()})
                verified = True
            except Exception as error:
                verified, status = False, 401
                print(f"not verified: {error!r}", file=sys.stderr)
        kept = {
            "path": self.path,
            "headers": {k.lower(): v for k, v in self.headers.items()},
            "body": body.decode("utf-8"),
            "verified": verified,
            "status": status,
            "at": time.time(),
        }
        part = self.directory / f"{next(numbers):06}-{os.getpid()}.part"
        part.write_text(json.dumps(kept))
        part.rename(part.with_suffix(".json"))
        time.sleep(answer.get("delay", 0))
        text = answer.get("body", "ok").encode()
        self.send_response(status)
        for name, value in answer.get("headers", {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        try:
            self.wfile.write(text)
        except OSError:
            pass  # The sender is gone: it was killed, or waited long enough.

    def log_message(self, *arguments):
        pass


parser = argparse.ArgumentParser()
parser.add_argument("directory", type=Path)
parser.add_argument("--port", type=int, default=0)
options = parser.parse_args()
Receiver.directory = options.directory
Receiver.secret = os.environ.get("RECEIVER_SECRET")
server = ThreadingHTTPServer(("127.0.0.1", options.port), Receiver)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(json.dumps({"port": server.server_address[1]}), flush=True)
sys.stdin.read()
