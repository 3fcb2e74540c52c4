//! Which address a client gets, and who else may have it.

use std::net::Ipv4Addr;

use packet::{MacAddr, Millis};

use super::leases::{Binding, BindingState};
use super::{Client, DhcpServer, Sighting, View};
use crate::report::LeaseEventKind;

/// What a client's message says of its right to an address that another was offered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Claim {
    /// It would like to have it.
    Wish,
    /// It was offered it before, or it uses it: whoever was offered it since has to go back.
    Right,
}

impl DhcpServer {
    /// The best address for the client. RFC 2131, 4.3.1, with reservations before all, and what was offered to somebody
    /// else, but not taken, after all: the oldest offer first.
    pub(super) fn choose(
        &mut self,
        client: &Client,
        requested: Option<Ipv4Addr>,
        view: View<'_>,
    ) -> Option<Ipv4Addr> {
        let reserved = self.reserved.get(&client.mac).copied();
        let last = self.leases.address_of(&client.key);
        let current = last.filter(|&a| self.leases.of(a).is_some_and(|binding| binding.is_live(view.now)));
        [reserved, current, requested, last]
            .into_iter()
            .flatten()
            .find(|&a| {
                self.is_available(a, client, Claim::Wish, view) && self.is_at_hand(a, client, view.now)
            })
            .or_else(|| if self.probes.is_full() { None } else { self.take_fresh(client, view) })
            .or_else(|| self.find_unused(self.leases.ended(view.now), client, view))
            .or_else(|| self.find_unused(self.leases.untaken(), client, view))
    }

    /// The first address that nobody ever had. Those that are in use without a lease are set aside on the way.
    fn take_fresh(&mut self, client: &Client, view: View<'_>) -> Option<Ipv4Addr> {
        while let Some(address) = self.fresh.next().map(Ipv4Addr::from_bits) {
            if self.leases.of(address).is_some() || !self.may_have(address, client.mac) {
                continue;
            }
            match self.user_of(address, client, view) {
                Some(user) => self.set_aside(address, user, view.now),
                None => return Some(address),
            }
        }
        None
    }

    fn find_unused(
        &self,
        mut addresses: impl Iterator<Item = Ipv4Addr>,
        client: &Client,
        view: View<'_>,
    ) -> Option<Ipv4Addr> {
        addresses.find(|&address| {
            self.may_have(address, client.mac)
                && self.is_at_hand(address, client, view.now)
                && self.user_of(address, client, view).is_none()
        })
    }

    /// Whether the client is to have this address and no other: a client with a reservation has to move to it.
    pub(super) fn is_right_for(
        &self,
        client: &Client,
        address: Ipv4Addr,
        claim: Claim,
        view: View<'_>,
    ) -> bool {
        let reserved = self.reserved.get(&client.mac);
        let reserved = reserved.filter(|&&a| self.is_available(a, client, Claim::Wish, view));
        self.is_available(address, client, claim, view)
            && reserved.is_none_or(|&reserved| reserved == address)
    }

    /// Whether the client may have the address, and nobody else has it.
    fn is_available(&self, address: Ipv4Addr, client: &Client, claim: Claim, view: View<'_>) -> bool {
        if !self.may_have(address, client.mac) {
            return false;
        }
        let binding = self.leases.of(address).filter(|binding| binding.is_live(view.now));
        let is_free = binding.is_none_or(|binding| {
            let theirs = binding.client == client.key || self.reserved.get(&client.mac) == Some(&address);
            match binding.state {
                BindingState::Offered | BindingState::Probing => theirs || claim == Claim::Right,
                BindingState::Leased => theirs,
                BindingState::InUse => binding.mac == client.mac,
                BindingState::Declined => false,
            }
        });
        is_free && (self.has(client, address, view.now) || self.user_of(address, client, view).is_none())
    }

    /// Whether the address is leased to the client.
    pub(super) fn has(&self, client: &Client, address: Ipv4Addr, now: Millis) -> bool {
        self.leases.of(address).is_some_and(|held| held.client == client.key && held.is_lease(now))
    }

    /// Whether nobody answered for the address, lately enough to go by.
    pub(super) fn is_probed(&self, address: Ipv4Addr, now: Millis) -> bool {
        let probed =
            |held: &Binding| held.state == BindingState::Offered && now.since(held.probed) < PROBE_IS_GOOD;
        self.leases.of(address).is_some_and(probed)
    }

    /// Whether the client can be told of the address, now or after a probe.
    fn is_at_hand(&self, address: Ipv4Addr, client: &Client, now: Millis) -> bool {
        !self.probes.is_full()
            || self.probes.contains(address)
            || self.is_probed(address, now)
            || self.has(client, address, now)
    }

    /// The station other than the client's that was seen to use the address, and not before its lease ended or nobody
    /// answered a probe.
    pub(super) fn user_of(&self, address: Ipv4Addr, client: &Client, view: View<'_>) -> Option<MacAddr> {
        if let Some((agent, mac)) = client.agent
            && agent == address
        {
            return Some(mac);
        }
        let Sighting { mac, at } = (view.seen)(address)?;
        let is_over = |held: &Binding| match held.state {
            BindingState::Offered | BindingState::Probing => at <= held.probed,
            BindingState::Leased => held.mac == mac && at <= held.until && !held.is_live(view.now),
            BindingState::InUse | BindingState::Declined => false,
        };
        let is_old = view.now.since(at) >= IN_USE || self.leases.of(address).is_some_and(is_over);
        (!is_old && mac != client.mac).then_some(mac)
    }

    /// The address is in use by `user`: nobody else gets it for a while.
    pub(super) fn set_aside(&mut self, address: Ipv4Addr, user: MacAddr, now: Millis) {
        let binding = Binding {
            client: Box::default(),
            mac: user,
            host_name: None,
            relay: None,
            state: BindingState::InUse,
            until: now + IN_USE,
            probed: Millis::ZERO,
            disputed: false,
        };
        self.bind(address, binding);
        self.note(address, LeaseEventKind::InUse);
    }
}

/// How long an address that somebody else uses is set aside: whoever uses it may go away.
pub(super) const IN_USE: Millis = Millis::from_secs(600);
/// For how long nobody has to be asked for an address again that nobody answered for.
const PROBE_IS_GOOD: Millis = Millis::from_secs(30);
