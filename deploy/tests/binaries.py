"""What the binaries read, serve and wait for, taken from their source, so that a manifest cannot differ from it."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# What the OpenTelemetry SDK and its OTLP exporter read; opentelemetry_sdk and opentelemetry-otlp list them.
TELEMETRY = {
    "OTEL_BSP_EXPORT_TIMEOUT",
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
    "OTEL_BSP_MAX_QUEUE_SIZE",
    "OTEL_BSP_SCHEDULE_DELAY",
    "OTEL_EXPORTER_OTLP_COMPRESSION",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_EXPORTER_OTLP_TIMEOUT",
    "OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_TRACES_SAMPLER",
    "OTEL_TRACES_SAMPLER_ARG",
}

# What a process says last, once its drain time is over: LAST_WORDS of the servers.
LAST_WORDS_SECONDS = 2


def source(path: str | Path) -> str:
    return (ROOT / path).read_text()


def found(pattern: str, text: str) -> list[str]:
    """All matches; none is an error, since then the source has changed its shape and the checks would check nothing."""
    matches = re.findall(pattern, text)
    if not matches:
        raise SystemExit(f"no match for {pattern} in the source any more: adapt deploy/tests/binaries.py")
    return matches


@dataclass(frozen=True)
class Setting:
    key: str
    kind: str
    default: str
    variable: str | None


def settings() -> list[Setting]:
    row = r'Setting::new\("([^"]+)", Kind::(\w+), "((?:[^"\\]|\\.)*)", "(?:[^"\\]|\\.)*"\)(?:\.or_environment\("(\w+)"\))?'
    rows = found(row, source("shared/src/config/settings.rs"))
    return [Setting(key, kind, default, variable or None) for key, kind, default, variable in rows]


SETTINGS = settings()
VARIABLES = {setting.variable: setting for setting in SETTINGS if setting.variable}


def variables() -> set[str]:
    """The names of all environment variables that something reads."""
    sources = [
        path.read_text()
        for crate in ("agent-runner", "gateway-http", "session-store", "shared")
        for path in (ROOT / crate / "src").rglob("*.rs")
    ]
    asked = found(r'environment\.(?:get|path)\("([A-Z][A-Z0-9_]+)"\)', "\n".join(sources))
    known = source("agent-runner/src/config/providers/known.rs")
    keys = [name for names in found(r"key_variables: &\[([^\]]+)\]", known) for name in re.findall(r'"(\w+)"', names)]
    urls = found(r'base_url_variable: Some\("(\w+)"\)', known)
    telemetry = source("shared/src/telemetry.rs") + source("shared/src/telemetry/export.rs")
    traces = found(r'"(OTEL_[A-Z_]+)"', telemetry)
    return {*VARIABLES, *asked, *keys, *urls, *traces, *TELEMETRY}


ALL_VARIABLES = variables()


@dataclass(frozen=True)
class Binary:
    """A binary: the settings of where it listens, the gRPC service it has, and the ports' paths."""

    name: str
    listens: dict[str, str]
    grpc_service: str | None


def grpc_service(path: str) -> str:
    text = source(path)
    package, service = found(r"(?m)^package ([\w.]+);", text)[0], found(r"(?m)^service (\w+) ", text)[0]
    return f"{package}.{service}"


BINARIES = {
    binary.name: binary
    for binary in [
        Binary("gateway-http", {"http": "CLAWDBOT_GATEWAY_PORT", "admin": "CLAWDBOT_ADMIN_LISTEN"}, None),
        Binary(
            "agent-runner",
            {"grpc": "CLAWDBOT_AGENT_RUNNER_LISTEN", "admin": "CLAWDBOT_ADMIN_LISTEN"},
            grpc_service("proto/clawdbot/agent/v1/agent_runner.proto"),
        ),
        Binary(
            "session-store",
            {"grpc": "CLAWDBOT_SESSION_STORE_LISTEN", "admin": "CLAWDBOT_ADMIN_LISTEN"},
            grpc_service("proto/clawdbot/session/v1/session_store.proto"),
        ),
        Binary("clawdbot", {"http": "CLAWDBOT_GATEWAY_PORT", "admin": "CLAWDBOT_ADMIN_LISTEN"}, None),
    ]
}

# The binary that each address must lead to.
LEADS_TO = {"CLAWDBOT_AGENT_RUNNER_URL": "agent-runner", "CLAWDBOT_SESSION_STORE_URL": "session-store"}

PATHS = {
    "admin": set(found(r'"(/\w+)" if is_question', source("shared/src/admin/server.rs"))),
    "http": set(found(r'\("(/[^"]*)", (?:get|post)\(', source("gateway-http/src/router.rs"))),
}

METRICS = set(found(r'"(clawdbot_\w+)"', source("agent-runner/src/metrics.rs")))

# The sections of the configuration that each binary reads; one process reads them all.
SECTIONS = {
    "gateway-http": {"gateway", "services", "admin", "log"},
    "agent-runner": {"gateway", "agents", "models", "tools", "skills", "session", "services", "admin", "log"},
    "session-store": {"services", "session", "admin", "log"},
}
SECTIONS["clawdbot"] = set.union(*SECTIONS.values())


def sections_in_source() -> dict[str, set[str]]:
    def read(crate: str) -> set[str]:
        files = [path.relative_to(ROOT) for path in (ROOT / crate / "src").rglob("*.rs")]
        texts = [
            source(path).split("#[cfg(test)]\nmod ")[0]
            for path in files
            if not {"clawdbot", "tests", "tests.rs"} & {*path.parts}
        ]
        return {key.split(".")[0] for key in found(r'section(?:::<[^(]*>)?\("([\w.]+)"\)', "\n".join(texts))}

    common = read("shared")
    return {crate: read(crate) | common for crate in ("gateway-http", "agent-runner", "session-store")}


def drain_seconds(binary: str, config: dict) -> float:
    """How long the binary gives to what is in flight."""

    def of(section: list[str], key: str) -> float:
        value = config
        for name in section:
            value = value.get(name, {})
        default = next(setting.default for setting in SETTINGS if setting.key == ".".join([*section, key]))
        return value.get(key, int(default)) / 1000

    gateway, runner = of(["gateway"], "drainMs"), of(["services", "agentRunner"], "drainMs")
    store = float(
        found(r"DRAIN: Duration = Duration::from_secs\((\d+)\)", source("session-store/src/bin/session-store.rs"))[0]
    )
    return {"gateway-http": gateway, "agent-runner": runner, "session-store": store, "clawdbot": gateway + runner}[
        binary
    ]


def setting_at(path: list[str | int]) -> Setting | None:
    """The setting at a place of a configuration file, or the one whose value a place lies within."""

    def parts(key: str) -> list[str]:
        return [part for step in key.split(".") for part in ([step[:-2], "[]"] if step.endswith("[]") else [step])]

    def accepts(part: str, step: str | int) -> bool:
        return (
            isinstance(step, int) if part == "[]" else isinstance(step, str) and (part.startswith("<") or part == step)
        )

    candidates = [
        setting
        for setting in SETTINGS
        if len(parts(setting.key)) <= len(path) and all(map(accepts, parts(setting.key), path))
    ]
    exact = [setting for setting in candidates if len(parts(setting.key)) == len(path)]
    within = [setting for setting in candidates if setting.kind == "Structure"]
    return next(iter(exact + within), None)
