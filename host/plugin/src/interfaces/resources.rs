//! The host's own types behind the handles that guests hold.
#![expect(unreachable_pub, reason = "the generated bindings re-export these types, which crate-only visibility forbids")]

pub struct Body {}
pub struct Directory {}
/// No command can be started yet, so no child exists.
pub enum Child {}
pub enum SshConnection {}
pub enum SqlConnection {}
pub enum TcpConnection {}
pub enum Snapshot {}
