"""The speech services that OpenVoiceOS asks: one always hears `what time is it`, the other speaks with espeak-ng."""

import subprocess
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit


class Speech(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        print("STT", self.path, len(self.rfile.read(int(self.headers["Content-Length"]))), flush=True)
        self._answer(b"what time is it", "text/plain")

    def do_GET(self) -> None:
        print("TTS", self.path, flush=True)
        url = urlsplit(self.path)
        text = parse_qs(url.query).get("utterance", [unquote(url.path.rpartition("/")[2])])[0]
        done = subprocess.run(["espeak-ng", "--stdout", text], capture_output=True, check=True)
        self._answer(done.stdout, "audio/wav")

    def _answer(self, body: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


ThreadingHTTPServer(("", 9000), Speech).serve_forever()
