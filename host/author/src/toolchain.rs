//! What compiles Rust for `wasm32-wasip2` on this machine: rustup's target, or a distribution's compiler that builds the standard
//! library from source and borrows its linkers from the rustup toolchain; else what to install.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::AuthorError;

/// The target of plugins.
pub const TARGET: &str = "wasm32-wasip2";
/// Where distributions put WASI's C library, and the source of the standard library.
const WASI_LIBC: &str = "/usr/lib/wasm32-wasi";
const STD_SOURCE: &str = "/usr/lib/rustlib/src/rust";
/// The packages of Debian and Ubuntu that hold all of it.
const PACKAGES: &str = "rustc-web cargo-web rust-web-src wasi-libc";

/// What the machine's environment says, read by the command line.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// Where programs are looked for.
    pub path: Option<OsString>,
    /// Where cargo keeps the sources of crates.
    pub cargo_home: Option<PathBuf>,
}

/// A way to compile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Toolchain {
    /// The compiler on the path has the target.
    Rustup {
        /// Where the compiler lies.
        sysroot: PathBuf,
    },
    /// `/usr/bin/rustc` builds the standard library itself.
    Distribution {
        /// The folder with `wasm-component-ld` and `rust-lld`.
        linkers: PathBuf,
    },
}

impl Toolchain {
    /// Finds one, as seen from a folder: rustup chooses the compiler by it.
    ///
    /// # Errors
    /// [`AuthorError::Toolchain`] says what to install.
    pub fn find(folder: &Path) -> Result<Self, AuthorError> {
        let Some(sysroot) = asked(folder, &["--print", "sysroot"]) else {
            return Err(missing("there is no rustc on the PATH", true));
        };
        let sysroot = PathBuf::from(sysroot);
        if sysroot.join("lib/rustlib").join(TARGET).join("lib").is_dir() {
            return Ok(Self::Rustup { sysroot });
        }
        let version = asked(folder, &["--version"]).unwrap_or_else(|| "rustc".to_owned());
        if !has_distribution() {
            return Err(missing(
                &format!("{version} hasn't got the target {TARGET}"),
                false,
            ));
        }
        let machine = asked(folder, &["-vV"]).and_then(|text| {
            let host = text.lines().find_map(|line| line.strip_prefix("host: "));
            host.map(str::to_owned)
        });
        let linkers = sysroot
            .join("lib/rustlib")
            .join(machine.unwrap_or_default())
            .join("bin");
        match linkers.join("wasm-component-ld").is_file() {
            true => Ok(Self::Distribution { linkers }),
            false => Err(missing(
                &format!("{} holds no wasm-component-ld", linkers.display()),
                false,
            )),
        }
    }

    /// How it is called in messages.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Rustup { .. } => "the compiler's own target wasm32-wasip2",
            Self::Distribution { .. } => {
                "the distribution's compiler, which builds the standard library first"
            }
        }
    }

    /// cargo, set up to compile a folder's plugin into `wasm_dir`.
    #[must_use]
    pub fn cargo(&self, folder: &Path, wasm_dir: &Path, surroundings: &Surroundings) -> Command {
        let mut command = match self {
            Self::Rustup { .. } => Command::new("cargo"),
            Self::Distribution { .. } => Command::new("/usr/bin/cargo"),
        };
        command
            .current_dir(folder)
            .args(["build", "--release", "--target", TARGET, "--target-dir"])
            .arg(wasm_dir);
        let source = match self {
            Self::Rustup { sysroot } => sysroot.join("lib/rustlib/src/rust"),
            Self::Distribution { .. } => PathBuf::from(STD_SOURCE),
        };
        let mut flags = Vec::new();
        if let Self::Distribution { linkers } = self {
            flags.push("-L".to_owned());
            flags.push(format!("native={WASI_LIBC}"));
            let mut path = OsString::from(linkers);
            path.push(":");
            path.push(linkers.join("gcc-ld"));
            if let Some(own) = &surroundings.path {
                path.push(":");
                path.push(own);
            }
            command
                .env("PATH", path)
                .env("RUSTC", "/usr/bin/rustc")
                .env("RUSTC_BOOTSTRAP", "1")
                .arg("-Zbuild-std=std,panic_abort");
        }
        // This machine's folders don't show in the component: the same source gives the same bytes anywhere. The last match wins.
        let mut remapped = vec![(folder.to_owned(), "/plugin")];
        remapped.extend(surroundings.cargo_home.clone().map(|home| (home, "/cargo")));
        remapped.extend([(wasm_dir.to_owned(), "/build"), (source, "/rust")]);
        flags.extend(
            remapped
                .iter()
                .map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display())),
        );
        // Separated so that folders may have spaces in their names.
        command.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
        command
    }
}

/// One answer of the compiler.
fn asked(folder: &Path, arguments: &[&str]) -> Option<String> {
    let mut rustc = Command::new("rustc");
    rustc.args(arguments).current_dir(folder).stdin(Stdio::null());
    let output = rustc.stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

fn has_distribution() -> bool {
    ["/usr/bin/rustc", "/usr/bin/cargo"]
        .iter()
        .all(|program| Path::new(program).is_file())
        && Path::new(WASI_LIBC).join("libc.a").is_file()
        && Path::new(STD_SOURCE).join("library/std").exists()
}

fn missing(why: &str, no_rust: bool) -> AuthorError {
    let mut steps = Vec::new();
    if no_rust {
        steps.push("install Rust from https://rustup.rs".to_owned());
    }
    steps.push(format!("rustup target add {TARGET}"));
    steps.push(format!(
        "where rustup can't fetch targets, on Debian and Ubuntu: apt-get install --no-install-recommends {PACKAGES}"
    ));
    AuthorError::Toolchain {
        why: why.to_owned(),
        steps,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_said_with_the_commands_that_bring_it() {
        let error = missing("rustc 1.95.0 hasn't got the target wasm32-wasip2", false);
        assert_eq!(
            error.to_string(),
            "nothing here compiles plugins: rustc 1.95.0 hasn't got the target wasm32-wasip2"
        );
        assert_eq!(error.steps()[0], "rustup target add wasm32-wasip2");
        assert!(error.steps()[1].ends_with(PACKAGES));
        assert_eq!(missing("x", true).steps().len(), 3);
    }

    #[test]
    fn a_distributions_compiler_gets_its_linkers_and_builds_the_standard_library() {
        let toolchain = Toolchain::Distribution {
            linkers: "/links".into(),
        };
        let surroundings = Surroundings {
            path: Some("/bin".into()),
            cargo_home: Some("/home/a b/.cargo".into()),
        };
        let command = toolchain.cargo(Path::new("/p"), Path::new("/p/target/wasm"), &surroundings);
        let environment: Vec<(String, String)> = command
            .get_envs()
            .map(|(name, value)| {
                let text = |text: &std::ffi::OsStr| text.to_string_lossy().into_owned();
                (text(name), value.map(text).unwrap_or_default())
            })
            .collect();
        let value = |name: &str| {
            environment
                .iter()
                .find(|(known, _)| known == name)
                .unwrap()
                .1
                .clone()
        };
        assert_eq!(value("PATH"), "/links:/links/gcc-ld:/bin");
        assert_eq!(value("RUSTC"), "/usr/bin/rustc");
        assert!(
            value("CARGO_ENCODED_RUSTFLAGS").contains("--remap-path-prefix=/home/a b/.cargo=/cargo\u{1f}")
        );
        assert!(
            command
                .get_args()
                .any(|argument| argument == "-Zbuild-std=std,panic_abort")
        );
    }
}
