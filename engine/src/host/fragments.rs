//! Later fragments that overtook their first one: NAT keeps them until it has come, then they are sent after it.
//! RFC 4787 REQ-14.

use nat_engine::WaitingFragment;
use packet::wire::{EthernetHeader, FromBytes};
use packet::{DropReason, EtherType, Frame, FrameMeta, Ipv4Packet, MacAddr, Offload, Verdict};

use super::outgoing::To;
use super::slow::Slow;
use crate::gateway::Unsent;
use crate::punt::{Punt, Punted};

/// Keeps the frame of a later fragment until its first one has come.
///
/// # Errors
/// `FragmentQueueFull`: the frame is lost.
pub(super) fn serve(punted: &mut Punted<'_>, slow: &mut Slow<'_>) -> Result<(), DropReason> {
    let ip = Ipv4Packet::parse_header(punted.packet())?;
    slow.gateway.nat.keep_fragment(&ip, punted.input, punted.bytes, slow.now)
}

/// Sends on the fragments whose first one has come by now, as many as have room, and counts those given up. Those that
/// can't be sent as they are come to `serve`.
pub(super) fn release(
    slow: &mut Slow<'_>,
    mut serve: impl FnMut(Punt, &mut Punted<'_>, &mut Slow<'_>) -> Result<(), DropReason>,
) {
    while slow.out.has_room()
        && let Some(fragment) = slow.gateway.nat.next_fragment(slow.now)
    {
        if let Err(reason) = send_on(fragment, slow, &mut serve) {
            slow.out.drops.count(reason);
        }
    }
    slow.out.drops.count_many(DropReason::FragmentWithoutFirst, slow.gateway.nat.take_lost_fragments());
}

/// The fragment goes the way of a frame that has just come in.
fn send_on(
    fragment: WaitingFragment,
    slow: &mut Slow<'_>,
    serve: &mut impl FnMut(Punt, &mut Punted<'_>, &mut Slow<'_>) -> Result<(), DropReason>,
) -> Result<(), DropReason> {
    let WaitingFragment { from: input, owner: origin, mut bytes, .. } = fragment;
    slow.gateway.speak_for(origin);
    let (ethernet, _) = EthernetHeader::ref_from_prefix(&bytes).map_err(|_| DropReason::FrameTooShort)?;
    let mut meta = FrameMeta::new(input, Offload::NONE);
    (meta.src, meta.ether_type, meta.l3) =
        (MacAddr::new(ethernet.src), EtherType::IPV4, EthernetHeader::LEN as u16);
    let frame = Frame { meta: &mut meta, bytes: &mut bytes };
    let punt = match slow.gateway.route_one(frame, input, slow.bridges, slow.now) {
        Ok(()) => {
            slow.out.push(To::Network(meta.network), &bytes, Offload::NONE);
            return Ok(());
        }
        Err(Unsent::Arrived(Verdict::Drop(reason))) => return Err(reason),
        Err(Unsent::Arrived(Verdict::Punt(reason))) => Punt::Arrived(reason),
        Err(Unsent::Departing(reason, hop)) => Punt::Departing(reason, hop),
        Err(Unsent::Arrived(_)) => unreachable!("a packet that isn't forwarded is punted or dropped"),
    };
    serve(punt, &mut Punted { meta: &meta, bytes: &mut bytes, input, origin }, slow)
}
