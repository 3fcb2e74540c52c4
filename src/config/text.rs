//! The bytes of a file as text, or what is wrong with its encoding.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::error::ConfigError;
use crate::mistake::{Mistake, Mistakes};

/// The text of the file at `path`, without the mark that some editors begin with.
///
/// # Errors
/// It can't be read, is no file, is longer than 4 MiB, or is no text in UTF-8.
pub(super) fn read_file(path: &Path) -> Result<String, ConfigError> {
    // Nobody waits for who may write to a pipe.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let unreadable = |error| ConfigError::Unreadable { path: path.to_owned(), error };
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if metadata.is_dir() {
        return Err(unreadable(Errno::ISDIR.into()));
    }
    if !metadata.is_file() {
        return Err(ConfigError::NoFile { path: path.to_owned() });
    }
    text_of(path, file)
}

/// As [`read_file`], and what is to be read may be a pipe.
///
/// # Errors
/// It can't be read, is longer than 4 MiB, or is no text in UTF-8.
pub(crate) fn read(path: &Path) -> Result<String, ConfigError> {
    let file = File::open(path);
    text_of(path, file.map_err(|error| ConfigError::Unreadable { path: path.to_owned(), error })?)
}

fn text_of(path: &Path, file: File) -> Result<String, ConfigError> {
    let mut bytes = Vec::new();
    let read = file.take(MAX_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(|error| ConfigError::Unreadable { path: path.to_owned(), error })?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(ConfigError::TooLong { path: path.to_owned(), limit: MAX_BYTES });
    }
    Ok(decode(&path.display().to_string(), bytes)?)
}

/// `bytes` as text; messages call it `name`.
pub(super) fn decode(name: &str, bytes: Vec<u8>) -> Result<String, Mistakes> {
    let wrong = |text: &str, start, len, message: &str, help: &str| {
        Mistakes::new(name, text, vec![Mistake::new(start..start + len, message, help)])
    };
    let wide = match bytes.as_slice() {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => Some("UTF-32"),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Some("UTF-16"),
        // Without the mark: every second byte of plain letters is zero.
        [a, b, c, d, ..] if (*a == 0, *c == 0) != (*b == 0, *d == 0) && (a | c == 0 || b | d == 0) => {
            Some("UTF-16")
        }
        _ => None,
    };
    if let Some(encoding) = wide {
        let help = format!("save it as UTF-8, or: iconv -f {encoding} -t UTF-8 {name} >NEW");
        return Err(wrong("", 0, 0, &format!("this file is written in {encoding}"), &help));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let start = error.utf8_error().valid_up_to();
        let byte = error.as_bytes()[start];
        let help =
            format!("save the file as UTF-8; if it is in Latin-1: iconv -f LATIN1 -t UTF-8 {name} >NEW");
        let shown = String::from_utf8_lossy(error.as_bytes());
        wrong(&shown, start, REPLACEMENT, &format!("the byte 0x{byte:02x} is not UTF-8"), &help)
    })?;
    if let Some(start) = text.find('\0') {
        let help = "remove it; a file with many of them is no text, or damaged";
        return Err(wrong(&text, start, 1, "here is a NUL byte", help));
    }
    Ok(text.strip_prefix('\u{feff}').map_or_else(|| text.clone(), str::to_owned))
}

/// More than 4096 ports with every key set need; a device or a pipe may have no end.
const MAX_BYTES: u64 = 4 << 20;

/// The length of U+FFFD in UTF-8, which stands for bytes that are none.
const REPLACEMENT: usize = '\u{fffd}'.len_utf8();
