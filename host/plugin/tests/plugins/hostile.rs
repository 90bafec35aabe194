//! Every sin of the hostile storage has its consequence: an error that names the plugin, and a host that goes on.
//!
//! Each sin in the guest's list becomes a test that calls the function of its name; a sin without such a function doesn't compile, and
//! neither does a function without a sin. Whatever the sin, the scene is looked at afterwards. Those of whole runs are committed under
//! the program itself (`tests/tests/guests.rs`).

mod answers;
mod greed;
mod programs;
mod reach;
mod trace;

use crate::scene::Scene;

use answers::*;
use greed::*;
use programs::*;
use reach::*;

pub(crate) use reach::{Answering, FINE};

/// Makes a test of each sin.
macro_rules! tests {
    (
        stat { $($stat:ident,)* }
        stat_needs_mounts { $($mounts:ident,)* }
        stat_needs_mariadb { $($mariadb:ident,)* }
        list { $($list:ident,)* }
        read { $($read:ident,)* }
        put { $($put:ident,)* }
        begin { $($begin:ident,)* }
        put_segment { $($put_segment:ident,)* }
        whole_runs { $($runs:ident,)* }
    ) => {
        mod stat {
            $(#[test] fn $stat() { super::$stat().survived() })*
        }

        /// They mount. `tests/run.sh` leaves them out where that is impossible.
        mod needs_mounts {
            $(#[test] fn $mounts() { super::$mounts().survived() })*
        }

        /// They need the server that `tests/run.sh` starts.
        mod needs_mariadb {
            $(#[test] fn $mariadb() { super::$mariadb().survived() })*
        }

        mod other_calls {
            $(#[test] fn $list() { super::$list().survived() })*
            $(#[test] fn $read() { super::$read().survived() })*
            $(#[test] fn $put() { super::$put().survived() })*
            $(#[test] fn $begin() { super::$begin().survived() })*
            $(#[test] fn $put_segment() { super::$put_segment().survived() })*
        }

        /// The same where all plugins run in processes of their own.
        mod apart {
            use crate::common::run_apart;

            $(#[test] fn $stat() { run_apart(); super::$stat().survived() })*
            $(#[test] fn $list() { run_apart(); super::$list().survived() })*
            $(#[test] fn $read() { run_apart(); super::$read().survived() })*
            $(#[test] fn $put() { run_apart(); super::$put().survived() })*
            $(#[test] fn $begin() { run_apart(); super::$begin().survived() })*
            $(#[test] fn $put_segment() { run_apart(); super::$put_segment().survived() })*
        }
    };
}

for_each_sin!(tests);

/// Every sin that reaches for something ends with an untouched canary.
fn untouched(scene: Scene) -> Scene {
    scene.canary.assert_untouched();
    scene
}
