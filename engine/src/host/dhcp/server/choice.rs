//! Which address a client gets, and who else may have it.

use std::net::Ipv4Addr;

use packet::{MacAddr, Millis, PortId};

use super::client::Client;
use super::leases::{Binding, BindingState};
use super::{DhcpServer, Sighting, View};
use crate::report::LeaseEventKind;
use crate::runtime_config::DhcpClient;

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
        let reserved = self.reserved_for(client.mac, &client.key);
        let last = self.leases.address_of(&client.key);
        let current = last.filter(|&a| self.leases.of(a).is_some_and(|binding| binding.is_live(view.now)));
        [reserved, current, requested, last]
            .into_iter()
            .flatten()
            .find(|&a| {
                self.is_available(a, client, Claim::Wish, view)
                    && self.may_take(a, client, view)
                    && self.is_at_hand(a, client, view)
            })
            .or_else(|| if self.probes.is_full(view.port) { None } else { self.take_fresh(client, view) })
            .or_else(|| {
                // What is at hand without a probe, or for one more of this port, is rare: no need to look through all.
                let is_rare = self.probes.is_full(view.port) || !self.has_room(view.port);
                let ended = self.leases.ended().take(if is_rare { SEARCHED } else { usize::MAX });
                self.find_unused(ended, client, view)
            })
            .or_else(|| self.find_unused(self.leases.untaken().take(SEARCHED), client, view))
    }

    /// The address that is reserved for the client with this key: by its identifier, or else by its MAC address.
    pub(super) fn reserved_for(&self, mac: MacAddr, key: &[u8]) -> Option<Ipv4Addr> {
        // A guarded client's key has its MAC address behind.
        let identifiers = [Some(key), key.strip_suffix(mac.octets().as_slice())];
        let by_id = |id: &[u8]| self.reserved.get(&DhcpClient::Id(id.into()));
        let reserved = identifiers.into_iter().flatten().find_map(by_id);
        reserved.or_else(|| self.reserved.get(&DhcpClient::Mac(mac))).copied()
    }

    /// The first address that nobody ever had. Those that are in use without a lease are set aside on the way.
    fn take_fresh(&mut self, client: &Client, view: View<'_>) -> Option<Ipv4Addr> {
        while let Some(address) = self.fresh.clone().next().map(Ipv4Addr::from_bits) {
            if !self.may_take(address, client, view) {
                return None;
            }
            self.fresh.next();
            if self.leases.of(address).is_some() || !self.may_have(address, client.mac, &client.key) {
                continue;
            }
            match self.user_of(address, client, view) {
                Some((user, port)) => self.set_aside(address, user, port, view.now),
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
            self.may_have(address, client.mac, &client.key)
                && self.may_take(address, client, view)
                && self.is_at_hand(address, client, view)
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
        let reserved = self.reserved_for(client.mac, &client.key);
        let reserved = reserved.filter(|&a| self.is_available(a, client, Claim::Wish, view));
        self.is_available(address, client, claim, view) && reserved.is_none_or(|reserved| reserved == address)
    }

    /// Whether the client may have the address, and nobody else has it.
    fn is_available(&self, address: Ipv4Addr, client: &Client, claim: Claim, view: View<'_>) -> bool {
        if !self.may_have(address, client.mac, &client.key) {
            return false;
        }
        let binding = self.leases.of(address).filter(|binding| binding.is_live(view.now));
        let is_free = binding.is_none_or(|binding| {
            let theirs =
                binding.client == client.key || self.reserved_for(client.mac, &client.key) == Some(address);
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

    /// Whether the port of the switch that the client is behind may have one more address, if this isn't the client's.
    pub(super) fn may_take(&self, address: Ipv4Addr, client: &Client, view: View<'_>) -> bool {
        let held = self.leases.of(address).filter(|held| held.is_live(view.now));
        held.is_some_and(|held| held.client == client.key)
            || self.leases.may_take(view.port, address, self.shared)
    }

    /// Whether the port of the switch may have one more of the addresses that nobody has.
    pub(super) fn has_room(&self, port: Option<PortId>) -> bool {
        self.leases.may_take(port, Ipv4Addr::UNSPECIFIED, self.shared)
    }

    /// Whether the client can be told of the address, now or after a probe.
    fn is_at_hand(&self, address: Ipv4Addr, client: &Client, view: View<'_>) -> bool {
        self.probes.may_wait(address, view.port)
            || self.is_probed(address, view.now)
            || self.has(client, address, view.now)
    }

    /// The station other than the client's that was seen to use the address, and not before its lease ended or nobody
    /// answered a probe; and the port of the switch that it is behind. What a port says to use beyond its share is not
    /// believed.
    pub(super) fn user_of(
        &self,
        address: Ipv4Addr,
        client: &Client,
        view: View<'_>,
    ) -> Option<(MacAddr, Option<PortId>)> {
        if let Some((agent, mac)) = client.agent
            && agent == address
        {
            return Some((mac, view.port));
        }
        let Sighting { mac, port, at } = (view.seen)(address)?;
        let is_over = |held: &Binding| match held.state {
            BindingState::Offered | BindingState::Probing => at <= held.probed,
            BindingState::Leased => held.mac == mac && at <= held.until && !held.is_live(view.now),
            BindingState::InUse | BindingState::Declined => false,
        };
        let is_old = view.now.since(at) >= IN_USE || self.leases.of(address).is_some_and(is_over);
        let is_known = |held: &Binding| held.state == BindingState::InUse && held.mac == mac;
        let is_believed = || {
            self.leases.of(address).is_some_and(is_known) || self.leases.may_take(port, address, self.shared)
        };
        (!is_old && mac != client.mac && is_believed()).then_some((mac, port))
    }

    /// The address is in use by `user`, behind that port of the switch: nobody else gets it for a while.
    pub(super) fn set_aside(&mut self, address: Ipv4Addr, user: MacAddr, port: Option<PortId>, now: Millis) {
        let binding = Binding {
            client: Box::default(),
            mac: user,
            host_name: None,
            relay: None,
            port,
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
/// So many addresses are looked at for one that a client may have although hardly any is free for it.
const SEARCHED: usize = 256;
