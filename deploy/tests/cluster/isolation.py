"""Namespaces of its own for the whole test, so that nothing of it is seen outside, and nothing of it is left.

Network: the test's own one is the node; the machine's addresses and firewall are not there to be touched. Mounts: `/run`
is a folder in memory, with the names of the pods' networks. Processes: when the first one ends, however it does, the kernel
ends all others, and with the last of them the networks and mounts go too.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

INSIDE = "CLAWDBOT_CLUSTER_TEST_IS_INSIDE"
# In memory and of this test alone, however many run.
WORK = Path("/run/cluster")


def is_inside() -> bool:
    return os.environ.get(INSIDE) == "1"


def run_inside(module: str, arguments: list[str]) -> int:
    """Runs a module in new namespaces, and gives its exit code."""
    if os.geteuid() != 0:
        raise SystemExit("test-cluster makes network namespaces, which only root may")
    # What is inside ends by itself on Ctrl-C, and says what it knows.
    signal.signal(signal.SIGINT, lambda *_: None)
    # Should this process be killed, `unshare` is killed too, and with it everything inside.
    command = ["setpriv", "--pdeathsig", "KILL", "unshare", "--net", "--mount", "--pid", "--mount-proc"]
    command += ["--fork", "--kill-child", sys.executable, "-m", module, *arguments]
    code = subprocess.run(command, env={**os.environ, INSIDE: "1"}).returncode
    return code if code >= 0 else 128 - code


def settle_in() -> Path:
    """Prepares the new namespaces, and gives the folder for everything that the test writes."""
    run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    run("ip", "link", "set", "lo", "up")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    WORK.mkdir()
    return WORK


def run(*command: str | Path, text: str | None = None) -> str:
    """What a command prints; what it complains about is the exception."""
    ended = subprocess.run([str(word) for word in command], input=text, capture_output=True, text=True)
    if ended.returncode != 0:
        raise RuntimeError(f"{' '.join(str(word) for word in command)}: {ended.stderr.strip() or ended.stdout.strip()}")
    return ended.stdout
