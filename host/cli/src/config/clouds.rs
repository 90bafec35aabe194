//! clouds.yaml of OpenStack: the login to a cloud by its name, as variables that an osrc file would set.
//!
//! `clouds.yaml` is looked for in the current directory, in `~/.config/openstack` and in `/etc/openstack`, the first
//! counts; `secure.yaml`, searched the same way, is laid over it. Vendor profiles are not read: their data belong to
//! another program.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::file::{FileError, nearest, read_text};

/// Keys of `auth` that have a variable of the same name.
const AUTH: &[&str] = &[
    "auth_url",
    "username",
    "user_id",
    "password",
    "project_name",
    "project_id",
    "user_domain_name",
    "user_domain_id",
    "project_domain_name",
    "project_domain_id",
    "application_credential_id",
    "application_credential_name",
    "application_credential_secret",
    "token",
];
/// Variables of a login by password; those of the environment must not mix with another kind of login.
const PASSWORD: &[&str] = &["OS_USERNAME", "OS_USER_ID", "OS_PASSWORD"];
/// Variables of a login by application credential.
const CREDENTIAL: &[&str] = &[
    "OS_APPLICATION_CREDENTIAL_ID",
    "OS_APPLICATION_CREDENTIAL_NAME",
    "OS_APPLICATION_CREDENTIAL_SECRET",
];
/// Variables of a login by token.
const TOKEN: &[&str] = &["OS_TOKEN"];

/// Why a cloud's login can't be taken from its file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CloudError {
    /// No clouds.yaml was found.
    #[error("cloud {name:?} is not known: there is no clouds.yaml in {}", shown(places))]
    NoFile {
        /// The cloud.
        name: String,
        /// Where it was looked for.
        places: Vec<PathBuf>,
    },
    /// A file can't be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file is no clouds.yaml.
    #[error("{path:?} is no valid clouds.yaml")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Why, without any value of the file.
        source: super::file::Reason,
    },
    /// The file doesn't have this cloud.
    #[error("cloud {name:?} is not in {path:?}{}", suggestion(nearest.as_deref()))]
    Unknown {
        /// The cloud.
        name: String,
        /// The file.
        path: PathBuf,
        /// The nearest name in it.
        nearest: Option<String>,
    },
    /// The cloud asks for something that isn't done here.
    #[error("cloud {name:?} in {path:?} has {what}, which is not supported")]
    Unsupported {
        /// The cloud.
        name: String,
        /// The file.
        path: PathBuf,
        /// What.
        what: String,
    },
}

fn shown(places: &[PathBuf]) -> String {
    let places: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
    places.join(", ")
}

fn suggestion(nearest: Option<&str>) -> String {
    nearest
        .map(|name| format!("; did you mean {name:?}?"))
        .unwrap_or_default()
}

/// A whole file.
#[derive(Default, Deserialize)]
struct Clouds {
    #[serde(default)]
    clouds: BTreeMap<String, Cloud>,
}

/// One cloud, as far as a login needs it.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Cloud {
    profile: Option<String>,
    cloud: Option<String>,
    auth_type: Option<String>,
    auth: BTreeMap<String, Option<String>>,
    region_name: Option<String>,
    interface: Option<String>,
    verify: Option<bool>,
    insecure: Option<bool>,
    cacert: Option<String>,
}

/// The variables of a cloud.
#[derive(Default)]
pub(crate) struct CloudLogin {
    /// By name; `None` hides a variable of the environment that belongs to another kind of login.
    pub(crate) variables: BTreeMap<String, Option<String>>,
    /// The files that it was taken from.
    pub(crate) files: Vec<PathBuf>,
}

/// Reads the login to the cloud `name` from the files in `places`, the first of each kind.
///
/// # Errors
/// When there is no file, it can't be used, or has no such cloud.
pub(crate) fn login(name: &str, places: &[PathBuf]) -> Result<CloudLogin, CloudError> {
    let find = |file: &str| {
        places
            .iter()
            .map(|place| place.join(file))
            .find(|path| path.exists())
    };
    let path = find("clouds.yaml").ok_or_else(|| CloudError::NoFile {
        name: name.to_owned(),
        places: places.to_vec(),
    })?;
    let mut clouds = read(&path)?;
    let Some(mut cloud) = clouds.clouds.remove(name) else {
        let known: Vec<&str> = clouds.clouds.keys().map(String::as_str).collect();
        return Err(CloudError::Unknown {
            name: name.to_owned(),
            nearest: nearest(name, &known).map(str::to_owned),
            path,
        });
    };
    let mut files = vec![path];
    if let Some(path) = find("secure.yaml")
        && let Some(secure) = read(&path)?.clouds.remove(name)
    {
        files.push(path);
        cloud = over(secure, cloud);
    }
    let variables = variables(&cloud).map_err(|what| CloudError::Unsupported {
        name: name.to_owned(),
        path: files[0].clone(),
        what,
    })?;
    Ok(CloudLogin { variables, files })
}

fn read(path: &Path) -> Result<Clouds, CloudError> {
    let text = read_text(path)?;
    serde_saphyr::from_str(&text).map_err(|error| CloudError::Invalid {
        path: path.to_owned(),
        // The parser's own words quote the file, which holds passwords.
        source: super::file::Reason(match error.location() {
            Some(location) => format!("line {} is not what was expected there", location.line()),
            None => "it is not of the expected form".to_owned(),
        }),
    })
}

