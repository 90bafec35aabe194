//! What whole command lines of the original come to.

use std::ffi::OsString;
use std::path::Path;

use rstest::rstest;

use super::*;
use crate::command::{Backup, ExcludeStyle, Links, Restore, RestoreGoal};
use document::Facts;

fn environment() -> Environment {
    Environment {
        machine: "machine".into(),
        home: Some("/home/u".into()),
        processors: 2,
        ..Environment::default()
    }
}

fn parsed(era: Era, line: &str) -> Result<Original, Failure> {
    let arguments: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
    parse(era, &arguments, environment()).map_err(|refused| refused.failure)
}

fn backup(era: Era, line: &str) -> Backup {
    match parsed(era, line).expect("judged").command {
        Command::Backup(backup) => *backup,
        other => panic!("no backup: {other:?}"),
    }
}

fn restore(era: Era, line: &str) -> Restore {
    match parsed(era, line).expect("judged").command {
        Command::Restore(restore) => *restore,
        other => panic!("no restore: {other:?}"),
    }
}

#[test]
fn a_seed_era_backup_line_is_done() {
    let line = "--file-to-backup /etc --container /srv/b --backup-name etc --storage local --exclude *.tmp \
                --max-level 3 --dereference-symlink soft --encrypt-pass-file /pass --compression xz -M 1048576";
    let backup = backup(Era::Freezerc, line);
    assert_eq!(backup.path.as_deref(), Some(Path::new("/etc")));
    assert_eq!((backup.host.as_str(), backup.name.as_str()), ("machine", "etc"));
    assert_eq!(backup.storages[0].url, "local:/srv/b");
    assert!(backup.storages[0].settings.is_empty());
    assert_eq!(backup.excludes.style, ExcludeStyle::Tar);
    assert_eq!(backup.excludes.patterns, ["*.tmp"]);
    assert_eq!(backup.links, Links::Soft);
    assert_eq!(backup.policy.max_level, Some(3));
    assert!(backup.policy.incremental && backup.compat && !backup.cross_file_systems);
    assert_eq!(
        (backup.policy.chain_levels, backup.policy.chain_days),
        (None, None)
    );
    assert_eq!(backup.segment_bytes, 1 << 20);
}

#[rstest]
#[case(Era::Freezerc, "", true)]
#[case(Era::Freezerc, "--no-incremental", false)]
#[case(Era::Agent, "", false)]
#[case(Era::Agent, "--incremental", true)]
#[case(Era::Agent, "--incremental --noincremental", false)]
fn increments_are_made_as_each_era_did(#[case] era: Era, #[case] options: &str, #[case] incremental: bool) {
    let line = format!("-F ~/x -N n -C /srv --storage local {options}");
    let backup = backup(era, &line);
    assert_eq!(backup.policy.incremental, incremental);
    assert_eq!(backup.path.as_deref(), Some(Path::new("/home/u/x")));
}

#[rstest]
#[case("", "swift://freezer_backups")]
#[case("--container c/p", "swift://c/p")]
#[case("--storage local", "local:freezer_backups")]
#[case(
    "--storage ssh --ssh-host h --ssh-username u --ssh-port 2222 -C /srv",
    "ssh://u@h:2222/srv"
)]
#[case("--storage s3 -C bucket", "s3://bucket")]
fn storages_become_urls(#[case] options: &str, #[case] url: &str) {
    assert_eq!(
        backup(Era::Agent, &format!("-F /etc {options}")).storages[0].url,
        url
    );
}

#[test]
fn only_settings_of_the_storage_in_use_are_handed_on() {
    let line = "-F /x -N n --storage ssh --ssh-host h --ssh-key /k --access-key a --mysql-conf /m";
    let backup = backup(Era::Agent, line);
    let names: Vec<&str> = backup.storages[0]
        .settings
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(names, ["ssh-key"]);
    assert!(backup.mode.settings.is_empty());
}

#[test]
fn mode_mongo_asks_the_host_that_is_named() {
    let settings = |options: &str| {
        let backup = backup(Era::Agent, &format!("-F /x -N n --storage local {options}"));
        backup
            .mode
            .settings
            .into_iter()
            .map(|(name, _)| name)
            .collect::<Vec<_>>()
    };
    assert_eq!(settings("--mode mongo --hostname db1"), ["host"]);
    assert!(settings("--mode mongo").is_empty() && settings("--hostname db1").is_empty());
}

