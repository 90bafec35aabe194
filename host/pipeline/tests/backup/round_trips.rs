//! Levels 0 to 2 of a small tree with every usual kind of entry, for each compression, clear and encrypted.

use std::path::Path;

use freezer_format::compression::Compression;
use freezer_pipeline::source::ExcludeRules;
use rstest::rstest;

use super::support::{Chain, differences, shell};

fn make_tree(root: &Path) {
    shell(
        root,
        "mkdir -p a/b/c empty 'sp ace' moved/deep
         echo one >a/one; echo two >a/b/two; : >a/empty; head -c 3000000 /dev/urandom >random
         seq 1 400000 >numbers; ln -s ../numbers a/link; ln -s nowhere dangling; mkfifo fifo
         ln a/one a/b/linked; ln a/one z; echo x >moved/deep/x
         head -c 300 /dev/zero >a/b/c/zeros; chmod 4751 a/one; chmod 1777 empty; chown 12345:54321 numbers
         touch -d '1960-01-01 00:00:00.123456789 UTC' a/b/two; touch -d '2200-01-01 UTC' a/empty
         setfattr -n user.k -v 0x00ff0a3d a/b/two; setfattr -n user.dir -v v a
         setfacl -m u:1:rw,g:12345:r a/one; setfacl -d -m u:2:rwx empty
         truncate -s 5M sparse; printf end >>sparse
         printf x >\"$(printf 'new\\nline \\377\\376')\"; mknod null c 1 3",
    );
}

fn change_tree(root: &Path) {
    shell(
        root,
        "echo more >>a/one; rm a/b/two; mv moved a/moved; ln -sfn elsewhere a/link; rm dangling; mkdir dangling
         echo in >dangling/in; rm -r empty; echo file >empty; chmod 600 random; ln random random2",
    );
}

#[rstest]
fn plain_tools_restore_three_levels_needs_root(
    #[values(
        Compression::None,
        Compression::Gzip,
        Compression::Bzip2,
        Compression::Xz,
        Compression::Zstd
    )]
    compression: Compression,
    #[values(false, true)] is_encrypted: bool,
) {
    let source = tempfile::tempdir().unwrap();
    let target = tempfile::tempdir().unwrap();
    let mut chain = Chain::new(compression);
    let secret = is_encrypted.then(|| chain.encrypt());
    make_tree(source.path());
    for level in 0..3 {
        match level {
            0 => {}
            1 => change_tree(source.path()),
            _ => shell(source.path(), "rm z; echo y >sp\\ ace/new; rm -r a/moved/deep"),
        }
        let report = chain.backup(source.path());
        assert!(!report.partial, "{:?}", report.warnings);
        chain.extract(level, target.path(), secret.as_deref());
        assert_eq!(differences(source.path(), target.path()), "", "level {level}");
    }
    let [zero, one, two] = &chain.reports[..] else {
        panic!("three levels")
    };
    assert!(two.data.bytes < one.data.bytes && one.data.bytes < zero.data.bytes);
    assert_eq!(two.counts.new, 1);
    assert_eq!(two.counts.removed, 3, "z, deep and deep/x");
    assert_eq!(chain.store.open_uploads(), 0);
}

#[test]
fn the_report_tells_the_stored_bytes() {
    use sha2::{Digest, Sha256};
    let source = tempfile::tempdir().unwrap();
    make_tree(source.path());
    let mut chain = Chain::new(Compression::Gzip);
    chain.encrypt();
    chain.writes_snar = true;
    let report = chain.backup(source.path()).clone();
    let data = chain.data(0);
    assert_eq!(report.data.bytes, data.len() as u64);
    assert_eq!(&data[..8], b"Salted__");
    assert_eq!(report.data.salt.unwrap(), data[8..16]);
    let segments: Vec<[u8; 32]> = data
        .chunks(1 << 20)
        .map(|segment| Sha256::digest(segment).into())
        .collect();
    assert_eq!(report.data.segments, segments.len() as u64);
    assert_eq!(
        report.data.sha256,
        <[u8; 32]>::from(Sha256::digest(segments.concat()))
    );
    let index = chain.store.object("0/index").unwrap();
    assert_eq!(report.index.bytes, index.len() as u64);
    assert_eq!(report.index.sha256, <[u8; 32]>::from(Sha256::digest(&*index)));
    let snar = chain.store.object("0/engine_metadata").unwrap();
    let facts = report.engine_metadata.unwrap();
    assert_eq!(
        (facts.bytes, facts.sha256),
        (snar.len() as u64, <[u8; 32]>::from(Sha256::digest(&*snar)))
    );
    let reader = chain.index(0);
    assert_eq!(reader.header().frame_size, Compression::Gzip.frame_bytes());
    let frames = report.data.plain.div_ceil(Compression::Gzip.frame_bytes());
    assert_eq!(reader.frame_count().unwrap(), frames);
}

/// With one worker nothing looks ahead of the walk.
#[test]
fn looking_ahead_changes_nothing_in_the_stored_bytes() {
    let source = tempfile::tempdir().unwrap();
    make_tree(source.path());
    shell(
        source.path(),
        "for a in {1..12}; do mkdir -p n$a/{a,b,c,d,e,f,g,h}{1..9}; touch n$a/{a..f}{1..5}/x; ln -s x n$a/l; done; \
         mkdir many; cd many; mkdir {1..300}; touch {1..300}/y",
    );
    let chains: Vec<Chain> = [1, 2, 5]
        .into_iter()
        .map(|workers| {
            let mut chain = Chain::new(Compression::Gzip);
            chain.workers = workers;
            chain.exclude = ExcludeRules::new(&["/n3/".to_owned(), "b*".to_owned()], &[], false).unwrap();
            for _ in 0..3 {
                let report = chain.backup(source.path());
                assert!(!report.partial, "{:?}", report.warnings);
            }
            chain
        })
        .collect();
    for chain in &chains[1..] {
        for level in 0..3 {
            assert!(chain.data(level) == chains[0].data(level), "level {level}");
            let index = |chain: &Chain| chain.store.object(&chain.keys(level).index);
            assert!(index(chain) == index(&chains[0]), "level {level}");
            assert_eq!(chain.reports[level].counts, chains[0].reports[level].counts);
        }
    }
}

#[test]
fn the_same_tree_gives_the_same_bytes() {
    let source = tempfile::tempdir().unwrap();
    make_tree(source.path());
    let (mut first, mut second) = (Chain::new(Compression::Gzip), Chain::new(Compression::Gzip));
    first.backup(source.path());
    second.memory_bytes = 8 << 20;
    second.backup(source.path());
    assert!(first.data(0) == second.data(0));
    assert!(first.store.object("0/index") == second.store.object("0/index"));
}
