"""Does what the Dockerfile's stage `build` does, without a container engine: in a folder that has what the build's context
has and nothing else, and with the same commands.

What cargo-chef does is left out: it compiles the dependencies ahead, so that they are a layer of their own.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from binaries import BINARIES, ROOT, source
from images import Stages


def context() -> list[Path]:
    """The files of the build's context, as far as git knows them."""
    patterns = [line for line in source("deploy/Dockerfile.dockerignore").splitlines() if line and line[0] != "#"]
    kept = [line[1:] for line in patterns if line[0] == "!"]
    left_out = [line for line in patterns if line[0] != "!" and line != "*"]
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True)
    files = [Path(name) for name in listed.stdout.split("\0") if name]

    def is_of(path: Path, patterns: list[str]) -> bool:
        return any(path.is_relative_to(pattern) or path.match(pattern.removeprefix("**/")) for pattern in patterns)

    return [path for path in files if is_of(path, kept) and not is_of(path, left_out)]


def commands() -> list[str]:
    """What the stage runs."""
    runs = [value for instruction, value in Stages(source("deploy/Dockerfile")).stages["build"] if instruction == "RUN"]
    return [command for command in runs if not command.startswith("cargo chef")]


def main() -> int:
    target = ROOT / "target"
    # Always the same, so that what was compiled there last time still counts.
    folder = target / "image-context"
    shutil.rmtree(folder, ignore_errors=True)
    for path in context():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / path, folder / path)
    ran = commands()
    for command in ran:
        # The image's root is not this machine's.
        command = command.replace(" /folders", f" {folder}/folders")
        print(command, flush=True)
        subprocess.run(command, shell=True, check=True, cwd=folder, env={**os.environ, "CARGO_TARGET_DIR": target})
    assert ran and (folder / "folders/state").is_dir(), "the stage has run"
    for binary in BINARIES:
        said = subprocess.run([target / "release" / binary, "--version"], check=True, capture_output=True, text=True)
        print(said.stdout.strip())
    return 0


if __name__ == "__main__":
    sys.exit(main())