/// Lays what secure.yaml says over what clouds.yaml says.
fn over(secure: Cloud, mut below: Cloud) -> Cloud {
    below.auth.extend(secure.auth);
    Cloud {
        profile: secure.profile.or(below.profile),
        cloud: secure.cloud.or(below.cloud),
        auth_type: secure.auth_type.or(below.auth_type),
        auth: below.auth,
        region_name: secure.region_name.or(below.region_name),
        interface: secure.interface.or(below.interface),
        verify: secure.verify.or(below.verify),
        insecure: secure.insecure.or(below.insecure),
        cacert: secure.cacert.or(below.cacert),
    }
}

/// The variables that an osrc file for this cloud would set; the error is what isn't supported.
fn variables(cloud: &Cloud) -> Result<BTreeMap<String, Option<String>>, String> {
    if let Some(profile) = cloud.profile.as_ref().or(cloud.cloud.as_ref()) {
        return Err(format!("the vendor profile {profile:?}"));
    }
    let others: [&[&str]; 2] = match cloud.auth_type.as_deref() {
        None | Some("password" | "v3password") => [CREDENTIAL, TOKEN],
        Some("v3applicationcredential") => [PASSWORD, TOKEN],
        Some("token" | "v3token") => [PASSWORD, CREDENTIAL],
        Some(other) => return Err(format!("auth_type {other:?}")),
    };
    let mut variables: BTreeMap<String, Option<String>> = BTreeMap::new();
    for name in others.concat() {
        variables.insert(name.to_owned(), None);
    }
    let mut set = |name: String, value: Option<&String>| {
        if let Some(value) = value {
            variables.insert(name, Some(value.clone()));
        }
    };
    for key in AUTH {
        let value = cloud.auth.get(*key).and_then(Option::as_ref);
        set(format!("OS_{}", key.to_uppercase()), value);
    }
    set("OS_REGION_NAME".to_owned(), cloud.region_name.as_ref());
    set("OS_INTERFACE".to_owned(), cloud.interface.as_ref());
    set("OS_CACERT".to_owned(), cloud.cacert.as_ref());
    if let Some(insecure) = cloud.insecure.or(cloud.verify.map(|verify| !verify)) {
        set("OS_INSECURE".to_owned(), Some(&insecure.to_string()));
    }
    Ok(variables)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    const CLOUDS: &str = "clouds:\n  one:\n    auth:\n      auth_url: http://k/v3\n      username: backup\n      project_name: p\n\
        \x20   region_name: R\n    verify: false\n    networks: [{name: x}]\n\
        \x20 credential:\n    auth_type: v3applicationcredential\n    auth: {auth_url: 'http://k', application_credential_id: i}\n\
        \x20 vendor:\n    profile: somebody\n  kerberos:\n    auth_type: v3kerberos\n";

    fn place(clouds: &str, secure: &str) -> tempfile::TempDir {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("clouds.yaml"), clouds).expect("written");
        std::fs::write(directory.path().join("secure.yaml"), secure).expect("written");
        directory
    }

    fn of(name: &str) -> Result<CloudLogin, CloudError> {
        let directory = place(CLOUDS, "clouds:\n  one:\n    auth:\n      password: 12345\n");
        login(name, &["/nowhere".into(), directory.path().to_owned()])
    }

    #[test]
    fn both_files_make_one_login() {
        let Ok(login) = of("one") else { panic!("a login") };
        let value = |name: &str| login.variables.get(name).cloned().flatten();
        assert_eq!(value("OS_USERNAME").as_deref(), Some("backup"));
        assert_eq!(value("OS_PASSWORD").as_deref(), Some("12345"));
        assert_eq!(value("OS_INSECURE").as_deref(), Some("true"));
        assert_eq!(value("OS_REGION_NAME").as_deref(), Some("R"));
        assert_eq!(login.files.len(), 2);
    }

    #[test]
    fn a_login_hides_the_variables_of_other_kinds() {
        let Ok(login) = of("credential") else {
            panic!("a login")
        };
        assert_eq!(login.variables["OS_PASSWORD"], None);
        let id = &login.variables["OS_APPLICATION_CREDENTIAL_ID"];
        assert_eq!(id.as_deref(), Some("i"));
    }

    #[rstest]
    #[case("vendor", "has the vendor profile \"somebody\", which is not supported")]
    #[case("kerberos", "has auth_type \"v3kerberos\", which is not supported")]
    #[case("onne", "did you mean \"one\"?")]
    fn what_can_t_be_used_is_said(#[case] name: &str, #[case] message: &str) {
        let Err(error) = of(name) else { panic!("refused") };
        assert!(error.to_string().ends_with(message), "{error}");
    }

    #[test]
    fn a_broken_file_is_named_without_its_values() {
        let directory = place("clouds:\n  one:\n    auth: [hush\n", "");
        let Err(error) = login("one", &[directory.path().to_owned()]) else {
            panic!("refused")
        };
        let chain = format!("{error} {:?}", std::error::Error::source(&error));
        assert!(chain.contains("line") && !chain.contains("hush"), "{chain}");
    }

    #[test]
    fn aliases_without_end_are_refused() {
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
        for level in 1..20 {
            let below = format!("*a{}", level - 1);
            bomb.push_str(&format!(
                "a{level}: &a{level} [{}]\n",
                [below.as_str(); 9].join(", ")
            ));
        }
        bomb.push_str("clouds: {}\n");
        let directory = place(&bomb, "");
        assert!(login("one", &[directory.path().to_owned()]).is_err());
    }
}
