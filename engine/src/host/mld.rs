//! Multicast listener discovery: the switch tells snooping bridges and routers which groups it is in. RFC 3810, RFC 3590.
//!
//! A report is sent twice when the switch joins a group, and after a query for it.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;

use packet::builder::eth;
use packet::{DropReason, Ipv6Packet, MacAddr, Millis, NetworkId, Offload, Protocol, icmp6};

use super::outgoing::To;
use super::slow::Slow;
use crate::gateway::v6::Interface6;
use packet::keyed::KeyedHash;

/// What is still to be reported, by network.
#[derive(Debug)]
pub(crate) struct Mld {
    networks: BTreeMap<NetworkId, Listener>,
    /// When there is something to report.
    due: Option<Millis>,
    random: KeyedHash,
}

#[derive(Debug)]
struct Listener {
    /// What was reported.
    groups: Vec<Ipv6Addr>,
    mac: MacAddr,
    /// Reports of a change that are still to be sent, and when.
    changes: Option<(u8, Millis)>,
    /// The answer to a query.
    answer: Option<Millis>,
}

impl Listener {
    fn due(&self) -> Option<Millis> {
        [self.changes.map(|(_, due)| due), self.answer].into_iter().flatten().min()
    }
}

impl Mld {
    /// Nothing to report. `seed` must be random.
    pub(crate) fn new(seed: [u64; 2]) -> Self {
        Self { networks: BTreeMap::new(), due: None, random: KeyedHash::new(seed, "listener reports") }
    }

    /// Takes over a configuration that the gateway has already: groups that are new are reported.
    pub(crate) fn install<'a>(&mut self, interfaces: impl Iterator<Item = (NetworkId, &'a Interface6)>) {
        let mut before = std::mem::take(&mut self.networks);
        for (network, interface) in interfaces {
            let same = before
                .remove(&network)
                .filter(|listener| (&listener.groups, listener.mac) == (&interface.groups, interface.mac));
            let listener = same.unwrap_or_else(|| Listener {
                groups: interface.groups.clone(),
                mac: interface.mac,
                changes: Some((ROBUSTNESS, Millis::ZERO)),
                answer: None,
            });
            self.networks.insert(network, listener);
        }
        self.due = self.networks.values().filter_map(Listener::due).min();
    }

    /// When there is something to report.
    pub(crate) const fn next_timeout(&self) -> Option<Millis> {
        self.due
    }

    /// Takes a query, with its checksum right.
    ///
    /// # Errors
    /// `BadNdp` if it isn't valid: RFC 3810, 5.1.14 and 6.2. `NdpNotForUs` if it is about groups of others.
    pub(crate) fn serve(
        &mut self,
        ip: &Ipv6Packet,
        message: &[u8],
        network: NetworkId,
        now: Millis,
    ) -> Result<(), DropReason> {
        let delay: [u8; 2] =
            message.get(4..6).and_then(|code| code.try_into().ok()).ok_or(DropReason::BadNdp)?;
        let group: [u8; 16] =
            message.get(8..24).and_then(|group| group.try_into().ok()).ok_or(DropReason::BadNdp)?;
        let is_new = message.len() >= VERSION_2;
        if !ip.src.is_unicast_link_local() || ip.hop_limit != 1 || (message.len() != VERSION_1 && !is_new) {
            return Err(DropReason::BadNdp);
        }
        let group = Ipv6Addr::from(group);
        let listener = self.networks.get_mut(&network).ok_or(DropReason::NdpNotForUs)?;
        if !group.is_unspecified() && !listener.groups.contains(&group) {
            return Err(DropReason::NdpNotForUs);
        }
        let longest = longest_delay(u16::from_be_bytes(delay));
        let random = self.random.of([now.get(), network.get().into()]) % (longest + 1);
        let at = now + Millis::new(random);
        listener.answer = Some(listener.answer.map_or(at, |before| before.min(at)));
        self.due = Some(self.due.map_or(at, |before| before.min(at)));
        Ok(())
    }

    /// Sends the reports that are due.
    pub(crate) fn on_timeout(&mut self, slow: &mut Slow<'_>) {
        if self.due.is_none_or(|due| due > slow.now) {
            return;
        }
        for (&network, listener) in &mut self.networks {
            if listener.due().is_none_or(|due| due > slow.now) || !slow.out.has_room() {
                continue;
            }
            let Some(interface) = slow.gateway.v6.interface(network) else { continue };
            let is_change = listener.changes.is_some_and(|(_, due)| due <= slow.now);
            let kind = if is_change { CHANGE_TO_EXCLUDE } else { MODE_IS_EXCLUDE };
            slow.out.push(To::Network(network), &report(interface, kind), Offload::NONE);
            listener.changes = match listener.changes {
                Some((left, due)) if due <= slow.now => (left > 1).then_some((left - 1, slow.now + INTERVAL)),
                later => later,
            };
            // A report of a change says all that was asked for.
            listener.answer = listener.answer.filter(|&answer| answer > slow.now && !is_change);
        }
        self.due = self.networks.values().filter_map(Listener::due).min();
    }
}

/// A report of all groups. RFC 3810, 5.2.
fn report(interface: &Interface6, kind: u8) -> Vec<u8> {
    let records = interface.groups.iter().flat_map(|group| {
        let mut record = [0; 20];
        record[0] = kind;
        record[4..].copy_from_slice(&group.octets());
        record
    });
    let body: Vec<u8> = records.collect();
    let frame = eth().src(interface.mac).dst(MacAddr::of_group6(ROUTERS));
    let frame = frame.ipv6(interface.link_local, ROUTERS).hop_limit(1);
    let frame = frame.extension(Protocol::HOP_BY_HOP, &ROUTER_ALERT);
    frame.icmp6(icmp6::LISTENER_REPORT, 0, interface.groups.len() as u32).payload(&body)
}

/// The maximum response code in milliseconds. RFC 3810, 5.1.3.
fn longest_delay(code: u16) -> u64 {
    if code < 0x8000 {
        return code.into();
    }
    u64::from(code & 0xfff | 0x1000) << ((code >> 12 & 7) + 3)
}

/// All routers that listen to reports. RFC 3810, 5.2.14.
const ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x16);
/// The router alert option in hop-by-hop options, with padding. RFC 2711.
const ROUTER_ALERT: [u8; 8] = [0, 0, 5, 2, 0, 0, 1, 0];
/// Lengths of queries. RFC 3810, 8.1.
const VERSION_1: usize = 24;
const VERSION_2: usize = 28;
/// Types of records: whatever the source. RFC 3810, 5.2.12.
const MODE_IS_EXCLUDE: u8 = 2;
const CHANGE_TO_EXCLUDE: u8 = 4;
/// How often a change is reported. RFC 3810, 9.1.
const ROBUSTNESS: u8 = 2;
/// Between two such reports, at most. RFC 3810, 9.11.
const INTERVAL: Millis = Millis::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3810_5_1_3_delays_above_32_s_are_floating_point() {
        assert_eq!([0, 10_000, 0x7fff].map(longest_delay), [0, 10_000, 32_767]);
        assert_eq!([0x8000, 0xffff].map(longest_delay), [32_768, 0x1fff << 10]);
    }
}
