//! Packets that are translated and routed, but can't be sent as they are.

use packet::wire::EthernetHeader;
use packet::{DivertReason, DropReason, Gso, offload};

use super::fragment;
use super::resolution::Waiting;
use super::slow::{IcmpError, Slow};
use crate::gateway::route::Hop;
use crate::punt::Punted;

/// Deals with a frame on its way to `hop`.
///
/// # Errors
/// Why it ends here; the sender was told where that is due.
pub(super) fn serve(
    reason: DivertReason,
    hop: Hop,
    punted: &mut Punted<'_>,
    slow: &mut Slow<'_>,
) -> Result<(), DropReason> {
    match reason {
        DivertReason::ResolveNeighbour => {
            let (offload, origin) = (punted.meta.offload, punted.origin);
            let frame = Waiting { bytes: punted.bytes.to_vec(), offload, origin };
            slow.resolution.wait(hop, frame, slow.now, &mut slow.gateway.neighbours)
        }
        DivertReason::Fragment => cut(hop, punted, slow),
        DivertReason::TooBig => {
            let mtu = slow.gateway.mtu_of(hop.network) as u16;
            slow.tell_origin(IcmpError::FragmentationNeeded(mtu), punted.packet(), hop.network)?;
            Err(DropReason::FragmentationNeeded)
        }
    }
}

/// Cuts a packet to the MTU of its way out.
fn cut(hop: Hop, punted: &mut Punted<'_>, slow: &mut Slow<'_>) -> Result<(), DropReason> {
    let Punted { meta, bytes, .. } = punted;
    if meta.offload.gso == Gso::None {
        offload::complete_checksum(bytes, &mut meta.offload.clone());
        return send_cut(bytes, hop, slow);
    }
    let (mut segments, mut segment) = (offload::Segments::new(bytes, meta)?, vec![0; bytes.len()]);
    while let Some(len) = segments.next_into(&mut segment) {
        send_cut(&segment[..len], hop, slow)?;
    }
    Ok(())
}

/// Sends the frame's packet in pieces, as long as there is room for them.
fn send_cut(frame: &[u8], hop: Hop, slow: &mut Slow<'_>) -> Result<(), DropReason> {
    let (ethernet, packet) = frame.split_at(EthernetHeader::LEN);
    for piece in fragment::fragments(packet, slow.gateway.mtu_of(hop.network)) {
        if slow.out.is_full() {
            return Err(DropReason::ReplyBurstFull);
        }
        slow.send(hop, [ethernet, &piece].concat())?;
    }
    Ok(())
}
