//! Which keys and prefixes a storage takes.

use std::sync::Arc;

use freezer_pipeline::store::{ErrorKind, Existing};

use super::checks::{Sent, fails, has, has_not, put, same, works};
use super::{Subject, Verdict};

/// Last parts of keys that look special to file systems, URLs, shells, headers or listings, and are ordinary.
pub(super) const ODD_NAMES: [&str; 32] = [
    "plain",
    "UPPER",
    "with space",
    " leading",
    "trailing ",
    "dot.",
    ".hidden",
    "..two",
    "two..",
    "...",
    "a..b",
    "100%",
    "%2F",
    "%00",
    "a?b",
    "a#b",
    "a&b=c",
    "a+b",
    "a;b",
    "a:b",
    "a*b",
    "~",
    "-rf",
    "\"quoted\"",
    "it's",
    "back\\slash",
    "<tag>",
    "{brace}[1]",
    "größe",
    "日本語",
    "e\u{301}",
    "🦀",
];

/// Keys that no storage takes.
pub(super) fn bad_keys() -> Vec<String> {
    let bad = [
        "",
        "/",
        "/a",
        "a/",
        "a//b",
        ".",
        "..",
        "./a",
        "../a",
        "a/.",
        "a/..",
        "a/./b",
        "a/../b",
        "a\0b",
        "a\nb",
        "a\rb",
        "a\tb",
        "a\u{1b}[31mb",
        "a\u{7f}b",
        "a\u{85}b",
    ];
    let mut bad: Vec<String> = bad.iter().map(|key| (*key).to_owned()).collect();
    bad.push("k/".repeat(512) + "k");
    bad.push("k".repeat(1025));
    bad.push("k".repeat(1 << 20));
    bad
}

/// Odd names and long keys are keys like others, for small objects and large ones.
pub(super) fn keys_of_the_contract_are_taken(subject: &Subject, place: &str) -> Verdict {
    let store = &*subject.store;
    let deep = format!("{place}{}end", "d/".repeat(16));
    let parts = format!("{}/", "p".repeat(150)).repeat(4);
    let long = format!("{place}{parts}{}", "n".repeat(100));
    let odd = ODD_NAMES.iter().map(|name| format!("{place}{name}/{name}"));
    for key in odd.chain([deep, long]) {
        put(store, &key, key.as_bytes())?;
        has(store, &key, key.as_bytes())?;
    }
    for name in ["größe", "a b", "%2F", "a?b#c", "日本語"] {
        let key = format!("{place}large/{name}");
        let sent = Sent::stored(store, &key, 1, 2)?;
        has(store, &key, &sent.content)?;
    }
    Ok(())
}

/// Everything else is `invalid`, in every call that takes a key.
pub(super) fn other_keys_are_invalid(subject: &Subject, _place: &str) -> Verdict {
    let (store, invalid) = (&*subject.store, &[ErrorKind::Invalid][..]);
    for key in bad_keys() {
        let shown: String = key.chars().take(30).collect();
        let what = |call: &str| format!("{call} of the key {shown:?} ({} bytes)", key.len());
        fails(&what("stat"), invalid, store.stat(&key))?;
        fails(&what("read"), invalid, store.read(&key, 0, None))?;
        for existing in [Existing::Replace, Existing::Refuse] {
            fails(&what("put"), invalid, store.put(&key, Arc::default(), existing))?;
        }
        fails(&what("begin"), invalid, store.begin(&key, None))?;
        fails(&what("remove"), invalid, store.remove(std::slice::from_ref(&key)))?;
    }
    Ok(())
}

/// A prefix is "" or ends with `/`; its parts are as those of a key.
pub(super) fn other_prefixes_are_invalid(subject: &Subject, place: &str) -> Verdict {
    let (store, invalid) = (&*subject.store, &[ErrorKind::Invalid][..]);
    put(store, &format!("{place}a/b"), b"x")?;
    let without_end = format!("{place}a");
    for prefix in [
        &without_end,
        "/",
        "//",
        "a//",
        "./",
        "../",
        "a/../",
        "a/./",
        "/a/",
        "a\0/",
        "a\n/",
    ] {
        fails(&format!("list of {prefix:?}"), invalid, store.list(prefix, None))?;
        if subject.capabilities.pending {
            fails(
                &format!("pending of {prefix:?}"),
                invalid,
                store.pending(prefix, None),
            )?;
        }
    }
    works("list of \"\"", store.list("", None)).map(drop)
}

/// Neither case nor Unicode's normal forms are folded.
pub(super) fn equal_looking_keys_are_different(subject: &Subject, place: &str) -> Verdict {
    let store = &*subject.store;
    let pairs = [
        ("name", "NAME"),
        ("\u{e9}", "e\u{301}"),
        ("x", "x "),
        ("%41", "A"),
        ("a+b", "a b"),
    ];
    for (one, other) in pairs {
        let (one, other) = (format!("{place}{one}"), format!("{place}{other}"));
        put(store, &one, b"one")?;
        has_not(store, &other)?;
        put(store, &other, b"the other")?;
        has(store, &one, b"one")?;
        works("remove", store.remove(&[other]))?;
        has(store, &one, b"one")?;
    }
    Ok(())
}

/// `a` and `a/b` as keys of two objects work both, or the later one fails and the earlier one stays.
pub(super) fn an_object_where_a_folder_is_harms_nothing(subject: &Subject, place: &str) -> Verdict {
    let store = &*subject.store;
    let store_both = |first: &str, second: &str| {
        put(store, first, b"first")?;
        let later = store.put(second, Arc::new(b"second".to_vec()), Existing::Replace);
        has(store, first, b"first")?;
        match later {
            Ok(()) => has(store, second, b"second"),
            Err(error) => same(
                "whether a key that can't be taken is worth repeating",
                &error.kind.is_retryable(),
                &false,
            ),
        }
    };
    store_both(&format!("{place}down"), &format!("{place}down/below"))?;
    store_both(&format!("{place}up/below"), &format!("{place}up"))
}