#[test]
fn the_name_19_0_0_gives_by_default_is_kept_to_the_letter() {
    assert_eq!(
        backup(Era::Agent, "-F /etc --storage local").name,
        "freezer_{mode}_{resource_id}"
    );
}

#[rstest]
#[case(Era::Freezerc, "2026-11-24T20:00:00", None)]
#[case(Era::Agent, "2026-11-24T20:00:00", Some(1_795_550_400))]
#[case(Era::Agent, "2026-11-24T20:00:00+01:00", Some(1_795_546_800))]
fn a_restore_is_read(#[case] era: Era, #[case] date: &str, #[case] seconds: Option<i64>) {
    let line = format!(
        "--action restore --restore-abs-path /r -N n --restore-from-host h -C /srv --storage local \
         --restore-from-date {date} --overwrite"
    );
    let restore = restore(era, &line);
    assert_eq!(restore.goal, RestoreGoal::Directory("/r".into()));
    assert_eq!(restore.selection.host, "h");
    assert!(restore.overwrite && restore.selection.reading.compat);
    // The first era reads dates in local time, which the machine that runs this test decides.
    assert!(restore.selection.at.is_some());
    if let Some(seconds) = seconds {
        assert_eq!(restore.selection.at.map(|at| at.0), Some(seconds));
    }
}

#[rstest]
#[case(
    Era::Freezerc,
    "--storage local -N n",
    Exit::Failed,
    "path-to-backup argument must be provided"
)]
#[case(
    Era::Freezerc,
    "-F /x --storage local",
    Exit::Failed,
    "A value for --backup-name is required"
)]
#[case(
    Era::Agent,
    "--action restore -N n",
    Exit::Failed,
    "--restore-abs-path is required"
)]
#[case(Era::Agent, "-F /x -C=", Exit::Failed, "--container is required")]
#[case(Era::Agent, "--action exec", Exit::Failed, "--command option is required")]
#[case(
    Era::Agent,
    "--action admin",
    Exit::Failed,
    "Specify removal date via --remove-before-date, --remove-from-date, or --remove-older-than"
)]
#[case(
    Era::Agent,
    "--action admin -R 3 --remove-from-date 2026-01-01T00:00:00",
    Exit::Failed,
    "--remove-older-than and --remove-from-date are given together"
)]
#[case(
    Era::Agent,
    "-F /x --max-level 2 --noincremental",
    Exit::Failed,
    "backup-level options require the incremental option"
)]
#[case(
    Era::Freezerc,
    "-F /x -N n --always-level 2 --no-incremental",
    Exit::Failed,
    "backup-level options require the incremental option"
)]
#[case(
    Era::Agent,
    "-e nova -m nova --incremental",
    Exit::Failed,
    "Incremental nova backup is not supported"
)]
#[case(Era::Agent, "-F /x --storage ssh", Exit::Failed, "--ssh-host is required")]
#[case(
    Era::Agent,
    "-F /x --max-level two",
    Exit::Usage,
    "argument --max-level: invalid int value: \"two\""
)]
fn what_is_missing_is_said_in_the_original_s_words(
    #[case] era: Era,
    #[case] line: &str,
    #[case] exit: Exit,
    #[case] message: &str,
) {
    let Err(failure) = parsed(era, line) else {
        panic!("must be refused")
    };
    assert_eq!((failure.exit, failure.message.as_str()), (exit, message));
}

