//! Domain names. RFC 1035, section 3.1; RFC 4343.

use std::fmt;
use std::net::Ipv4Addr;

/// A domain name as messages have it: its labels, each behind its length, and the root's 0. Letters are kept as they came;
/// [`folded`](Self::folded) makes names comparable.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct DnsName(Box<[u8]>);

impl DnsName {
    /// Reads the name at `at` of a message, and says where what is behind it begins. A compressed name refers to what was
    /// before it, and only backwards, so that reading comes to an end. `None`: it isn't one.
    pub fn read(message: &[u8], mut at: usize) -> Option<(Self, usize)> {
        let (mut name, mut end, mut floor) = (Vec::with_capacity(32), None, at);
        loop {
            let length = *message.get(at)?;
            match length >> 6 {
                0b00 => {
                    let label = message.get(at..=at + usize::from(length))?;
                    name.extend_from_slice(label);
                    at += label.len();
                    if name.len() > LONGEST {
                        return None;
                    }
                    if length == 0 {
                        return Some((Self(name.into()), end.unwrap_or(at)));
                    }
                }
                0b11 => {
                    let target = usize::from(length & 0x3f) << 8 | usize::from(*message.get(at + 1)?);
                    if target >= floor {
                        return None;
                    }
                    end.get_or_insert(at + 2);
                    (at, floor) = (target, target);
                }
                _ => return None,
            }
        }
    }

    /// The name that is written so, with or without the dot at its end: letters, digits, hyphens and underscores. `None`: it
    /// is none.
    pub fn parse(text: &str) -> Option<Self> {
        let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let text = text.strip_suffix('.').unwrap_or(text);
        let mut name = Vec::with_capacity(text.len() + 2);
        for label in text.split('.') {
            if label.is_empty() || label.len() > LONGEST_LABEL || !label.bytes().all(is_fine) {
                return None;
            }
            name.push(label.len() as u8);
            name.extend_from_slice(label.as_bytes());
        }
        name.push(0);
        (name.len() <= LONGEST).then(|| Self(name.into()))
    }

    /// The name under which what `address` is called is asked for. RFC 1035, 3.5.
    pub fn reverse(address: Ipv4Addr) -> Self {
        let [a, b, c, d] = address.octets();
        Self::parse(&format!("{d}.{c}.{b}.{a}.in-addr.arpa")).expect("it has six short labels")
    }

    /// The address whose [`reverse`](Self::reverse) this is.
    pub fn reversed(&self) -> Option<Ipv4Addr> {
        let mut labels = self.labels();
        let mut octets = [0; 4];
        for octet in octets.iter_mut().rev() {
            let text = std::str::from_utf8(labels.next()?).ok()?;
            *octet = text.parse().ok().filter(|number: &u8| number.to_string() == text)?;
        }
        let is_reverse = labels.next()?.eq_ignore_ascii_case(b"in-addr")
            && labels.next()?.eq_ignore_ascii_case(b"arpa")
            && labels.next().is_none();
        is_reverse.then(|| octets.into())
    }

    /// The bytes of it in a message.
    pub const fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Its labels, the leftmost first.
    pub fn labels(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &self.0[..];
        std::iter::from_fn(move || {
            let (&length, behind) = rest.split_first().filter(|(length, _)| **length > 0)?;
            let (label, behind) = behind.split_at(usize::from(length));
            rest = behind;
            Some(label)
        })
    }

    /// The name in small letters.
    #[must_use]
    pub fn folded(&self) -> Self {
        // A length is below 64, and so no letter.
        Self(self.0.to_ascii_lowercase().into())
    }

    /// The same name with letters large where a bit of `random` is set. Their case comes back in an answer, so that whoever
    /// hasn't seen the question has to guess it, too.
    #[must_use]
    pub fn with_case(&self, mut random: u128) -> Self {
        let mut name = self.0.to_ascii_lowercase();
        for byte in name.iter_mut().filter(|byte| byte.is_ascii_lowercase()) {
            if random & 1 != 0 {
                byte.make_ascii_uppercase();
            }
            random = random.rotate_right(1);
        }
        Self(name.into())
    }

    /// Whether it is `other`, whatever the case of letters.
    pub fn is(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }

    /// Whether it is a name below `domain`.
    pub fn is_below(&self, domain: &Self) -> bool {
        self.parents().any(|parent| parent.eq_ignore_ascii_case(&domain.0))
    }

