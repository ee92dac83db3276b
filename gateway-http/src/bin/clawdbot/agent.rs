//! `clawdbot agent`: one run through the same runner and store as every request, printed as it streams.

mod json;
mod one_line;
mod preview;
mod printer;
mod progress;
mod request;

use std::{
    io::{self, IsTerminal, Stderr, Stdout, Write},
    process::ExitCode,
};

use proto::agent::v1::{
    PreviewPromptRequest, RunEvent, RunRequest, agent_runner_client::AgentRunnerClient, run_event::Kind,
};
use shared::{
    process::Process,
    transport::{MAX_MESSAGE_BYTES, Transport},
};
use tonic::{Code, Status};

use crate::{arguments::Agent, stack::Stack};
use printer::{Format, Printer};
use progress::Progress;

const FAILED: u8 = 1;
/// The run failed, but the same command may succeed later.
const TRY_AGAIN: u8 = 3;
const INTERRUPTED: u8 = 130;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{message}")]
    Run { message: String, may_pass: bool },
    #[error(transparent)]
    Output(#[from] io::Error),
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        // The runner names the field as HTTP clients write it.
        let message = match status.message().strip_prefix("x-clawdbot-model:") {
            Some(reason) => format!("--model:{reason}"),
            None => status.message().to_owned(),
        };
        let may_pass = matches!(status.code(), Code::Unavailable | Code::ResourceExhausted | Code::DeadlineExceeded);
        Self::Run { message, may_pass }
    }
}

pub(crate) async fn run(process: &Process, asked: Agent) -> anyhow::Result<ExitCode> {
    let mut printer = printer(&asked);
    let prepare = async {
        let message = request::message(asked.message.as_deref()).await?;
        anyhow::Ok((message, Stack::build(&process.document, &process.environment).await?))
    };
    let (message, stack) = tokio::select! {
        prepared = prepare => prepared?,
        () = process.shutdown.cancelled() => return Ok(interrupted(&mut printer)),
    };
    let outcome = tokio::select! {
        outcome = ask(stack.runner(), &asked, message, &mut printer) => Some(outcome),
        // Dropping the stream cancels the run.
        () = process.shutdown.cancelled() => None,
    };
    let exit_code = match outcome {
        Some(Ok(())) => ExitCode::SUCCESS,
        // Whoever reads the output has had enough, as `head` has after its lines; there is nothing to end a line on.
        Some(Err(Error::Output(error))) if error.kind() == io::ErrorKind::BrokenPipe => {
            let _ = printer.break_off();
            ExitCode::SUCCESS
        }
        Some(Err(error)) => failed(&error, &mut printer),
        None => interrupted(&mut printer),
    };
    stack.shutdown().await;
    Ok(exit_code)
}

fn printer(asked: &Agent) -> Printer<Stdout, Stderr> {
    let (out, err) = (io::stdout(), io::stderr());
    let progress = match (asked.json, err.is_terminal()) {
        // Whatever there is to know is among the events.
        (true, _) => Progress::silent(),
        (false, true) => Progress::spinners(),
        (false, false) => Progress::lines(err),
    };
    let format = if asked.json { Format::Json } else { Format::Text { is_terminal: out.is_terminal() } };
    Printer::new(out, format, progress)
}

async fn ask(
    runner: Transport,
    asked: &Agent,
    message: Option<String>,
    printer: &mut Printer<Stdout, Stderr>,
) -> Result<(), Error> {
    let mut runner = AgentRunnerClient::new(runner)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let request = request::request(&mut runner, asked, message).await?;
    if asked.show_prompt {
        let preview = runner.preview_prompt(PreviewPromptRequest { run: Some(request) }).await?.into_inner();
        printer.prompt(&preview)?;
        return Ok(());
    }
    answer(&mut runner, request, printer).await
}

async fn answer(
    runner: &mut AgentRunnerClient<Transport>,
    request: RunRequest,
    printer: &mut Printer<Stdout, Stderr>,
) -> Result<(), Error> {
    let mut events = runner.run(request).await?.into_inner();
    while let Some(response) = events.message().await? {
        let Some(RunEvent { seq, kind: Some(kind) }) = response.event else { continue };
        printer.event(seq, &kind)?;
        match kind {
            Kind::Finished(_) => return Ok(()),
            Kind::Failed(failed) => {
                return Err(Error::Run { message: failed.message, may_pass: failed.retryable });
            }
            Kind::Accepted(_)
            | Kind::Started(_)
            | Kind::TextDelta(_)
            | Kind::RefusalDelta(_)
            | Kind::LogprobsDelta(_)
            | Kind::ReasoningDelta(_)
            | Kind::ToolCallDelta(_)
            | Kind::ToolStarted(_)
            | Kind::ToolFinished(_)
            | Kind::Usage(_) => {}
        }
    }
    Err(Error::Run { message: "the run broke off".to_owned(), may_pass: true })
}

fn failed(error: &Error, printer: &mut Printer<Stdout, Stderr>) -> ExitCode {
    let (message, exit_code) = match error {
        Error::Run { message, may_pass } => (message.clone(), if *may_pass { TRY_AGAIN } else { FAILED }),
        Error::Output(error) => (format!("cannot write to standard output: {error}"), FAILED),
        Error::Other(error) => (format!("{error:#}"), FAILED),
    };
    say(&format!("Error: {message}"), printer);
    exit_code.into()
}

fn interrupted(printer: &mut Printer<Stdout, Stderr>) -> ExitCode {
    let _ = printer.cancelled();
    let _ = writeln!(io::stderr(), "cancelled");
    INTERRUPTED.into()
}

/// Nobody is left to tell when standard error is closed, or when the answer's last line cannot be ended.
fn say(text: &str, printer: &mut Printer<Stdout, Stderr>) {
    let _ = printer.break_off();
    let _ = writeln!(io::stderr(), "{text}");
}
