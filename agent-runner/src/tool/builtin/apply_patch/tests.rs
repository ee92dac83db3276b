use std::{fs, os::unix::fs::symlink};

use serde_json::json;

use super::*;
use crate::tool::{Settings as ToolSettings, builtin::tests::Place};

fn patch(body: &str) -> String {
    format!("*** Begin Patch\n{body}\n*** End Patch\n")
}

/// Applies a patch to a file `a` in memory.
fn change(before: &str, body: &str) -> Result<String, String> {
    let operations = parse(&patch(&format!("*** Update File: a\n{body}"))).map_err(|Error(error)| error)?;
    let [Operation::Update { chunks, .. }] = operations.as_slice() else { panic!("is one update: {operations:?}") };
    change::apply("a", before, chunks).map_err(|Error(error)| error)
}

#[test]
fn chunks_are_found_and_the_rest_stays_as_it_is() {
    let check = |before: &str, body: &str, expected: &str| {
        assert_eq!(change(before, body).as_deref(), Ok(expected), "{body}");
    };
    check("a\nb\nc\n", " a\n-b\n+x\n c", "a\nx\nc\n");
    check("a\nb\nc", "@@\n-c\n+x", "a\nb\nx");
    check("a\nb\na\nb\n", "@@\n-b\n+x\n@@\n-b\n+y", "a\nx\na\ny\n");
    check("f\n  x\ng\n  x\n", "@@ g\n-  x\n+  y", "f\n  x\ng\n  y\n");
    check("f\n  x\ng\n  x\n", "@@ g @@\n-  x\n+  y", "f\n  x\ng\n  y\n");
    check(
        "class A\n f\n  x\nclass B\n f\n  x\n",
        "@@ class B\n@@ f\n-  x\n+  y",
        "class A\n f\n  x\nclass B\n f\n  y\n",
    );
    check("a\n", "+b", "a\nb\n");
    check("a\nb\n", "@@ a\n+x", "a\nx\nb\n");
    check("", "+a", "a\n");
    check("a\n", "-a", "");
    check("x\ny\nx\n", "-x\n+z\n*** End of File", "x\ny\nz\n");
    check("a  \n\nb\t\n", " a\n\n-b\n+c", "a  \n\nc\n");
    check("a\r\nb\r\n", " a\n-b\n+x\n+y", "a\r\nx\r\ny\r\n");
}

#[test]
fn what_does_not_fit_is_refused() {
    let check = |before: &str, body: &str, expected: &str| {
        let error = change(before, body).expect_err("does not fit");
        assert!(error.contains(expected), "{error}");
    };
    check("a\nb\n", "-x\n+y", "begin with `x`");
    check("a\nb\n", "@@ f\n-a\n+y", "below `f`");
    check("a\nb\n", "@@\n-b\n+x\n@@\n-a\n+y", "change 2");
    check("a\nb\n", "-a\n*** End of File", "change 1");
    check("a\n", "a", "must begin with a space");
    check("a\n", "@@ a", "without a change");
}

#[test]
fn what_is_no_patch_is_refused() {
    let check = |text: &str, expected: &str| {
        let Error(error) = parse(text).expect_err("is no patch");
        assert!(error.contains(expected), "{error}");
    };
    check("", "must begin with");
    check("*** Begin Patch\n*** Add File: a\n+b", "must end with");
    check(&patch(""), "changes nothing");
    check(&patch("*** Add File:\n+b"), "without a path");
    check(&patch("*** Add File: a\nb"), "must begin with `+`");
    check(&patch("*** Update File: a"), "changes nothing in `a`");
    check(&patch("--- a\n+++ b"), "head of a file is expected");
    check(&format!("{}more", patch("*** Delete File: a")), "nothing may follow");
}

fn place() -> Place {
    let fs = Settings { max_file_bytes: 1000, ..Settings::default() };
    let place = Place::new(&ToolSettings { fs, ..ToolSettings::default() });
    fs::write(place.inside("a"), "one\ntwo\n").expect("writes");
    fs::write(place.inside("b"), "three\n").expect("writes");
    place
}

async fn apply(place: &Place, body: &str) -> Result<String, String> {
    place.call("apply_patch", json!({ "input": patch(body) })).await.map_err(|Error(error)| error)
}

