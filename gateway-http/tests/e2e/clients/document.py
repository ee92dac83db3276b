"""Asks a gateway for everything once, and compares what it answers with what its own document says."""

import json
import sys
import urllib.error
import urllib.request

from jsonschema import Draft202012Validator

base = sys.argv[1]
count = {"bodies": 0, "events": 0, "errors": 0}
wrong = []


def send(method, path, body=None, secret="secret"):
    headers = {"authorization": f"Bearer {secret}", "content-type": "application/json"}
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(base + path, data, headers, method=method)
    try:
        answer = urllib.request.urlopen(request, timeout=15)
    except urllib.error.HTTPError as error:
        answer = error
    return answer.status, answer.headers["content-type"].split(";")[0], answer.read().decode()


document = json.loads(send("GET", "/openapi.json", secret="")[2])


def compare(what, schema, value):
    whole = {**schema, "components": document["components"]}
    for error in Draft202012Validator(whole).iter_errors(value):
        wrong.append(f"{what}: /{'/'.join(map(str, error.absolute_path))}: {error.message}")


def check(method, path, template=None, body=None, secret="secret", expected=200):
    """Asks, and compares the answer with the schema of its operation, status and type."""
    status, content_type, text = send(method, path, body, secret)
    what = f"{method} {path} {status}"
    if status != expected:
        wrong.append(f"{what}: {text}")
        return
    answer = document["paths"][template or path][method.lower()]["responses"][str(status)]
    if "$ref" in answer:
        answer = document["components"]["responses"][answer["$ref"].rsplit("/", 1)[1]]
    media = answer["content"][content_type]
    if content_type == "text/event-stream":
        events = [line[6:] for line in text.splitlines() if line.startswith("data: ")]
        done, data = media["schema"]["properties"]["data"]["anyOf"]
        if events.pop() != done["const"]:
            wrong.append(f"{what}: no {done['const']}")
        for event in events:
            compare(what, data["contentSchema"], json.loads(event))
            count["events"] += 1
    else:
        compare(what, media["schema"], json.loads(text))
        count["bodies" if status < 400 else "errors"] += 1


chat = {"model": "clawdbot", "user": "alice", "messages": [{"role": "user", "content": "hi"}]}
completions = "/v1/chat/completions"
for _ in range(3):
    check("POST", completions, body=chat)
check("POST", completions, body=chat, expected=502)
for _ in range(4):
    check("POST", completions, body={**chat, "stream": True, "stream_options": {"include_usage": True}})
check("POST", completions, body=b"{", expected=400)
check("POST", completions, body={**chat, "messages": "hi"}, expected=400)
check("POST", completions, body={**chat, "model": "clawdbot/ghost"}, expected=404)
check("POST", completions, body=chat, secret="wrong", expected=401)

check("GET", "/v1/models")
check("GET", "/v1/models/clawdbot%2Fbeta", "/v1/models/{id}")
check("GET", "/v1/models/gpt-4o", "/v1/models/{id}", expected=404)
check("GET", "/v1/sessions")
key = "/v1/sessions/{key}"
session = key.replace("{key}", "agent%3Amain%3Aopenai-user%3Aalice")
check("GET", session, key)
check("GET", session + "/messages", key + "/messages")
check("POST", session + "/abort", key + "/abort")
check("POST", session + "/reset", key + "/reset")
check("DELETE", session, key)
check("GET", session, key, expected=404)
check("GET", "/readyz")

print("\n".join(wrong) or ", ".join(f"{number} {name}" for name, number in count.items()))
sys.exit(bool(wrong))
