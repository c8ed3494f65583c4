"""An MJPEG camera for a test: ``python mjpeg_server.py PORT [PICTURES]``.

Streams drawn pictures at http://127.0.0.1:PORT/stream, 20 a second, as network cameras
do; after PICTURES it keeps the connection open and sends nothing more. Says "ready".
"""

import itertools
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2

from edge_runtime.sources.fake.scenes import DrawnScene

MOST = int(sys.argv[2]) if len(sys.argv) > 2 else sys.maxsize
SCENE = DrawnScene((320, 240), 20)


class Camera(BaseHTTPRequestHandler):
    """Answers every request with the stream."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        try:
            for number in itertools.islice(itertools.count(), MOST):
                self._send(cv2.imencode(".jpg", SCENE.render(number))[1].tobytes())
                time.sleep(0.05)
            time.sleep(1000)
        except OSError:  # whoever looked has gone
            return

    def _send(self, picture: bytes) -> None:
        head = f"Content-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
        self.wfile.write(b"--frame\r\n" + head.encode() + picture + b"\r\n")

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Camera)
print("ready", flush=True)
server.serve_forever()
