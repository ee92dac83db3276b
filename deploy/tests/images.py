"""Checks of the Dockerfile and of compose.yaml beyond what their own linters see."""

import io
import json
import re
from collections.abc import Iterator
from urllib.parse import urlsplit

import json5
import yaml
from compose_spec import PyCompose
from dockerfile_parse import DockerfileParser

from binaries import ALL_VARIABLES, BINARIES, LEADS_TO, ROOT, SETTINGS, VARIABLES, drain_seconds, setting_at
from rules import leaves

DEPLOY = ROOT / "deploy"


class Stages:
    """The stages of the Dockerfile: their instructions, and the stage or image that each begins with."""

    def __init__(self, text: str):
        parser = DockerfileParser(fileobj=io.BytesIO(text.encode()))
        self.stages: dict[str, list[tuple[str, str]]] = {}
        self.parents: dict[str, str] = {}
        for entry in parser.structure:
            if entry["instruction"] == "FROM":
                parent, _, name = entry["value"].partition(" AS ")
                self.stages[name], self.parents[name] = [], parent
            elif entry["instruction"] != "COMMENT":
                self.stages[name].append((entry["instruction"], entry["value"]))

    def all(self, name: str) -> list[tuple[str, str]]:
        """What a stage does, beginning with what it is built on."""
        return [
            *(self.all(self.parents[name]) if self.parents.get(name) in self.stages else []),
            *self.stages.get(name, []),
        ]

    def environment(self, name: str) -> dict[str, str]:
        pairs = " ".join(value for instruction, value in self.all(name) if instruction == "ENV")
        return dict(pair.split("=", 1) for pair in pairs.split())


def listening(environment: dict[str, str], binary: str) -> dict[str, int]:
    """The ports that a binary opens with these variables."""

    def number(variable: str) -> int:
        port = (environment.get(variable) or VARIABLES[variable].default).rpartition(":")[2]
        return int(port) if port.isdigit() else 0

    return {name: number(variable) for name, variable in BINARIES[binary].listens.items()}


def dockerfile(text: str, ignored: str) -> Iterator[str]:
    stages = Stages(text)
    for name in BINARIES:
        if name not in stages.stages:
            yield f"Dockerfile: there is no target {name}"
            continue
        steps = stages.all(name)
        said = {instruction: value for instruction, value in steps}
        path = f"/usr/local/bin/{name}"
        if said.get("ENTRYPOINT") != json.dumps([path]):
            yield f"Dockerfile: {name} does not start {path} itself, so that it gets no signals"
        if ("COPY", f"--from=build /source/target/release/{name} {path}") not in steps:
            yield f"Dockerfile: {name} has another binary"
        if "RUN" in said:
            yield f"Dockerfile: {name} runs a program, which its image has not"
        if said.get("USER") != "65532:65532" or said.get("STOPSIGNAL") != "SIGTERM":
            yield f"Dockerfile: {name} runs as {said.get('USER')} and ends at {said.get('STOPSIGNAL')}"
        environment = stages.environment(name)
        for variable in set(environment) - ALL_VARIABLES:
            yield f"Dockerfile: nothing reads {variable}"
        exposed = [int(port) for port in said.get("EXPOSE", "").split()]
        if exposed != list(listening(environment, name).values()):
            yield f"Dockerfile: {name} exposes {exposed} and opens {listening(environment, name)}"
    for instruction, value in stages.stages.get("build", []):
        if instruction == "RUN" and "--locked" not in value:
            yield f"Dockerfile: not what the lock file says: {value}"
    members = re.search(r"members = \[([^\]]+)\]", (ROOT / "Cargo.toml").read_text())
    needed = ["Cargo.toml", "Cargo.lock", *re.findall(r'"([\w-]+)"', members[1] if members else "")]
    for name in needed:
        if f"!{name}" not in ignored.splitlines():
            yield f"Dockerfile.dockerignore: keeps {name} from the build"