    /// The name `self.domain`. `None`: it is too long.
    pub fn under(&self, domain: &Self) -> Option<Self> {
        let labels = &self.0[..self.0.len() - 1];
        let whole = [labels, &domain.0].concat();
        (whole.len() <= LONGEST).then(|| Self(whole.into()))
    }

    /// The names that it is below, itself not among them, as messages have them; the nearest first.
    fn parents(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &self.0[..];
        std::iter::from_fn(move || {
            let length = usize::from(*rest.first()?);
            rest = &rest[1 + length..];
            (length > 0).then_some(rest)
        })
    }
}

/// As people write it; what could be more than a letter to a terminal is escaped. RFC 4343, 2.1.
impl fmt::Display for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.len() == 1 {
            return f.write_str(".");
        }
        for (nth, label) in self.labels().enumerate() {
            if nth > 0 {
                f.write_str(".")?;
            }
            for &byte in label {
                match byte {
                    b'.' | b'\\' => write!(f, "\\{}", char::from(byte))?,
                    b'!'..=b'~' => write!(f, "{}", char::from(byte))?,
                    _ => write!(f, "\\{byte:03}")?,
                }
            }
        }
        Ok(())
    }
}

/// With lengths and the root. RFC 1035, 2.3.4.
const LONGEST: usize = 255;
/// RFC 1035, 2.3.4.
const LONGEST_LABEL: usize = 63;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(text: &str) -> DnsName {
        DnsName::parse(text).unwrap()
    }

    #[test]
    fn names_are_written_and_read() {
        for text in ["a", "www.Debian.org", "_sip._tcp.x-1.example"] {
            let it = name(text);
            assert_eq!(it.to_string(), text);
            assert_eq!(DnsName::read(it.bytes(), 0), Some((it.clone(), it.bytes().len())));
        }
        assert_eq!(name("a.").bytes(), b"\x01a\0");
        for bad in ["", ".", "a..b", ".a", "a b", "ä", &"x".repeat(64), &["abcdefg"; 32].join(".")] {
            assert_eq!(DnsName::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_pointer_only_goes_backwards() {
        let message = b"\x03org\0\x03deb\xc0\x00\xc0\x05\xc0\x0d\xc0\x0f";
        assert_eq!(DnsName::read(message, 5).unwrap(), (name("deb.org"), 11));
        assert_eq!(DnsName::read(message, 11).unwrap(), (name("deb.org"), 13));
        assert_eq!(DnsName::read(message, 13), None, "to itself");
        assert_eq!(DnsName::read(message, 15), None, "to itself, too");
        assert_eq!(DnsName::read(b"\x01a\xc0\x00", 0), None, "a label and itself again");
    }

    #[test]
    fn whose_name_it_is_doesnt_depend_on_case() {
        let it = name("Deb.Debian.ORG");
        assert!(it.is(&name("deb.debian.org")) && it.folded() == name("deb.debian.org"));
        assert!(it.is_below(&name("debian.org")) && it.is_below(&name("org")));
        assert!(!it.is_below(&it) && !name("evildebian.org").is_below(&name("debian.org")));
        assert_eq!(name("a").under(&name("lan")), Some(name("a.lan")));
        let random = it.with_case(0b1010_0110);
        assert!(random.is(&it) && random != it.folded());
    }

    #[test]
    fn an_address_has_a_name() {
        let address = Ipv4Addr::new(192, 168, 0, 10);
        assert_eq!(DnsName::reverse(address), name("10.0.168.192.in-addr.arpa"));
        assert_eq!(DnsName::reverse(address).reversed(), Some(address));
        for other in
            ["010.0.168.192.in-addr.arpa", "0.168.192.in-addr.arpa", "1.1.1.1.in-addr.arpa.org", "x.arpa"]
        {
            assert_eq!(name(other).reversed(), None, "{other}");
        }
    }

    #[test]
    fn nothing_in_a_name_controls_a_terminal() {
        let (it, _) = DnsName::read(b"\x06\x1b[2J.\\\x01 \0", 0).unwrap();
        assert_eq!(it.to_string(), "\\027[2J\\.\\\\.\\032");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300), at in 0usize..300) {
            if let Some((name, end)) = DnsName::read(&bytes, at) {
                prop_assert!(end <= bytes.len() && name.bytes().len() <= LONGEST);
                prop_assert!(name.labels().count() < 128 && name.to_string().len() <= 4 * LONGEST);
            }
        }
    }
}
