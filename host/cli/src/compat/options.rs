//! The original's options as one table: every name of the freezerc era and of 19.0.0.
//!
//! `dest` is the key of the ini file. A name is accepted with dashes and with underscores. What
//! an option is used for stands beside it, so that nothing is accepted and silently dropped.

/// How an option takes its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Takes {
    /// `--name` and `--noname`.
    Flag,
    /// `--name` alone or with a value that doesn't start with a dash: a flag in one era, not in the other.
    Maybe,
    /// `--name VALUE`.
    Text,
    /// `--name INTEGER`.
    Integer,
    /// `--name DAYS`.
    Days,
    /// `--name SIZE`, the original's units.
    Size,
    /// `--name ONE-OF`.
    Choice(&'static [&'static str]),
}

/// What becomes of an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// It is mapped to the option of ours that does the same.
    Ours,
    /// It is handed to the storage plugin as a setting of this name.
    Storage,
    /// It is handed to the mode plugin as a setting of this name.
    Mode,
    /// It needs nothing from us; the text says why.
    Needless(&'static str),
}

/// One option of the original.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Opt {
    /// The ini key.
    pub(crate) dest: &'static str,
    /// Its long names, with dashes, the proper one first.
    pub(crate) long: &'static [&'static str],
    /// Its letter.
    pub(crate) short: Option<char>,
    /// Its value.
    pub(crate) takes: Takes,
    /// What it is for.
    pub(crate) used: Use,
    /// One line of help.
    pub(crate) help: &'static str,
}

const fn opt(
    dest: &'static str,
    long: &'static [&'static str],
    takes: Takes,
    used: Use,
    help: &'static str,
) -> Opt {
    Opt {
        dest,
        long,
        short: None,
        takes,
        used,
        help,
    }
}

const fn short(letter: char, option: Opt) -> Opt {
    Opt {
        short: Some(letter),
        ..option
    }
}

const DEREFERENCE: Takes = Takes::Choice(&["none", "soft", "hard", "all"]);
const ACTIONS: Takes = Takes::Choice(&["backup", "restore", "info", "admin", "exec"]);
const VERIFIED: Use = Use::Needless("everything stored is verified by digests anyway");
const LOGGING: Use = Use::Needless("messages go to standard error, and to --log-file");