#[rstest]
#[case(Era::Agent, "-F /x --snapshot True", "/x", &[("snapshot", "auto")])]
#[case(Era::Freezerc, "-F /x -N n --snapshot", "/x", &[("snapshot", "auto")])]
#[case(Era::Freezerc, "--lvm-auto-snap /x -N n", "/x", &[("snapshot", "auto")])]
#[case(
    Era::Freezerc,
    "-F /x -N n --lvm-srcvol /dev/vg/lv --lvm-volgroup vg --lvm-snapname s --lvm-snap-perm rw --lvm-snapsize 10% \
     --lvm-dirmount /mnt/x",
    "/x",
    &[
        ("lvm-dirmount", "/mnt/x"), ("lvm-snap-perm", "rw"), ("lvm-snapname", "s"), ("lvm-snapsize", "10%"),
        ("lvm-srcvol", "/dev/vg/lv"), ("lvm-volgroup", "vg"), ("snapshot", "auto"),
    ]
)]
#[case(Era::Agent, "-F /x --snapshot False", "/x", &[])]
#[case(Era::Agent, "-F /x --lvm-snapsize 2G", "/x", &[])]
fn snapshots_are_settings_of_the_mode(
    #[case] era: Era,
    #[case] line: &str,
    #[case] path: &str,
    #[case] settings: &[(&str, &str)],
) {
    let backup = backup(era, &format!("{line} --storage local"));
    assert_eq!(backup.path.as_deref(), Some(Path::new(path)));
    let given = backup.mode.settings.iter();
    let given: Vec<_> = given
        .map(|(name, setting)| (name.as_str(), setting.text.as_str()))
        .collect();
    assert_eq!(given, settings);
}

#[test]
fn the_command_line_wins_over_the_ini_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("job.ini");
    let text = "[action]\nbackup_name = ini\ncontainer = /ini\nstorage = local\nhostname = False\n\
                snapshot = False\nno_such = 1\nmax_level = 2\nsync = False\n[job]\npath_to_backup = /ini/%%x\n";
    std::fs::write(&path, text).expect("written");
    let line = format!("--config {} --backup-name cli --nodry-run", path.display());
    let original = parsed(Era::Freezerc, &line).expect("judged");
    assert_eq!(
        original.warnings,
        [format!("unknown option \"no_such\" in {path:?}, line 7")]
    );
    let Command::Backup(backup) = original.command else {
        panic!("a backup")
    };
    assert_eq!((backup.name.as_str(), backup.host.as_str()), ("cli", "machine"));
    assert_eq!(backup.storages[0].url, "local:/ini");
    assert_eq!(backup.path.as_deref(), Some(Path::new("/ini/%x")));
    assert_eq!(backup.policy.max_level, Some(2));
}

#[rstest]
#[case(Era::Agent)]
#[case(Era::Freezerc)]
fn a_level_option_asks_for_increments(#[case] era: Era) {
    let policy = backup(era, "-F /x -N n --storage local --max-level 3").policy;
    assert!(policy.incremental);
    assert_eq!(policy.max_level, Some(3));
}

#[test]
fn a_bad_value_in_the_ini_file_is_named_with_its_line() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("job.ini");
    std::fs::write(&path, "[default]\n\nmax_level = two\n").expect("written");
    let Err(failure) = parsed(Era::Agent, &format!("--config {}", path.display())) else {
        panic!("refused")
    };
    let expected = format!("invalid configuration file {path:?}, line 3");
    assert_eq!((failure.exit, failure.message), (Exit::Failed, expected));
    assert_eq!(
        failure.causes,
        ["argument --max-level: invalid int value: \"two\""]
    );
}

#[test]
fn exec_splits_its_line_as_the_original_and_sync_is_on_unless_switched_off() {
    let arguments = ["--action", "exec", "--command", "df -h | grep 'a b'"].map(OsString::from);
    let exec = parse(Era::Agent, &arguments, environment()).map_err(|refused| refused.failure);
    let Command::Exec(exec) = exec.expect("judged").command else {
        panic!("a command")
    };
    let words: Vec<Vec<&str>> = vec![vec!["df", "-h"], vec!["grep", "'a", "b'"]];
    assert_eq!(exec.commands, words);
    for (line, sync) in [
        ("-F /x --storage local", true),
        ("-F /x --storage local --nosync", false),
    ] {
        assert_eq!(backup(Era::Agent, line).sync, sync, "{line}");
    }
}

#[test]
fn options_without_effect_are_said() {
    let line = "-F /x -N n --storage local --upload-limit 10M --consistency-check -R 30";
    let warnings = parsed(Era::Freezerc, line).expect("judged").warnings;
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("--consistency-check"), "{warnings:?}");
}

