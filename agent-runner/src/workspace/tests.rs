use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use tempfile::TempDir;

use super::*;

fn workspace() -> (TempDir, Workspace) {
    let folder = TempDir::new().expect("makes a folder");
    let workspace = Workspace::new(folder.path().join("a/workspace"));
    (folder, workspace)
}

#[test]
fn the_folder_is_made_for_its_owner_alone_and_made_again_when_it_is_gone() {
    let (_folder, workspace) = workspace();
    assert!(!workspace.path().exists());
    workspace.dir().expect("is made");
    let mode = fs::metadata(workspace.path()).expect("is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    fs::remove_dir(workspace.path()).expect("is removed");
    Staged::write(&workspace, "a.md", b"x", None).expect("is made again").commit().expect("is put in place");
    assert_eq!(fs::read(workspace.path().join("a.md")).expect("is there"), b"x");
}

#[test]
fn a_path_is_taken_as_relative_and_an_absolute_one_only_below_the_workspace() {
    let workspace = Workspace::new("/home/alice/workspace".into());
    let check = |path: &str, expected: Option<&str>| {
        assert_eq!(workspace.relative(path).ok(), expected.map(PathBuf::from), "{path}");
    };
    check("a/./b", Some("a/b"));
    check("", Some("."));
    check(".", Some("."));
    check("/home/alice/workspace", Some("."));
    check("/home/alice/workspace/a", Some("a"));
    check("/home/alice/workspace2/a", None);
    check("/home/alice", None);
    check("/etc/passwd", None);
    check("/proc/self/root/etc/passwd", None);
    check("a\0b", None);
    let Error(refusal) = workspace.relative("/etc/passwd").expect_err("leads out");
    assert!(refusal.contains("out of the workspace"), "{refusal}");
}

#[test]
fn what_is_dropped_before_it_is_put_in_place_leaves_nothing_behind() {
    let (_folder, workspace) = workspace();
    drop(Staged::write(&workspace, "a.md", b"x", None).expect("is staged"));
    assert_eq!(fs::read_dir(workspace.path()).expect("is there").count(), 0);
}

/// A thread exchanges a folder for a link out of the workspace and back, as fast as it can, while files are read and
/// written through its name.
#[test]
fn a_folder_that_is_exchanged_for_a_link_leads_nowhere_else() {
    let (folder, workspace) = workspace();
    let outside = folder.path().join("outside");
    fs::create_dir(&outside).expect("is made");
    fs::write(outside.join("file"), "outside").expect("writes");
    workspace.dir().expect("is made");
    let (name, link) = (workspace.path().join("name"), workspace.path().join("link"));
    fs::create_dir(&name).expect("is made");
    fs::write(name.join("file"), "inside").expect("writes");
    symlink(&outside, &link).expect("links");

    let is_over = AtomicBool::new(false);
    let (mut read, mut written, mut refused) = (0, 0, 0);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                renameat_with(CWD, &name, CWD, &link, RenameFlags::EXCHANGE).expect("are exchanged");
            }
        });
        for round in 0..5000 {
            match workspace.read("name/file", 100) {
                Ok(bytes) => {
                    assert_eq!(bytes, b"inside");
                    read += 1;
                }
                Err(_) => refused += 1,
            }
            if round % 20 == 0 {
                let staged = Staged::write(&workspace, "name/file", b"inside", None);
                written += usize::from(staged.and_then(Staged::commit).is_ok());
            }
        }
        is_over.store(true, Ordering::Relaxed);
    });
    assert!(read > 0 && written > 0 && refused > 0, "{read} reads, {written} writes, {refused} refusals");
    let names: Vec<_> =
        fs::read_dir(&outside).expect("is there").map(|entry| entry.expect("is there").path()).collect();
    assert_eq!(names, [outside.join("file")]);
    assert_eq!(fs::read_to_string(outside.join("file")).expect("is there"), "outside");
}
