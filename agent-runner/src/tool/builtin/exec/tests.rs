use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
};

use rustix::process::{Pid, test_kill_process};
use serde_json::json;
use shared::config::documented_default;
use tempfile::TempDir;

use super::*;
use crate::tool::{Settings as ToolSettings, builtin::tests::Place};

fn settings(security: Security, safe_bins: &[&str]) -> Settings {
    let safe_bins = safe_bins.iter().map(|name| (*name).to_owned()).collect();
    Settings { security, safe_bins, ..Settings::default() }
}

fn place(exec: Settings) -> Place {
    Place::new(&ToolSettings { exec, ..ToolSettings::default() })
}

async fn exec(place: &Place, arguments: serde_json::Value) -> Result<String, String> {
    place.call("exec", arguments).await.map_err(|Error(error)| error)
}

fn script(path: &Path, body: &str) {
    fs::write(path, format!("#!/bin/sh\n{body}\n")).expect("writes");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("is set");
}

/// Waits until a file has a whole line, and returns it.
async fn line(path: &Path) -> String {
    loop {
        match fs::read_to_string(path) {
            Ok(text) if text.ends_with('\n') => return text.trim().to_owned(),
            Ok(_) | Err(_) => tokio::task::yield_now().await,
        }
    }
}

/// Waits for what must come soon.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), what).await.expect("comes soon")
}

