use std::{
    fs,
    os::unix::{fs::symlink, net::UnixListener},
};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::json;
use shared::config::documented_default;

use super::*;
use crate::tool::{Settings as ToolSettings, blocking::waiting, builtin::tests::Place};

fn place() -> Place {
    let fs = Settings { max_read_bytes: 40, max_read_lines: 3, max_file_bytes: 100 };
    Place::new(&ToolSettings { fs, ..ToolSettings::default() })
}

async fn read(place: &Place, path: &str) -> Result<String, String> {
    place.call("read", json!({ "path": path })).await.map_err(|Error(error)| error)
}

#[tokio::test]
async fn a_long_file_is_read_in_parts_that_say_how_to_go_on() {
    let place = place();
    fs::write(place.inside("a"), "1\n2\n3\n4\n5").expect("writes");
    let check = async |arguments: serde_json::Value, expected: &str| {
        assert_eq!(place.call("read", arguments).await.as_deref(), Ok(expected));
    };
    check(json!({"path": "a"}), "1\n2\n3\n[the file goes on; read on with offset 4]").await;
    check(json!({"path": "a", "offset": 4}), "4\n5").await;
    check(json!({"path": "a", "offset": 2, "limit": 1}), "2\n[the file goes on; read on with offset 3]").await;
    check(json!({"path": place.inside("a").to_str(), "offset": 5}), "5").await;
    let Error(past) = place.call("read", json!({"path": "a", "offset": 9})).await.expect_err("is past the end");
    assert_eq!(past, "`a` ends before line 9");

    let long = "x".repeat(30);
    fs::write(place.inside("b"), format!("{long}\n{long}\n{long}{long}\nend")).expect("writes");
    check(json!({"path": "b"}), &format!("{long}\n[the file goes on; read on with offset 2]")).await;
    let cut = "x".repeat(40);
    let told = format!("{cut}\n[line 3 is longer than 40 bytes and cut]\n[the file goes on; read on with offset 4]");
    check(json!({"path": "b", "offset": 3}), &told).await;
    check(json!({"path": "b", "offset": 4}), "end").await;
    fs::write(place.inside("empty"), "").expect("writes");
    check(json!({"path": "empty"}), "[the file is empty]").await;
}

#[tokio::test]
async fn a_folder_is_listed() {
    let place = place();
    assert_eq!(read(&place, ".").await.as_deref(), Ok("[the folder is empty]"));
    fs::create_dir(place.inside("b")).expect("is made");
    fs::write(place.inside("a"), "").expect("writes");
    symlink(place.outside(""), place.inside("c")).expect("links");
    assert_eq!(read(&place, "").await.as_deref(), Ok("a\nb/\nc@"));
    fs::write(place.inside("d"), "").expect("writes");
    assert!(read(&place, ".").await.expect("is listed").ends_with("can be listed]"));
}

#[tokio::test]
async fn what_is_no_text_is_refused() {
    let place = place();
    fs::write(place.inside("a"), [0, 1, 2]).expect("writes");
    fs::write(place.inside("b"), [b'a', 0xff, b'b']).expect("writes");
    assert!(read(&place, "a").await.expect_err("is no text").contains("not UTF-8 text (3 bytes)"));
    assert!(read(&place, "b").await.expect_err("is no text").contains("not UTF-8 text (3 bytes)"));
}

#[tokio::test]
async fn a_pipe_and_a_socket_are_refused_and_not_waited_for() {
    let place = place();
    mknodat(CWD, place.inside("pipe"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("is made");
    let _listener = UnixListener::bind(place.inside("socket")).expect("is made");
    assert_eq!(read(&place, "pipe").await.expect_err("is a pipe"), "`pipe` is neither a file nor a folder");
    read(&place, "socket").await.expect_err("is a socket");
}

#[tokio::test]
async fn nothing_outside_the_workspace_is_read() {
    let place = place();
    fs::create_dir(place.inside("folder")).expect("is made");
    symlink(place.outside("secret.md"), place.inside("file")).expect("links");
    symlink("../outside/secret.md", place.inside("relative")).expect("links");
    symlink(place.outside(""), place.inside("dir")).expect("links");
    symlink("file", place.inside("again")).expect("links");
    symlink("/proc/self/root", place.inside("root")).expect("links");
    let outside = place.outside("secret.md");
    let absolute = outside.to_str().expect("is text");
    let through_root = format!("root{absolute}");
    let proc = format!("/proc/self/root{absolute}");
    let climbing = format!("{}/../outside/secret.md", place.workspace.path().display());
    for path in [
        "file",
        "relative",
        "dir/secret.md",
        "dir",
        "again",
        "../outside/secret.md",
        "folder/../../outside/secret.md",
        "..",
        absolute,
        &through_root,
        &proc,
        &climbing,
    ] {
        let error = read(&place, path).await.expect_err(path);
        assert!(error.contains("leads out of the workspace"), "{path}: {error}");
    }
    read(&place, "/proc/self/environ").await.expect_err("is absolute");
}

#[tokio::test]
async fn what_fits_the_limit_of_a_read_reaches_the_model_whole() {
    let place = Place::new(&ToolSettings::default());
    fs::write(place.inside("a"), format!("{}\n", "x".repeat(99)).repeat(1000)).expect("writes");
    let told = place.call("read", json!({ "path": "a" })).await.expect("is read");
    assert!(told.contains("read on with offset 401"), "{told:.0}");
    let most: usize =
        documented_default("agents.defaults.toolOutputMaxChars").expect("is one").parse().expect("a number");
    assert!(told.len() <= most, "{} > {most}", told.len());
}

#[test]
fn a_read_that_nobody_waits_for_ends() {
    let (waiting, caller) = waiting();
    let part = Part { first: 1, count: 1, max_bytes: 1 };
    let read = || part.read(&mut "a\nb\n".as_bytes(), "a", 4, &caller);
    read().expect("is waited for");
    drop(waiting);
    read().expect_err("is not waited for");
}