def interpolated(value: object, environment: dict[str, str]) -> object:
    """What compose makes of `${NAME}`, `${NAME:-default}`, `${NAME-default}` and `${NAME:?message}`."""
    if isinstance(value, dict):
        return {key: interpolated(child, environment) for key, child in value.items()}
    if isinstance(value, list):
        return [interpolated(child, environment) for child in value]
    if not isinstance(value, str):
        return value

    def replacement(match: re.Match[str]) -> str:
        name, operator, rest = match[1], match[2] or "", match[3] or ""
        if operator == ":?":
            return environment.get(name) or f"a-{name.lower()}"
        if operator == ":-":
            return environment.get(name) or rest
        return environment.get(name, rest)

    return re.sub(r"\$\{(\w+)(:\?|:-|-)?([^}]*)\}", replacement, value)


def compose(text: str, example: str) -> Iterator[str]:
    environment = dict(line.split("=", 1) for line in example.splitlines() if line and not line.startswith("#"))
    for name in set(re.findall(r"\$\{(\w+):\?", text)) - set(environment):
        yield f".env.example: does not name {name}, which compose.yaml asks for"
    for name in set(environment) - set(re.findall(r"\$\{(\w+)", text)) - {"COMPOSE_PROFILES"}:
        yield f".env.example: nothing uses {name}"
    document = interpolated(yaml.safe_load(text), environment)
    try:
        PyCompose.from_json(json.dumps(document)).validate()
    except ValueError as error:
        yield f"compose.yaml: {error}"
        return
    services = document["services"]
    for name, service in services.items():
        yield from (f"compose.yaml: {name}: {what}" for what in compose_service(service, services))
        if name in BINARIES:
            yield from (f"compose.yaml: {name}: {what}" for what in our_service(name, service, document))
    if missing := set(BINARIES) - set(services):
        yield f"compose.yaml: there is no {missing}"


def compose_service(service: dict, services: dict) -> Iterator[str]:
    if not service.get("read_only") or service.get("cap_drop") != ["ALL"]:
        yield "can write to its image, or has capabilities"
    if "no-new-privileges:true" not in service.get("security_opt", []):
        yield "can gain privileges"
    if not service.get("profiles"):
        yield "runs in every profile"
    if ":" not in service["image"] or service["image"].endswith(":latest"):
        yield "has no fixed version"
    for port in service.get("ports", []):
        if not port.startswith("127.0.0.1:"):
            yield f"is open to other machines at {port}"
    needs = service.get("depends_on", {})
    for other in needs:
        condition = needs[other]["condition"] if isinstance(needs, dict) else "service_started"
        if other not in services or (condition == "service_healthy" and "healthcheck" not in services[other]):
            yield f"waits for {other}, which never comes"


def our_service(name: str, service: dict, document: dict) -> Iterator[str]:
    services, environment = document["services"], service["environment"]
    stages = Stages((DEPLOY / "Dockerfile").read_text())
    if service["build"]["target"] not in stages.stages or service["build"]["target"] != name:
        yield "is built from another target"
    if service["image"].rsplit("/", 1)[-1].split(":")[0] != name:
        yield "has another's image"
    for variable in set(environment) - ALL_VARIABLES:
        yield f"nothing reads {variable}"
    opened = listening({**stages.environment(name), **environment}, name)
    for port in service.get("ports", []):
        if int(port.rpartition(":")[2]) not in opened.values():
            yield f"opens no port {port}"
    for variable, expected in LEADS_TO.items():
        if not (url := environment.get(variable)):
            continue
        host, port = urlsplit(url).hostname or "", urlsplit(url).port
        other = services.get(host, {})
        if host != expected or port != listening(stages.environment(host), host)["grpc"]:
            yield f"{variable} is {url}, where no {expected} is"
        elif not set(service["networks"]) & set(other["networks"]):
            yield f"shares no network with {host}"
    if database := environment.get("CLAWDBOT_SESSION_STORE_DATABASE"):
        if not set(service["networks"]) & set(services.get(urlsplit(database).hostname or "", {}).get("networks", [])):
            yield "does not reach its database"
    config = next(
        (entry for entry in service["configs"] if entry["target"] == environment.get("CLAWDBOT_CONFIG_PATH")), None
    )
    if not config or config["source"] not in document["configs"]:
        yield "CLAWDBOT_CONFIG_PATH is no file"
    if int(service["stop_grace_period"].rstrip("s")) < drain_seconds(name, {}) + 10:
        yield f"is killed after {service['stop_grace_period']}"


