//! Listings: one level, in pages, every name as it is.

use std::collections::{BTreeMap, BTreeSet};

use freezer_pipeline::store::ErrorKind;

use super::checks::{Sent, at_once, becomes, holds, list, put, works, wrong};
use super::keys::ODD_NAMES;
use super::{Subject, Verdict};

/// Objects with sizes, and prefixes once each, however many objects lie below them.
pub(super) fn a_listing_has_one_level(subject: &Subject, place: &str) -> Verdict {
    let store = &*subject.store;
    for (name, length) in [
        ("n", 1),
        ("n-1", 2),
        ("n.x", 3),
        ("nn/a", 4),
        ("nn/b/c/d", 5),
        ("nn/b/e", 6),
        ("m/n/o", 7),
        ("z", 0),
    ] {
        put(store, &format!("{place}{name}"), &vec![b'x'; length])?;
    }
    let large = Sent::stored(store, &format!("{place}nn/large"), 1, 3)?;
    let shows = |prefix: &str, wanted: &[(&str, Option<u64>)]| {
        let wanted: BTreeMap<String, Option<u64>> = wanted
            .iter()
            .map(|(name, size)| (format!("{prefix}{name}"), *size))
            .collect();
        let what = format!("the listing of {prefix:?}");
        becomes(subject, &what, &wanted, || list(store, prefix))?;
        becomes(subject, &what, &wanted, || list(&*subject.other_run, prefix))
    };
    let top = [
        ("n", Some(1)),
        ("n-1", Some(2)),
        ("n.x", Some(3)),
        ("z", Some(0)),
        ("nn/", None),
        ("m/", None),
    ];
    shows(place, &top)?;
    let size = Some(large.content.len() as u64);
    shows(
        &format!("{place}nn/"),
        &[("a", Some(4)), ("b/", None), ("large", size)],
    )?;
    shows(&format!("{place}nn/b/"), &[("c/", None), ("e", Some(6))])?;
    shows(&format!("{place}m/"), &[("n/", None)])
}

/// More than a page of objects and prefixes: each comes once, and a cursor is good in any run.
pub(super) fn a_listing_comes_in_pages_that_any_run_can_turn(subject: &Subject, place: &str) -> Verdict {
    let store = &*subject.store;
    let count = subject.capabilities.listed_objects;
    let name = |number: usize| match number % 100 {
        0 => format!("{number:05}/below"),
        _ => format!("{number:05}"),
    };
    at_once(store, count, |number| {
        put(store, &format!("{place}{}", name(number)), b"x")
    })?;
    let wanted: BTreeSet<String> = (0..count)
        .map(|number| format!("{place}{}", name(number).trim_end_matches("below")))
        .collect();
    becomes(subject, "the listed keys", &wanted, || {
        let (mut found, mut cursor) = (BTreeSet::new(), None);
        for turn in 0..count + 10 {
            let run = if turn % 2 == 0 { store } else { &*subject.other_run };
            let page = works("list", run.list(place, cursor.as_deref()))?;
            holds(page.entries.len() <= 1000, || {
                "a page has more than 1000 entries".to_owned()
            })?;
            for entry in page.entries {
                let key = entry.key.clone();
                holds(found.insert(entry.key), || format!("{key:?} is listed twice"))?;
            }
            match page.next {
                Some(next) => cursor = Some(next),
                None => return Ok(found),
            }
        }
        wrong("the listing has no end")
    })
}

/// Whatever a key may hold comes back the same, as an object and as a prefix.
pub(super) fn odd_names_are_listed_as_they_are(subject: &Subject, place: &str) -> Verdict {
    let store = &*subject.store;
    let mut wanted = BTreeMap::new();
    for name in ODD_NAMES {
        put(store, &format!("{place}objects/{name}"), b"x")?;
        put(store, &format!("{place}folders/{name}/{name}"), b"x")?;
        wanted.insert(format!("{place}objects/{name}"), Some(1));
    }
    let what = "the listing of odd names";
    becomes(subject, what, &wanted, || {
        list(store, &format!("{place}objects/"))
    })?;
    let wanted = ODD_NAMES.map(|name| (format!("{place}folders/{name}/"), None));
    becomes(subject, what, &BTreeMap::from(wanted), || {
        list(store, &format!("{place}folders/"))
    })?;
    for name in ODD_NAMES {
        let folder = format!("{place}folders/{name}/");
        let wanted = BTreeMap::from([(format!("{folder}{name}"), Some(1))]);
        becomes(subject, what, &wanted, || list(store, &folder))?;
    }
    Ok(())
}

/// Nothing below a prefix is no error, nor is the name of an object taken for a prefix.
pub(super) fn nothing_is_an_empty_page(subject: &Subject, place: &str) -> Verdict {
    let store = &*subject.store;
    put(store, &format!("{place}object"), b"x")?;
    for name in ["absent/", "objec/", "object/", "absent/deep/er/"] {
        let prefix = format!("{place}{name}");
        let what = format!("the listing of {prefix:?}");
        becomes(subject, &what, &BTreeMap::new(), || list(store, &prefix))?;
    }
    Ok(())
}

/// A cursor that no page had is `invalid`, or leads to a page of that prefix.
pub(super) fn a_foreign_cursor_does_no_harm(subject: &Subject, place: &str) -> Verdict {
    let store = &*subject.store;
    for number in 0..5 {
        put(store, &format!("{place}a/{number}"), b"x")?;
        put(store, &format!("{place}b/{number}"), b"x")?;
    }
    let prefix = format!("{place}a/");
    let long = "c".repeat(4000);
    let others = format!("{place}b/3");
    for cursor in [
        "",
        "x",
        "..",
        "../../etc/passwd",
        "\0",
        "%",
        "\u{10ffff}",
        &long,
        &others,
    ] {
        match store.list(&prefix, Some(cursor)) {
            Ok(page) => {
                let strange = page.entries.iter().find(|entry| !entry.key.starts_with(&prefix));
                holds(strange.is_none(), || {
                    format!("the cursor {cursor:?} leads to {strange:?}")
                })?;
            }
            Err(error) if error.kind == ErrorKind::Invalid => {}
            Err(error) => return wrong(format!("the cursor {cursor:?} gives {error} ({:?})", error.kind)),
        }
    }
    Ok(())
}
