//! Folders that were made for sockets: they go with the last socket in them.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The folders that this process has made, and their identities. Whoever has it is alone in making and removing them: none
/// goes between a socket's folder and the socket.
#[derive(Debug)]
pub(crate) struct Folders(MutexGuard<'static, BTreeMap<PathBuf, Identity>>);

/// Device and inode.
type Identity = (u64, u64);

impl Folders {
    pub(crate) fn lock() -> Self {
        // Each change of it is whole.
        Self(MADE.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Makes the folder of `socket`, and those that it is in, where they are missing.
    pub(crate) fn make_for(&mut self, socket: &Path) -> io::Result<()> {
        let folders = socket.ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty());
        let missing: Vec<&Path> = folders.take_while(|folder| !folder.exists()).collect();
        for folder in missing.into_iter().rev() {
            match DirBuilder::new().mode(MODE).create(folder) {
                Ok(()) => drop(self.0.insert(folder.to_owned(), identity(folder)?)),
                // Somebody else has, meanwhile.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Removes those folders that were made for `socket`, or for others beside it, and are empty.
    pub(crate) fn leave(&mut self, socket: &Path) {
        for folder in socket.ancestors().skip(1) {
            let Some(&made) = self.0.get(folder) else { return };
            let is_ours = identity(folder).is_ok_and(|found| found == made);
            if is_ours && fs::remove_dir(folder).is_err() {
                return;
            }
            self.0.remove(folder);
        }
    }
}

fn identity(folder: &Path) -> io::Result<Identity> {
    fs::symlink_metadata(folder).map(|found| (found.dev(), found.ino()))
}

static MADE: Mutex<BTreeMap<PathBuf, Identity>> = Mutex::new(BTreeMap::new());

/// Nobody else may put something in the place of a socket.
const MODE: u32 = 0o755;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_go_with_their_last_socket_but_for_those_that_were_there_or_hold_more() {
        let root = std::env::temp_dir().join(format!("tapio-folders-{}", std::process::id()));
        fs::create_dir(&root).unwrap();
        let (one, two) = (root.join("a/b/one"), root.join("a/two"));
        Folders::lock().make_for(&one).unwrap();
        Folders::lock().make_for(&two).unwrap();
        fs::write(&two, "").unwrap();
        Folders::lock().leave(&one);
        assert!(!root.join("a/b").exists() && root.join("a").exists());
        fs::remove_file(&two).unwrap();
        Folders::lock().leave(&two);
        assert!(!root.join("a").exists() && root.exists());
        // Another one in the place of ours stays.
        Folders::lock().make_for(&two).unwrap();
        fs::rename(root.join("a"), root.join("moved")).unwrap();
        fs::create_dir(root.join("a")).unwrap();
        Folders::lock().leave(&two);
        assert!(root.join("a").exists());
        fs::remove_dir_all(root).unwrap();
    }
}
