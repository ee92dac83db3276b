"""The life of a pod: started, probed, started again if it dies, and ended in good order."""

import signal
import subprocess
import threading
import time
from collections.abc import Callable

from cluster.containers import Container, Release
from cluster.network import Network
from cluster.probes import Probe
from manifests import Pod as Template

TICK_SECONDS = 0.1
# After a process dies; the kubelet waits longer after each further time.
RESTART_AFTER_SECONDS = 1.0


class Pod:
    def __init__(
        self,
        release: Release,
        network: Network,
        template: Template,
        name: str,
        revision: int,
        changed: Callable[[], None],
    ):
        self.template, self.name, self.revision = template, name, revision
        self._network, self._changed = network, changed
        self.address = network.add(name)
        self.container = Container(release, template, name, self.address)
        self._process: subprocess.Popen | None = None
        self._ready_since: float | None = None
        self._told_to_end = threading.Event()
        # Exit codes other than of the last process, and what was wrong with the last one's end.
        self.deaths: list[int] = []
        self.complaints: list[str] = []
        self._life = threading.Thread(target=self._live, name=name, daemon=True)
        self._life.start()

    @property
    def is_serving(self) -> bool:
        return self._ready_since is not None and not self.is_terminating

    @property
    def is_terminating(self) -> bool:
        return self._told_to_end.is_set()

    @property
    def is_gone(self) -> bool:
        return not self._life.is_alive()

    def is_available(self, min_ready_seconds: float) -> bool:
        since = self._ready_since
        return since is not None and self.is_serving and time.monotonic() - since >= min_ready_seconds

    def terminate(self) -> None:
        """Tells it to end, without waiting for that."""
        self._told_to_end.set()
        self._changed()

    def kill(self) -> None:
        """Kills its process, as the kernel would for want of memory."""
        if self._process:
            self._process.kill()

    def _live(self) -> None:
        while not self.is_terminating:
            self._process = self.container.start()
            self._attend(self._process)
            self._set_ready(False)
            if not self.is_terminating:
                self.deaths.append(self._process.wait())
                self._told_to_end.wait(RESTART_AFTER_SECONDS)
        if self._process:
            self._end(self._process)
        self._network.remove(self.name)
        self.container.remove()
        self._changed()

    def _attend(self, process: subprocess.Popen) -> None:
        """Probes the process until it dies or the pod has to go."""
        probes = {name: Probe(spec, self.template, self.address) for name, spec in self.template.probes.items()}
        is_started = "startupProbe" not in probes
        while process.poll() is None and not self.is_terminating:
            for name, probe in probes.items():
                if is_started == (name == "startupProbe"):
                    continue
                outcome = probe.look()
                if name == "readinessProbe" and outcome is not None:
                    self._set_ready(outcome)
                elif name == "startupProbe" and outcome:
                    is_started = True
                elif outcome is False:
                    self.complaints.append(f"{self.name}: killed by its {name}: {probe.complaint}")
                    process.kill()
            time.sleep(TICK_SECONDS)

    def _set_ready(self, is_ready: bool) -> None:
        if is_ready != (self._ready_since is not None):
            self._ready_since = time.monotonic() if is_ready else None
            self._changed()

    def _end(self, process: subprocess.Popen) -> None:
        """What the kubelet does to a pod that is deleted: the pause, the order to end, and after the grace period the end."""
        deadline = time.monotonic() + self.template.spec.get("terminationGracePeriodSeconds", 30)
        pause = self.template.container.get("lifecycle", {}).get("preStop", {}).get("sleep", {"seconds": 0})["seconds"]
        if process.poll() is None:
            time.sleep(pause)
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.complaints.append(f"{self.name}: had not ended after its grace period")
            process.kill()
            code = process.wait()
        if code != 0:
            self.complaints.append(f"{self.name}: ended with {code}")
