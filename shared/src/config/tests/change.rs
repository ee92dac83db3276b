//! What a changed file changes.

use super::document;

fn check(old: &str, new: &str, expected: &[&str]) {
    let (old, new) = (document(old, &[]).unwrap(), document(new, &[]).unwrap());
    let shown = |change: &crate::config::Change| {
        let restart = if change.needs_restart { " (restart)" } else { "" };
        format!("{change}{restart}")
    };
    assert_eq!(old.changes(&new).iter().map(shown).collect::<Vec<_>>(), expected);
}

#[test]
fn a_change_is_named_by_its_setting() {
    check("{ gateway: { port: 1 } }", "{ gateway: { port: 1 } } // the same", &[]);
    check("{}", "{ gateway: { port: 1, drainMs: 2 } }", &["gateway.drainMs", "gateway.port (restart)"]);
    check("{ log: { format: 'text' } }", "{}", &["log.format (restart)"]);
    check(
        "{ agents: { list: [{ id: 'a' }, { id: 'b', systemPrompt: 'x' }] } }",
        "{ agents: { list: [{ id: 'a' }, { id: 'b', systemPrompt: 'y' }, { id: 'c' }] } }",
        &["agents.list[1].systemPrompt", "agents.list[2].id"],
    );
    // A structure is one setting; one that has settings of its own is named by them.
    check("{ tools: { deny: ['a'] } }", "{ tools: { deny: ['a', 'b'] } }", &["tools.deny"]);
    check(
        "{ agents: { defaults: { model: 'a/b' } } }",
        "{ agents: { defaults: { model: 'c/d' } } }",
        &["agents.defaults.model"],
    );
    check(
        "{ agents: { defaults: { model: 'a/b' } } }",
        "{ agents: { defaults: { model: { primary: 'a/b', fallbacks: ['c/d'] } } } }",
        &["agents.defaults.model.fallbacks", "agents.defaults.model.primary"],
    );
}

#[test]
fn what_is_not_ours_changes_nothing() {
    check("{ channels: { x: 1 } }", "{ channels: { x: 2 }, made_up: true }", &[]);
}

#[test]
fn a_change_is_in_the_sections_that_it_lies_in() {
    let (old, new) = (document("{}", &[]).unwrap(), document("{ session: { ttl: '1d' } }", &[]).unwrap());
    let changes = old.changes(&new);
    assert!(changes[0].is_in(&["gateway", "session"]));
    assert!(!changes[0].is_in(&["gateway", "services.sessionStore"]));
}
