//! Everything in one process: the gateway, the runner and the store, joined in memory.

mod agent;
mod arguments;
mod check;
mod serve;
mod stack;
mod token;

use std::{env, process::ExitCode};

use clap::Parser;
use shared::{
    config::{Environment, Sources},
    process::Process,
};

use arguments::{Arguments, Command, ConfigCommand};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SERVICE_NAME: &str = "clawdbot";

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let Arguments { config, command } = Arguments::parse();
    let environment = Environment::new(env::vars_os());
    match command.unwrap_or_default() {
        Command::Gateway(gateway) => {
            let (sources, token) = token::ensure(gateway.sources(environment, config))?;
            let process = Process::start(SERVICE_NAME, "info", sources)?;
            let served = serve::serve(&process, &token).await;
            process.finish();
            served.map(|()| ExitCode::SUCCESS)
        }
        Command::Agent(asked) => {
            let process = Process::start(SERVICE_NAME, "error", Sources::new(environment, config, []))?;
            let outcome = agent::run(&process, asked).await;
            process.finish();
            outcome
        }
        Command::Config { command: ConfigCommand::Check } => {
            check::check(&Sources::new(environment, config, [])).map(|()| ExitCode::SUCCESS)
        }
    }
}
