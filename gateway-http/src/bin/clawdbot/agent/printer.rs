//! The answer on standard output, and beside it what the agent does meanwhile.

use std::io::{self, Write};

use proto::agent::v1::{PreviewPromptResponse, run_event::Kind};
use serde_json::json as object;

use super::{json, one_line, preview, progress::Progress};

/// How standard output looks.
#[derive(Clone, Copy, Debug)]
pub(super) enum Format {
    /// One JSON object a line.
    Json,
    /// The answer's text, and nothing else.
    Text { is_terminal: bool },
}

/// Prints a run.
pub(super) struct Printer<Out, Err> {
    out: Out,
    format: Format,
    progress: Progress<Err>,
    /// Whether the answer's last line has no end yet.
    is_within_line: bool,
}

impl<Out: Write, Err: Write> Printer<Out, Err> {
    pub(super) fn new(out: Out, format: Format, progress: Progress<Err>) -> Self {
        Self { out, format, progress, is_within_line: false }
    }

    /// Prints what happened.
    pub(super) fn event(&mut self, seq: u64, kind: &Kind) -> io::Result<()> {
        let is_terminal = match self.format {
            Format::Json => return writeln!(self.out, "{}", json::event(seq, kind)),
            Format::Text { is_terminal } => is_terminal,
        };
        match kind {
            Kind::TextDelta(text) | Kind::RefusalDelta(text) => {
                let shown = if is_terminal { one_line::escaped_lines(text) } else { text.into() };
                self.out.write_all(shown.as_bytes())?;
                self.out.flush()?;
                self.is_within_line = !shown.ends_with('\n');
            }
            Kind::ToolStarted(tool) => {
                self.make_room()?;
                self.progress.started(tool);
            }
            Kind::ToolFinished(tool) => {
                self.make_room()?;
                self.progress.finished(tool);
            }
            Kind::Finished(_) => {
                self.progress.clear();
                writeln!(self.out)?;
                self.is_within_line = false;
            }
            Kind::Accepted(_)
            | Kind::Started(_)
            | Kind::ReasoningDelta(_)
            | Kind::LogprobsDelta(_)
            | Kind::ToolCallDelta(_)
            | Kind::Usage(_)
            | Kind::Failed(_) => {}
        }
        Ok(())
    }

    /// Prints what a model would be sent.
    pub(super) fn prompt(&mut self, preview: &PreviewPromptResponse) -> io::Result<()> {
        match self.format {
            Format::Json => writeln!(self.out, "{:#}", json::prompt(preview)),
            Format::Text { is_terminal } => {
                let text = preview::text(preview);
                let shown = if is_terminal { one_line::escaped_lines(&text) } else { text.as_str().into() };
                self.out.write_all(shown.as_bytes())
            }
        }
    }

    /// Ends the output of a run that was cancelled: whoever reads the events waits for a last one.
    pub(super) fn cancelled(&mut self) -> io::Result<()> {
        self.break_off()?;
        match self.format {
            Format::Text { .. } => Ok(()),
            Format::Json => {
                let last = object!({
                    "type": "failed", "code": "cancelled", "message": "the run was cancelled", "retryable": false,
                });
                writeln!(self.out, "{last}")
            }
        }
    }

    /// Leaves the terminal fit for a message after a run that has no end.
    pub(super) fn break_off(&mut self) -> io::Result<()> {
        self.progress.clear();
        match self.format {
            Format::Text { is_terminal: true } => self.end_line(),
            Format::Text { is_terminal: false } | Format::Json => Ok(()),
        }
    }

    /// What is drawn must not be drawn over a line of the answer.
    fn make_room(&mut self) -> io::Result<()> {
        match self.format {
            Format::Text { is_terminal: true } if self.progress.draws() => self.end_line(),
            Format::Text { .. } | Format::Json => Ok(()),
        }
    }

    fn end_line(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.is_within_line) {
            writeln!(self.out)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proto::agent::v1::{Finished, Started, ToolFinished, ToolStarted};

    use super::*;

    fn events() -> Vec<Kind> {
        let (tool_call_id, name) = ("c1".to_owned(), "read".to_owned());
        vec![
            Kind::Started(Started { model: "stub/m".to_owned(), started_at_ms: 1 }),
            Kind::TextDelta("Let me \u{1b}see.".to_owned()),
            Kind::ToolStarted(ToolStarted {
                tool_call_id: tool_call_id.clone(),
                name: name.clone(),
                arguments: r#"{"path":"a\n.txt"}"#.to_owned(),
            }),
            Kind::ToolFinished(ToolFinished { tool_call_id, name, is_error: true, duration_ms: 12 }),
            Kind::TextDelta(" No.".to_owned()),
            Kind::Finished(Finished::default()),
        ]
    }

    fn printed(format: Format, is_silent: bool) -> (String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let progress = if is_silent { Progress::silent() } else { Progress::lines(&mut err) };
        let mut printer = Printer::new(&mut out, format, progress);
        for (seq, kind) in (1..).zip(events()) {
            printer.event(seq, &kind).expect("memory can be written to");
        }
        let text = |bytes| String::from_utf8(bytes).expect("text");
        (text(out), text(err))
    }

    #[test]
    fn the_answer_goes_to_one_place_and_the_tools_to_another() {
        let (out, err) = printed(Format::Text { is_terminal: false }, false);
        assert_eq!(out, "Let me \u{1b}see. No.\n");
        assert_eq!(err, "tool read started path=a\\n.txt\ntool read failed after 12 ms\n");
    }

    #[test]
    fn nothing_that_a_terminal_obeys_reaches_it() {
        let (out, _) = printed(Format::Text { is_terminal: true }, false);
        assert_eq!(out, "Let me \\u{1b}see. No.\n");
    }

    #[test]
    fn as_json_a_call_has_its_arguments_and_its_time() {
        let (out, err) = printed(Format::Json, true);
        let lines: Vec<&str> = out.lines().collect();
        assert_eq!((lines.len(), err.as_str()), (events().len(), ""));
        let started = r#""arguments":"{\"path\":\"a\\n.txt\"}""#;
        assert!(lines[2].contains(r#""type":"tool_started""#) && lines[2].contains(started), "{out}");
        assert!(lines[3].contains(r#""type":"tool_finished""#) && lines[3].contains(r#""duration_ms":12"#), "{out}");
    }
}
