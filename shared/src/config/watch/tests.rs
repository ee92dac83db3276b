//! Looks at a real disk, one by one.

use std::os::unix::fs::symlink;

use serde_json::Value;
use tempfile::TempDir;

use super::*;

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn watch(path: &Path) -> Watch {
    Watch::new(Sources { config_path: Some(path.to_owned()), ..Sources::default() }, true)
}

fn text(port: u16) -> String {
    format!("{{ gateway: {{ port: {port} }} }}")
}

/// The looks' findings in short: `.` for nothing, a port, `!` for a file of no use, `-` for one that is gone.
fn looks(watch: &mut Watch, count: usize) -> String {
    let look = |look| match look {
        Look::Same => ".".to_owned(),
        Look::Read(document) => document.section::<Value>("gateway").unwrap()["port"].to_string(),
        Look::Unusable(_) => "!".to_owned(),
        Look::Gone(_) => "-".to_owned(),
    };
    (0..count).map(|_| look(watch.look())).collect()
}

#[test]
fn a_file_is_read_once_it_has_stayed_the_same_for_a_look() {
    let folder = folder();
    let path = folder.path().join("clawdbot.json");
    fs::write(&path, text(1)).unwrap();
    let mut watch = watch(&path);
    assert_eq!(looks(&mut watch, 4), ".1..");
    fs::write(&path, "{ gateway: {").unwrap();
    assert_eq!(looks(&mut watch, 1), ".");
    fs::write(&path, text(22)).unwrap();
    assert_eq!(looks(&mut watch, 4), ".22..");
    watch.read_again();
    assert_eq!(looks(&mut watch, 2), "22.");
}

#[test]
fn a_bad_file_is_told_of_once() {
    let folder = folder();
    let path = folder.path().join("clawdbot.json");
    fs::write(&path, "{ gateway: {").unwrap();
    let mut watch = watch(&path);
    assert_eq!(looks(&mut watch, 4), ".!..");
    fs::write(&path, text(1)).unwrap();
    assert_eq!(looks(&mut watch, 3), ".1.");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert_eq!(looks(&mut watch, 3), ".!.");
}

#[test]
fn a_file_may_vanish_and_come_back() {
    let folder = folder();
    let path = folder.path().join("clawdbot.json");
    fs::write(&path, text(1)).unwrap();
    let mut watch = watch(&path);
    assert_eq!(looks(&mut watch, 2), ".1");
    fs::remove_file(&path).unwrap();
    assert_eq!(looks(&mut watch, 3), "-..");
    fs::write(&path, text(1)).unwrap();
    assert_eq!(looks(&mut watch, 3), ".1.");
}

#[test]
fn a_file_may_appear_at_the_default_place() {
    let folder = folder();
    let environment = [("HOME", folder.path().to_str().unwrap())].into_iter().collect();
    let mut watch = Watch::new(Sources { environment, ..Sources::default() }, false);
    assert_eq!(looks(&mut watch, 2), "..");
    let path = folder.path().join(".clawdbot/clawdbot.json");
    assert_eq!(watch.path(), path);
    fs::create_dir(path.parent().unwrap()).unwrap();
    fs::write(&path, text(1)).unwrap();
    assert_eq!(looks(&mut watch, 3), ".1.");
}

/// A mounted `ConfigMap` is a link to a file in a link to a folder, and the latter is replaced.
#[test]
fn a_link_may_lead_elsewhere() {
    let folder = folder();
    for (name, port) in [("old", 1), ("new", 2)] {
        fs::create_dir(folder.path().join(name)).unwrap();
        fs::write(folder.path().join(name).join("clawdbot.json"), text(port)).unwrap();
    }
    let data = folder.path().join("..data");
    symlink("old", &data).unwrap();
    let path = folder.path().join("clawdbot.json");
    symlink("..data/clawdbot.json", &path).unwrap();
    let mut watch = watch(&path);
    assert_eq!(looks(&mut watch, 3), ".1.");
    let next = folder.path().join("..next");
    symlink("new", &next).unwrap();
    fs::rename(&next, &data).unwrap();
    assert_eq!(looks(&mut watch, 3), ".2.");
}