/// All of them, in the order of the help.
// One line for each option, so that it reads as the table it is.
#[rustfmt::skip]
pub(crate) const OPTIONS: &[Opt] = &[
    opt("config", &["config"], Takes::Text, Use::Ours, "ini file with options"),
    opt("action", &["action"], ACTIONS, Use::Ours, "what to do [backup]"),
    short('F', opt("path_to_backup", &["path-to-backup", "file-to-backup"], Takes::Text, Use::Ours, "directory or file to back up")),
    short('N', opt("backup_name", &["backup-name"], Takes::Text, Use::Ours, "name of the backup")),
    opt("backup_id", &["backup-id"], Takes::Text, Use::Ours, "identifier given by the API"),
    short('m', opt("mode", &["mode"], Takes::Text, Use::Ours, "mode that prepares the source [fs]")),
    short('e', opt("engine_name", &["engine"], Takes::Text, Use::Ours, "engine [tar]")),
    short('C', opt("container", &["container"], Takes::Text, Use::Ours, "container or directory [freezer_backups]")),
    opt("storage", &["storage"], Takes::Text, Use::Ours, "kind of storage [swift]"),
    short('s', opt("snapshot", &["snapshot"], Takes::Maybe, Use::Ours, "snapshot the file system first")),
    opt("sync", &["sync"], Takes::Flag, Use::Ours, "write the kernel's buffered memory to the disks first [on]"),
    opt("lvm_auto_snap", &["lvm-auto-snap"], Takes::Text, Use::Ours, "snapshot the volume of this path"),
    opt("lvm_srcvol", &["lvm-srcvol"], Takes::Text, Use::Mode, "volume to snapshot"),
    opt("lvm_volgroup", &["lvm-volgroup"], Takes::Text, Use::Mode, "its volume group"),
    opt("lvm_snapname", &["lvm-snapname"], Takes::Text, Use::Mode, "name of the snapshot"),
    opt("lvm_snapperm", &["lvm-snap-perm"], Takes::Choice(&["ro", "rw"]), Use::Mode, "its permission"),
    opt("lvm_snapsize", &["lvm-snapsize"], Takes::Text, Use::Mode, "its size"),
    opt("lvm_dirmount", &["lvm-dirmount"], Takes::Text, Use::Mode, "where it is mounted"),
    opt("max_level", &["max-level"], Takes::Integer, Use::Ours, "begin a new chain after this level"),
    opt("always_level", &["always-level"], Takes::Integer, Use::Ours, "stay at this level"),
    opt("restart_always_level", &["restart-always-level"], Takes::Days, Use::Ours, "begin a new chain after these days"),
    opt("no_incremental", &["no-incremental"], Takes::Flag, Use::Ours, "make a level 0"),
    opt("incremental", &["incremental"], Takes::Flag, Use::Ours, "make increments"),
    short('R', opt("remove_older_than", &["remove-older-than", "remove-older-then"], Takes::Days, Use::Ours, "remove backups older than these days")),
    opt("remove_before_date", &["remove-before-date"], Takes::Text, Use::Ours, "remove backups before this date"),
    opt("remove_from_date", &["remove-from-date"], Takes::Text, Use::Ours, "the same as --remove-before-date"),
    opt("hostname", &["hostname", "restore-from-host"], Takes::Text, Use::Ours, "host part of the backup's name"),
    opt("restore_abs_path", &["restore-abs-path"], Takes::Text, Use::Ours, "directory to restore into"),
    opt("restore_from_date", &["restore-from-date"], Takes::Text, Use::Ours, "restore as it was at this date"),
    opt("overwrite", &["overwrite"], Takes::Flag, Use::Ours, "restore into a directory that isn't empty"),
    opt("metadata_out", &["metadata-out"], Takes::Text, Use::Ours, "write a JSON document about the run to this file, - for standard output"),
    opt("exclude", &["exclude"], Takes::Text, Use::Ours, "leave out what matches this pattern"),
    opt("dereference_symlink", &["dereference-symlink"], DEREFERENCE, Use::Ours, "which links to follow"),
    opt("encrypt_pass_file", &["encrypt-pass-file"], Takes::Text, Use::Ours, "the password is in this file"),
    short('M', opt("max_segment_size", &["max-segment-size"], Takes::Size, Use::Ours, "size of a stored piece [33554432]")),
    opt("rsync_block_size", &["rsync-block-size"], Takes::Integer, Use::Needless("only the rsync engines use it"), "block size of rsyncv2"),
    opt("compression", &["compression"], Takes::Choice(&["gzip", "bzip2", "xz"]), Use::Ours, "compression [gzip]"),
    opt("consistency_check", &["consistency-check"], Takes::Flag, VERIFIED, "compute a checksum of the tree"),
    opt("consistency_checksum", &["consistency-checksum"], Takes::Text, VERIFIED, "compare with this checksum"),
    opt("max_priority", &["max-priority"], Takes::Maybe, Use::Ours, "run at nice -19 and ionice realtime:0, if this user may"),
    short('q', opt("quiet", &["quiet"], Takes::Flag, Use::Ours, "print nothing")),
    short('V', opt("version", &["version"], Takes::Flag, Use::Ours, "print the version")),
    short('h', opt("help", &["help"], Takes::Flag, Use::Ours, "print this")),
    opt("insecure", &["insecure"], Takes::Flag, Use::Storage, "accept servers without a valid certificate"),
    opt("os_identity_api_version", &["os-identity-api-version", "os-auth-ver"], Takes::Text, Use::Storage, "version of the identity API"),
    opt("os_trust_id", &["os-trust-id"], Takes::Text, Use::Storage, "identity trust"),
    opt("osrc", &["osrc"], Takes::Text, Use::Storage, "shell file with OS_ variables"),
    opt("proxy", &["proxy"], Takes::Text, Use::Storage, "proxy for HTTP"),
    opt("dry_run", &["dry-run"], Takes::Flag, Use::Ours, "write nothing"),
    opt("upload_limit", &["upload-limit"], Takes::Size, Use::Ours, "bytes per second to the storage; -1 for no limit"),
    opt("download_limit", &["download-limit"], Takes::Size, Use::Ours, "bytes per second from the storage; -1 for no limit"),
    opt("ssh_key", &["ssh-key"], Takes::Text, Use::Storage, "private key"),
    opt("ssh_username", &["ssh-username"], Takes::Text, Use::Storage, "user"),
    opt("ssh_password", &["ssh-password"], Takes::Text, Use::Storage, "password; better in the ini file"),
    opt("ssh_host", &["ssh-host"], Takes::Text, Use::Storage, "server"),
    opt("ssh_port", &["ssh-port"], Takes::Integer, Use::Storage, "its port [22]"),
    opt("ftp_username", &["ftp-username"], Takes::Text, Use::Storage, "user"),
    opt("ftp_password", &["ftp-password"], Takes::Text, Use::Storage, "password; better in the ini file"),
    opt("ftp_host", &["ftp-host"], Takes::Text, Use::Storage, "server"),
    opt("ftp_port", &["ftp-port"], Takes::Integer, Use::Storage, "its port [21]"),
    opt("ftp_keyfile", &["ftp-keyfile"], Takes::Text, Use::Storage, "private key"),
    opt("ftp_certfile", &["ftp-certfile"], Takes::Text, Use::Storage, "certificate"),
    opt("access_key", &["access-key"], Takes::Text, Use::Storage, "S3 access key"),
    opt("secret_key", &["secret-key"], Takes::Text, Use::Storage, "S3 secret key; better in the ini file"),
    opt("endpoint", &["endpoint"], Takes::Text, Use::Storage, "S3 endpoint"),
    opt("mysql_conf", &["mysql-conf"], Takes::Text, Use::Mode, "file with the MySQL login"),
    opt("sql_server_conf", &["sql-server-conf"], Takes::Text, Use::Mode, "file with the SQL Server instance"),
    opt("cinder_vol_id", &["cinder-vol-id"], Takes::Text, Use::Mode, "volume to back up through glance"),
    opt("cinder_vol_name", &["cinder-vol-name"], Takes::Text, Use::Mode, "the same by name"),
    opt("cinderbrick_vol_id", &["cinderbrick-vol-id"], Takes::Text, Use::Mode, "volume to back up attached"),
    opt("cindernative_vol_id", &["cindernative-vol-id"], Takes::Text, Use::Mode, "volume to back up by cinder"),
    opt("cindernative_backup_id", &["cindernative-backup-id"], Takes::Text, Use::Mode, "backup of cinder to restore"),
    opt("cindernative_backup_az", &["cindernative-backup-az"], Takes::Text, Use::Mode, "its availability zone"),
    opt("cindernative_backup_container", &["cindernative-backup-container"], Takes::Text, Use::Mode, "its container"),
    opt("cindernative_freezer_only", &["cindernative-freezer-only"], Takes::Flag, Use::Mode, "rotate only backups made by freezer"),
    opt("fullbackup_rotation", &["fullbackup-rotation"], Takes::Integer, Use::Mode, "full backups of cinder to keep"),
    opt("nova_inst_id", &["nova-inst-id"], Takes::Text, Use::Mode, "instance"),
    opt("nova_inst_name", &["nova-inst-name"], Takes::Text, Use::Mode, "the same by name"),
    opt("project_id", &["project-id"], Takes::Text, Use::Mode, "all instances of this project"),
    opt("nova_restore_network", &["nova-restore-network"], Takes::Text, Use::Mode, "network of a restored instance"),
    opt("glance_image_id", &["glance-image-id"], Takes::Text, Use::Mode, "image"),
    opt("glance_image_name", &["glance-image-name"], Takes::Text, Use::Mode, "the same by name"),
    opt("glance_image_name_filter", &["glance-image-name-filter"], Takes::Text, Use::Mode, "leave out images of such names"),
    opt("temp_resource_prefix", &["temp-resource-prefix"], Takes::Text, Use::Mode, "names of temporary resources begin so"),
    opt("timeout", &["timeout"], Takes::Integer, Use::Mode, "seconds to wait for a service"),
    opt("command", &["command"], Takes::Text, Use::Ours, "command of the exec action"),
    opt("hook_before", &["hook-before"], Takes::Text, Use::Ours, "run this with sh -c before a backup; if it fails, no backup is made"),
    opt("hook_on_success", &["hook-on-success"], Takes::Text, Use::Ours, "run this after a backup that is whole"),
    opt("hook_on_failure", &["hook-on-failure"], Takes::Text, Use::Ours, "run this after any other"),
    opt("hook_after", &["hook-after"], Takes::Text, Use::Ours, "run this at the end"),
    opt("hook_timeout", &["hook-timeout"], Takes::Text, Use::Ours, "kill a hook after this time: 90s, 30m, 2h; 0 for never [1h]"),
    opt("log_file", &["log-file"], Takes::Text, Use::Ours, "write messages to this file too"),
    opt("log_dir", &["log-dir"], Takes::Text, LOGGING, "directory of --log-file"),
    opt("log_level", &["log-level"], Takes::Choice(&["all", "debug", "info", "warn", "error", "critical"]), Use::Ours, "what to log [info]"),
    short('d', opt("debug", &["debug"], Takes::Flag, Use::Ours, "log every detail")),
    opt("log_config_append", &["log-config-append"], Takes::Text, LOGGING, "logging configuration"),
    opt("log_date_format", &["log-date-format"], Takes::Text, LOGGING, "format of dates"),
    opt("use_syslog", &["use-syslog"], Takes::Flag, LOGGING, "log to syslog"),
    opt("syslog_log_facility", &["syslog-log-facility"], Takes::Text, LOGGING, "its facility"),
    opt("use_journal", &["use-journal"], Takes::Flag, LOGGING, "log to the journal"),
    opt("use_json", &["use-json"], Takes::Flag, LOGGING, "log as JSON"),
    opt("config_file", &["config-file"], Takes::Text, LOGGING, "logging options"),
    opt("config_dir", &["config-dir"], Takes::Text, LOGGING, "logging options"),
];

