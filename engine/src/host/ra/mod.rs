//! Router advertisements: what tells guests their prefix, their router and their name servers. RFC 4861 6.2.
//!
//! ```text
//! start, or other settings ─▶ three, 16 s apart ─▶ one in 200 to 600 s
//! a solicitation           ─▶ one to whoever asked, at once
//! no settings any more     ─▶ a last one, which takes all back
//! ```

mod message;

use std::collections::BTreeMap;
use std::net::Ipv6Addr;

use packet::{ALL_NODES, DropReason, Ipv6Cidr, MacAddr, Millis, NetworkId, Offload};

use self::message::{Advertisement, Prefix};
use super::outgoing::To;
use super::slow::Slow;
use crate::gateway::Gateway;
use crate::gateway::v6::Interface6;
use crate::runtime_config::{Ipv6Config, NetworkConfig, RaConfig, RuntimeConfig};
use packet::keyed::KeyedHash;

/// The advertisements of all networks.
#[derive(Debug)]
pub(crate) struct Ra {
    networks: BTreeMap<NetworkId, Advertiser>,
    /// What is to be taken back.
    last: Vec<(NetworkId, Vec<u8>)>,
    random: KeyedHash,
}

#[derive(Debug)]
struct Advertiser {
    settings: Ipv6Config,
    config: RaConfig,
    interface: Interface6,
    /// Prefixes that other networks have.
    routes: Vec<Ipv6Cidr>,
    /// How many were sent to all, and when the next one is due.
    sent: u8,
    due: Millis,
}

impl Ra {
    /// No advertisements. `seed` must be random.
    pub(crate) fn new(seed: [u64; 2]) -> Self {
        Self {
            networks: BTreeMap::new(),
            last: Vec::new(),
            random: KeyedHash::new(seed, "router advertisements"),
        }
    }

    /// Takes over a configuration that the gateway has already. What is said of a network no longer is taken back, as long as
    /// the network is there.
    pub(crate) fn install(&mut self, config: &RuntimeConfig, gateway: &Gateway) {
        let mut before = std::mem::take(&mut self.networks);
        for network in &config.networks {
            let old = before.remove(&network.id);
            let new = Advertiser::new(network, gateway);
            match (old, new) {
                (Some(old), Some(new)) if old.says_the_same(&new) => {
                    self.networks.insert(network.id, old);
                }
                (old, new) => {
                    if let Some(old) =
                        old.filter(|old| !new.as_ref().is_some_and(|new| old.is_replaced_by(new)))
                    {
                        self.last.push((network.id, old.last_frame(new.is_none())));
                    }
                    self.networks.extend(new.map(|new| (network.id, new)));
                }
            }
        }
    }

    /// When there is one to be sent.
    pub(crate) fn next_timeout(&self) -> Option<Millis> {
        if !self.last.is_empty() {
            return Some(Millis::ZERO);
        }
        self.networks.values().map(|network| network.due).min()
    }

    /// Answers the solicitation of a station with the address `source`.
    ///
    /// # Errors
    /// `NdpNotForUs` if there is nothing to tell on the network, `IcmpRateLimited`.
    pub(crate) fn answer(
        &self,
        source: Ipv6Addr,
        station: MacAddr,
        network: NetworkId,
        slow: &mut Slow<'_>,
    ) -> Result<(), DropReason> {
        let advertiser = self.networks.get(&network).ok_or(DropReason::NdpNotForUs)?;
        slow.admit_error()?;
        // Nobody else needs to hear it. Who has no address yet listens to all nodes'.
        let (to, mac) = match source.is_unspecified() {
            true => (ALL_NODES, MacAddr::of_group6(ALL_NODES)),
            false => (source, station),
        };
        slow.out.push(To::Station(network, station), &advertiser.frame(to, mac), Offload::NONE);
        Ok(())
    }

