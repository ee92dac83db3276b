//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use shared::config::{Environment, Sources};

/// Your agents behind any OpenAI client, in one process. Without a command it serves, like `clawdbot gateway`.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Arguments {
    /// The configuration file (JSON5) [default: ~/.clawdbot/clawdbot.json if present]
    #[arg(long, global = true, value_name = "PATH")]
    pub(crate) config: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

const AGENT_HELP: &str = "\
The answer goes to standard output; what the agent does meanwhile, and errors, go to standard error.

Exit codes:
    0  the agent answered, or whoever reads the output has had enough
    1  it did not, and the same command would fail again
    2  the command line is wrong
    3  it did not, but the same command may succeed later: a provider that is down or limits the rate, a busy session
  130  interrupted; the run was cancelled. A second Ctrl-C does not wait for that";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve the agents over HTTP
    Gateway(Gateway),
    /// Run an agent once and print its answer as it comes
    #[command(after_help = AGENT_HELP)]
    Agent(Agent),
    /// Look at the configuration
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
}

#[derive(Debug, Default, Args)]
#[expect(clippy::doc_markdown, reason = "this is the text of --help")]
pub(crate) struct Gateway {
    /// The port to listen on [env: CLAWDBOT_GATEWAY_PORT] [default: 18789]
    #[arg(long)]
    port: Option<String>,
    /// Who can reach it: loopback, lan, or an IP address [env: CLAWDBOT_GATEWAY_BIND] [default: loopback]
    #[arg(long)]
    bind: Option<String>,
    /// Where to serve /metrics, /healthz and /readyz [env: CLAWDBOT_ADMIN_LISTEN] [default: nowhere]
    #[arg(long, value_name = "ADDRESS")]
    admin_listen: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Agent {
    /// What to say to the agent; `-` reads it from standard input
    #[arg(long, short, value_name = "TEXT", required_unless_present = "show_prompt")]
    pub(crate) message: Option<String>,
    /// Which agent [default: the configured default agent]
    #[arg(long, value_name = "ID")]
    pub(crate) agent: Option<String>,
    /// The session to continue; it names its agent itself
    #[arg(long, value_name = "KEY", conflicts_with_all = ["agent", "user"])]
    pub(crate) session_key: Option<String>,
    /// Continue this user's session with the agent; without a user or a key nothing is kept
    #[arg(long, value_name = "USER")]
    pub(crate) user: Option<String>,
    /// The model to ask in place of the agent's own
    #[arg(long, value_name = "PROVIDER/MODEL")]
    pub(crate) model: Option<String>,
    /// Print what the model would be sent, and ask nobody
    #[arg(long)]
    pub(crate) show_prompt: bool,
    /// Print every event of the run as one JSON object a line, or the prompt as one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Check the configuration and say what is wrong with it
    Check,
}

impl Default for Command {
    fn default() -> Self {
        Self::Gateway(Gateway::default())
    }
}

impl Gateway {
    pub(crate) fn sources(self, environment: Environment, config_path: Option<PathBuf>) -> Sources {
        let flags = [("gateway.port", self.port), ("gateway.bind", self.bind), ("admin.listen", self.admin_listen)];
        Sources::new(environment, config_path, flags)
    }
}