/// Ini keys that older releases or jobs used for another's dest.
const DEST_ALIASES: &[(&str, &str)] = &[
    ("file_to_backup", "path_to_backup"),
    ("src_file", "path_to_backup"),
    ("engine", "engine_name"),
    ("lvm_snap_perm", "lvm_snapperm"),
    ("restore_from_host", "hostname"),
    ("remove_older_then", "remove_older_than"),
    ("os_auth_ver", "os_identity_api_version"),
];

/// The option of an ini key, by its dest or an older name, with dashes or underscores.
pub(crate) fn by_dest(key: &str) -> Option<&'static Opt> {
    let key = key.replace('-', "_");
    let dest = DEST_ALIASES
        .iter()
        .find(|(old, _)| *old == key)
        .map_or(key.as_str(), |(_, dest)| dest);
    OPTIONS.iter().find(|option| option.dest == dest)
}

/// The option of a letter.
pub(crate) fn by_letter(letter: char) -> Option<&'static Opt> {
    OPTIONS.iter().find(|option| option.short == Some(letter))
}

/// The options whose long name is `name`, or else begins with it, as the original's parser completes names.
pub(crate) fn by_long(name: &str) -> Vec<&'static Opt> {
    let name = name.replace('_', "-");
    let exact = OPTIONS.iter().find(|option| option.long.contains(&name.as_str()));
    if let Some(option) = exact {
        return vec![option];
    }
    OPTIONS
        .iter()
        .filter(|option| option.long.iter().any(|long| long.starts_with(&name)))
        .collect()
}

/// The flag that `--noNAME` takes back.
pub(crate) fn by_inverse(name: &str) -> Option<&'static Opt> {
    let name = name.replace('_', "-");
    let positive = name.strip_prefix("no")?;
    OPTIONS
        .iter()
        .find(|option| option.takes == Takes::Flag && option.long.contains(&positive))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_name_letter_or_dest_is_given_twice() {
        let mut names = BTreeSet::new();
        for option in OPTIONS {
            assert!(names.insert(option.dest.to_owned()), "{}", option.dest);
            for long in option.long {
                assert!(names.insert(format!("--{long}")), "{long}");
            }
            if let Some(letter) = option.short {
                assert!(names.insert(format!("-{letter}")), "{letter}");
            }
        }
    }

    #[test]
    fn every_dest_alias_leads_to_an_option() {
        for (old, dest) in DEST_ALIASES {
            assert_eq!(by_dest(old).map(|option| option.dest), Some(*dest));
        }
    }
}