/// Waits until a process has ended. An orphan may wait for its new parent for as long as that likes.
async fn gone(pid: &str) {
    let has_ended = |stat: String| stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z'));
    soon(async {
        while fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !has_ended(stat)) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Waits until nothing is left of a process, not even its number.
async fn collected(pid: &str) {
    let pid = Pid::from_raw(pid.parse().expect("is a number")).expect("is not zero");
    soon(async {
        while test_kill_process(pid).is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_program_is_run_without_a_shell_and_its_exit_code_is_told() {
    let place = place(settings(Security::Full, &[]));
    let check = async |arguments, expected: &str| assert_eq!(exec(&place, arguments).await.as_deref(), Ok(expected));
    check(json!({ "command": "printf '%s\\n' '$HOME' \"a b\" ';' c" }), "$HOME\na b\n;\nc\n[exit code 0]").await;
    check(json!({ "command": "false" }), "[exit code 1]").await;
    check(json!({ "command": "echo a; echo b >&2; echo c; exit 3", "shell": true }), "a\nb\nc\n[exit code 3]").await;
    check(json!({ "command": "kill -9 $$", "shell": true }), "[ended by signal 9]").await;
    check(json!({ "command": "cat" }), "[exit code 0]").await;
    for command in ["", "'", "a-program-that-is-not-there", "a\0b"] {
        exec(&place, json!({ "command": command })).await.expect_err(command);
    }
}

#[tokio::test]
async fn a_program_runs_in_the_workspace_and_in_no_folder_outside() {
    let place = place(settings(Security::Full, &[]));
    fs::create_dir(place.inside("folder")).expect("is made");
    fs::write(place.inside("file"), "").expect("writes");
    symlink(place.outside(""), place.inside("dir")).expect("links");
    let real = |path: &str| fs::canonicalize(place.inside(path)).expect("is there").display().to_string();
    let pwd = async |cwd: &str| exec(&place, json!({ "command": "/bin/pwd -P", "cwd": cwd })).await;
    assert_eq!(pwd(".").await, Ok(format!("{}\n[exit code 0]", real(""))));
    assert_eq!(pwd("folder").await, Ok(format!("{}\n[exit code 0]", real("folder"))));
    let outside = place.outside("");
    for cwd in [
        "dir",
        "..",
        "../outside",
        "folder/../..",
        "/",
        "/proc/self/root",
        "file",
        "none",
        outside.to_str().expect("is text"),
    ] {
        pwd(cwd).await.expect_err(cwd);
    }
}

#[tokio::test]
async fn a_program_knows_nothing_of_the_environment_but_what_it_should() {
    let variables =
        [("PATH", "/usr/bin:/bin"), ("LANG", "C.UTF-8"), ("OPENAI_API_KEY", "sk-1"), ("CLAWDBOT_GATEWAY_TOKEN", "t")];
    let environment = Environment::new(variables.map(|(name, value)| (name.into(), value.into())));
    let mut settings = settings(Security::Full, &[]);
    settings.env.insert("GREETING".to_owned(), "hello".to_owned());
    settings.inherit(&environment);
    assert!(!format!("{settings:?}").contains("hello"));
    let place = place(settings);
    let told = exec(&place, json!({ "command": "env" })).await.expect("is run");
    let mut lines: Vec<&str> = told.lines().collect();
    lines.sort_unstable();
    let home = format!("HOME={}", place.workspace.path().display());
    assert_eq!(lines, ["GREETING=hello", &home, "LANG=C.UTF-8", "PATH=/usr/bin:/bin", "TERM=dumb", "[exit code 0]"]);
}

#[tokio::test]
async fn a_program_that_is_listed_reads_no_settings_that_the_model_has_written() {
    let told = exec(&place(settings(Security::Allowlist, &["env"])), json!({ "command": "env" })).await;
    assert!(told.as_ref().is_ok_and(|told| told.contains("HOME=/nonexistent\n")), "{told:?}");
}

#[test]
fn a_program_ends_before_its_call_is_given_up() {
    let check = |timeout_sec, call_seconds, expected| {
        let mut settings = Settings { timeout_sec, ..Settings::default() };
        settings.end_within(Duration::from_secs(call_seconds));
        assert_eq!(settings.timeout_sec, expected, "{timeout_sec} of {call_seconds}");
    };
    check(50, 60, 50);
    check(600, 60, 59);
    check(60, 60, 59);
    check(50, 1, 1);
}

#[tokio::test]
async fn only_what_is_listed_is_run() {
    let elsewhere = TempDir::new().expect("makes a folder");
    // A link, since a program that has just been written cannot be run while another test starts one.
    symlink("/bin/sh", elsewhere.path().join("tool")).expect("links");
    script(&elsewhere.path().join("other"), "echo other");
    let absolute = elsewhere.path().join("tool").display().to_string();
    let mut settings = settings(Security::Allowlist, &["echo", "mine", "./relative", "sub/tool", &absolute]);
    let workspace_listed = "/home/alice/workspace/tool";
    settings.safe_bins.push(workspace_listed.to_owned());
    settings.path = Some("/usr/bin:/bin".to_owned());
    let place = place(settings);
    for name in ["echo", "mine", "relative", "tool"] {
        script(&place.inside(name), "echo fake");
    }
    let run = async |command: &str| exec(&place, json!({ "command": command })).await;
    assert_eq!(run("echo real").await.as_deref(), Ok("real\n[exit code 0]"));
    assert_eq!(run(&format!("{absolute} -c 'echo tool'")).await.as_deref(), Ok("tool\n[exit code 0]"));
    let other = elsewhere.path().join("other").display().to_string();
    let roundabout =
        format!("{}/../{}/tool", elsewhere.path().display(), elsewhere.path().file_name().expect("has one").display());
    let fake = place.inside("echo").display().to_string();
    for command in [
        "ls",
        "env echo hi",
        "sh -c 'echo hi'",
        "PATH=. echo",
        "./echo",
        "/bin/echo hi",
        "/usr/bin/env echo",
        "../echo",
        "mine",
        "./relative",
        "sub/tool",
        "tool",
        "ECHO hi",
        "echo\u{a0}hi",
        &other,
        &roundabout,
        &fake,
    ] {
        let error = run(command).await.expect_err(command);
        assert!(error.contains("may not be run") || error.contains("there is no program"), "{command}: {error}");
    }
    let shell = json!({ "command": "echo hi", "shell": true });
    assert!(exec(&place, shell).await.expect_err("is a shell").contains("a shell may not be used"));
}

#[tokio::test]
async fn programs_are_not_looked_for_in_the_workspace_whatever_the_path_says() {
    let folder = TempDir::new().expect("makes a folder");
    let workspace = Arc::new(Workspace::new(folder.path().join("workspace")));
    workspace.dir().expect("is made");
    script(&workspace.path().join("mine"), "echo fake");
    fs::create_dir(folder.path().join("bin")).expect("is made");
    symlink(workspace.path().join("mine"), folder.path().join("bin/linked")).expect("links");
    symlink(workspace.path(), folder.path().join("alias")).expect("links");
    script(&folder.path().join("bin/real"), "echo real");
    let mut settings = settings(Security::Allowlist, &["mine", "linked", "real"]);
    let in_workspace = workspace.path().display();
    settings.path_prepend = vec![folder.path().join("bin")];
    settings.path = Some(format!("{in_workspace}::.:bin:{}/alias:/usr/bin", folder.path().display()));
    let programs =
        Programs::new(workspace.path(), &settings, settings.security, settings.path.as_deref().expect("is set"));
    assert_eq!(programs.path(), format!("{}/bin:/usr/bin", folder.path().display()).as_str());
    programs.choose("mine", false).expect_err("is in the workspace");
    programs.choose("linked", false).expect_err("leads to the workspace");
    assert_eq!(
        programs.choose("real a", false),
        Ok(vec![format!("{}/bin/real", folder.path().display()), "a".to_owned()])
    );
}

#[tokio::test]
async fn long_output_is_kept_at_its_beginning_and_its_end() {
    let place = place(Settings { max_output_bytes: 10, ..settings(Security::Full, &[]) });
    let command = json!({ "command": "echo abcd; head -c 1000000 /dev/zero; echo; echo wxyz", "shell": true });
    assert_eq!(
        exec(&place, command).await.as_deref(),
        Ok("abcd\n[1000001 bytes are left out here]\nwxyz\n[exit code 0]")
    );
}

#[tokio::test]
async fn what_a_program_leaves_in_the_background_ends_with_it_and_holds_nothing_up() {
    let place = place(settings(Security::Full, &[]));
    let command = json!({ "command": "sleep 1000 & echo $! > pid; echo done", "shell": true });
    assert_eq!(exec(&place, command).await.as_deref(), Ok("done\n[exit code 0]"));
    gone(&line(&place.inside("pid")).await).await;
}

#[tokio::test]
async fn a_program_that_takes_too_long_is_stopped_with_all_it_has_started() {
    let place = place(Settings { timeout_sec: 1, ..settings(Security::Full, &[]) });
    let command =
        json!({ "command": "sleep 1000 & echo $! > pid; echo begun; wait", "shell": true, "timeout_seconds": 900 });
    let error = exec(&place, command).await.expect_err("is stopped");
    assert_eq!(error, "begun\n[stopped after 1 s, with all it had started]");
    gone(&line(&place.inside("pid")).await).await;
}

#[tokio::test]
async fn a_dropped_call_stops_the_program_with_all_it_has_started() {
    let place = place(settings(Security::Full, &[]));
    let command = json!({ "command": "echo $$ > leader; sleep 1000 & echo $! > pid; wait", "shell": true });
    let (leader, pid) = tokio::select! {
        ended = exec(&place, command) => panic!("does not end: {ended:?}"),
        pids = async { (line(&place.inside("leader")).await, line(&place.inside("pid")).await) } => pids,
    };
    collected(&leader).await;
    gone(&pid).await;
}

#[tokio::test]
async fn what_is_kept_of_an_output_reaches_the_model_whole() {
    let place = place(settings(Security::Full, &[]));
    let told = exec(&place, json!({ "command": "head -c 1000000 /dev/zero" })).await.expect("is run");
    let most: usize =
        documented_default("agents.defaults.toolOutputMaxChars").expect("is one").parse().expect("a number");
    assert!((40_000..=most).contains(&told.len()), "{} > {most}", told.len());
}
