//! What is measured: the provider by itself, and the services in front of it.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;
use tokio::net::TcpStream;

use super::client::{Ask, Client, Error};

/// How long a process may take to be there.
const PATIENCE: Duration = Duration::from_secs(20);

/// One way to reach the provider. Dropping it ends its processes.
pub(super) struct Deployment {
    pub(super) name: &'static str,
    pub(super) address: SocketAddr,
    processes: Vec<Child>,
    /// The configuration and the sessions.
    _folder: Option<TempDir>,
}

/// What the processes have used and hold.
#[derive(Clone, Copy)]
pub(super) struct Used {
    pub(super) cpu_seconds: f64,
    pub(super) memory_bytes: u64,
}

impl Deployment {
    /// The provider, with nothing before it.
    pub(super) fn direct(provider: SocketAddr) -> Self {
        Self { name: "directly", address: provider, processes: Vec::new(), _folder: None }
    }

    pub(super) async fn one_process(provider: SocketAddr) -> Result<Self, Error> {
        let ports = ports::<1>()?;
        Self::start("one process", provider, ports[0], &[("clawdbot", Vec::new())]).await
    }

    pub(super) async fn three_processes(provider: SocketAddr) -> Result<Self, Error> {
        let [gateway, runner, store] = ports()?;
        let (runner, store) = (format!("127.0.0.1:{runner}"), format!("127.0.0.1:{store}"));
        let find_store = ("CLAWDBOT_SESSION_STORE_URL", format!("http://{store}"));
        let processes = [
            ("session-store", vec![("CLAWDBOT_SESSION_STORE_LISTEN", store)]),
            ("agent-runner", vec![("CLAWDBOT_AGENT_RUNNER_LISTEN", runner.clone()), find_store.clone()]),
            ("gateway-http", vec![("CLAWDBOT_AGENT_RUNNER_URL", format!("http://{runner}")), find_store]),
        ];
        Self::start("three processes", provider, gateway, &processes).await
    }

    async fn start(
        name: &'static str,
        provider: SocketAddr,
        port: u16,
        processes: &[(&str, Vec<(&str, String)>)],
    ) -> Result<Self, Error> {
        let folder = tempfile::tempdir()?;
        let config = folder.path().join("clawdbot.json");
        let stub = serde_json::json!({
            "baseUrl": format!("http://{provider}/v1"), "apiKey": "key", "api": "openai-completions",
        });
        let settings = serde_json::json!({
            "models": {"providers": {"stub": stub}}, "agents": {"defaults": {"model": "stub/m"}},
        });
        fs::write(&config, settings.to_string())?;
        let mut started = Vec::new();
        for (binary, env) in processes {
            let log = fs::File::create(folder.path().join(binary))?;
            let mut command = Command::new(path(binary)?);
            command
                .env_clear()
                .env("HOME", folder.path())
                .env("CLAWDBOT_CONFIG_PATH", &config)
                .env("CLAWDBOT_STATE_DIR", folder.path())
                .env("CLAWDBOT_GATEWAY_PORT", port.to_string())
                .env("CLAWDBOT_GATEWAY_TOKEN", "secret")
                // The log of each request is part of what it costs.
                .env("RUST_LOG", "info")
                .envs(env.iter().map(|(name, value)| (name, value)))
                .stdout(Stdio::null())
                .stderr(log);
            started.push(command.spawn()?);
        }
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let deployment = Self { name, address, processes: started, _folder: Some(folder) };
        tokio::time::timeout(PATIENCE, deployment.answers()).await.map_err(|_| format!("{name} does not answer"))?;
        Ok(deployment)
    }

    /// Whether it is the provider that is asked, which only streams.
    pub(super) fn is_direct(&self) -> bool {
        self.processes.is_empty()
    }

    /// Waits until everything is there.
    async fn answers(&self) {
        let ask = Ask { tokens: 1, pause: Duration::ZERO, stream: false, user: Some("first") };
        loop {
            if TcpStream::connect(self.address).await.is_ok()
                && let Ok(mut client) = Client::connect(self).await
                && client.ask(ask).await.is_ok()
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// What all processes together have used since they were started, and hold now.
    pub(super) fn used(&self) -> Result<Used, Error> {
        const TICKS_PER_SECOND: f64 = 100.0;
        let (mut ticks, mut memory_bytes) = (0.0, 0);
        for process in &self.processes {
            let folder = PathBuf::from(format!("/proc/{}", process.id()));
            let stat = fs::read_to_string(folder.join("stat"))?;
            // The name, which may hold anything, ends with the last bracket; user and system time are 12 and 13 after it.
            let (_, fields) = stat.rsplit_once(')').ok_or("no process's figures")?;
            let times = fields.split_whitespace().skip(11).take(2);
            ticks += times.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>();
            let status = fs::read_to_string(folder.join("status"))?;
            let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
            let kibibytes = resident.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
            memory_bytes += kibibytes.ok_or("no process's memory")? * 1024;
        }
        Ok(Used { cpu_seconds: ticks / TICKS_PER_SECOND, memory_bytes })
    }
}

impl Drop for Deployment {
    fn drop(&mut self) {
        for process in &mut self.processes {
            // It may have ended by itself.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

fn path(binary: &str) -> Result<PathBuf, Error> {
    let path = PathBuf::from(env!("CARGO_BIN_EXE_clawdbot")).with_file_name(binary);
    if path.exists() {
        Ok(path)
    } else {
        Err(format!("{} is missing: run `just bench-capacity`", path.display()).into())
    }
}

fn ports<const N: usize>() -> Result<[u16; N], Error> {
    let mut listeners = Vec::new();
    let mut ports = [0; N];
    for port in &mut ports {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        *port = listener.local_addr()?.port();
        listeners.push(listener);
    }
    Ok(ports)
}
