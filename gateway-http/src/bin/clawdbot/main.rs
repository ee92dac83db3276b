//! Everything in one process: the gateway, the runner and the store, joined in memory.

mod agent;
mod arguments;
mod check;
mod serve;
mod stack;
mod token;

use std::{env, io::IsTerminal, process::ExitCode};

use clap::Parser;
use shared::{
    config::{Environment, Sources},
    process::{Identity, Process},
};

use arguments::{Arguments, Command, ConfigCommand};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let Arguments { config, command } = Arguments::parse();
    let environment = Environment::new(env::vars_os());
    let logs_to_terminal = std::io::stderr().is_terminal();
    let identity = |log_level| Identity { service_name: "clawdbot", log_level, logs_to_terminal };
    match command.unwrap_or_default() {
        Command::Gateway(gateway) => {
            let (sources, token) = token::ensure(gateway.sources(environment, config))?;
            let process = Process::start(identity("info"), sources)?;
            let served = serve::serve(&process, &token).await;
            process.finish();
            served.map(|()| ExitCode::SUCCESS)
        }
        Command::Agent(asked) => {
            let process = Process::start(identity("error"), Sources::new(environment, config, []))?;
            let outcome = agent::run(&process, asked).await;
            process.finish();
            outcome
        }
        Command::Config { command: ConfigCommand::Check } => {
            check::check(&Sources::new(environment, config, [])).map(|()| ExitCode::SUCCESS)
        }
    }
}