def example(text: str) -> Iterator[str]:
    for path, _ in leaves(json5.loads(text), []):
        if not setting_at(path):
            yield f"clawdbot.example.json5: {'.'.join(map(str, path))} is none of {len(SETTINGS)} settings"


# What must be found: the file, what is broken, and how.
MUTATIONS = [
    ("dockerfile", "no target any more", lambda text: text.replace("AS session-store", "AS store")),
    (
        "dockerfile",
        "a shell between",
        lambda text: text.replace('ENTRYPOINT ["/usr/local/bin/gateway-http"]', "ENTRYPOINT gateway-http"),
    ),
    ("dockerfile", "another binary", lambda text: text.replace("release/agent-runner ", "release/session-store ")),
    ("dockerfile", "root", lambda text: text.replace("USER 65532:65532", "USER 0:0")),
    (
        "dockerfile",
        "a variable that nothing reads",
        lambda text: text.replace("CLAWDBOT_ADMIN_LISTEN=", "CLAWDBOT_ADMIN="),
    ),
    ("dockerfile", "another port", lambda text: text.replace("EXPOSE 18790", "EXPOSE 18799")),
    ("dockerfile", "a program in the image", lambda text: text + "RUN true\n"),
    (
        "dockerfile",
        "without the lock file",
        lambda text: text.replace("cargo build --release --locked", "cargo build --release"),
    ),
    ("compose", "a key that there is not", lambda text: text.replace("read_only:", "readonly:", 1)),
    ("compose", "capabilities", lambda text: text.replace("cap_drop: [ALL]", "cap_drop: [CHOWN]", 1)),
    ("compose", "open to other machines", lambda text: text.replace('"127.0.0.1:18789:18789"', '"18789:18789"', 1)),
    ("compose", "another port of the runner", lambda text: text.replace("agent-runner:18790", "agent-runner:18791")),
    ("compose", "no common network", lambda text: text.replace("networks: [runs, sessions]", "networks: [runs]")),
    ("compose", "a variable that nothing reads", lambda text: text.replace("  RUST_LOG:", "  LOG_LEVEL:")),
    ("compose", "a check that there is not", lambda text: text.replace("    healthcheck:", "    x-healthcheck:")),
    ("compose", "too little time", lambda text: text.replace("stop_grace_period: 45s", "stop_grace_period: 30s")),
    (
        "compose",
        "a secret that the example does not name",
        lambda text: text.replace("${POSTGRES_PASSWORD:?", "${PGPASSWORD:?"),
    ),
    ("compose", "another target", lambda text: text.replace("target: session-store}", "target: store}")),
    ("example", "a key that there is not", lambda text: text.replace("systemPrompt", "prompt")),
]


def complaints() -> list[str]:
    texts = {
        name: (DEPLOY / name).read_text()
        for name in ("Dockerfile", "Dockerfile.dockerignore", "compose.yaml", ".env.example", "clawdbot.example.json5")
    }
    checks = {
        "dockerfile": (lambda text: dockerfile(text, texts["Dockerfile.dockerignore"]), texts["Dockerfile"]),
        "compose": (lambda text: compose(text, texts[".env.example"]), texts["compose.yaml"]),
        "example": (example, texts["clawdbot.example.json5"]),
    }
    found = [complaint for check, text in checks.values() for complaint in check(text)]
    for name, what, mutate in MUTATIONS:
        check, text = checks[name]
        if mutate(text) == text:
            found.append(f"there is nothing to break for {name}: {what}")
        elif not list(check(mutate(text))):
            found.append(f"not found in {name}: {what}")
    return sorted(set(found))