    /// Sends what is due.
    pub(crate) fn on_timeout(&mut self, slow: &mut Slow<'_>) {
        while slow.out.has_room()
            && let Some((network, frame)) = self.last.pop()
        {
            slow.out.push(To::Network(network), &frame, Offload::NONE);
        }
        for (&network, advertiser) in &mut self.networks {
            if advertiser.due > slow.now || !slow.out.has_room() {
                continue;
            }
            let frame = advertiser.frame(ALL_NODES, MacAddr::of_group6(ALL_NODES));
            slow.out.push(To::Network(network), &frame, Offload::NONE);
            advertiser.sent = (advertiser.sent + 1).min(INITIAL);
            let random =
                self.random.of([slow.now.get(), network.get().into()]) % LONGEST.since(SHORTEST).get();
            let wait = if advertiser.sent < INITIAL { INITIAL_WAIT } else { SHORTEST + Millis::new(random) };
            advertiser.due = slow.now + wait;
        }
    }

    /// The switch ends: it is nobody's router any more. RFC 4861, 6.2.5.
    pub(crate) fn farewell(&mut self, slow: &mut Slow<'_>) {
        for (network, advertiser) in std::mem::take(&mut self.networks) {
            let end = Advertisement { lifetime: 0, ..advertiser.says() };
            let frame = end.frame(
                &advertiser.interface,
                &advertiser.config,
                ALL_NODES,
                MacAddr::of_group6(ALL_NODES),
            );
            slow.out.push(To::Network(network), &frame, Offload::NONE);
        }
    }
}

impl Advertiser {
    fn new(network: &NetworkConfig, gateway: &Gateway) -> Option<Self> {
        let settings = network.interface.as_ref()?.settings.ipv6.clone()?;
        let config = settings.ra.clone()?;
        let interface = gateway.v6.interface(network.id)?.clone();
        let routes =
            gateway.v6.routes.beside(network.id, &gateway.routes).filter(|route| route.prefix_len() > 0);
        let routes = routes.take(ROUTES).collect();
        Some(Self { settings, config, interface, routes, sent: 0, due: Millis::ZERO })
    }

    fn says_the_same(&self, other: &Self) -> bool {
        let of = |this: &Self| {
            (this.settings.clone(), this.routes.clone(), this.interface.mac, this.interface.mtu)
        };
        of(self) == of(other)
    }

    /// Whether hosts that hear `other` need not be told that this is over.
    fn is_replaced_by(&self, other: &Self) -> bool {
        (self.settings.address.network(), self.settings.address.prefix_len(), self.interface.link_local)
            == (
                other.settings.address.network(),
                other.settings.address.prefix_len(),
                other.interface.link_local,
            )
    }

    fn says(&self) -> Advertisement {
        Advertisement {
            lifetime: if self.config.is_router { LIFETIME } else { 0 },
            prefixes: vec![Prefix { prefix: self.settings.address, valid: VALID, preferred: PREFERRED }],
            routes: self.routes.clone(),
            rest_lifetime: LIFETIME.into(),
        }
    }

    fn frame(&self, to: Ipv6Addr, station: MacAddr) -> Vec<u8> {
        self.says().frame(&self.interface, &self.config, to, station)
    }

    /// Takes back what was said: the prefix, name servers and routes, and also the router itself, if it `ends`.
    fn last_frame(&self, ends: bool) -> Vec<u8> {
        let mut end = self.says();
        if ends {
            end.lifetime = 0;
        }
        end.rest_lifetime = 0;
        end.prefixes.iter_mut().for_each(|prefix| (prefix.valid, prefix.preferred) = (0, 0));
        end.frame(&self.interface, &self.config, ALL_NODES, MacAddr::of_group6(ALL_NODES))
    }
}

/// How long hosts use the router, name servers and routes after an advertisement, in seconds: three times the longest time
/// between two. RFC 4861 6.2.1, RFC 8106 5.1.
const LIFETIME: u16 = 1800;
/// How long addresses of the prefix hold, in seconds: a day, and preferred for four hours, as radvd has it.
const VALID: u32 = 86_400;
const PREFERRED: u32 = 14_400;
/// Between two advertisements. RFC 4861, 6.2.1.
const SHORTEST: Millis = Millis::from_secs(200);
const LONGEST: Millis = Millis::from_secs(600);
/// The first ones come sooner. RFC 4861, 10.
const INITIAL: u8 = 3;
const INITIAL_WAIT: Millis = Millis::from_secs(16);
/// Routes in one advertisement: with all else it fits the least MTU of IPv6.
const ROUTES: usize = 16;
