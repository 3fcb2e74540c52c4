//! VLANs: identifiers, sets of them, and what a frame's tag says beside its VLAN. IEEE 802.1Q, 9.6.

use std::fmt;
use std::str::FromStr;

/// A VLAN. 0 is that of frames which neither a tag nor a port puts into one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Vid(u16);

impl Vid {
    /// The VLAN of frames without a tag, or with a tag that has only a priority, where the port says nothing else.
    pub const UNTAGGED: Self = Self(0);
    /// The last one. 4095 is reserved.
    pub const LAST: Self = Self(4094);

    /// `None` above 4094.
    pub const fn new(vid: u16) -> Option<Self> {
        if vid <= Self::LAST.0 { Some(Self(vid)) } else { None }
    }

    /// The number.
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl fmt::Display for Vid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A set of VLANs: a bit for each.
#[derive(Clone, PartialEq, Eq)]
pub struct VidSet([u64; 64]);

impl VidSet {
    /// No VLAN.
    pub const NONE: Self = Self([0; 64]);

    /// 1 to 4094: all that a tag can name.
    pub fn all_tagged() -> Self {
        (1..=Vid::LAST.0).map(Vid).collect()
    }

    /// Adds a VLAN.
    pub fn insert(&mut self, vid: Vid) {
        self.0[usize::from(vid.0 >> 6)] |= 1 << (vid.0 & 63);
    }

    /// Whether the VLAN is in it.
    #[inline]
    pub const fn contains(&self, vid: Vid) -> bool {
        self.0[(vid.0 >> 6) as usize] >> (vid.0 & 63) & 1 != 0
    }

    /// The VLANs, ascending.
    pub fn iter(&self) -> impl Iterator<Item = Vid> + '_ {
        (0..=Vid::LAST.0).map(Vid).filter(|&vid| self.contains(vid))
    }
}

impl FromIterator<Vid> for VidSet {
    fn from_iter<T: IntoIterator<Item = Vid>>(vids: T) -> Self {
        let mut set = Self::NONE;
        vids.into_iter().for_each(|vid| set.insert(vid));
        set
    }
}

/// As `20,30-39`.
impl FromStr for VidSet {
    type Err = ParseVidsError;

    fn from_str(text: &str) -> Result<Self, ParseVidsError> {
        let vid = |text: &str| text.trim().parse().ok().and_then(Vid::new).ok_or(ParseVidsError);
        let mut set = Self::NONE;
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (vid(first)?, vid(last)?);
            if first > last {
                return Err(ParseVidsError);
            }
            (first.0..=last.0).for_each(|vid| set.insert(Vid(vid)));
        }
        Ok(set)
    }
}

/// As it is read.
impl fmt::Display for VidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut vids = self.iter().peekable();
        let mut separator = "";
        while let Some(first) = vids.next() {
            let mut last = first;
            while let Some(next) = vids.next_if(|next| next.0 == last.0 + 1) {
                last = next;
            }
            write!(f, "{separator}{first}")?;
            if last > first {
                write!(f, "-{last}")?;
            }
            separator = ",";
        }
        Ok(())
    }
}

impl fmt::Debug for VidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VidSet({self})")
    }
}

/// The text is no list of VLANs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ParseVidsError;

/// What a frame's tag says beside the VLAN, and whether it stands in the frame's bytes.
///
/// ```text
/// PCP:3 DEI:1 │ – renumbered:1 service:1 in_line:1
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FrameTag(u8);

impl FrameTag {
    /// There is none.
    pub const NONE: Self = Self(0);

    const IN_LINE: u8 = 1;
    const SERVICE: u8 = 2;
    const RENUMBERED: u8 = 4;
    const PRIORITY: u8 = 0xf0;

    /// The tag with this control information, which stands behind the addresses.
    pub const fn in_line(is_service: bool, tci: u16) -> Self {
        let service = if is_service { Self::SERVICE } else { 0 };
        Self((tci >> 8) as u8 & Self::PRIORITY | service | Self::IN_LINE)
    }

    /// The frame has another VLAN than its tag says.
    #[must_use]
    pub const fn renumbered(self) -> Self {
        Self(self.0 | Self::RENUMBERED)
    }

    /// The service tag around a frame, whose tags are its own. It takes over the priority of the outermost of them.
    #[must_use]
    pub const fn around(self) -> Self {
        Self(self.0 & Self::PRIORITY | Self::SERVICE)
    }

    /// Whether it is the first thing behind the addresses.
    #[inline]
    pub const fn is_in_line(self) -> bool {
        self.0 & Self::IN_LINE != 0
    }

    /// Whether it names another VLAN than the frame's.
    #[inline]
    pub const fn is_renumbered(self) -> bool {
        self.0 & Self::RENUMBERED != 0
    }

    /// Whether it is a service tag (S-tag).
    #[inline]
    pub const fn is_service(self) -> bool {
        self.0 & Self::SERVICE != 0
    }

    /// The control information that says this VLAN: the priority (PCP) and the drop eligibility (DEI) stay.
    #[inline]
    pub const fn tci(self, vid: Vid) -> u16 {
        ((self.0 & Self::PRIORITY) as u16) << 8 | vid.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lists_are_read_and_written_in_their_shortest_form() {
        let written = |text: &str| text.parse::<VidSet>().map(|set| set.to_string());
        assert_eq!(written("30-32, 20,31-39,0").as_deref(), Ok("0,20,30-39"));
        assert_eq!(written("4094").as_deref(), Ok("4094"));
        assert_eq!(VidSet::all_tagged().to_string(), "1-4094");
        for bad in ["", "4095", "5-4", "1,,2", "a", "-3", "1-", "70000", "1-2-3"] {
            assert_eq!(written(bad), Err(ParseVidsError), "{bad}");
        }
    }

    #[test]
    fn priority_and_drop_eligibility_stay_when_the_vlan_changes() {
        let tag = FrameTag::in_line(true, 0xb007);
        assert!(tag.is_in_line() && tag.is_service() && !tag.is_renumbered());
        assert_eq!(tag.renumbered().tci(Vid(4094)), 0xbffe);
        let around = FrameTag::in_line(false, 0xf123).around();
        assert!(around.is_service() && !around.is_in_line());
        assert_eq!(around.tci(Vid(100)), 0xf064);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_as_the_same(vids in proptest::collection::vec(0_u16..4095, 1..60)) {
            let set: VidSet = vids.iter().copied().map(Vid).collect();
            prop_assert_eq!(set.to_string().parse::<VidSet>(), Ok(set.clone()));
            prop_assert!(set.iter().all(|vid| vids.contains(&vid.0)));
        }
    }
}
