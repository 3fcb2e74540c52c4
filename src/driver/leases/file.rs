//! The file in which leases outlast their process: lines of JSON.
//!
//! ```text
//! {"tapswitch":"leases","format":1}
//! {"network":"lan","address":"192.168.122.10","mac":"52:54:00:12:34:56","client":"01525400123456","host_name":"vm1","expires":1767225600}
//! ```

use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::net::Ipv4Addr;
use std::path::Path;

use packet::MacAddr;
use serde::{Deserialize, Serialize};

/// The first line.
#[derive(Serialize, Deserialize)]
struct Header {
    tapswitch: String,
    format: u32,
}

/// A lease: a line.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Lease {
    pub network: String,
    pub address: Ipv4Addr,
    mac: String,
    /// The octets that the client is told apart by, in hexadecimal.
    client: String,
    pub host_name: Option<String>,
    /// When it ends, in seconds since 1970.
    pub expires: u64,
}

impl Lease {
    /// A lease that has ended.
    pub fn new(
        network: String,
        address: Ipv4Addr,
        mac: MacAddr,
        client: &[u8],
        host_name: Option<String>,
    ) -> Self {
        let client = client.iter().map(|octet| format!("{octet:02x}")).collect();
        Self { network, address, mac: mac.to_string(), client, host_name, expires: 0 }
    }

    /// Whose it is: a station, and what it is told apart by.
    pub fn client(&self) -> Option<(MacAddr, Box<[u8]>)> {
        let mac = self.mac.parse().ok().filter(|mac: &MacAddr| mac.is_station())?;
        let octet = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok();
        let client: Box<[u8]> = self.client.as_bytes().chunks(2).map(octet).collect::<Option<_>>()?;
        let fits = self.client.len().is_multiple_of(2) && (1..=255).contains(&client.len());
        fits.then_some((mac, client))
    }

    /// A name is shown to people: what can be in a host name, and nothing else.
    fn is_plain(&self) -> bool {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        self.host_name.as_ref().is_none_or(|name| name.len() <= 255 && name.bytes().all(plain))
    }
}

/// Why kept leases were not taken over.
#[derive(Debug)]
pub(super) enum LoadError {
    Io(io::Error),
    /// It is something else.
    Foreign,
    /// It is of a version that can't be understood.
    Format(u32),
    /// This line makes no sense.
    Damaged(usize),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Foreign => f.write_str("these are no leases"),
            Self::Format(format) => {
                write!(f, "kept in format {format}, but this version reads format {FORMAT}")
            }
            Self::Damaged(line) => write!(f, "line {line} is damaged"),
        }
    }
}

impl From<io::Error> for LoadError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// The leases as the bytes of a file.
pub(super) fn to_bytes<'a>(leases: impl Iterator<Item = &'a Lease>) -> serde_json::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec(&Header { tapswitch: NAME.to_owned(), format: FORMAT })?;
    bytes.push(b'\n');
    for lease in leases {
        serde_json::to_writer(&mut bytes, lease)?;
        bytes.push(b'\n');
    }
    Ok(bytes)
}

/// The leases in the file; `None` if there is no file.
pub(super) fn read(path: &Path) -> Result<Option<Vec<Lease>>, LoadError> {
    let metadata = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        found => found?,
    };
    if !metadata.is_file() {
        return Err(LoadError::Foreign);
    }
    let mut lines = Lines(BufReader::new(File::open(path)?));
    let header = lines.next()?.ok_or(LoadError::Foreign)?;
    let header: Header = serde_json::from_slice(&header).map_err(|_| LoadError::Foreign)?;
    match header {
        Header { tapswitch, .. } if tapswitch != NAME => return Err(LoadError::Foreign),
        Header { format, .. } if format != FORMAT => return Err(LoadError::Format(format)),
        _ => {}
    }
    let mut leases = Vec::new();
    while let Some(line) = lines.next()? {
        let lease = serde_json::from_slice(&line).ok();
        let lease = lease.filter(|lease: &Lease| lease.is_plain() && lease.client().is_some());
        leases.push(lease.filter(|_| leases.len() < LIMIT).ok_or(LoadError::Damaged(leases.len() + 2))?);
    }
    Ok(Some(leases))
}

/// The lines of a file, none of which is read any further than it may be long.
struct Lines(BufReader<File>);

impl Lines {
    /// The next line; one that is cut short is no line, and doesn't end in a newline.
    fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        self.0.by_ref().take(LONGEST).read_until(b'\n', &mut line)?;
        Ok(match line.pop() {
            None => None,
            Some(b'\n') => Some(line),
            Some(_) => Some(Vec::new()),
        })
    }
}

const NAME: &str = "leases";
const FORMAT: u32 = 1;
/// A line is shorter: names have 64 and 255 bytes at most, identifiers 255 octets.
const LONGEST: u64 = 2048;
/// Leases in a file at most: sixteen times the largest range.
const LIMIT: usize = 1 << 20;

#[cfg(test)]
mod tests;
