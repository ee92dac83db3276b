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

fn write(workspace: &Workspace, path: &str, content: &[u8]) -> Result<(), Error> {
    let mut change = workspace.change()?;
    change.write(path, content, None)?;
    change.commit()
}

/// The names in a workspace.
fn files(workspace: &Workspace) -> Vec<String> {
    let entries = fs::read_dir(workspace.path()).expect("is there");
    let name = |entry: io::Result<fs::DirEntry>| entry.expect("is there").file_name().into_string().expect("is text");
    let mut names: Vec<String> = entries.map(name).collect();
    names.sort();
    names
}

#[test]
fn the_folder_is_made_for_its_owner_alone_and_made_again_when_it_is_gone() {
    let (_folder, workspace) = workspace();
    assert!(!workspace.path().exists());
    workspace.dir().expect("is made");
    let mode = fs::metadata(workspace.path()).expect("is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    fs::remove_dir(workspace.path()).expect("is removed");
    write(&workspace, "a.md", b"x").expect("is made again");
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
    let mut change = workspace.change().expect("begins");
    change.write("a/b/c.md", b"x", None).expect("is staged");
    change.write("a/d.md", b"x", None).expect("is staged");
    drop(change);
    assert_eq!(files(&workspace), Vec::<String>::new());
}

#[test]
fn a_folder_that_is_put_in_the_place_of_the_workspace_is_the_workspace() {
    let (folder, workspace) = workspace();
    write(&workspace, "old.md", b"x").expect("is written");
    fs::rename(workspace.path(), folder.path().join("elsewhere")).expect("is moved");
    fs::create_dir(workspace.path()).expect("is made");
    write(&workspace, "new.md", b"x").expect("is written");
    assert_eq!(files(&workspace), ["new.md"]);
}

#[test]
fn a_change_of_which_a_step_fails_is_undone() {
    let (_folder, workspace) = workspace();
    write(&workspace, "a", b"old").expect("is written");
    write(&workspace, "gone", b"old").expect("is written");
    fs::set_permissions(workspace.path().join("a"), fs::Permissions::from_mode(0o751)).expect("is set");
    let before = files(&workspace);
    let check = |sabotage: &dyn Fn(), repair: &dyn Fn()| {
        let mut change = workspace.change().expect("begins");
        change.write("a", b"new", None).expect("is staged");
        change.write("folder/new", b"new", None).expect("is staged");
        change.remove("gone").expect("is there");
        change.write("b", b"new", None).expect("is staged");
        change.remove("last").expect("is looked for later");
        sabotage();
        change.commit().expect_err("cannot be made");
        repair();
        assert_eq!(files(&workspace), before);
        for name in ["a", "gone"] {
            assert_eq!(fs::read(workspace.path().join(name)).expect("is there"), b"old", "{name}");
        }
        assert_eq!(fs::metadata(workspace.path().join("a")).expect("is there").permissions().mode() & 0o777, 0o751);
    };
    let at = |name: &str| workspace.path().join(name);
    // What is to be deleted is not there; what is to be written is a folder by now.
    check(&|| {}, &|| {});
    check(&|| fs::create_dir(at("b")).expect("is made"), &|| fs::remove_dir(at("b")).expect("is removed"));
    check(&|| fs::create_dir(at("last")).expect("is made"), &|| fs::remove_dir(at("last")).expect("is removed"));
}

#[test]
fn a_change_leaves_nothing_but_its_files() {
    let (_folder, workspace) = workspace();
    write(&workspace, "a", b"old").expect("is written");
    write(&workspace, "gone", b"old").expect("is written");
    let mut change = workspace.change().expect("begins");
    change.write("a", b"new", None).expect("is staged");
    change.write("b", b"new", None).expect("is staged");
    change.remove("gone").expect("is there");
    change.commit().expect("is made");
    assert_eq!(files(&workspace), ["a", "b"]);
    assert_eq!(fs::read(workspace.path().join("a")).expect("is there"), b"new");
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
                written += usize::from(write(&workspace, "name/file", b"inside").is_ok());
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
