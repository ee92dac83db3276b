"""Checks everything in deploy/ that needs neither a cluster nor a container engine: `just lint-deploy`."""

import json
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import kubernetes_validate
import yaml

import cross_reference
import images
import observed
from binaries import ROOT
from helm import helm

CHART = ROOT / "deploy/helm"
SHAPES = sorted((ROOT / "deploy/tests/shapes").glob("*.yaml"))
PROGRAMS = Path(sys.prefix) / "bin"

# The oldest Kubernetes that Chart.yaml admits, and a new one.
KUBERNETES = ["1.30", "1.36"]
# Of operators and of Gateway API, which have no schema there; the cross-references are checked.
WITHOUT_SCHEMA = {"HTTPRoute", "ServiceMonitor"}

# Left out on purpose: CPU limits (11), which would slow streams down for nothing; the pull policy (15), the namespace (21)
# and digests (43), which are the installer's to say; secrets as files (35), since settings come from the environment.
POLICIES = [
    "CKV2_K8S_6",
    "CKV_K8S_8",
    "CKV_K8S_9",
    "CKV_K8S_10",
    "CKV_K8S_12",
    "CKV_K8S_13",
    "CKV_K8S_14",
    "CKV_K8S_16",
    "CKV_K8S_17",
    "CKV_K8S_18",
    "CKV_K8S_19",
    "CKV_K8S_20",
    "CKV_K8S_22",
    "CKV_K8S_23",
    "CKV_K8S_25",
    "CKV_K8S_26",
    "CKV_K8S_27",
    "CKV_K8S_28",
    "CKV_K8S_29",
    "CKV_K8S_30",
    "CKV_K8S_31",
    "CKV_K8S_37",
    "CKV_K8S_38",
    "CKV_K8S_39",
    "CKV_K8S_40",
    "CKV_K8S_41",
]
# The shapes that have their network policies switched off.
WITHOUT_NETWORK_POLICIES = {"bare"}

NEEDED = ["--set=secrets.gatewayToken.name=t", "--set=secrets.database.name=d", "--set=secrets.services.name=s"]

# Values that make no gateway, and what is said of them.
REFUSED = [
    ([], "secrets.gatewayToken.name: name the Secret"),
    (["--set=secrets.gatewayToken.name=t"], "secrets.database.name: name the Secret"),
    (NEEDED[:2], "secrets.services.name: name the Secret"),
    ([*NEEDED[:2], "--set=services.tls.secretName=c"], "services.tls.serverName: say which name"),
    ([*NEEDED, "--set=config.services.token=x"], "false schema"),
    ([*NEEDED, "--set=config.tools.exec.env.TOKEN=clear"], "does not match pattern"),
    ([*NEEDED, "--set=telemetry.environment.OTEL_EXPORTER_OTLP_HEADERS=a=b"], "false schema"),
    ([*NEEDED, "--set=gateway.extraEnv[0].name=RUST_LOG,gateway.extraEnv[0].value=debug"], "RUST_LOG is the chart's own"),
    ([*NEEDED, "--set=agentRunner.autoscaling.enabled=true,agentRunner.autoscaling.minReplicas=30"], "autoscaling.minReplicas"),
    (
        [*NEEDED[1:], "--set=config.gateway.auth.mode=none,httpRoute.enabled=true,httpRoute.parentRefs[0].name=x"],
        "config.gateway.http.cors.origins: without a secret",
    ),
    ([*NEEDED, "--set=agentRunner.replica=3"], "additional properties 'replica' not allowed"),
    ([*NEEDED, "--set=mode=one-process"], "value must be one of 'services', 'oneProcess'"),
    ([*NEEDED, "--set=config.models.providers.openai.apiKey=sk-1"], "does not match pattern"),
    ([*NEEDED, "--set=config.services.sessionStore.database=sqlite:/x"], "false schema"),
    ([*NEEDED, "--set=ingress.enabled=true"], "ingress.hosts: name a host"),
    ([*NEEDED, "--set=httpRoute.enabled=true"], "httpRoute.parentRefs: name the Gateway"),
]


