"""Checks what no schema can: that the objects of the chart fit each other and the binaries.

cross_reference.py RENDERED.yaml...             complains, and exits with 1 if there is something to complain of
cross_reference.py --self-test RENDERED.yaml... also breaks the manifests in many ways, each of which must be found
"""

import sys

import binaries
import mutations
from manifests import Manifests
from rules import RULES, listening


def complaints(manifests: Manifests) -> dict[str, list[str]]:
    if unknown := [pod for pod in manifests.pods if pod.binary not in binaries.BINARIES]:
        # Nothing else can be said of them.
        return {listening.__name__: [f"{pod.owner}: no binary is called {pod.binary}" for pod in unknown]}
    return {rule.__name__: found for rule in RULES if (found := sorted(set(rule(manifests))))}


def main(arguments: list[str]) -> int:
    is_self_test = arguments[:1] == ["--self-test"]
    paths = arguments[1:] if is_self_test else arguments
    if not paths:
        print(__doc__, file=sys.stderr)
        return 2
    renderings = {path: Manifests.read(path) for path in paths}
    failures = [
        f"{path}: {rule}: {text}"
        for path, manifests in renderings.items()
        for rule, texts in complaints(manifests).items()
        for text in texts
    ]
    if (read := binaries.sections_in_source()) != {name: binaries.SECTIONS[name] for name in read}:
        failures.append(f"the binaries read other sections than those that the chart gives them: {read}")
    if is_self_test:
        failures += mutations.survivors(list(renderings.values()), complaints, [rule.__name__ for rule in RULES])
    for failure in failures:
        print(failure, file=sys.stderr)
    if not failures:
        print(
            f"{len(paths)} renderings hold {len(RULES)} rules"
            + (f"; {len(mutations.MUTATIONS)} mutations were found" if is_self_test else "")
        )
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
