//! Which of several places for a setting counts, and where secrets may stand.

use proptest::prelude::*;
use rstest::rstest;

use super::super::environment::{Environment, Variables};
use super::super::file::ConfigFile;
use super::*;

const MANIFEST: &str = r#"
name = "cloud"
kind = "storage"
version = "0.1.0"
contract = "1.0.0"
license = "Apache-2.0"
description = "For these tests"
schemes = ["cloud"]

[[setting]]
name = "user"
type = "text"
help = "Who"
from-url = "user"
default = "default"
aliases = ["username"]
environment = ["OS_USERNAME"]

[[setting]]
name = "password"
type = "text"
secret = true
help = "What nobody may know"
environment = ["OS_PASSWORD"]

[[setting]]
name = "cacert"
type = "file"
help = "Whose certificates count"
environment = ["OS_CACERT"]

[[setting]]
name = "insecure"
type = "flag"
help = "Whether any certificate will do"
environment = ["OS_INSECURE"]
"#;

/// The places in which a setting may stand, the nearest to the user first.
#[derive(Debug, Default, Clone)]
struct Places {
    url: bool,
    command_line: bool,
    section: bool,
    file: bool,
    osrc: bool,
    cloud: bool,
    environment: bool,
}

fn config(variables: &[(&str, &str)]) -> Config {
    let pairs = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config {
        environment: Environment {
            home: Some("/home/u".into()),
            variables: pairs.collect::<Variables>(),
            ..Environment::default()
        },
        file: ConfigFile::default(),
        zone: jiff::tz::TimeZone::UTC,
    }
}

fn assembled(
    config: &Config,
    url: &str,
    given: &[(&str, Setting)],
    shared: bool,
) -> Result<Assembled, Failure> {
    let manifest = PluginManifest::parse(MANIFEST.as_bytes()).expect("a manifest");
    let spec = StorageSpec {
        name: None,
        url: url.to_owned(),
        settings: given
            .iter()
            .map(|(name, setting)| ((*name).to_owned(), setting.clone()))
            .collect(),
        uploads: None,
        shared,
    };
    config.storage_settings(&manifest, &spec)
}

fn text(assembled: &Assembled, name: &str) -> Option<String> {
    assembled.settings.get(name).map(ToString::to_string)
}

/// What `user` comes to with a value in each of these places, named after the place.
fn user(places: &Places) -> Result<Option<String>, Failure> {
    let directory = tempfile::tempdir().expect("a directory");
    let osrc = directory.path().join("osrc");
    std::fs::write(&osrc, "export OS_USERNAME=osrc\n").expect("written");
    let clouds = directory.path().join("openstack/clouds.yaml");
    std::fs::create_dir(directory.path().join("openstack")).expect("made");
    std::fs::write(&clouds, "clouds: {c: {auth: {username: cloud}}}\n").expect("written");
    let mut config = config(match places.environment {
        true => &[("OS_USERNAME", "environment")],
        false => &[],
    });
    config.environment.config_home = Some(directory.path().to_owned());
    let url = match places.url {
        true => "cloud://url@host",
        false => "cloud://host",
    };
    let mut given = Vec::new();
    for (there, name, value, origin) in [
        // Under another name, as one setting has several.
        (places.file, "username", "file", Origin::File),
        (places.section, "user", "section", Origin::Section),
        (
            places.command_line,
            "username",
            "command-line",
            Origin::CommandLine,
        ),
    ] {
        if there {
            given.push((name, Setting::new(value, origin)));
        }
    }
    if places.osrc {
        given.push(("osrc", Setting::new(osrc.to_string_lossy(), Origin::Section)));
    }
    if places.cloud {
        given.push(("os-cloud", Setting::new("c", Origin::Section)));
    }
    assembled(&config, url, &given, false).map(|assembled| text(&assembled, "user"))
}

proptest! {
    #[test]
    fn the_nearest_place_counts(bits in prop::array::uniform7(any::<bool>())) {
        let [url, command_line, section, file, osrc, cloud, environment] = bits;
        let places = Places { url, command_line, section, file, osrc, cloud, environment };
        let names = ["url", "command-line", "section", "file", "osrc", "cloud", "environment"];
        let nearest = names.into_iter().zip(bits).find(|(_, there)| *there).map(|(name, _)| name.to_owned());
        match user(&places) {
            // Both stand on the command line: the user is asked.
            Err(failure) => {
                prop_assert!(url && command_line, "{failure:?}");
                prop_assert!(failure.message.contains("is given twice"), "{failure:?}");
            }
            Ok(found) => {
                prop_assert!(!(url && command_line));
                prop_assert_eq!(found, nearest);
            }
        }
    }
}

#[test]
fn a_secret_on_the_command_line_is_refused_with_the_places_for_it() {
    let given = [("password", Setting::new("hush", Origin::CommandLine))];
    let failure = assembled(&config(&[]), "cloud://host", &given, false).expect_err("refused");
    assert_eq!(failure.exit, Exit::Usage);
    assert_eq!(
        failure.message,
        "password is secret and stands on the command line"
    );
    assert!(
        failure.next[0].starts_with("set $OS_PASSWORD, or write password=@FILE"),
        "{failure:?}"
    );
    assert!(!format!("{failure:?}").contains("hush"));
}

#[rstest]
#[case("@@at", "@at")]
#[case("plain", "plain")]
fn a_secret_in_a_section_stands_as_it_is(#[case] written: &str, #[case] secret: &str) {
    let given = [("password", Setting::new(written, Origin::Section))];
    let assembled = assembled(&config(&[]), "cloud://host", &given, false).expect("assembled");
    assert_eq!(text(&assembled, "password").as_deref(), Some(secret));
}

