//! Which binaries a topology is made of, and where they listen.

use std::{
    net::{Ipv4Addr, TcpListener},
    path::PathBuf,
};

use super::Topology;

/// The binary with everything in it.
pub(crate) fn clawdbot() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_clawdbot"))
}

/// The binaries of a topology, by the names of their processes.
pub(super) fn binaries(topology: Topology) -> Vec<(&'static str, PathBuf)> {
    match topology {
        Topology::OneProcess => vec![("clawdbot", clawdbot())],
        Topology::ThreeProcesses => vec![
            ("session-store", sibling("session-store")),
            ("agent-runner", sibling("agent-runner")),
            ("gateway-http", PathBuf::from(env!("CARGO_BIN_EXE_gateway-http"))),
        ],
    }
}

/// A binary of another crate, which cargo does not build for this test.
fn sibling(name: &str) -> PathBuf {
    let path = clawdbot().with_file_name(name);
    assert!(path.exists(), "{} is missing: run `just test`, which builds it first", path.display());
    path
}

/// Where the services listen.
#[derive(Clone, Copy, Default)]
pub(super) struct Ports {
    pub(super) gateway: u16,
    pub(super) agent_runner: u16,
    pub(super) session_store: u16,
    /// Of the process that clients talk to, of the runner and of the store.
    admin: [u16; 3],
}

impl Ports {
    /// Ports that nobody listens on now.
    pub(super) fn free() -> Self {
        let listeners = [(); 6].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        let [gateway, agent_runner, session_store, admin @ ..] =
            listeners.each_ref().map(|listener| listener.local_addr().unwrap().port());
        Self { gateway, agent_runner, session_store, admin }
    }

    /// The admin port of the process with this name, should it have one.
    pub(super) fn admin(self, name: &str) -> u16 {
        let [front, agent_runner, session_store] = self.admin;
        match name {
            "clawdbot" | "gateway-http" => front,
            "agent-runner" => agent_runner,
            "session-store" => session_store,
            other => panic!("{other} is not a process of any topology"),
        }
    }

    /// The environment that tells every process about them; `scheme` is how services speak with each other.
    pub(super) fn env(self, topology: Topology, scheme: &str) -> Vec<(&'static str, String)> {
        let gateway = ("CLAWDBOT_GATEWAY_PORT", self.gateway.to_string());
        let runner = format!("127.0.0.1:{}", self.agent_runner);
        let store = format!("127.0.0.1:{}", self.session_store);
        match topology {
            Topology::OneProcess => vec![gateway],
            Topology::ThreeProcesses => vec![
                gateway,
                ("CLAWDBOT_AGENT_RUNNER_URL", format!("{scheme}://{runner}")),
                ("CLAWDBOT_AGENT_RUNNER_LISTEN", runner),
                ("CLAWDBOT_SESSION_STORE_URL", format!("{scheme}://{store}")),
                ("CLAWDBOT_SESSION_STORE_LISTEN", store),
            ],
        }
    }
}
