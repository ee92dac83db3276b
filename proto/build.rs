//! Generates the Rust code from the .proto files, without an installed `protoc`.

use std::{env, fs, io, path::PathBuf};

use prost::Message;

const FILES: [&str; 2] = ["clawdbot/agent/v1/agent_runner.proto", "clawdbot/session/v1/session_store.proto"];

#[allow(clippy::disallowed_methods, reason = "cargo speaks to build scripts through the environment")]
fn main() -> io::Result<()> {
    println!("cargo:rerun-if-changed=clawdbot");
    let descriptors = protox::compile(FILES, ["."]).map_err(io::Error::other)?;
    let out_dir = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    fs::write(out_dir.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().bytes(".").compile_fds(descriptors)
}
