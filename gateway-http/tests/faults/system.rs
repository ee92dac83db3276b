//! All the processes.

use std::{
    fs::{self, File},
    net::TcpListener,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use serde_json::json;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::client::Client;

/// The secret of both gateways.
pub(crate) const TOKEN: &str = "secret";
const GATEWAYS: usize = 2;
const RUNNERS: usize = 3;
const STORES: usize = 2;
/// How long the processes may take to find each other.
const START: Duration = Duration::from_secs(60);

/// Everything that runs; all of it ends when this is dropped.
pub(crate) struct System {
    gateways: Vec<Service>,
    /// The runners, then the stores.
    mortals: Vec<Service>,
    gateway_urls: Vec<String>,
    // Dropped after the processes.
    postgres: Postgres,
}

/// A process that can be killed and started again at the same place.
pub(crate) struct Service {
    name: String,
    binary: PathBuf,
    env: Vec<(&'static str, String)>,
    folder: PathBuf,
    child: Mutex<Option<Child>>,
}

/// A database cluster of its own.
struct Postgres {
    folder: TempDir,
    url: String,
}

impl System {
    pub(crate) async fn start(provider: &str, lease: Duration) -> Self {
        let postgres = Postgres::start().await;
        let folder = postgres.folder.path().to_owned();
        let config = json!({
            "models": {"providers": {"stub": {"baseUrl": provider, "apiKey": "key", "api": "openai-completions"}}},
            "agents": {"defaults": {"model": "stub/test-model"}},
            "session": {"leaseMs": lease.as_millis(), "waitMs": 30_000},
        });
        fs::write(folder.join("clawdbot.json"), config.to_string()).unwrap();
        let [gateways, runners, stores] = [GATEWAYS, RUNNERS, STORES].map(free_ports);
        let urls = |ports: &[u16]| ports.iter().map(|port| format!("http://127.0.0.1:{port}")).collect::<Vec<_>>();
        let store_urls = urls(&stores).join(",");

        let make = |name: String, binary: &str, env| Service::new(name, binary, &folder, env);
        let runner = |(index, port): (usize, &u16)| {
            let env = vec![
                ("CLAWDBOT_AGENT_RUNNER_LISTEN", format!("127.0.0.1:{port}")),
                ("CLAWDBOT_SESSION_STORE_URL", store_urls.clone()),
            ];
            make(format!("runner-{index}"), "agent-runner", env)
        };
        let store = |(index, port): (usize, &u16)| {
            let env = vec![
                ("CLAWDBOT_SESSION_STORE_LISTEN", format!("127.0.0.1:{port}")),
                ("CLAWDBOT_SESSION_STORE_DATABASE", postgres.url.clone()),
            ];
            make(format!("store-{index}"), "session-store", env)
        };
        let gateway = |(index, port): (usize, &u16)| {
            let env = vec![
                ("CLAWDBOT_GATEWAY_PORT", port.to_string()),
                ("CLAWDBOT_GATEWAY_TOKEN", TOKEN.to_owned()),
                ("CLAWDBOT_AGENT_RUNNER_URL", urls(&runners).join(",")),
                ("CLAWDBOT_SESSION_STORE_URL", store_urls.clone()),
            ];
            make(format!("gateway-{index}"), "gateway-http", env)
        };
        let system = Self {
            mortals: runners.iter().enumerate().map(runner).chain(stores.iter().enumerate().map(store)).collect(),
            gateways: gateways.iter().enumerate().map(gateway).collect(),
            gateway_urls: urls(&gateways),
            postgres,
        };
        system.mortals.iter().chain(&system.gateways).for_each(Service::start);
        system.ready().await;
        system
    }

    /// A client of one of the gateways.
    pub(crate) fn client(&self, number: usize) -> Client {
        Client::new(self.gateway_urls[number % GATEWAYS].clone())
    }

    /// The runners and the stores.
    pub(crate) fn mortals(&self) -> &[Service] {
        &self.mortals
    }

    /// Has PostgreSQL end without a word and start again.
    pub(crate) async fn crash_postgres(&self) {
        cluster(&["restart", path(self.postgres.folder.path()), "immediate"]).await;
    }

    /// Waits until both gateways can answer with a session.
    pub(crate) async fn ready(&self) {
        let began = Instant::now();
        for number in 0..GATEWAYS {
            let client = self.client(number);
            while !client.is_served().await {
                assert!(began.elapsed() < START, "gateway {number} does not become ready");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

impl Service {
    fn new(name: String, binary: &str, folder: &Path, env: Vec<(&'static str, String)>) -> Self {
        let binary = PathBuf::from(env!("CARGO_BIN_EXE_gateway-http")).with_file_name(binary);
        assert!(binary.exists(), "{} is missing: run `just test-faults`, which builds it first", binary.display());
        Self { name, binary, env, folder: folder.to_owned(), child: Mutex::new(None) }
    }

    /// Starts the process.
    pub(crate) fn start(&self) {
        let log = File::options().create(true).append(true).open(self.log()).unwrap();
        let child = Command::new(&self.binary)
            .env_clear()
            .env("HOME", &self.folder)
            .env("CLAWDBOT_CONFIG_PATH", self.folder.join("clawdbot.json"))
            .env("RUST_LOG", "warn")
            .envs(self.env.iter().cloned())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{} does not start: {error}", self.name));
        *self.child.lock().unwrap() = Some(child);
    }

    /// Kills the process by SIGKILL, and waits until it is gone.
    pub(crate) async fn kill(&self) {
        let child = self.child.lock().unwrap().take();
        child.expect("it runs").kill().await.unwrap();
    }

    fn log(&self) -> PathBuf {
        self.folder.join(format!("{}.log", self.name))
    }
}

impl Postgres {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = cluster(&["start", path(folder.path())]).await;
        Self { folder, url }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let stopped = std::process::Command::new(CLUSTER).args(["stop", path(self.folder.path())]).output();
        stopped.expect("PostgreSQL can be stopped");
    }
}

impl Drop for System {
    fn drop(&mut self) {
        if thread::panicking() {
            for service in self.mortals.iter().chain(&self.gateways) {
                let log = fs::read(service.log()).unwrap_or_default();
                let log = String::from_utf8_lossy(&log);
                let lines: Vec<_> = log.lines().rev().take(40).collect();
                eprintln!("---- {} ----", service.name);
                lines.iter().rev().for_each(|line| eprintln!("{line}"));
            }
        }
    }
}

/// Starts, restarts and stops clusters.
const CLUSTER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../session-store/tests/postgres-cluster");

/// Runs the script; returns what it says.
async fn cluster(arguments: &[&str]) -> String {
    let output = Command::new(CLUSTER).args(arguments).output().await.unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn path(folder: &Path) -> &str {
    folder.to_str().expect("the temporary folder's name is UTF-8")
}

/// Ports that nobody listens on now.
fn free_ports(count: usize) -> Vec<u16> {
    let listeners: Vec<_> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect()
}
