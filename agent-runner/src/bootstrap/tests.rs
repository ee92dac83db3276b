//! Workspaces on a real disk.

use std::{fs, os::unix::fs::symlink};

use super::*;
use crate::agents::Agent;

const SETTINGS: Settings = Settings { max_chars: 100, max_skills: 3 };

fn write(path: &Path, content: &str) {
    fs::create_dir_all(path.parent().expect("a file is in a folder")).expect("the folder can be made");
    // A new file in the old one's place: its inode differs, however coarse the clock is.
    let new = path.with_extension("new");
    fs::write(&new, content).expect("the file can be written");
    fs::rename(&new, path).expect("the file can be put in place");
}

fn skill(workspace: &Path, folder: &str, head: &str) {
    write(&workspace.join("skills").join(folder).join("SKILL.md"), &format!("---\n{head}\n---\nBody.\n"));
}

fn files(workspace: &Workspace) -> Vec<(&str, &str)> {
    workspace.contents().files.iter().map(|file| (file.name, file.text.as_str())).collect()
}

fn skills(workspace: &Workspace) -> Vec<String> {
    let line = |skill: &Arc<Skill>| format!("{}: {} ({})", skill.name, skill.description, skill.path);
    workspace.contents().skills.iter().map(line).collect()
}

fn looked_at(path: &Path, settings: Settings) -> Workspace {
    let mut workspace = Workspace::new(path.to_owned(), settings);
    assert!(workspace.refresh(), "the first look is news");
    workspace
}

#[test]
fn the_files_come_in_their_order_and_only_those_that_say_something() {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["MEMORY.md", "AGENTS.md", "SOUL.md", "README.md", "HEARTBEAT.md"] {
        write(&folder.path().join(name), &format!("\u{feff}\n{name} says this.\n\n"));
    }
    write(&folder.path().join("USER.md"), " \n");
    let workspace = looked_at(folder.path(), SETTINGS);
    let says = [
        ("AGENTS.md", "AGENTS.md says this."),
        ("SOUL.md", "SOUL.md says this."),
        ("MEMORY.md", "MEMORY.md says this."),
    ];
    assert_eq!(files(&workspace), says);
}

#[test]
fn a_long_file_is_cut() {
    let folder = tempfile::tempdir().expect("a folder");
    write(&folder.path().join("AGENTS.md"), &format!("{}{}", "a".repeat(600), "z".repeat(400)));
    let workspace = looked_at(folder.path(), SETTINGS);
    let [(_, text)] = files(&workspace)[..] else { panic!("one file") };
    let marker = "\n\n[… 910 of the 1000 bytes of AGENTS.md are left out here …]\n\n";
    assert_eq!(text, format!("{}{marker}{}", "a".repeat(70), "z".repeat(20)));
}

#[test]
fn skills_are_listed_by_their_folders_names_up_to_a_limit() {
    let folder = tempfile::tempdir().expect("a folder");
    skill(folder.path(), "c", "name: third\ndescription: Does c.");
    skill(folder.path(), "a", "description: Does a.");
    skill(folder.path(), "b", "name: second\ndescription: Does b.\ndisable-model-invocation: true");
    skill(folder.path(), "d", "name: no description");
    skill(folder.path(), "e", &format!("name: fifth\ndescription: {}", "e".repeat(1025)));
    skill(folder.path(), "f", "name: one too many\ndescription: Does f, also.\n");
    skill(folder.path(), "g\nh", "name: trick\ndescription: Looks like another line.");
    write(&folder.path().join("skills/README.md"), "Not a skill.");
    let fifth = format!("fifth: {}… (skills/e/SKILL.md)", "e".repeat(1024));
    let all = ["a: Does a. (skills/a/SKILL.md)", "third: Does c. (skills/c/SKILL.md)", fifth.as_str()];
    assert_eq!(skills(&looked_at(folder.path(), SETTINGS)), all);
    assert_eq!(skills(&looked_at(folder.path(), Settings { max_skills: 1, ..SETTINGS })), all[..1]);
}

