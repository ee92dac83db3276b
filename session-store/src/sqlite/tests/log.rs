//! What all tests of this process have logged.

use std::{
    io,
    path::Path,
    sync::{LazyLock, Mutex},
};

static LINES: LazyLock<Mutex<Vec<String>>> = LazyLock::new(|| {
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(|| Line).finish();
    tracing::subscriber::set_global_default(subscriber).expect("no other test sets it");
    Mutex::default()
});

struct Line;

/// Keeps what is logged from now on.
pub(super) fn keep() {
    LazyLock::force(&LINES);
}

/// The lines about the file.
pub(super) fn about(path: &Path) -> Vec<String> {
    let name = path.display().to_string();
    LINES.lock().unwrap().iter().filter(|line| line.contains(&name)).cloned().collect()
}

impl io::Write for Line {
    /// Called once for each line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        LINES.lock().unwrap().push(String::from_utf8_lossy(line).into_owned());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
