//! What one machine takes: requests, streams and tokens through one process and through three, beside asking the
//! provider directly. Everything shares the machine's cores, so the ratios count, not the figures; run it on a machine
//! that does nothing else.
//!
//! `just bench-capacity`; `CLAWDBOT_BENCH_ROUNDS` is how often everything is measured (3).

#![expect(clippy::print_stderr, clippy::print_stdout, reason = "figures and progress are what it is for")]

mod client;
mod deployment;
mod measure;
mod provider;
mod table;

use deployment::Deployment;
use measure::Measured;

#[tokio::main]
#[expect(clippy::disallowed_methods, reason = "nobody hands a benchmark its environment")]
async fn main() -> Result<(), client::Error> {
    // `cargo test` runs benches too, to see that they do not panic.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let rounds = std::env::var("CLAWDBOT_BENCH_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(3);
    let provider = provider::start().await?;
    let deployments = [
        Deployment::direct(provider),
        Deployment::one_process(provider).await?,
        Deployment::three_processes(provider).await?,
    ];
    let mut measured: [Vec<Measured>; 3] = Default::default();
    for round in 1..=rounds {
        for (deployment, measured) in deployments.iter().zip(&mut measured) {
            eprintln!("round {round} of {rounds}: {}", deployment.name);
            measured.push(measure::all(deployment).await?);
        }
    }
    let medians = measured.map(|measured| Measured::median(&measured));
    print!("{}", table::table(&deployments, &medians));
    Ok(())
}
