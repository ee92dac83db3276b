"""A pod's container: the binary alone in a file system like its image's, with its pod's environment, folders and address."""

import json
import os
import re
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

from binaries import ROOT
from cluster.isolation import run
from images import Stages
from manifests import Manifests, Pod as Template

# What the images have of Debian: glibc, certificates and time zones.
OF_THE_MACHINE = ["/usr/lib", "/usr/lib64", "/lib", "/lib64"]
OF_THE_MACHINE += ["/etc/ssl", "/usr/share/ca-certificates", "/usr/share/zoneinfo"]
# Variables of the image that ours are built on.
BASE_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}


@dataclass(frozen=True)
class Release:
    """What all pods of the release have in common."""

    manifests: Manifests
    namespace: str
    secrets: dict[str, dict[str, str]]
    binaries: Path
    resolv_conf: str
    folder: Path


class Container:
    """Where a pod's process runs, again and again if it has to."""

    def __init__(self, release: Release, template: Template, name: str, address: str):
        self._release, self._template, self._name = release, template, name
        self._facts = {"metadata.name": name, "metadata.namespace": release.namespace, "status.podIP": address}
        self._image = Stages((ROOT / "deploy/Dockerfile").read_text())
        self._root, self._volumes = release.folder / name / "root", release.folder / name / "volumes"
        self.log = release.folder / f"{name}.log"
        self._mounts: list[str] = []
        self._fill_root()
        self._add_volumes()

    def start(self) -> subprocess.Popen:
        """Starts the process. Its id is the binary's own, since everything before it gives way to the next."""
        identity = self._template.spec["securityContext"]
        user = f"{identity['runAsUser']}:{identity['runAsGroup']}"
        script = "\n".join(
            [
                f"echo {self._name} >/proc/sys/kernel/hostname",
                *self._mounts,
                f"exec setpriv --no-new-privs chroot --userspec={user} --groups={identity['fsGroup']} "
                + shlex.join([str(self._root), *self._command()]),
            ]
        )
        with self.log.open("ab") as log:
            return subprocess.Popen(
                ["ip", "netns", "exec", self._name, "unshare", "--mount", "--uts", "sh", "-ec", script],
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Ctrl-C is for the test, which ends its pods in good order.
                start_new_session=True,
            )

    def environment(self) -> dict[str, str]:
        """The process's variables: the image's, then those of `envFrom`, then those of `env`."""
        variables = BASE_ENVIRONMENT | self._image.environment(self._template.binary)
        for source in self._template.container.get("envFrom", []):
            variables |= self._release.secrets[source["secretRef"]["name"]]
        for variable in self._template.container.get("env", []):
            text = variable["value"] if "value" in variable else self._referred(variable["valueFrom"])
            variables[variable["name"]] = re.sub(r"\$\((\w+)\)", lambda match: variables[match[1]], text)
        return variables

    def _referred(self, source: dict) -> str:
        if "fieldRef" in source:
            return self._facts[source["fieldRef"]["fieldPath"]]
        reference = source["secretKeyRef"]
        return self._release.secrets[reference["name"]][reference["key"]]

    def _command(self) -> list[str]:
        said = dict(self._image.all(self._template.binary))
        container = self._template.container
        return container.get("command", json.loads(said["ENTRYPOINT"])) + container.get("args", [])

    def _fill_root(self) -> None:
        for folder in ("etc", "usr/local/bin", "usr/lib", "dev", "proc"):
            (self._root / folder).mkdir(parents=True)
        self._mounts.append(f"mount --bind {self._root} {self._root}")
        self._mounts.append(f"mount -o remount,bind,ro {self._root}")
        for path in map(Path, OF_THE_MACHINE):
            target = self._root / path.relative_to("/")
            if path.is_symlink():
                target.symlink_to(path.readlink())
            elif path.exists():
                target.mkdir(parents=True, exist_ok=True)
                self._mounts.append(f"mount --bind {path} {target}; mount -o remount,bind,ro {target}")
        binary = self._release.binaries / self._template.binary
        target = self._root / "usr/local/bin" / self._template.binary
        target.touch()
        self._mounts.append(f"mount --bind {shlex.quote(str(binary))} {target}")
        self._mounts.append(f"mount --rbind /dev {self._root}/dev; mount -t proc proc {self._root}/proc")
        etc = self._root / "etc"
        (etc / "resolv.conf").write_text(self._release.resolv_conf)
        (etc / "hosts").write_text(f"127.0.0.1 localhost\n{self._facts['status.podIP']} {self._name}\n")
        (etc / "passwd").write_text("root:x:0:0::/root:/none\nnonroot:x:65532:65532::/home/nonroot:/none\n")

    def _add_volumes(self) -> None:
        sources = {volume["name"]: volume for volume in self._template.spec.get("volumes", [])}
        group = self._template.spec["securityContext"]["fsGroup"]
        for mount in self._template.container.get("volumeMounts", []):
            source, target = sources[mount["name"]], self._root / mount["mountPath"].lstrip("/")
            target.mkdir(parents=True)
            if "configMap" in source:
                config_map = self._release.manifests.named("ConfigMap", source["configMap"]["name"])
                for file, text in (config_map or {})["data"].items():
                    (target / file).write_text(text)
            elif "emptyDir" in source:
                volume = self._volumes / mount["name"]
                volume.mkdir(parents=True)
                os.chown(volume, 0, group)
                volume.chmod(0o2777)
                self._mounts.append(f"mount --bind {volume} {target}")
            else:
                raise NotImplementedError(f"volumes other than configMap and emptyDir: {source}")

    def remove(self) -> None:
        """Frees the memory that its files take."""
        run("rm", "-rf", self._root.parent)