#[test]
fn a_secret_is_read_from_the_first_line_of_a_file() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("secret");
    std::fs::write(&path, "hush\r\nmore\n").expect("written");
    let given = [(
        "password",
        Setting::new(format!("@{}", path.display()), Origin::CommandLine),
    )];
    let mode = |mode| std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).expect("changed");
    mode(0o600);
    let quiet = assembled(&config(&[]), "cloud://host", &given, false).expect("assembled");
    assert_eq!(text(&quiet, "password").as_deref(), Some("hush"));
    assert_eq!(quiet.warnings, [""; 0]);
    mode(0o644);
    let warned = assembled(&config(&[]), "cloud://host", &given, false).expect("assembled");
    let expected = format!("password is in {path:?}, which other users can read: chmod 600 it");
    assert_eq!(warned.warnings, [expected]);
    std::fs::write(&path, "\nhush\n").expect("written");
    let failure = assembled(&config(&[]), "cloud://host", &given, false).expect_err("refused");
    assert_eq!(failure.causes, ["its first line is empty"]);
}

#[test]
fn a_configuration_file_with_a_secret_that_others_can_read_is_warned_of() {
    use std::os::unix::fs::PermissionsExt;
    let file = tempfile::NamedTempFile::new().expect("a file");
    let mut config = config(&[]);
    config.file.path = Some(file.path().to_owned());
    let given = [
        ("password", Setting::new("hush", Origin::Section)),
        ("user", Setting::new("u", Origin::Section)),
    ];
    for (mode, warnings) in [(0o600, 0), (0o640, 1)] {
        std::fs::set_permissions(file.path(), PermissionsExt::from_mode(mode)).expect("changed");
        let assembled = assembled(&config, "cloud://host", &given, false).expect("assembled");
        assert_eq!(assembled.warnings.len(), warnings, "{:?}", assembled.warnings);
    }
}

#[rstest]
#[case("~/ca.pem", "/home/u/ca.pem")]
#[case("/etc/ca.pem", "/etc/ca.pem")]
fn names_of_files_become_absolute(#[case] written: &str, #[case] path: &str) {
    let config = config(&[("OS_CACERT", written)]);
    let assembled = assembled(&config, "cloud://host", &[], false).expect("assembled");
    assert_eq!(text(&assembled, "cacert").as_deref(), Some(path));
}

#[test]
fn a_relative_name_of_a_file_is_below_the_current_directory() {
    let given = [("cacert", Setting::new("ca.pem", Origin::Section))];
    let assembled = assembled(&config(&[]), "cloud://host", &given, false).expect("assembled");
    let path = std::path::absolute("ca.pem").expect("a path");
    assert_eq!(
        text(&assembled, "cacert").map(std::path::PathBuf::from),
        Some(path)
    );
}

#[test]
fn a_bad_variable_is_named_with_its_source() {
    let config = config(&[("OS_INSECURE", "perhaps")]);
    let failure = assembled(&config, "cloud://host", &[], false).expect_err("refused");
    assert!(failure.message.contains("must be true or false"), "{failure:?}");
    assert_eq!(
        failure.causes,
        ["it is taken from OS_INSECURE of the environment"]
    );
}

#[test]
fn unknown_settings_are_refused_unless_they_may_be_another_storage_s() {
    let given = [("passwort", Setting::new("x", Origin::CommandLine))];
    let failure = assembled(&config(&[]), "cloud://host", &given, false).expect_err("refused");
    assert!(
        failure.message.ends_with("did you mean \"password\"?"),
        "{failure:?}"
    );
    let shared = assembled(&config(&[]), "cloud://host", &given, true).expect("assembled");
    assert_eq!(shared.warnings.len(), 1);
    let given = [("passwort", Setting::new("x", Origin::Section))];
    assert!(assembled(&config(&[]), "cloud://host", &given, true).is_err());
}

#[test]
fn one_setting_under_two_names_is_refused() {
    let given = [
        ("user", Setting::new("a", Origin::Section)),
        ("username", Setting::new("b", Origin::Section)),
    ];
    let failure = assembled(&config(&[]), "cloud://host", &given, false).expect_err("refused");
    assert!(failure.message.contains("under two of its names"), "{failure:?}");
}

#[test]
fn a_cloud_with_a_credential_hides_the_password_of_the_environment() {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::create_dir(directory.path().join("openstack")).expect("made");
    let text_of_file =
        "clouds: {c: {auth_type: v3applicationcredential, auth: {application_credential_id: i}}}\n";
    std::fs::write(directory.path().join("openstack/clouds.yaml"), text_of_file).expect("written");
    let mut config = config(&[("OS_PASSWORD", "hush"), ("OS_CLOUD", "c")]);
    config.environment.config_home = Some(directory.path().to_owned());
    let assembled = assembled(&config, "cloud://host", &[], false).expect("assembled");
    assert_eq!(text(&assembled, "password"), None);
}

#[test]
fn an_unknown_cloud_is_a_usage_failure() {
    let config = config(&[("OS_CLOUD", "nowhere")]);
    let failure = assembled(&config, "cloud://host", &[], false).expect_err("refused");
    assert_eq!(failure.exit, Exit::Usage);
    assert!(
        failure.message.contains("there is no clouds.yaml in ."),
        "{failure:?}"
    );
}