#[test]
fn nothing_outside_of_the_workspace_can_be_reached() {
    let outside = tempfile::tempdir().expect("a folder");
    write(&outside.path().join("secret"), "secret");
    skill(outside.path(), "theirs", "name: theirs\ndescription: secret");
    let folder = tempfile::tempdir().expect("a folder");
    let workspace = folder.path().join("workspace");
    write(&folder.path().join("secret"), "secret");
    write(&workspace.join("notes/agents.md"), "Linked within.");
    symlink("notes/agents.md", workspace.join("AGENTS.md")).expect("a link");
    symlink(outside.path().join("secret"), workspace.join("SOUL.md")).expect("a link");
    symlink("../secret", workspace.join("USER.md")).expect("a link");
    symlink("/proc/self/root/etc/passwd", workspace.join("TOOLS.md")).expect("a link");
    symlink("MEMORY.md", workspace.join("MEMORY.md")).expect("a link to itself");
    symlink(outside.path().join("skills"), workspace.join("skills")).expect("a link");
    let found = looked_at(&workspace, SETTINGS);
    assert_eq!(files(&found), [("AGENTS.md", "Linked within.")]);
    assert_eq!(skills(&found), [""; 0]);
}

#[test]
fn what_is_no_file_is_left_out_and_waited_for_by_nobody() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("AGENTS.md")).expect("a folder");
    nix::unistd::mkfifo(&folder.path().join("SOUL.md"), nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    write(&folder.path().join("USER.md"), "Alice.");
    assert_eq!(files(&looked_at(folder.path(), SETTINGS)), [("USER.md", "Alice.")]);
}

#[test]
fn only_what_has_changed_is_read_again() {
    let folder = tempfile::tempdir().expect("a folder");
    write(&folder.path().join("AGENTS.md"), "one");
    write(&folder.path().join("SOUL.md"), "soul");
    skill(folder.path(), "a", "description: Does a.");
    let mut workspace = looked_at(folder.path(), SETTINGS);
    let before = workspace.contents().clone();
    assert!(!workspace.refresh(), "nothing has changed");
    assert!(Arc::ptr_eq(&before, workspace.contents()));

    write(&folder.path().join("AGENTS.md"), "two");
    assert!(workspace.refresh());
    assert_eq!(files(&workspace), [("AGENTS.md", "two"), ("SOUL.md", "soul")]);
    assert!(Arc::ptr_eq(&before.files[1], &workspace.contents().files[1]), "the other file is read again");
    assert!(Arc::ptr_eq(&before.skills[0], &workspace.contents().skills[0]), "the skill is read again");

    fs::remove_file(folder.path().join("SOUL.md")).expect("it is there");
    skill(folder.path(), "b", "description: Does b.");
    fs::remove_dir_all(folder.path().join("skills/a")).expect("it is there");
    assert!(workspace.refresh());
    assert_eq!(files(&workspace), [("AGENTS.md", "two")]);
    assert_eq!(skills(&workspace), ["b: Does b. (skills/b/SKILL.md)"]);

    fs::remove_dir_all(folder.path()).expect("it is there");
    assert!(workspace.refresh());
    assert_eq!(**workspace.contents(), Contents::default());
}

fn agent(id: &str, workspace: Option<PathBuf>) -> Agent {
    Agent { workspace, ..Agent::called(id) }
}

#[tokio::test(start_paused = true)]
async fn a_change_is_seen_while_agents_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let (shared, missing) = (folder.path().join("shared"), folder.path().join("missing"));
    write(&shared.join("AGENTS.md"), "one");
    let list = vec![
        agent("a", Some(shared.clone())),
        agent("b", Some(shared.clone())),
        agent("c", Some(missing.clone())),
        agent("d", None),
    ];
    let bootstrap = Bootstrap::start(&Agents::new(list, 0).expect("four agents"), SETTINGS).await;
    let text = |path: &Path| Some(bootstrap.snapshot().of(path)?.files.first()?.text.clone());
    assert_eq!((text(&shared).as_deref(), text(&missing)), (Some("one"), None));

    write(&missing.join("AGENTS.md"), "made later");
    write(&shared.join("AGENTS.md"), "two");
    // The clock is stopped, and goes on only while nobody has anything to do.
    while text(&shared).as_deref() != Some("two") {
        tokio::time::sleep(PERIOD).await;
    }
    assert_eq!(text(&missing).as_deref(), Some("made later"));

    bootstrap.stop().await;
    write(&shared.join("AGENTS.md"), "three");
    tokio::time::sleep(PERIOD * 3).await;
    assert_eq!(text(&shared).as_deref(), Some("two"));
}
