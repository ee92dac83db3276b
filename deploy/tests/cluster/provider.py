"""A model provider that answers as its prompt asks: `alice turn 3, wait=1 words=20 every=0.1`.

It waits so many seconds before the first word, and between words. What it says follows from the prompt, so that whoever
asked knows whether all of it came. `GET /asked` lists who asked what.
"""

import json
import re
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT = 8000


def answer(prompt: str) -> list[str]:
    """The words that a prompt is answered with."""
    count = int(option(prompt, "words", 3))
    return [f"<{prompt.partition(',')[0]}>", *(f" {number}" for number in range(1, count))]


def option(prompt: str, name: str, default: float) -> float:
    found = re.search(rf"\b{name}=([\d.]+)", prompt)
    return float(found[1]) if found else default


class Provider(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    asked: list[dict] = []
    lock = threading.Lock()

    def do_GET(self) -> None:
        with self.lock:
            body = json.dumps(self.asked).encode()
        self._whole(body)

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        prompt = text_of(request["messages"][-1]["content"])
        with self.lock:
            said = [text_of(message["content"]) for message in request["messages"]]
            self.asked.append({"from": self.client_address[0], "prompt": prompt, "messages": said})
        time.sleep(option(prompt, "wait", 0))
        if request.get("stream"):
            self._stream(prompt)
        else:
            message = {"role": "assistant", "content": "".join(answer(prompt))}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            self._whole(json.dumps({**chunk(), "choices": [choice]}).encode())

    def _whole(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, prompt: str) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        words = answer(prompt)
        try:
            for word in words:
                self._event(chunk({"delta": {"content": word}, "finish_reason": None}))
                time.sleep(option(prompt, "every", 0))
            self._event(chunk({"delta": {}, "finish_reason": "stop"}))
            usage = {"prompt_tokens": 1, "completion_tokens": len(words), "total_tokens": len(words) + 1}
            self._event({**chunk(), "choices": [], "usage": usage})
            self._event("[DONE]")
            self.wfile.write(b"0\r\n\r\n")
        except OSError:
            # Who asked has gone, as runners do that are killed.
            self.close_connection = True

    def _event(self, data: dict | str) -> None:
        event = f"data: {data if isinstance(data, str) else json.dumps(data)}\n\n".encode()
        self.wfile.write(f"{len(event):x}\r\n".encode() + event + b"\r\n")

    def log_message(self, *_: object) -> None:
        pass


def chunk(choice: dict | None = None) -> dict:
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": int(time.time()), "model": "stub"}
    return {**head, "choices": [{"index": 0, **choice}]} if choice else head


def text_of(content: str | list[dict] | None) -> str:
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content)
    return content or ""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


if __name__ == "__main__":
    Server((sys.argv[1], PORT), Provider).serve_forever()
