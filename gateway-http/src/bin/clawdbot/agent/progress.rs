//! Tool calls as they happen, on standard error: a spinner for each on a terminal, plain lines otherwise.

use std::{collections::HashMap, io::Write, time::Duration};

use console::Term;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use proto::agent::v1::{ToolFinished, ToolStarted};

use super::one_line;

/// Between two pictures of a spinner.
const TICK: Duration = Duration::from_millis(100);
/// Where nobody says how wide a line is.
const COLUMNS: usize = 120;

/// Shows calls.
pub(super) enum Progress<Err> {
    /// Not at all.
    Silent,
    /// A line when a call starts, and one when it comes back.
    Lines(Err),
    /// Something that moves while a call goes on, and a line when it comes back.
    Spinners(Spinners),
}

/// The calls in flight.
#[derive(Default)]
pub(super) struct Spinners {
    all: MultiProgress,
    calls: HashMap<String, Call>,
}

struct Call {
    spinner: ProgressBar,
    arguments: String,
}

impl<Err: Write> Progress<Err> {
    pub(super) fn silent() -> Self {
        Self::Silent
    }

    pub(super) fn lines(err: Err) -> Self {
        Self::Lines(err)
    }

    pub(super) fn spinners() -> Self {
        Self::Spinners(Spinners::default())
    }

    /// Whether it draws on a terminal.
    pub(super) fn draws(&self) -> bool {
        matches!(self, Self::Spinners(_))
    }

    /// A line that cannot be written is no reason to give the run up: standard error may be closed.
    pub(super) fn started(&mut self, tool: &ToolStarted) {
        let arguments = one_line::arguments(&tool.arguments);
        match self {
            Self::Silent => {}
            Self::Lines(err) => {
                let line = format!("tool {} started {arguments}", one_line::name(&tool.name));
                let _ = writeln!(err, "{}", one_line::shortened(line.trim_end(), COLUMNS));
            }
            Self::Spinners(spinners) => {
                let spinner = spinners.all.add(ProgressBar::new_spinner().with_style(style()));
                let line = format!("{} {arguments}", one_line::name(&tool.name));
                spinner.set_message(one_line::shortened(&line, columns().saturating_sub(2)).into_owned());
                spinner.enable_steady_tick(TICK);
                spinners.calls.insert(tool.tool_call_id.clone(), Call { spinner, arguments });
            }
        }
    }

    pub(super) fn finished(&mut self, tool: &ToolFinished) {
        match self {
            Self::Silent => {}
            Self::Lines(err) => {
                let how = if tool.is_error { "failed after" } else { "finished in" };
                let _ = writeln!(err, "tool {} {how} {}", one_line::name(&tool.name), took(tool.duration_ms));
            }
            Self::Spinners(Spinners { all, calls }) => {
                let arguments = calls.remove(&tool.tool_call_id).map(|call| {
                    call.spinner.finish_and_clear();
                    all.remove(&call.spinner);
                    call.arguments
                });
                let _ = all.println(done(tool, &arguments.unwrap_or_default(), columns()));
            }
        }
    }

    /// Takes away what moves.
    pub(super) fn clear(&mut self) {
        if let Self::Spinners(Spinners { all, calls }) = self {
            for (_, call) in calls.drain() {
                call.spinner.finish_and_clear();
            }
            let _ = all.clear();
        }
    }
}

/// The arguments have the room that the rest leaves.
fn done(tool: &ToolFinished, arguments: &str, columns: usize) -> String {
    let head = format!("{} {}", if tool.is_error { '✗' } else { '✓' }, one_line::name(&tool.name));
    let time = took(tool.duration_ms);
    let room = columns.saturating_sub(head.chars().count() + time.chars().count() + 2);
    match one_line::shortened(arguments, room) {
        arguments if arguments.is_empty() => format!("{head} {time}"),
        arguments => format!("{head} {arguments} {time}"),
    }
}

fn took(duration_ms: u64) -> String {
    match duration_ms {
        0..1_000 => format!("{duration_ms} ms"),
        1_000.. => format!("{}.{} s", duration_ms / 1_000, duration_ms % 1_000 / 100),
    }
}

fn columns() -> usize {
    Term::stderr().size_checked().map_or(COLUMNS, |(_, columns)| columns.into())
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {msg}").expect("the template is valid")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_came_back_is_one_line() {
        let check = |is_error, duration_ms, arguments: &str, expected: &str| {
            let tool = ToolFinished { name: "read".to_owned(), is_error, duration_ms, ..ToolFinished::default() };
            assert_eq!(done(&tool, arguments, 30), expected);
        };
        check(false, 12, "path=a.txt", "✓ read path=a.txt 12 ms");
        check(true, 1_250, "", "✗ read 1.2 s");
        check(false, 999, "path=a-path-that-is-too-long.txt", "✓ read path=a-path-tha… 999 ms");
    }
}
