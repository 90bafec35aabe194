//! The JSON documents: one shape for every verb, for results and for errors.
//!
//! ```json
//! {"schema": "freezer/1", "verb": "backup", "status": "ok", "exit_code": 0, "result": {…}, "said": ["warning: …"]}
//! {"schema": "freezer/1", "verb": "backup", "status": "failed", "exit_code": 1,
//!  "error": {"message": "…", "causes": ["…"], "next": ["…"]}}
//! ```
//!
//! Keys are only ever added within `freezer/1`. Times are RFC 3339 in UTC, sizes are bytes, durations
//! seconds. A path that is no UTF-8 is shown escaped and brings its bytes beside it as `path_base64`.

use base64::Engine;
use serde_json::{Map, Value, json};

use super::text;
use crate::exit::{Exit, Failure};

/// The version of the documents.
pub(crate) const SCHEMA: &str = "freezer/1";

/// The document of a verb that ended. `said` is what text would have told on standard error.
pub(crate) fn result(verb: &str, exit: Exit, result: Value, said: Vec<String>) -> String {
    document(verb, exit, ("result", result), said)
}

/// The document of a failure.
pub(crate) fn failure(verb: &str, failure: &Failure, said: Vec<String>) -> String {
    let error = json!({
        "message": failure.message,
        "causes": failure.causes,
        "next": failure.next,
    });
    document(verb, failure.exit, ("error", error), said)
}

fn document(verb: &str, exit: Exit, (key, content): (&str, Value), said: Vec<String>) -> String {
    let mut document = json!({
        "schema": SCHEMA,
        "verb": verb,
        "status": exit.word(),
        "exit_code": exit.code(),
        key: content,
    });
    if !said.is_empty() {
        document["said"] = Value::from(said);
    }
    document.to_string()
}

/// Puts a path into a document: `key`, and `key_base64` where the path is no UTF-8.
pub(crate) fn put_path(map: &mut Map<String, Value>, key: &str, path: &[u8]) {
    match std::str::from_utf8(path) {
        Ok(path) => {
            map.insert(key.to_owned(), Value::from(path));
        }
        Err(_) => {
            map.insert(key.to_owned(), Value::from(text::escape(path)));
            let encoded = base64::engine::general_purpose::STANDARD.encode(path);
            map.insert(format!("{key}_base64"), Value::from(encoded));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_a_whole_document() {
        let document = failure(
            "ls",
            &Failure::new(Exit::NothingFound, "no \"x\"")
                .because("why")
                .advise("do"),
            vec!["warning: w".to_owned()],
        );
        assert_eq!(
            document,
            r#"{"schema":"freezer/1","verb":"ls","status":"nothing-found","exit_code":4,"error":{"message":"no \"x\"","causes":["why"],"next":["do"]},"said":["warning: w"]}"#
        );
    }

    #[test]
    fn a_path_that_is_no_text_brings_its_bytes() {
        let mut map = Map::new();
        put_path(&mut map, "path", b"a\xff");
        assert_eq!(Value::from(map), json!({"path": "a\\xff", "path_base64": "Yf8="}));
    }
}
