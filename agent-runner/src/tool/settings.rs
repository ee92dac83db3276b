//! What the built-in tools are told by the configuration.

use shared::config::{self, Document, Environment};

use super::builtin::{exec, files, memory, web_fetch};

/// How the built-in tools behave.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    pub(crate) exec: exec::Settings,
    pub(crate) web_fetch: web_fetch::Settings,
    pub(crate) fs: files::Settings,
    pub(crate) memory: memory::Settings,
}

impl Settings {
    /// Reads the sections of the tools. Of the environment, `exec` hands on where programs are found and how text and
    /// time look.
    pub(crate) fn load(document: &Document, environment: &Environment) -> Result<Self, config::Error> {
        let mut exec: exec::Settings = document.section("tools.exec")?;
        exec.inherit(environment);
        Ok(Self {
            exec,
            web_fetch: document.section("tools.web.fetch")?,
            fs: document.section("tools.fs")?,
            memory: document.section("tools.memory")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The default of each limit that stands in the table of settings.
    #[test]
    fn the_documented_defaults_are_the_real_ones() {
        let Settings { exec, web_fetch, fs, memory } = Settings::default();
        let real = [
            ("tools.exec.timeoutSec", exec.timeout_sec),
            ("tools.exec.maxOutputBytes", exec.max_output_bytes as u64),
            ("tools.web.fetch.maxChars", web_fetch.max_chars as u64),
            ("tools.web.fetch.maxResponseBytes", web_fetch.max_response_bytes as u64),
            ("tools.web.fetch.timeoutSeconds", web_fetch.timeout_seconds),
            ("tools.web.fetch.maxRedirects", web_fetch.max_redirects as u64),
            ("tools.fs.maxReadBytes", fs.max_read_bytes as u64),
            ("tools.fs.maxReadLines", fs.max_read_lines as u64),
            ("tools.fs.maxFileBytes", fs.max_file_bytes),
            ("tools.memory.maxFiles", memory.max_files as u64),
            ("tools.memory.maxBytes", memory.max_bytes),
        ];
        for (key, real) in real {
            assert_eq!(config::documented_default(key), Some(real.to_string().as_str()), "{key}");
        }
    }
}
