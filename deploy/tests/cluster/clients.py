"""Clients that ask once: what is lost is lost, and they say how."""

import http.client
import json
import select
from dataclasses import dataclass, field
from urllib.parse import quote

from cluster.provider import answer

# Longer than any answer here takes; who waits for longer has lost it.
PATIENCE_SECONDS = 60
TOKEN = "token-of-the-cluster-test"


@dataclass
class Outcome:
    """What came of a request."""

    prompt: str
    text: str = ""
    # What was wrong, if it was.
    loss: str = ""
    session_key: str = ""
    events: list[str] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        return not self.loss and self.text == "".join(answer(self.prompt))

    @property
    def is_begun(self) -> bool:
        return bool(self.text)

    def __str__(self) -> str:
        return f"`{self.prompt}`: {self.loss or 'not all of it came'}, after {self.text[-30:]!r}"


class Client:
    """One caller of a gateway, with one connection for everything that it asks, or one for each thing."""

    def __init__(self, host: str, port: int, keeps_connection: bool = False):
        self._keeps_connection = keeps_connection
        self._connection = http.client.HTTPConnection(host, port, timeout=PATIENCE_SECONDS)

    def ask(self, prompt: str, user: str | None = None, stream: bool = False) -> Outcome:
        outcome = Outcome(prompt)
        request = {"model": "clawdbot", "stream": stream, "messages": [{"role": "user", "content": prompt}]}
        try:
            response = self._send("POST", "/v1/chat/completions", request | ({"user": user} if user else {}))
            outcome.session_key = response.headers.get("x-clawdbot-session-key", "")
            if response.status != 200:
                outcome.loss = f"{response.status} {response.read().decode(errors='replace')}"
            elif stream:
                read_stream(response, outcome)
            else:
                choice = json.loads(response.read())["choices"][0]
                outcome.text = choice["message"]["content"]
        except (OSError, http.client.HTTPException, ValueError) as error:
            outcome.loss = repr(error)
        finally:
            if outcome.loss or not self._keeps_connection:
                self._connection.close()
        return outcome

    def transcript(self, session_key: str) -> list[tuple[str, str]]:
        """The role and text of every message of a session, oldest first."""
        path = f"/v1/sessions/{quote(session_key, safe='')}/messages?limit=1000&order=asc"
        response = self._send("GET", path)
        body = json.loads(response.read())
        self._connection.close()
        assert response.status == 200 and not body["has_more"], f"{path}: {response.status} {body}"
        return [(message["role"], message["content"]) for message in body["data"]]

    def _send(self, method: str, path: str, body: dict | None = None) -> http.client.HTTPResponse:
        socket = self._connection.sock
        # As every pool of connections looks before it takes one, whether the server has closed it meanwhile.
        if socket and select.select([socket], [], [], 0)[0]:
            self._connection.close()
        headers = {"authorization": f"Bearer {TOKEN}", "content-type": "application/json"}
        self._connection.request(method, path, json.dumps(body) if body else None, headers)
        return self._connection.getresponse()


def read_stream(response: http.client.HTTPResponse, outcome: Outcome) -> None:
    """Reads events to the end, which has to be said in so many words."""
    is_finished, is_done = False, False
    for line in response:
        data = line.decode().strip().removeprefix("data: ")
        if not line.startswith(b"data: "):
            continue
        if data == "[DONE]":
            is_done = True
            continue
        event = json.loads(data)
        if "error" in event:
            outcome.loss = data
            continue
        for choice in event["choices"]:
            outcome.text += choice["delta"].get("content") or ""
            is_finished |= choice["finish_reason"] == "stop"
    if not outcome.loss and not (is_finished and is_done):
        outcome.loss = "the stream broke off"
