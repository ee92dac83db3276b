//! One workspace on disk. Everything is opened relative to its folder, and nothing outside can be reached through a link:
//! who can write into a workspace cannot make a prompt of `/etc/shadow`.

mod kept;

use std::{
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use cap_std::{ambient_authority, fs::Dir};

use super::{Contents, File, Settings, Skill, cut, front_matter};
use kept::{Content, Kept, Opened};

/// The files of a prompt, in its order.
const FILES: &[&str] = &["AGENTS.md", "SOUL.md", "IDENTITY.md", "USER.md", "TOOLS.md", "MEMORY.md"];
const SKILLS: &str = "skills";
const SKILL: &str = "SKILL.md";
/// Within so many bytes the head of a skill's file has to end.
const MAX_HEAD_BYTES: u64 = 16 * 1024;
/// The lengths that the format of skills allows.
const MAX_NAME_CHARS: usize = 64;
const MAX_DESCRIPTION_CHARS: usize = 1024;
/// How many entries of the folder of skills are looked at.
const MAX_ENTRIES: usize = 1000;

/// A workspace, and what was found at the last look.
#[derive(Debug)]
pub(super) struct Workspace {
    path: PathBuf,
    settings: Settings,
    files: Kept<File>,
    skills: Kept<Skill>,
    contents: Arc<Contents>,
    trouble: Option<String>,
    is_new: bool,
}

impl Workspace {
    pub(super) fn new(path: PathBuf, settings: Settings) -> Self {
        let (files, skills) = (Kept::new(&path), Kept::new(&path));
        Self { path, settings, files, skills, contents: Arc::default(), trouble: None, is_new: true }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn contents(&self) -> &Arc<Contents> {
        &self.contents
    }

    /// Looks at what is there, and reads what is new or has changed. Returns whether anything is other than at the last
    /// look, which it is at the first.
    pub(super) fn refresh(&mut self) -> bool {
        let mut trouble = None;
        let contents = match Dir::open_ambient_dir(&self.path, ambient_authority()) {
            Ok(folder) => {
                let names = names(&folder).unwrap_or_else(|error| {
                    trouble = Some(error);
                    Vec::new()
                });
                Contents { files: self.files(&folder), skills: self.skills(&folder, &names) }
            }
            Err(error) => {
                trouble = Some(error).filter(|error| error.kind() != io::ErrorKind::NotFound);
                Contents::default()
            }
        };
        self.tell(trouble);
        let has_changed = std::mem::take(&mut self.is_new) || contents != *self.contents;
        if has_changed {
            self.contents = Arc::new(contents);
        }
        has_changed
    }

    fn files(&mut self, folder: &Dir) -> Vec<Arc<File>> {
        let max_chars = self.settings.max_chars;
        let mut file = |name: &&'static str| {
            self.files.look(folder, Path::new(name), |Opened { file, size }| {
                let text = cut::read(file, size, max_chars, name)?;
                let text = text.strip_prefix('\u{feff}').unwrap_or(&text).trim();
                let is_blank = text.is_empty();
                Ok(if is_blank { Content::Nothing } else { Content::Of(File { name, text: text.to_owned() }) })
            })
        };
        FILES.iter().filter_map(&mut file).collect()
    }

    fn skills(&mut self, folder: &Dir, names: &[String]) -> Vec<Arc<Skill>> {
        let paths: Vec<PathBuf> = names.iter().map(|name| [SKILLS, name, SKILL].iter().collect()).collect();
        self.skills.forget_all_but(&paths);
        let skill = |(name, path): (&String, &PathBuf)| self.skills.look(folder, path, |opened| skill(opened, name));
        names.iter().zip(&paths).filter_map(skill).take(self.settings.max_skills).collect()
    }

    /// Says once what is wrong with the workspace.
    fn tell(&mut self, error: Option<io::Error>) {
        let trouble = error.map(|error| error.to_string());
        if let Some(error) = trouble.as_ref().filter(|trouble| self.trouble.as_ref() != Some(trouble)) {
            tracing::warn!(workspace = %self.path.display(), error, "a workspace cannot be read");
        }
        self.trouble = trouble;
    }
}

/// The folders in the folder of skills, sorted; a name that could not stand in a line of a prompt is left out.
fn names(folder: &Dir) -> io::Result<Vec<String>> {
    let entries = match folder.read_dir(SKILLS) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries.take(MAX_ENTRIES) {
        let name = entry?.file_name();
        names.extend(name.into_string().ok().filter(|name| !name.contains(char::is_control)));
    }
    names.sort_unstable();
    Ok(names)
}

fn skill(Opened { file, .. }: Opened, folder: &str) -> io::Result<Content<Skill>> {
    let mut head = Vec::new();
    file.take(MAX_HEAD_BYTES).read_to_end(&mut head)?;
    let Some(front_matter) = front_matter::parse(&String::from_utf8_lossy(&head)) else {
        return Ok(Content::Unusable("does not begin with a front matter"));
    };
    if front_matter.description.is_empty() {
        return Ok(Content::Unusable("has no description in its front matter"));
    }
    if front_matter.disables_model_invocation {
        return Ok(Content::Nothing);
    }
    let name = if front_matter.name.is_empty() { folder } else { &front_matter.name };
    Ok(Content::Of(Skill {
        name: shortened(name, MAX_NAME_CHARS),
        description: shortened(&front_matter.description, MAX_DESCRIPTION_CHARS),
        path: format!("{SKILLS}/{folder}/{SKILL}"),
    }))
}

fn shortened(text: &str, max_chars: usize) -> String {
    let mut shortened: String = text.chars().filter(|character| !character.is_control()).take(max_chars).collect();
    if text.chars().nth(max_chars).is_some() {
        shortened.push('…');
    }
    shortened
}
