//! What is trusted and revoked.

use freezer_plugin::Scope;
use freezer_plugin::trust::{Revocable, Revoked, TrustStore};
use serde_json::{Value, json};

use crate::render::{table, text};

/// The table; `None` if there is nothing in it.
pub(crate) fn table(store: &TrustStore) -> Option<String> {
    let trusted = store.keys().map(|trusted| {
        vec![
            "trusted".to_owned(),
            scope(trusted.scope).to_owned(),
            trusted.key.id().to_owned(),
            text::lines(&trusted.name),
            trusted.key.text().to_owned(),
        ]
    });
    let revoked = store.revoked().iter().map(|revoked| {
        let (id, what) = revocable(revoked);
        vec![
            "revoked".to_owned(),
            text::escape(revoked.path.as_os_str().as_encoded_bytes()),
            id,
            text::lines(&revoked.why),
            what,
        ]
    });
    let rows: Vec<Vec<String>> = trusted.chain(revoked).collect();
    (!rows.is_empty())
        .then(|| table::columns(&["STATE", "BY", "NUMBER", "NOTE", "KEY OR DIGEST"], &[], &rows))
}

/// The same as a document.
pub(crate) fn document(store: &TrustStore) -> Value {
    let trusted = store.keys().map(|trusted| {
        json!({
            "key": trusted.key.text(),
            "key_id": trusted.key.id(),
            "name": trusted.name,
            "scope": scope(trusted.scope),
        })
    });
    let revoked = store.revoked().iter().map(|revoked| {
        json!({
            "what": revocable(revoked).1,
            "why": revoked.why,
            "file": revoked.path.display().to_string(),
        })
    });
    json!({
        "trusted": trusted.collect::<Vec<_>>(),
        "revoked": revoked.collect::<Vec<_>>(),
    })
}

fn scope(scope: Scope) -> &'static str {
    match scope {
        Scope::System => "system",
        Scope::User => "user",
    }
}

fn revocable(revoked: &Revoked) -> (String, String) {
    match &revoked.what {
        Revocable::Key(key) => (key.id().to_owned(), key.text().to_owned()),
        Revocable::Component(sha256) => ("-".to_owned(), format!("sha256:{sha256}")),
    }
}