def output(*command: str | Path) -> tuple[int, str]:
    ended = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    return ended.returncode, (ended.stdout + ended.stderr).strip()


def succeeds(*command: str | Path) -> list[str]:
    code, text = output(*command)
    return [] if code == 0 else [f"{' '.join(str(word) for word in command)}\n{text}"]


def render(shape: Path, folder: Path) -> tuple[Path, list[str]]:
    rendered = folder / shape.name
    failures = succeeds(helm(), "lint", "--strict", "--quiet", CHART, "--values", shape)
    code, text = output(helm(), "template", "clawdbot", CHART, "--namespace", "agents", "--values", shape)
    rendered.write_text(text)
    return rendered, failures + ([f"{shape.name}: {text}"] if code else [])


def refusals() -> list[str]:
    failures = []
    for arguments, reason in REFUSED:
        code, text = output(helm(), "template", "clawdbot", CHART, *arguments)
        if code == 0 or reason not in text:
            failures.append(f"helm template {' '.join(arguments)} should say `{reason}`, and said: {text[:500]}")
    return failures


def schemas(rendered: Path) -> list[str]:
    failures = []
    for document in filter(None, yaml.safe_load_all(rendered.read_text())):
        for version in KUBERNETES:
            try:
                kubernetes_validate.validate(document, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                name = f"{document['kind']} {document['metadata']['name']}"
                failures.append(
                    f"{rendered.name}: {name} in Kubernetes {version}: {error.message} at {list(error.path)}"
                )
            except kubernetes_validate.SchemaNotFoundError:
                if document["kind"] not in WITHOUT_SCHEMA:
                    failures.append(
                        f"{rendered.name}: Kubernetes {version} has no {document['apiVersion']} {document['kind']}"
                    )
    return failures


def policies(rendered: Path) -> tuple[set[str], list[str]]:
    """The checks that were made, and what they found."""
    wanted = [check for check in POLICIES if check != "CKV2_K8S_6" or rendered.stem not in WITHOUT_NETWORK_POLICIES]
    command = [PROGRAMS / "checkov", "--framework", "kubernetes", "--skip-download", "--output", "json", "--compact"]
    ended = subprocess.run([*command, "--file", rendered, "--check", ",".join(wanted)], capture_output=True, text=True)
    results = json.loads(ended.stdout)["results"]
    failed = [
        f"{rendered.name}: {found['check_id']} {found['check_name']}: {found['resource']}"
        for found in results["failed_checks"]
    ]
    return {found["check_id"] for found in results["passed_checks"] + results["failed_checks"]}, failed


def main() -> int:
    failures = succeeds(PROGRAMS / "hadolint", "--failure-threshold", "info", ROOT / "deploy/Dockerfile")
    failures += images.complaints()
    failures += observed.check()
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(2) as pool:
        helm()
        renderings = list(pool.map(lambda shape: render(shape, Path(name)), SHAPES))
        failures += [failure for _, found in renderings for failure in found]
        if not failures:
            paths = [rendered for rendered, _ in renderings]
            failures += refusals() + [failure for path in paths for failure in schemas(path)]
            made = list(pool.map(policies, paths))
            failures += [failure for _, found in made for failure in found]
            failures += [
                f"checkov has no {check} any more"
                for check in set(POLICIES) - set.union(*(checks for checks, _ in made))
            ]
            failures += ["see above"] if cross_reference.main(["--self-test", *map(str, paths)]) else []
    for failure in failures:
        print(failure, file=sys.stderr)
    if not failures:
        print(
            f"deploy/ is fine: {len(SHAPES)} shapes, {len(KUBERNETES)} versions of Kubernetes, {len(POLICIES)} policies"
        )
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
