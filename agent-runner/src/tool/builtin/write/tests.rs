use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
};

use futures_util::FutureExt as _;
use serde_json::json;

use super::*;
use crate::tool::{Settings as ToolSettings, builtin::tests::Place};

fn place() -> Place {
    let fs = Settings { max_file_bytes: 100, ..Settings::default() };
    Place::new(&ToolSettings { fs, ..ToolSettings::default() })
}

#[tokio::test]
async fn a_file_is_made_with_its_folders_and_replaced_with_its_mode() {
    let place = place();
    let write = async |content: &str| place.call("write", json!({ "path": "a/b/c", "content": content })).await;
    assert_eq!(write("one").await.as_deref(), Ok("wrote 3 bytes to `a/b/c`"));
    fs::set_permissions(place.inside("a/b/c"), fs::Permissions::from_mode(0o751)).expect("is set");
    write("two").await.expect("is replaced");
    assert_eq!(fs::read_to_string(place.inside("a/b/c")).expect("is there"), "two");
    assert_eq!(fs::metadata(place.inside("a/b/c")).expect("is there").permissions().mode() & 0o777, 0o751);
    assert_eq!(fs::read_dir(place.inside("a/b")).expect("is there").count(), 1, "no temporary file is left");
}

#[tokio::test]
async fn a_link_within_the_workspace_stays_one() {
    let place = place();
    fs::write(place.inside("a"), "one").expect("writes");
    symlink("a", place.inside("b")).expect("links");
    place.call("write", json!({ "path": "b", "content": "two" })).await.expect("is written");
    assert!(fs::symlink_metadata(place.inside("b")).expect("is there").is_symlink());
    assert_eq!(fs::read_to_string(place.inside("a")).expect("is there"), "two");
}

#[tokio::test]
async fn what_is_too_large_or_no_file_is_refused() {
    let place = place();
    let large = json!({ "path": "a", "content": "x".repeat(101) });
    let Error(error) = place.call("write", large).await.expect_err("is large");
    assert!(error.contains("tools.fs.maxFileBytes"), "{error}");
    fs::write(place.inside("b"), "x".repeat(101)).expect("writes");
    let edit = json!({ "path": "b", "old_text": "x", "new_text": "y", "replace_all": true });
    let Error(error) = place.call("edit", edit).await.expect_err("is large");
    assert!(error.contains("tools.fs.maxFileBytes"), "{error}");
    fs::create_dir(place.inside("c")).expect("is made");
    for path in ["c", ".", "", ".."] {
        place.call("write", json!({ "path": path, "content": "" })).await.expect_err(path);
    }
}

#[tokio::test]
async fn nothing_outside_the_workspace_is_written() {
    let place = place();
    symlink(place.outside("secret.md"), place.inside("file")).expect("links");
    symlink(place.outside("new.md"), place.inside("dangling")).expect("links");
    symlink(place.outside(""), place.inside("dir")).expect("links");
    symlink("/proc/self/root", place.inside("root")).expect("links");
    let outside = place.outside("new.md");
    let absolute = outside.to_str().expect("is text");
    for path in [
        "file",
        "dangling",
        "dir/secret.md",
        "dir/new.md",
        "dir/a/new.md",
        "../outside/new.md",
        "a/../../outside/new.md",
        "a/b/../../../outside/new.md",
        absolute,
        &format!("root{absolute}"),
        &format!("/proc/self/root{absolute}"),
    ] {
        place.call("write", json!({ "path": path, "content": "taken" })).await.expect_err(path);
        let edit = json!({ "path": path, "old_text": "secret", "new_text": "taken" });
        place.call("edit", edit).await.expect_err(path);
    }
    place.assert_untouched();
    assert!(!place.inside("a").exists(), "a refused call makes no folder");
}

#[tokio::test]
async fn edits_of_one_file_at_a_time_lose_nothing() {
    let place = place();
    fs::write(place.inside("a"), "0 1 2 3 4 5 6 7 8 9").expect("writes");
    let edit = async |number: usize| {
        let edit = json!({ "path": "a", "old_text": number.to_string(), "new_text": "x" });
        place.call("edit", edit).await.expect("is changed");
    };
    futures_util::future::join_all((0..10).map(edit)).await;
    assert_eq!(fs::read_to_string(place.inside("a")).expect("is there"), ["x"; 10].join(" "));
}

#[tokio::test]
async fn a_write_that_nobody_waits_for_any_more_changes_nothing() {
    let place = place();
    let holders = Arc::strong_count(&place.workspace);
    let alone = place.workspace.change().expect("begins");
    let patch = "*** Begin Patch\n*** Add File: b\n+x\n*** End Patch";
    for (name, arguments) in
        [("write", json!({ "path": "a", "content": "x" })), ("apply_patch", json!({ "input": patch }))]
    {
        let mut call = Box::pin(place.call(name, arguments));
        // On its thread it waits for the other change, or is about to.
        assert_eq!((&mut call).now_or_never(), None);
    }
    drop(alone);
    while Arc::strong_count(&place.workspace) > holders {
        tokio::task::yield_now().await;
    }
    assert!(!place.inside("a").exists() && !place.inside("b").exists());
}
