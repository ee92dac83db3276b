//! What the agents' workspaces add to their prompts: read when it changes, so that a run touches no disk.

mod cut;
mod front_matter;
mod workspace;

use std::{
    collections::{BTreeSet, HashMap},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::task::spawn_blocking;
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use crate::agents::Agents;
use workspace::Workspace;

/// Between two looks at the workspaces.
const PERIOD: Duration = Duration::from_secs(1);

/// How much of a workspace a prompt takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// The most characters of a file; from a longer one the middle is left out.
    pub(crate) max_chars: usize,
    /// The most skills of a workspace, by their folders' names.
    pub(crate) max_skills: usize,
}

/// The agents' workspaces, looked at about once a second by a task that ends with this.
#[derive(Debug)]
pub(crate) struct Bootstrap {
    snapshot: Arc<ArcSwap<Snapshot>>,
    /// What is looked at, and how much is taken of it.
    watched: Option<(BTreeSet<PathBuf>, Settings)>,
    tasks: TaskTracker,
    stop: DropGuard,
}

/// What all workspaces held at one time.
#[derive(Debug, Default)]
pub(crate) struct Snapshot(HashMap<PathBuf, Arc<Contents>>);

/// What one workspace adds to a prompt.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Contents {
    /// In the order in which they stand in the prompt.
    pub(crate) files: Vec<Arc<File>>,
    /// By their folders' names.
    pub(crate) skills: Vec<Arc<Skill>>,
}

/// A file of a workspace, cut to what a prompt takes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) name: &'static str,
    /// Trimmed, never empty.
    pub(crate) text: String,
}

/// What a prompt says of a skill; how it is done stands in its file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Skill {
    /// One line.
    pub(crate) name: String,
    /// One line.
    pub(crate) description: String,
    /// Relative to the workspace.
    pub(crate) path: String,
}

impl Default for Bootstrap {
    /// Looks at nothing.
    fn default() -> Self {
        Self {
            snapshot: Arc::default(),
            watched: None,
            tasks: TaskTracker::new(),
            stop: CancellationToken::new().drop_guard(),
        }
    }
}

impl Bootstrap {
    /// Reads the agents' workspaces, and goes on looking at them.
    pub(crate) async fn start(agents: &Agents, settings: Settings) -> Self {
        let paths = paths(agents);
        let workspaces: Vec<Workspace> = paths.iter().map(|path| Workspace::new(path.clone(), settings)).collect();
        let bootstrap = Self { watched: Some((paths, settings)), ..Self::default() };
        if !workspaces.is_empty() {
            let workspaces = look(workspaces, bootstrap.snapshot.clone()).await;
            bootstrap.tasks.spawn(watch(workspaces, bootstrap.snapshot.clone(), bootstrap.stop.token().clone()));
        }
        bootstrap
    }

    /// Whether it looks at what another one for these agents would.
    pub(crate) fn is_for(&self, agents: &Agents, settings: Settings) -> bool {
        self.watched == Some((paths(agents), settings))
    }

    /// What the workspaces held when they were last looked at.
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Looks at them no more.
    pub(crate) async fn stop(&self) {
        self.stop.token().cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Snapshot {
    /// What is in a workspace; nothing if there is none at `path`.
    pub(crate) fn of(&self, path: &Path) -> Option<&Arc<Contents>> {
        self.0.get(path)
    }
}

/// Where the agents have their workspaces; they may share one.
fn paths(agents: &Agents) -> BTreeSet<PathBuf> {
    agents.iter().filter_map(|agent| agent.workspace.clone()).collect()
}

async fn watch(mut workspaces: Vec<Workspace>, snapshot: Arc<ArcSwap<Snapshot>>, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(PERIOD)).await.is_some() {
        workspaces = look(workspaces, snapshot.clone()).await;
    }
}

/// Reads what has changed since the last look.
async fn look(mut workspaces: Vec<Workspace>, snapshot: Arc<ArcSwap<Snapshot>>) -> Vec<Workspace> {
    let look = move || {
        // Every one is looked at, not only those up to the first that has changed.
        let changed = workspaces.iter_mut().filter_map(|workspace| workspace.refresh().then_some(())).count();
        if changed > 0 {
            let contents = |workspace: &Workspace| (workspace.path().to_owned(), workspace.contents().clone());
            snapshot.store(Arc::new(Snapshot(workspaces.iter().map(contents).collect())));
        }
        workspaces
    };
    spawn_blocking(look).await.expect("looking does not panic, and is not aborted")
}

#[cfg(test)]
mod tests;