#[tokio::test]
async fn a_patch_adds_updates_moves_and_deletes() {
    let place = place();
    fs::write(place.inside("d"), "four\n").expect("writes");
    let body = "*** Add File: new/c\n+x\n+y\n*** Update File: a\n@@\n one\n-two\n+2\n*** Delete File: b\n\
                *** Update File: d\n*** Move to: moved/d\n@@\n-four\n+4";
    let told = apply(&place, body).await.expect("is applied");
    assert_eq!(told, "added `new/c`\nupdated `a`\ndeleted `b`\nmoved `d` to `moved/d`");
    let content = |path: &str| fs::read_to_string(place.inside(path)).ok();
    assert_eq!(content("new/c").as_deref(), Some("x\ny\n"));
    assert_eq!(content("a").as_deref(), Some("one\n2\n"));
    assert_eq!(content("moved/d").as_deref(), Some("4\n"));
    assert_eq!((content("b"), content("d")), (None, None));
}

#[tokio::test]
async fn a_patch_of_which_a_part_does_not_fit_changes_nothing() {
    let place = place();
    symlink(place.outside(""), place.inside("dir")).expect("links");
    symlink(place.outside("new.md"), place.inside("dangling")).expect("links");
    fs::create_dir(place.inside("folder")).expect("is made");
    symlink("folder", place.inside("link")).expect("links");
    let good = "*** Update File: a\n-two\n+2\n*** Add File: new\n+x\n*** Add File: deep/er/new\n+x";
    let outside = place.outside("new.md");
    let absolute = format!("*** Update File: b\n*** Move to: {}\n-three\n+3", outside.display());
    for bad in [
        "*** Update File: b\n-four\n+4",
        "*** Update File: none\n-four\n+4",
        "*** Delete File: none",
        "*** Delete File: folder",
        "*** Delete File: dir/secret.md",
        "*** Delete File: ../outside/secret.md",
        "*** Add File: b\n+x",
        "*** Add File: folder\n+x",
        "*** Add File: new\n+x",
        "*** Add File: ./new\n+x",
        "*** Add File: new/below\n+x",
        "*** Add File: deep\n+x",
        "*** Add File: deep/er\n+x",
        "*** Add File: folder/../new\n+x",
        "*** Add File: none/../new\n+x",
        "*** Add File: none/../other\n+x",
        "*** Add File: none/../../outside/new.md\n+x",
        "*** Add File: link/new\n+x\n*** Add File: folder/new\n+x",
        "*** Add File: none/..\n+x",
        "*** Add File: dir/new.md\n+x",
        "*** Add File: dangling\n+x",
        "*** Add File: ../outside/new.md\n+x",
        "*** Add File: b/new\n+x",
        "*** Update File: ./a\n-one\n+1",
        "*** Update File: dir/secret.md\n-secret tea\n+x",
        "*** Update File: b\n*** Move to: ../outside/new.md\n-three\n+3",
        "*** Update File: b\n*** Move to: dir/new.md",
        "*** Update File: b\n*** Move to: dangling",
        "*** Update File: b\n*** Move to: a",
        "*** Update File: b\n*** Move to: b",
        "*** Update File: b\n*** Move to: new",
        "*** Update File: b\n*** Move to: folder",
        "*** Update File: b\n*** Move to: /proc/self/root/tmp/new",
        &absolute,
        &format!("*** Add File: large\n+{}", "x".repeat(1000)),
    ] {
        apply(&place, &format!("{good}\n{bad}")).await.expect_err(bad);
        assert_eq!(fs::read_to_string(place.inside("a")).expect("is there"), "one\ntwo\n", "{bad}");
        assert_eq!(fs::read_to_string(place.inside("b")).expect("is there"), "three\n", "{bad}");
        let mut names: Vec<_> = fs::read_dir(place.inside(""))
            .expect("is there")
            .map(|entry| entry.expect("is there").file_name())
            .collect();
        names.sort();
        assert_eq!(names, ["a", "b", "dangling", "dir", "folder", "link"], "{bad}");
        assert_eq!(fs::read_dir(place.inside("folder")).expect("is there").count(), 0, "{bad}");
        place.assert_untouched();
    }
}
