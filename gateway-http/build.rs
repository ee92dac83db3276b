//! Tells the code which build it is, for `system_fingerprint`.

use std::{env, process::Command};

#[allow(clippy::disallowed_methods, reason = "cargo speaks to build scripts through the environment")]
fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=CLAWDBOT_BUILD");
    let version = env::var("CARGO_PKG_VERSION").expect("cargo sets it");
    // What is being worked on is no commit, and to look for one would compile everything again after each.
    let is_release = env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let build = env::var("CLAWDBOT_BUILD").ok().or_else(|| if is_release { commit() } else { None });
    let build = build.filter(|build| !build.is_empty()).map(|build| format!("+{build}")).unwrap_or_default();
    println!("cargo:rustc-env=CLAWDBOT_FINGERPRINT=clawdbot-{version}{build}");
}

/// The commit that is checked out, if this is built from a repository.
fn commit() -> Option<String> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
        Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
    };
    // Changes with every commit and checkout.
    println!("cargo:rerun-if-changed={}", git(&["rev-parse", "--git-path", "logs/HEAD"])?);
    git(&["rev-parse", "--short=12", "HEAD"])
}
