//! Tags and pins: made with, given later, sealed, forged.

use super::support::*;
use crate::*;

fn change(bench: &Bench, change: &Change) -> Result<Vec<TaggedBackup>, AgentError> {
    let which = Which::One(bench.wanted(None));
    bench.run(|context| change_tags(&bench.store, &which, change, &bench.keyring(), context))
}

fn listed(bench: &Bench) -> TaggedBackup {
    let mut all = bench
        .run(|context| list_tags(&bench.store, &Filter::default(), &bench.keyring(), context))
        .unwrap()
        .backups;
    assert_eq!(all.len(), 1);
    all.remove(0)
}

fn tagged(bench: &mut Bench) {
    let tags = serde_json::json!(["first"]);
    bench.options.options.insert(TAGS_OPTION.to_owned(), tags);
    bench.write("a", "x");
    bench.backup();
}

#[test]
fn tags_of_the_backup_and_later_ones_are_one_set() {
    let mut bench = Bench::encrypted();
    tagged(&mut bench);
    assert_eq!(listed(&bench).tags, ["first".to_owned()].into());
    let after = change(&bench, &Change::Add(vec!["second".to_owned()])).unwrap();
    assert!(after[0].changed);
    change(&bench, &Change::Remove(vec!["first".to_owned()])).unwrap();
    change(&bench, &Change::Pin).unwrap();
    let now = listed(&bench);
    assert_eq!((now.tags, now.pinned), (["second".to_owned()].into(), true));
    assert_eq!(now.trouble, None);
    assert!(!change(&bench, &Change::Pin).unwrap()[0].changed);
    // It is no damage and no garbage, and restores are as before.
    let report = bench.check(true);
    assert_eq!((report.problem_count, report.notice_count), (0, 0), "{report:?}");
    assert_eq!(bench.restore(None).unwrap(), bench.expected());
}

#[test]
fn tags_written_without_the_pass_phrase_count_and_are_said() {
    let mut bench = Bench::encrypted();
    tagged(&mut bench);
    bench.passphrase = None;
    change(&bench, &Change::Add(vec!["later".to_owned()])).unwrap();
    bench.passphrase = Some("right");
    let now = listed(&bench);
    assert!(now.tags.contains("later"));
    assert!(now.trouble.unwrap().contains("without the password"));
    // Writing them again with it mends that.
    assert!(change(&bench, &Change::Add(vec!["later".to_owned()])).unwrap()[0].changed);
    assert_eq!(listed(&bench).trouble, None);
}

#[test]
fn forged_tags_count_as_a_pin() {
    let mut bench = Bench::encrypted();
    tagged(&mut bench);
    change(&bench, &Change::Add(vec!["later".to_owned()])).unwrap();
    let key = bench.keys_ending("/tags").remove(0);
    let mut bytes = bench.store.object(&key).unwrap().to_vec();
    let place = bytes.windows(5).position(|window| window == b"later").unwrap();
    bytes[place] = b'L';
    bench.store.set_object(&key, bytes);
    let now = listed(&bench);
    assert!(now.pinned);
    assert!(now.trouble.unwrap().contains("counts as a pin"));
}

#[test]
fn what_is_no_tag_is_refused() {
    let mut bench = Bench::new();
    tagged(&mut bench);
    let error = change(&bench, &Change::Add(vec!["a,b".to_owned()])).unwrap_err();
    assert!(error.to_string().contains("can't be a tag"), "{error}");
    assert_eq!(listed(&bench).tags.len(), 1);
}
