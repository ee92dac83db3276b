//! A second gateway and a second runner, on the same store as the first ones.

use std::net::Ipv4Addr;

use tokio::net::TcpStream;

use super::{Gateway, Ports, Process, Request, Topology, binaries, eventually};

impl Gateway {
    /// Starts another gateway that knows only another runner, which is started too. One process stays alone.
    pub(crate) async fn add_replica(&mut self) {
        if self.topology == Topology::OneProcess {
            return;
        }
        let mut ports = Ports::free();
        ports.session_store = self.ports.session_store;
        for (name, binary) in binaries(self.topology) {
            if name == "session-store" {
                continue;
            }
            let mut command = self.installation.command(&binary);
            command.envs(ports.env(self.topology, self.services_scheme));
            self.processes.push(Process::spawn(&format!("{name}-2"), command, &self.installation.logs()));
        }
        self.replica = Some(ports.gateway);
        eventually("the second gateway becomes ready", async || {
            let answer = self.request_elsewhere("GET", "/readyz").try_send().await;
            answer.is_some_and(|answer| answer.status == 200)
        })
        .await;
    }

    /// Starts another runner, and the gateway anew so that it knows both. Only where they are processes of their own.
    pub(crate) async fn add_runner(&mut self) {
        assert_eq!(self.topology, Topology::ThreeProcesses);
        let mut ports = self.ports;
        ports.agent_runner = Ports::free().agent_runner;
        let (url, other) = ("CLAWDBOT_AGENT_RUNNER_URL", ports.agent_runner);
        let scheme = self.services_scheme;
        let both = format!("{scheme}://127.0.0.1:{},{scheme}://127.0.0.1:{other}", self.ports.agent_runner);
        self.kill("gateway-http").await;
        self.processes.retain(|process| process.name() != "gateway-http");
        for (name, binary) in binaries(self.topology) {
            let (name, ports) = match name {
                "agent-runner" => ("agent-runner-2", ports),
                "gateway-http" => (name, self.ports),
                _ => continue,
            };
            let mut command = self.installation.command(&binary);
            command.envs(ports.env(self.topology, self.services_scheme)).env(url, &both);
            self.processes.push(Process::spawn(name, command, &self.installation.logs()));
        }
        eventually("both runners listen, and the gateway is ready", async || {
            TcpStream::connect((Ipv4Addr::LOCALHOST, other)).await.is_ok() && self.is_ready().await
        })
        .await;
    }

    /// Asks `path` of the second gateway with the usual secret; of the only one where there is but one.
    pub(crate) fn request_elsewhere(&self, method: &str, path: &str) -> Request {
        let port = self.replica.unwrap_or(self.ports.gateway);
        Request::new(&self.client, method, format!("http://127.0.0.1:{port}{path}")).bearer(self.secret())
    }
}
