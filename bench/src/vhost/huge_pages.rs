//! Memory for DPDK: pages of 2 MiB, set aside by the kernel.

use std::{fs, io};

const WANTED: &str = "/proc/sys/vm/nr_hugepages";

/// Pages that were set aside for as long as this lives.
pub struct HugePages {
    before: String,
}

impl HugePages {
    /// Sees to it that `count` pages of 2 MiB are free.
    ///
    /// # Errors
    /// The kernel has no huge pages, too little memory in one piece, or we may not ask.
    pub fn provide(count: u64) -> io::Result<Self> {
        let before = fs::read_to_string(WANTED)?;
        let missing = count.saturating_sub(free()?);
        if missing > 0 {
            let all = before.trim().parse::<u64>().map_err(io::Error::other)? + missing;
            fs::write(WANTED, all.to_string())?;
        }
        let pages = Self { before };
        match free()? {
            free if free < count => Err(io::Error::other(format!(
                "{count} huge pages of 2 MiB are needed, and the kernel could only set {free} aside"
            ))),
            _ => Ok(pages),
        }
    }
}

impl Drop for HugePages {
    fn drop(&mut self) {
        // Whoever may set pages aside may also give them back.
        let _ = fs::write(WANTED, self.before.trim());
    }
}

/// Free pages of 2 MiB.
fn free() -> io::Result<u64> {
    let folder = "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages";
    fs::read_to_string(folder)?.trim().parse().map_err(io::Error::other)
}
