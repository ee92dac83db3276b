//! A second gateway and a second runner, on the same store as the first ones.

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
            command.envs(ports.env(self.topology));
            self.processes.push(Process::spawn(&format!("{name}-2"), command, &self.installation.logs()));
        }
        self.replica = Some(ports.gateway);
        eventually("the second gateway becomes ready", async || {
            let answer = self.request_elsewhere("GET", "/readyz").try_send().await;
            answer.is_some_and(|answer| answer.status == 200)
        })
        .await;
    }

    /// Asks `path` of the second gateway with the usual secret; of the only one where there is but one.
    pub(crate) fn request_elsewhere(&self, method: &str, path: &str) -> Request {
        let port = self.replica.unwrap_or(self.ports.gateway);
        Request::new(&self.client, method, format!("http://127.0.0.1:{port}{path}")).bearer(self.secret())
    }
}
