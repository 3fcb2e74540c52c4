//! ICMP of the switch itself: it answers echo requests.

pub(super) mod v4;
pub(super) mod v6;

use packet::wire::EthernetHeader;
use packet::{DropReason, L4};

use super::slow::Slow;
use crate::punt::Punted;

/// Takes an ICMP message, or a later fragment of one, to an address of the switch.
pub(super) fn serve(punted: &mut Punted<'_>, slow: &mut Slow<'_>) -> Result<(), DropReason> {
    let ip = punted.ip()?;
    match ip.l4 {
        L4::EchoRequest | L4::None => {
            v4::answer_echo(&mut punted.bytes[EthernetHeader::LEN..], &ip)?;
            slow.send_back(punted)
        }
        L4::IcmpError => Err(DropReason::IcmpErrorUnmatched),
        _ => Err(DropReason::NoService),
    }
}
