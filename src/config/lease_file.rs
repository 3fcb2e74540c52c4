//! Where leases are kept.

use std::path::PathBuf;

/// The file in which leases outlast the process.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum LeaseFile {
    /// Beside the file of connections, or in the system's folder for such things, if there is one of these.
    #[default]
    Default,
    /// They are in memory only.
    None,
    /// This one.
    At(PathBuf),
}
