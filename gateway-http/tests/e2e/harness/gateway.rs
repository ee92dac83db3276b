//! A running system: the processes of a topology, and the way in.

mod replica;

use std::{net::Ipv4Addr, path::PathBuf, thread};

use proto::session::v1::{ListSessionsRequest, Session, session_store_client::SessionStoreClient};
use serde_json::Value;
use tokio::net::TcpStream;

use super::{
    client::{Client, Request, chat},
    eventually,
    installation::Installation,
    launch::{Ports, binaries},
    process::{Process, Signal},
    soon,
    topology::Topology,
};
use crate::provider::Provider;

/// A gateway with everything behind it; its processes die with it, and show their logs when a test panics.
pub(crate) struct Gateway {
    topology: Topology,
    installation: Installation,
    /// The model provider that all agents use.
    pub(crate) provider: Provider,
    client: Client,
    processes: Vec<Process>,
    ports: Ports,
    has_admin_ports: bool,
    /// Where the second gateway listens, if there is one.
    replica: Option<u16>,
    scheme: &'static str,
    services_scheme: &'static str,
}

impl Gateway {
    /// Starts one as [`Installation::new`] describes it.
    pub(crate) async fn start(topology: Topology) -> Self {
        Self::on(topology).await.start().await
    }

    /// Starts one with `config` merged into the usual configuration.
    pub(crate) async fn with_config(topology: Topology, config: Value) -> Self {
        Self::on(topology).await.config(config).start().await
    }

    /// Prepares one that is to be different.
    pub(crate) async fn on(topology: Topology) -> Builder {
        let provider = Provider::start().await;
        let installation = Installation::new(&provider);
        Builder { topology, provider, installation, has_admin_ports: false, scheme: "http", services_scheme: "http" }
    }

    /// Asks `path` with the usual secret.
    pub(crate) fn request(&self, method: &str, path: &str) -> Request {
        Request::new(&self.client, method, format!("{}{path}", self.url())).bearer(self.secret())
    }

    /// Posts `body` to the chat endpoint.
    pub(crate) fn chat(&self, body: Value) -> Request {
        self.request("POST", "/v1/chat/completions").json(body)
    }

    /// Sends one user message to the chat endpoint.
    pub(crate) fn ask(&self, text: &str) -> Request {
        self.chat(chat(text))
    }

    /// Asks for the session with this key, or for what is below it, such as `/messages`.
    pub(crate) fn session(&self, method: &str, key: &str, below: &str) -> Request {
        self.request(method, &format!("/v1/sessions/{}{below}", encoded(key)))
    }

    /// Where clients find the gateway.
    pub(crate) fn url(&self) -> String {
        format!("{}://127.0.0.1:{}", self.scheme, self.ports.gateway)
    }

    pub(crate) fn port(&self) -> u16 {
        self.ports.gateway
    }

    /// Where the agent runner listens, where it is a process of its own.
    pub(crate) fn runner_port(&self) -> u16 {
        self.ports.agent_runner
    }

    pub(crate) fn installation(&self) -> &Installation {
        &self.installation
    }

    /// Asks the admin port of the process with this name.
    pub(crate) fn admin(&self, name: &str, path: &str) -> Request {
        Request::new(&self.client, "GET", format!("http://127.0.0.1:{}{path}", self.ports.admin(name)))
    }

    fn secret(&self) -> &str {
        let set = |name| self.installation.env(name);
        set("CLAWDBOT_GATEWAY_TOKEN").or_else(|| set("CLAWDBOT_GATEWAY_PASSWORD")).unwrap_or_default()
    }

    /// Everything that the processes have printed and logged.
    pub(crate) fn logs(&self) -> String {
        self.processes.iter().map(Process::log).collect()
    }

    /// The process that clients talk to.
    pub(crate) fn front(&mut self) -> &mut Process {
        match self.topology {
            Topology::OneProcess => self.process("clawdbot"),
            Topology::ThreeProcesses => self.process("gateway-http"),
        }
    }

    /// The process with this name.
    pub(crate) fn process(&mut self, name: &str) -> &mut Process {
        let found = self.processes.iter_mut().find(|process| process.name() == name);
        found.unwrap_or_else(|| panic!("{name} is not a process of this topology"))
    }

    /// Every process.
    pub(crate) fn processes(&mut self) -> &mut [Process] {
        &mut self.processes
    }

    /// Kills the process with this name and waits until it is gone.
    pub(crate) async fn kill(&mut self, name: &str) {
        let process = self.process(name);
        process.signal(Signal::SIGKILL);
        process.exit().await;
    }

    /// Starts the process with this name once more, at the same place and on the same state.
    pub(crate) fn revive(&mut self, name: &str) {
        let again = self.spawn_where(|candidate| candidate == name);
        self.processes.retain(|process| process.name() != name);
        self.processes.extend(again);
    }

    /// Ends every process with `signal` and starts them anew, on the same state.
    pub(crate) async fn restart(&mut self, signal: Signal) {
        for process in &mut self.processes {
            process.signal(signal);
        }
        for process in &mut self.processes {
            process.exit().await;
        }
        self.launch().await;
    }

    /// Merges `patch` into the configuration and starts everything anew, on the same state.
    pub(crate) async fn reconfigure(&mut self, patch: Value) {
        self.installation.configure(patch);
        self.restart(Signal::SIGTERM).await;
    }

