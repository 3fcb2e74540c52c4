//! The file that has the process's number, for whoever wants to send it signals: `--pid-file`.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process;

/// A file that goes with the process, unless it is another's by then.
#[derive(Debug)]
pub struct PidFile(PathBuf);

impl PidFile {
    /// Writes it, in place of one that a process before may have left. It appears as a whole.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn write(path: &Path) -> io::Result<Self> {
        let new = PathBuf::from([path.as_os_str(), ".new".as_ref()].into_iter().collect::<OsString>());
        // A crash may have left one.
        let _ = fs::remove_file(&new);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(&new)?;
        let written = file.write_all(line().as_bytes()).and_then(|()| fs::rename(&new, path));
        if let Err(error) = written {
            let _ = fs::remove_file(&new);
            return Err(error);
        }
        Ok(Self(path.to_owned()))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if fs::read(&self.0).is_ok_and(|found| found == line().as_bytes()) {
            let _ = fs::remove_file(&self.0);
        }
    }
}

fn line() -> String {
    format!("{}\n", process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_replaces_an_old_one_and_goes_with_its_process() {
        let path = std::env::temp_dir().join(format!("tapswitch-pid-{}", process::id()));
        fs::write(&path, "1\n").unwrap();
        let file = PidFile::write(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), line());
        drop(file);
        assert!(!path.exists());
        let file = PidFile::write(&path).unwrap();
        fs::write(&path, "1\n").unwrap();
        drop(file);
        assert_eq!(fs::read_to_string(&path).unwrap(), "1\n");
        fs::remove_file(&path).unwrap();
        assert!(PidFile::write(Path::new("/nowhere/pid")).is_err());
    }
}
