use std::{fs, os::unix::fs::symlink};

use futures_util::FutureExt as _;
use serde_json::json;

use super::*;
use crate::tool::{
    Settings as ToolSettings,
    builtin::tests::{Place, run_facts},
};

#[tokio::test]
async fn the_notes_are_searched_and_nothing_else() {
    let place = Place::new(&ToolSettings::default());
    fs::create_dir_all(place.inside("memory/2026")).expect("is made");
    fs::write(place.inside("MEMORY.md"), "# Drinks\n\nalice likes tea\n\nbob likes coffee").expect("writes");
    fs::write(place.inside("memory/2026/may.md"), "bought tea, tea and more tea").expect("writes");
    fs::write(place.inside("memory/tea.txt"), "tea").expect("writes");
    fs::write(place.inside("tea.md"), "tea").expect("writes");
    symlink(place.outside("secret.md"), place.inside("memory/link.md")).expect("links");
    symlink(place.outside(""), place.inside("memory/dir")).expect("links");
    symlink(place.inside("memory"), place.inside("memory/2026/again")).expect("links");
    let search = async |arguments| place.call("memory_search", arguments).await.expect("is searched");
    let expected = "memory/2026/may.md:1-1\nbought tea, tea and more tea\n\nMEMORY.md:1-3\n# Drinks\nalice likes tea";
    assert_eq!(search(json!({ "query": "TEA" })).await, expected);
    assert!(search(json!({ "query": "tea", "max_results": 1 })).await.ends_with("more tea"));
    assert_eq!(search(json!({ "query": "water" })).await, "no note fits");
}

#[tokio::test]
async fn a_memory_that_is_a_link_out_of_the_workspace_is_none() {
    let place = Place::new(&ToolSettings::default());
    symlink(place.outside("secret.md"), place.inside("MEMORY.md")).expect("links");
    symlink(place.outside(""), place.inside("memory")).expect("links");
    assert_eq!(place.call("memory_search", json!({ "query": "secret tea" })).await.as_deref(), Ok("no note fits"));
}

#[tokio::test]
async fn only_so_many_notes_are_read() {
    for memory in [Settings { max_files: 2, ..Settings::default() }, Settings { max_bytes: 10, ..Settings::default() }]
    {
        let place = Place::new(&ToolSettings { memory, ..ToolSettings::default() });
        fs::create_dir(place.inside("memory")).expect("is made");
        for number in 0..3 {
            fs::write(place.inside(&format!("memory/{number}.md")), "tea tea").expect("writes");
        }
        let found = place.call("memory_search", json!({ "query": "tea" })).await.expect("is searched");
        assert_eq!(found.matches("tea tea").count(), usize::from(memory.max_files == 2) + 1, "{found}");
        assert!(found.ends_with("`tools.memory.maxBytes`)]"), "{found}");
    }
}

#[tokio::test]
async fn only_so_many_searches_go_on_at_a_time() {
    let place = Place::new(&ToolSettings::default());
    let searches = Arc::new(Semaphore::new(1));
    let search = MemorySearch::new(place.workspace.clone(), Settings::default(), searches.clone());
    let (run, arguments) = (run_facts(), Arguments { query: "tea".to_owned(), max_results: None });
    let first = searches.try_acquire().expect("none goes on");
    let mut second = Box::pin(search.run(arguments, &run));
    assert_eq!((&mut second).now_or_never(), None);
    drop(first);
    assert_eq!(second.await.as_deref(), Ok("no note fits"));
}