    /// Sets a variable for processes that are started from now on.
    pub(crate) fn set_env(&mut self, name: &str, value: &str) {
        self.installation.set_env(name, value);
    }

    /// Merges `patch` into the configuration file while everything runs.
    pub(crate) fn rewrite_config(&mut self, patch: Value) {
        self.installation.configure(patch);
    }

    /// Writes this in the configuration file's place while everything runs, whatever it is.
    pub(crate) fn spoil_config(&self, text: &str) {
        self.installation.write_config(text);
    }

    /// The sessions that the store knows; only where it is a process of its own.
    pub(crate) async fn stored_sessions(&self) -> Vec<Session> {
        let address = format!("http://127.0.0.1:{}", self.ports.session_store);
        let channel = tonic::transport::Endpoint::from_shared(address).unwrap().connect_lazy();
        let request = ListSessionsRequest::default();
        let mut client = SessionStoreClient::new(channel);
        let answer = soon("the store lists its sessions", client.list_sessions(request)).await;
        answer.unwrap().into_inner().sessions
    }

    /// Starts the processes and waits until clients are served; three times at most, when others take a port first.
    async fn launch(&mut self) {
        for _ in 0..3 {
            self.ports = Ports::free();
            self.processes = self.spawn();
            if self.ready().await {
                return;
            }
        }
        panic!("the ports are always taken");
    }

    fn spawn(&self) -> Vec<Process> {
        self.spawn_where(|_| true)
    }

    fn spawn_where(&self, is_wanted: impl Fn(&str) -> bool) -> Vec<Process> {
        let start = |(name, binary): (&str, PathBuf)| {
            let mut command = self.installation.command(&binary);
            command.envs(self.ports.env(self.topology, self.services_scheme));
            if self.has_admin_ports {
                command.env("CLAWDBOT_ADMIN_LISTEN", format!("127.0.0.1:{}", self.ports.admin(name)));
            }
            Process::spawn(name, command, &self.installation.logs())
        };
        binaries(self.topology).into_iter().filter(|(name, _)| is_wanted(name)).map(start).collect()
    }

    /// Waits until every process listens; false when one found its port taken.
    async fn ready(&mut self) -> bool {
        let mut gone = None;
        eventually("the gateway becomes ready", async || {
            gone = self.processes.iter_mut().position(|process| process.exited().is_some());
            gone.is_some() || self.serves().await
        })
        .await;
        let Some(gone) = gone else { return true };
        let process = &self.processes[gone];
        assert!(process.log().contains("in use"), "{} ended before it was ready", process.name());
        false
    }

    async fn serves(&self) -> bool {
        if self.topology == Topology::ThreeProcesses {
            for port in [self.ports.session_store, self.ports.agent_runner] {
                if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err() {
                    return false;
                }
            }
        }
        self.is_ready().await
    }

    /// Whether the gateway says of itself that it can be used.
    pub(crate) async fn is_ready(&self) -> bool {
        let answer = self.request("GET", "/readyz").try_send().await;
        answer.is_some_and(|answer| answer.status == 200)
    }
}

/// A key as it stands in a URL.
pub(crate) fn encoded(key: &str) -> String {
    form_urlencoded::byte_serialize(key.as_bytes()).collect::<String>().replace('+', "%20")
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if thread::panicking() {
            for process in &self.processes {
                eprintln!("---- {} ----\n{}", process.name(), process.log());
            }
        }
    }
}

/// A gateway that is not yet started.
pub(crate) struct Builder {
    topology: Topology,
    provider: Provider,
    installation: Installation,
    has_admin_ports: bool,
    scheme: &'static str,
    services_scheme: &'static str,
}

impl Builder {
    /// Merges `patch` into the configuration file.
    pub(crate) fn config(mut self, patch: Value) -> Self {
        self.installation.configure(patch);
        self
    }

    /// Sets a variable for every process.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.installation.set_env(name, value);
        self
    }

    /// The state folder.
    pub(crate) fn state(&self) -> PathBuf {
        self.installation.state()
    }

    /// Gives every process an admin port.
    pub(crate) fn with_admin_ports(mut self) -> Self {
        self.has_admin_ports = true;
        self
    }

    /// Asks by TLS, whatever the certificate is.
    pub(crate) fn by_tls(mut self) -> Self {
        self.scheme = "https";
        self
    }

    /// Has the services speak TLS with each other.
    pub(crate) fn with_tls_between_services(mut self) -> Self {
        self.services_scheme = "https";
        self
    }

    /// Where the stub provider listens.
    pub(crate) fn provider_url(&self) -> String {
        self.provider.base_url()
    }

    /// Leaves a variable unset that is otherwise set.
    pub(crate) fn without_env(mut self, name: &str) -> Self {
        self.installation.remove_env(name);
        self
    }

    /// Starts every process and waits until the gateway is ready.
    pub(crate) async fn start(self) -> Gateway {
        let mut gateway = Gateway {
            topology: self.topology,
            installation: self.installation,
            provider: self.provider,
            client: Client::new(),
            processes: Vec::new(),
            ports: Ports::default(),
            has_admin_ports: self.has_admin_ports,
            replica: None,
            scheme: self.scheme,
            services_scheme: self.services_scheme,
        };
        gateway.launch().await;
        gateway
    }
}
