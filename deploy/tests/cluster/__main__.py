"""Runs the rendered chart as pods on this machine, and checks it: `just test-cluster`; needs root."""

import argparse
import shutil
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from binaries import ROOT
from cluster import isolation
from cluster.checks import CHECKS, Stage
from cluster.clients import TOKEN
from cluster.cluster import Cluster
from cluster.network import Network
from cluster.outside import Provider, start_postgres
from helm import helm
from manifests import Manifests

NAMESPACE = "agents"
LINES_OF_A_LOG, LETTERS_OF_A_LINE = 25, 400


def main() -> int:
    parser = argparse.ArgumentParser(prog="cluster", description=__doc__)
    parser.add_argument("--binaries", type=Path, default=ROOT / "target/debug", help="the folder that has the binaries")
    parser.add_argument("--only", default="", help="run the checks whose names contain this")
    parser.add_argument("--logs", type=Path, help="a new folder for the whole logs, should a check fail")
    arguments = parser.parse_args()
    if not isolation.is_inside():
        # There is no way to a package registry inside.
        helm()
        return isolation.run_inside("cluster", sys.argv[1:])
    folder = isolation.settle_in()
    faults: list[str] = []
    threading.excepthook = lambda fault: faults.append("".join(traceback.format_exception(fault.exc_value)))
    try:
        failed = run_checks(folder, arguments.binaries.resolve(), arguments.only)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        return 130
    except Exception:  # Whatever it is, the logs say more.
        faults.append(traceback.format_exc())
        failed = []
    if not failed and not faults:
        return 0
    if arguments.logs:
        shutil.copytree(folder, arguments.logs, ignore=lambda _, names: [name for name in names if ".log" not in name])
    print_logs(folder)
    for fault in faults:
        print(f"beside the checks: {fault}")
    print(f"FAILED: {', '.join(failed) or 'see above'}")
    return 1


def run_checks(folder: Path, binaries: Path, only: str) -> list[str]:
    """The checks that failed. PostgreSQL and the pods go on until the process ends, which ends them all."""
    begun = time.monotonic()
    manifests = Manifests.read(str(rendered(folder)))
    cluster = Cluster(manifests, NAMESPACE, binaries, folder, Network())
    provider = Provider(cluster, folder)
    cluster.install(secrets(start_postgres(cluster, folder / "postgres")))
    print(f"{len(cluster.pods())} pods are ready, {time.monotonic() - begun:.1f} s", flush=True)
    [service] = cluster.services.addresses
    port = (manifests.named("Service", service) or {})["spec"]["ports"][0]["port"]
    stage = Stage(cluster, provider, service, port)
    failed = [check.__name__ for check in CHECKS if only in check.__name__ and not passes(check, stage)]
    print(f"{time.monotonic() - begun:.0f} s in all", flush=True)
    return failed


def passes(check: Callable[[Stage], str], stage: Stage) -> bool:
    begun, outcome = time.monotonic(), "ok"
    try:
        seen = check(stage)
    except Exception as error:
        # One that is no assertion is told with the way to it.
        seen = str(error) if isinstance(error, AssertionError) else traceback.format_exc()
        outcome = "FAILED"
    print(f"{outcome}: {check.__doc__}, {time.monotonic() - begun:.1f} s\n  {seen}", flush=True)
    return outcome == "ok"


def rendered(folder: Path) -> Path:
    values = Path(__file__).with_name("values.yaml")
    path = folder / "rendered.yaml"
    command: list[str | Path] = [
        helm(),
        "template",
        "clawdbot",
        ROOT / "deploy/helm",
        "--namespace",
        NAMESPACE,
        "--values",
        values,
    ]
    path.write_text(isolation.run(*command))
    return path


def secrets(database: str) -> dict[str, dict[str, str]]:
    """What values.yaml refers to."""
    return {
        "clawdbot": {"token": TOKEN},
        "clawdbot-database": {"url": database},
        "clawdbot-services": {"token": "token-of-the-services-in-the-cluster-test"},
        "clawdbot-providers": {"STUB_KEY": "key-of-the-stub"},
    }


def print_logs(folder: Path) -> None:
    for log in sorted(folder.glob("*.log")):
        lines = log.read_text(errors="replace").splitlines()[-LINES_OF_A_LOG:]
        print("\n".join([f"--- the end of {log.name}", *(line[:LETTERS_OF_A_LINE] for line in lines)]), flush=True)


if __name__ == "__main__":
    sys.exit(main())