#[test]
fn the_document_about_a_backup_has_the_original_s_keys_in_order() {
    let backup = backup(
        Era::Agent,
        "-F /etc --storage local -C /srv --metadata-out - --dry-run --backup-id i",
    );
    let document = backup.document.expect("a document");
    assert!(document.to_stdout());
    let facts = Facts {
        level: 2,
        path: "/etc".into(),
        time: 5,
    };
    let version = env!("CARGO_PKG_VERSION");
    let expected = format!(
        r#"{{"curr_backup_level": 2, "fs_real_path": "/etc", "vol_snap_path": "/etc", "client_os": "linux", "client_version": "{version}", "time_stamp": 5, "action": "backup", "always_level": "", "backup_media": "fs", "backup_name": "freezer_fs_", "container": "/srv", "container_segments": "", "dry_run": true, "hostname": "machine", "path_to_backup": "/etc", "max_level": "", "log_file": "", "storage": "local", "mode": "fs", "proxy": "", "compression": "gzip", "ssh_key": "", "ssh_username": "", "ssh_host": "", "ssh_port": "", "consistency_checksum": "", "cindernative_backup_az": "", "cindernative_backup_container": "", "cindernative_vol_id": "", "nova_inst_id": "", "cinder_vol_id": "", "cinderbrick_vol_id": "", "glance_image_id": "", "engine_name": "tar", "backup_id": "i"}}"#
    );
    assert_eq!(document.json(&facts), expected);
    assert!(document.table(&facts).contains("| curr backup level "));
}

#[test]
fn an_ini_file_serves_our_own_verbs_too() {
    let text = "[default]\nstorage = local\ncontainer = /srv\nbackup_name = n\ncompression = bzip2\n";
    let file = config_file(text, Path::new("x.ini")).expect("valid");
    assert_eq!(file.defaults.storages, [StorageText("local:/srv".to_owned())]);
    assert_eq!(file.defaults.name.as_deref(), Some("n"));
}

#[test]
fn errors_end_with_the_original_s_codes() {
    assert_eq!(Exit::ALL.map(exit_code), [0, 1, 2, 1, 1, 1, 1]);
}

#[test]
fn no_options_at_all_print_the_help_and_fail() {
    let Err(failure) = parsed(Era::Agent, "") else {
        panic!("refused")
    };
    assert_eq!(failure.exit, Exit::Failed);
    assert!(in_original_words(Era::Agent, &failure).starts_with("usage: freezer-agent"));
}

#[test]
fn sections_of_storages_are_the_storages_of_the_run() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("job.ini");
    let text = "[default]\nbackup_name = n\npath_to_backup = /x\nstorage = swift\ncontainer = unused\nssh_key = /k\n\
                [storage:a]\nstorage = local\ncontainer = /a\nmode = fs\n\
                [storage:b]\nstorage = ssh\ncontainer = /b\nssh_host = h\nssh_username = u\n";
    std::fs::write(&path, text).expect("written");
    let line = format!("--config {}", path.display());
    let original = parsed(Era::Freezerc, &line).expect("judged");
    assert_eq!(
        original.warnings,
        [format!(
            "option \"mode\" has no effect in [storage:a] of {path:?}"
        )]
    );
    let Command::Backup(backup) = original.command else {
        panic!("a backup")
    };
    let urls: Vec<&str> = backup.storages.iter().map(|spec| spec.url.as_str()).collect();
    assert_eq!(urls, ["local:/a", "ssh://u@h/b"]);
    assert_eq!(backup.storages[1].settings[0].0, "ssh-key");
    let overruled = parsed(Era::Freezerc, &format!("{line} --storage local -C /c")).expect("judged");
    assert_eq!(overruled.warnings.len(), 3, "{:?}", overruled.warnings);
    let Command::Backup(backup) = overruled.command else {
        panic!("a backup")
    };
    assert_eq!(backup.storages.len(), 1);
    let file = config_file(text, Path::new("x.ini")).expect("valid");
    assert_eq!(file.storage["b"].url, "ssh://u@h/b");
    assert_eq!(file.defaults.storages.len(), 2);
}
