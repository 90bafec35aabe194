//! `ssh`: other machines, as far as they are granted, reached by `freezer_io::ssh`.

use freezer_io::directory;
use freezer_io::error::code;
use freezer_io::ssh::{self, KnownHostsFiles, Login, RemoteDirectory};
use wasmtime::component::Resource;
use zeroize::Zeroizing;

use super::reach;
use super::resources::{Body, Child, Directory, SshConnection};
use crate::bindings::v1::imports::freezer::plugin::commands::Command;
use crate::bindings::v1::imports::freezer::plugin::directories::Access;
use crate::bindings::v1::imports::freezer::plugin::ssh as wit;
use crate::bindings::v1::imports::freezer::plugin::ssh::{Host, HostConnection, Target};
use crate::bindings::v1::imports::freezer::plugin::types::{Error, ErrorKind};
use crate::convert::{self, unsupported};
use crate::grants::Network;
use crate::guest::{GuestState, PluginContext};

/// The largest key file; a 16 384-bit RSA key has 13 KiB.
const MAX_KEY_BYTES: u64 = 64 << 10;

impl Host for GuestState {
    async fn connect(&mut self, target: Target) -> wasmtime::Result<Result<Resource<SshConnection>, Error>> {
        let _in_host = self.clock.host();
        if let Err(cancelled) = self.request().await {
            return Ok(Err(cancelled));
        }
        let target = match native(&self.context, target) {
            Ok(target) => target,
            Err(error) => return Ok(Err(error)),
        };
        let permission = reach::permission(&self.context.grants, Network::Ssh, target.port);
        Ok(match ssh::Connection::open(&target, &permission, &self.stop()) {
            Ok(connection) => Ok(self.table.push(connection)?),
            Err(error) => Err(error.into()),
        })
    }
}

impl HostConnection for GuestState {
    async fn open(
        &mut self,
        connection: Resource<SshConnection>,
        root: String,
        access: Access,
    ) -> wasmtime::Result<Result<Resource<Directory>, Error>> {
        let _in_host = self.clock.host();
        let access = match access {
            Access::ReadOnly => directory::Access::ReadOnly,
            Access::ReadWrite => directory::Access::ReadWrite,
        };
        let connection = self.table.get(&connection)?;
        connection.stop_by(self.stop());
        let opened = self
            .check_cancel()
            .and_then(|()| Ok(RemoteDirectory::open(connection, &root, access)?));
        Ok(match opened {
            Ok(directory) => Ok(self.table.push(Box::new(directory) as Directory)?),
            Err(error) => Err(error),
        })
    }

    async fn spawn(
        &mut self,
        connection: Resource<SshConnection>,
        _command: Command,
        _input: Option<Resource<Body>>,
    ) -> wasmtime::Result<Result<Resource<Child>, Error>> {
        self.table.get(&connection)?;
        Ok(Err(unsupported("start commands on other machines")))
    }

    async fn drop(&mut self, connection: Resource<SshConnection>) -> wasmtime::Result<()> {
        let _in_host = self.clock.host();
        self.table.delete(connection)?;
        Ok(())
    }
}

/// The target with what its names of settings stand for, once the machine is granted.
fn native(context: &PluginContext, target: Target) -> Result<ssh::Target, Error> {
    let place = format!("{}:{}", target.host, target.port);
    context.grants.network(Network::Ssh, &place)?;
    let login = match &target.login {
        wit::Login::Password(setting) => Login::Password(secret(context, setting)?),
        wit::Login::Key(key) => key_login(context, key)?,
        wit::Login::Agent => Login::Agent(context.ssh.agent.clone().ok_or_else(|| {
            let message = "there is no agent to log in by: SSH_AUTH_SOCK isn't set";
            Error {
                code: Some(code::LOGIN.to_owned()),
                ..convert::error(ErrorKind::NotFound, message)
            }
        })?),
    };
    let files = match &target.known_hosts {
        Some(setting) => vec![file(context, setting)?],
        None => context.ssh.known_hosts.clone(),
    };
    let accept_new = target.accept_new.as_ref();
    Ok(ssh::Target {
        host: target.host,
        port: target.port,
        user: target.user,
        login,
        known_hosts: KnownHostsFiles {
            files,
            accept_new: accept_new.is_some_and(|setting| context.flags.contains(setting)),
        },
    })
}

fn key_login(context: &PluginContext, key: &wit::PrivateKey) -> Result<Login, Error> {
    let path = file(context, &key.file)?;
    let passphrase = match &key.passphrase {
        Some(setting) => Some(secret(context, setting)?),
        None => None,
    };
    let failed = |why: &dyn std::fmt::Display| {
        let message = format!("can't read the key {}: {why}", path.display());
        convert::error(ErrorKind::NotFound, message)
    };
    let size = std::fs::metadata(&path).map_err(|error| failed(&error))?.len();
    if size > MAX_KEY_BYTES {
        return Err(failed(&"it is too large for a key"));
    }
    let content = std::fs::read_to_string(&path).map_err(|error| failed(&error))?;
    Ok(Login::Key {
        content: Zeroizing::new(content),
        passphrase,
        file: path,
    })
}

fn secret(context: &PluginContext, setting: &str) -> Result<Zeroizing<String>, Error> {
    Ok(Zeroizing::new(context.secret(setting)?.to_owned()))
}

fn file(context: &PluginContext, setting: &str) -> Result<std::path::PathBuf, Error> {
    context.files.get(setting).cloned().ok_or_else(|| {
        let message = format!("{setting:?} is no setting of type file that is set");
        convert::error(ErrorKind::Invalid, message)
    })
}
