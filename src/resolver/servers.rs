//! The host's resolvers, as resolv.conf(5) has them.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

/// What the file says.
pub(super) struct Servers {
    path: PathBuf,
    list: Vec<IpAddr>,
    /// Whether the file named none when it was looked at last.
    was_empty: bool,
}

impl Servers {
    pub(super) fn of(path: &Path) -> Self {
        let mut list = read(path);
        let was_empty = list.is_empty();
        if was_empty {
            list.push(LOCAL);
        }
        Self { path: path.to_path_buf(), list, was_empty }
    }

    pub(super) fn list(&self) -> &[IpAddr] {
        &self.list
    }

    /// The resolvers, if they are others than before. A file is followed however it is replaced, and an empty one may be
    /// about to be written.
    pub(super) fn look(&mut self) -> Option<Vec<IpAddr>> {
        let mut list = read(&self.path);
        let is_empty = list.is_empty();
        if std::mem::replace(&mut self.was_empty, is_empty) != is_empty && is_empty {
            return None;
        }
        if is_empty {
            list.push(LOCAL);
        }
        (list != self.list).then(|| {
            self.list.clone_from(&list);
            list
        })
    }
}

fn read(path: &Path) -> Vec<IpAddr> {
    let text = fs::read_to_string(path).unwrap_or_default();
    // An address with a zone is another link's business.
    let servers = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        words.next().filter(|word| *word == "nameserver")?;
        words.next()?.parse().ok()
    });
    servers
        .filter(|server: &IpAddr| !server.is_unspecified() && !server.is_multicast())
        .take(MAX_SERVERS)
        .collect()
}

/// Who is asked where the file names nobody. resolv.conf(5).
const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// MAXNS of resolv.conf(5).
const MAX_SERVERS: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_followed_renamed_or_written_in_place() {
        let folder = std::env::temp_dir().join(format!("tapswitch-resolv-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("resolv.conf");
        let mut servers = Servers::of(&path);
        assert_eq!(servers.list(), [LOCAL], "no file");
        let others: Vec<IpAddr> = ["10.0.0.53", "::1"].map(|it| it.parse().unwrap()).into();
        fs::write(
            &path,
            "# by hand\nsearch lan\nnameserver\t10.0.0.53\nnameserver ::1 \nnameserver fe80::1%eth0\n",
        )
        .unwrap();
        assert_eq!(servers.look(), Some(others));
        assert_eq!(servers.look(), None);
        fs::write(&path, "").unwrap();
        assert_eq!(servers.look(), None, "it is being written");
        fs::write(folder.join("new"), "nameserver 127.0.0.53").unwrap();
        fs::rename(folder.join("new"), &path).unwrap();
        assert_eq!(servers.look(), Some(vec!["127.0.0.53".parse().unwrap()]));
        fs::remove_file(&path).unwrap();
        assert_eq!((servers.look(), servers.look()), (None, Some(vec![LOCAL])));
        fs::remove_dir_all(folder).unwrap();
    }
}
