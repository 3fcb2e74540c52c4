//! VLANs of ports: which VLAN a frame is in when it comes in, and by which ports it leaves, with or without a tag.
//! IEEE 802.1Q, 6.9 and 8.8.
//!
//! | port   | untagged frame | tagged frame             | leaves with its VLAN's tag    | without           |
//! |--------|----------------|--------------------------|-------------------------------|-------------------|
//! | all    | VLAN 0         | the tag's VLAN           | of all VLANs                  | of VLAN 0         |
//! | access | the port's     | dropped                  | never                         | of the port's     |
//! | trunk  | native, if any | the tag's, if it is of these | of these                  | of the native one |
//! | tunnel | the port's     | the port's, its tags are payload | never                 | of the port's     |
//!
//! A tag that has only a priority is none, but its priority goes into the tag that the frame gets. What leaves without a tag
//! by a trunk has none behind it either, or whoever is there would find it in the VLAN of that one.

use std::fmt;
use std::sync::Arc;

use packet::{Burst, DropReason, FrameMeta, TxEntry, Verdict, Vid, VidSet};

/// The VLANs of a port.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum PortVlans {
    /// All of them.
    #[default]
    All,
    /// One, without tags.
    Access(Vid),
    /// These, with tags, and perhaps one without.
    Trunk {
        /// The one without.
        native: Option<Vid>,
        /// Those with.
        tagged: Arc<VidSet>,
    },
    /// One, around what has tags of its own. IEEE 802.1ad.
    Tunnel(Vid),
}

impl PortVlans {
    /// Whether nothing is to be looked at.
    pub(crate) const fn is_all(&self) -> bool {
        matches!(self, Self::All)
    }

    /// Whether frames of the VLAN leave by the port.
    pub fn carry(&self, vid: Vid) -> bool {
        self.leave_tagged(vid).is_some()
    }

    /// Whether frames of the VLAN leave by the port with its tag; `None`: they don't leave by it.
    pub fn leave_tagged(&self, vid: Vid) -> Option<bool> {
        match self {
            Self::All => Some(vid != Vid::UNTAGGED),
            Self::Access(own) | Self::Tunnel(own) => (*own == vid).then_some(false),
            Self::Trunk { native, .. } if *native == Some(vid) => Some(false),
            Self::Trunk { tagged, .. } => tagged.contains(vid).then_some(vid != Vid::UNTAGGED),
        }
    }

    /// The VLANs in which stations behind the port are, as far as they are named.
    pub fn of_stations(&self) -> Vec<Vid> {
        match self {
            Self::All => vec![Vid::UNTAGGED],
            Self::Access(vid) | Self::Tunnel(vid) | Self::Trunk { native: Some(vid), .. } => vec![*vid],
            Self::Trunk { native: None, tagged } => tagged.iter().collect(),
        }
    }

    /// The VLANs that the port is said to have, one by one.
    pub fn named(&self) -> Vec<Vid> {
        match self {
            Self::All => Vec::new(),
            Self::Access(vid) | Self::Tunnel(vid) => vec![*vid],
            Self::Trunk { native, tagged } if **tagged == VidSet::all_tagged() => {
                native.iter().copied().collect()
            }
            Self::Trunk { native, tagged } => native.iter().copied().chain(tagged.iter()).collect(),
        }
    }

    /// The VLAN of a frame that comes in.
    fn admit(&self, meta: &mut FrameMeta) -> Result<(), DropReason> {
        let own = match self {
            Self::All => return Ok(()),
            Self::Tunnel(own) => {
                (meta.vid, meta.tag) = (*own, meta.tag.around());
                return Ok(());
            }
            Self::Access(own) => Some(*own).filter(|_| meta.vid == Vid::UNTAGGED),
            Self::Trunk { native, .. } if meta.vid == Vid::UNTAGGED && native.is_some() => *native,
            // The native VLAN's own tag passes, too.
            Self::Trunk { native, tagged } => {
                let is_carried = tagged.contains(meta.vid) || *native == Some(meta.vid);
                return if is_carried { Ok(()) } else { Err(DropReason::VlanNotAllowed) };
            }
        };
        if has_inner_tag(meta) {
            return Err(if own.is_some() { DropReason::DoubleTagged } else { DropReason::VlanNotAllowed });
        }
        meta.vid = own.ok_or(DropReason::VlanNotAllowed)?;
        meta.tag = meta.tag.renumbered();
        Ok(())
    }

    /// How a frame leaves by the port.
    ///
    /// # Errors
    /// `VlanNotAtPort`, `DoubleTagged`.
    pub(crate) fn leave(&self, entry: TxEntry, meta: &FrameMeta) -> Result<TxEntry, DropReason> {
        let (vid, tag) = (meta.vid, meta.tag);
        match self.leave_tagged(vid).ok_or(DropReason::VlanNotAtPort)? {
            true if tag.is_in_line() && !tag.is_renumbered() => Ok(entry),
            true => {
                let entry = if tag.is_in_line() { entry.strip() } else { entry };
                Ok(entry.push(tag.is_service(), tag.tci(vid)))
            }
            false => {
                if matches!(self, Self::Trunk { native: Some(_), .. }) && has_inner_tag(meta) {
                    return Err(DropReason::DoubleTagged);
                }
                // In VLAN 0 the tag has only a priority, which whoever is there may want.
                let stays = !tag.is_in_line() || (vid == Vid::UNTAGGED && !tag.is_renumbered());
                Ok(if stays { entry } else { entry.strip() })
            }
        }
    }
}

/// As in the file.
impl fmt::Display for PortVlans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Access(vid) => vid.fmt(f),
            Self::Trunk { native: None, tagged } => write!(f, "trunk {tagged}"),
            Self::Trunk { native: Some(vid), tagged } => write!(f, "{vid}, trunk {tagged}"),
            Self::Tunnel(vid) => write!(f, "qinq {vid}"),
        }
    }
}

/// Puts the frames of a burst into their VLANs, as the port says that they came in by.
pub(crate) fn classify(burst: &mut Burst, vlans: &PortVlans) {
    for meta in burst.metas_mut() {
        match (vlans.admit(meta), meta.verdict) {
            (Ok(()), _) => {}
            // What is for the bridge itself is in no VLAN.
            (Err(_), Verdict::Punt(_)) => meta.learn = false,
            (Err(reason), _) => meta.refuse(reason),
        }
    }
}

/// Whether there is a tag beside the one that says the VLAN.
fn has_inner_tag(meta: &FrameMeta) -> bool {
    let own = if meta.tag.is_in_line() { TAG } else { 0 };
    meta.l3 > UNTAGGED_L3 + own
}

/// Length of the Ethernet header, and of a tag.
const UNTAGGED_L3: u16 = 14;
const TAG: u16 = 4;
