"""A desk that takes what gate hands over: prints it and gives it a number. For trying the webhook, not for use.

python examples/escalate/desk.py [PORT]          (8899; it listens on this machine alone)
"""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer


class Desk(BaseHTTPRequestHandler):
    taken = 0

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        Desk.taken += 1
        print(f"#{Desk.taken}: {asked['question']} ({asked['reason']}; the draft was {asked['draft']!r})", flush=True)
        said = json.dumps({"reference": f"desk-{Desk.taken}"}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *args: object) -> None:
        """Nothing beside what it prints."""


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8899
    with HTTPServer(("127.0.0.1", port), Desk) as server:
        print(f"listening on 127.0.0.1:{server.server_port}", flush=True)
        server.serve_forever()
