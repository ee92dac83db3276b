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
    shutdown::TOLD_TWICE,
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
            let Some(served) = process.unless_told_twice(Box::pin(serve::serve(&process, &token))).await else {
                return Ok(ExitCode::from(TOLD_TWICE));
            };
            process.finish();
            served.map(|()| ExitCode::SUCCESS)
        }
        Command::Agent(asked) => {
            let process = Process::start(SERVICE_NAME, "error", Sources::new(environment, config, []))?;
            let Some(outcome) = process.unless_told_twice(Box::pin(agent::run(&process, asked))).await else {
                return Ok(ExitCode::from(TOLD_TWICE));
            };
            process.finish();
            outcome
        }
        Command::Config { command: ConfigCommand::Check } => {
            check::check(&Sources::new(environment, config, [])).map(|()| ExitCode::SUCCESS)
        }
    }
}
