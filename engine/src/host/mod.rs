//! The switch as a host on its own networks: what it answers, and what has to wait. One per switch.
//!
//! ```text
//! arrived    ─▶ ARP, control frames, own sockets, ICMP, errors to be told ─┐
//! departing  ─▶ waits for its next hop's MAC, is cut, or too big           ├─▶ Outgoing ─▶ ports
//! due        ─▶ what each protocol has to do of its own accord             ─┘
//! ```
//!
//! Each protocol is a file or folder, of one shape: `serve` takes a frame, `next_timeout` says when there is something to do,
//! `on_timeout` does it. They know [`slow`] and what is below the host, not each other.

mod arp;
mod departing;
pub(crate) mod dhcp;
pub(crate) mod dns;
mod fragment;
mod fragments;
mod headers;
mod health;
mod held;
mod icmp;
mod ip6;
mod loops;
mod mld;
mod names;
mod ndp;
mod outgoing;
mod pcp;
mod ra;
mod resolution;
mod slow;
mod slow6;
pub(crate) mod stp;
mod stream;
mod udp;
mod wire6;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use nat_engine::Exhausted;
use packet::{DropReason, EtherType, L4, MacAddr, Millis, NetworkId, PortId, PuntReason};
use switch_core::Bridge;

use self::arp::Arp;
use self::dhcp::Dhcp;
use self::dns::Dns;
use self::health::Health;
use self::held::HeldSyns;
use self::ip6::Ip6;
use self::loops::LoopWatch;
pub(crate) use self::loops::probe_source;
pub(crate) use self::outgoing::Outgoing;
use self::pcp::Pcp;
pub(crate) use self::resolution::Resolution;
use self::slow::IcmpError;
pub(crate) use self::slow::Slow;
use self::stp::Stp;
use crate::gateway::route::Hop;
use crate::gateway::{Gateway, is_syn};
use crate::punt::{Punt, Punted};
use crate::runtime_config::{Reach, RuntimeConfig};
use crate::sockets::Service;

/// The protocols that the switch speaks.
#[derive(Debug)]
pub(crate) struct Host {
    arp: Arp,
    pub(crate) dhcp: Dhcp,
    pub(crate) dns: Dns,
    pcp: Pcp,
    pub(crate) health: Health,
    pub(crate) loops: LoopWatch,
    pub(crate) stp: Stp,
    held: HeldSyns,
    pub(crate) ip6: Ip6,
}

impl Host {
    /// A host without networks. `seed` must be random.
    pub(crate) fn new(seed: [u64; 2]) -> Self {
        Self {
            arp: Arp::default(),
            dhcp: Dhcp::default(),
            dns: Dns::new(seed),
            pcp: Pcp::default(),
            health: Health::new(seed),
            loops: LoopWatch::new(seed),
            stp: Stp::default(),
            held: HeldSyns::default(),
            ip6: Ip6::new(seed),
        }
    }

    /// Takes over a configuration that replaces `old` and that the gateway has already; before, there were `mappings` that
    /// hosts had asked for.
    pub(crate) fn install(
        &mut self,
        old: &RuntimeConfig,
        config: &RuntimeConfig,
        mappings: usize,
        gateway: &mut Gateway,
        bridges: &[Bridge],
    ) {
        self.dhcp.install(old, config, gateway);
        self.dns.install(old, config, gateway);
        self.pcp.install(config, mappings, gateway);
        self.health.install(&config.balances, gateway);
        self.ip6.install(config, gateway);
        self.loops.install(config);
        self.stp.install(old, config, bridges);
    }

    /// These ports of the switch are others' from now on: they begin without what the last ones held.
    pub(crate) fn forget_ports(&mut self, ports: &BTreeSet<PortId>) {
        ports.iter().for_each(|port| self.loops.forget(*port));
        ports.iter().for_each(|port| self.stp.forget_port(*port));
        self.dhcp.forget_ports(ports);
        self.dns.forget_ports(ports);
    }

    /// The station that `address` is leased or reserved to.
    pub(crate) fn holder(&self, network: NetworkId, address: Ipv4Addr, now: Millis) -> Option<MacAddr> {
        self.dhcp.holder(network, address, now)
    }

    /// Deals with a frame.
    ///
    /// # Errors
    /// Why the frame's way ends here; the sender was told where that is due.
    pub(crate) fn serve(
        &mut self,
        punt: Punt,
        punted: &mut Punted<'_>,
        slow: &mut Slow<'_>,
    ) -> Result<(), DropReason> {
        match punt {
            Punt::Arrived(reason) if punted.meta.ether_type == EtherType::IPV6 => {
                self.ip6.serve(reason, punted, slow)
            }
            Punt::Arrived(reason) => self.serve_arrived(reason, punted, slow),
            Punt::Departing(reason, hop) => departing::serve(reason, hop, punted, slow),
            Punt::Departing6(reason, hop) => self.ip6.serve_departing(reason, hop, punted, slow),
        }
    }

    /// Ends a visit: what frames have set free goes on, and what they made suspicious is looked into.
    pub(crate) fn finish(&mut self, slow: &mut Slow<'_>) {
        fragments::release(slow, |punt, punted, slow| self.serve(punt, punted, slow));
        self.loops.on_timeout(slow);
    }

    /// When [`on_timeout`](Self::on_timeout) has something to do.
    pub(crate) fn next_timeout(&self) -> Option<Millis> {
        let (dhcp, health) = (self.dhcp.next_timeout(), self.health.next_timeout());
        let dns = self.dns.next_timeout();
        let (loops, held) = (self.loops.next_timeout(), self.held.next_timeout());
        let (ip6, stp) = (self.ip6.next_timeout(), self.stp.next_timeout());
        [dhcp, dns, health, loops, held, ip6, stp].into_iter().flatten().min()
    }

    /// Does what is due.
    pub(crate) fn on_timeout(&mut self, slow: &mut Slow<'_>) {
        slow.gateway.speak_for(None);
        fragments::release(slow, |punt, punted, slow| self.serve(punt, punted, slow));
        slow.gateway.nat.on_timeout(slow.now);
        slow.out.drops.count_many(DropReason::FragmentWithoutFirst, slow.gateway.nat.take_lost_fragments());
        self.health.on_timeout(slow);
        self.held.on_timeout(slow);
        self.arp.on_timeout(slow);
        slow.gateway.speak_for(None);
        self.dhcp.on_timeout(slow);
        self.ip6.on_timeout(slow);
        self.dns.on_timeout(slow, &self.dhcp);
        slow.gateway.speak_for(None);
        self.loops.on_timeout(slow);
        self.stp.on_timeout(slow);
    }

    /// A port that may do more or less than before, since the last call.
    pub(crate) fn next_switched_port(&mut self) -> Option<PortId> {
        self.loops.next_switched().or_else(|| self.stp.next_switched())
    }

    /// A frame as it came in.
    fn serve_arrived(
        &mut self,
        reason: PuntReason,
        punted: &mut Punted<'_>,
        slow: &mut Slow<'_>,
    ) -> Result<(), DropReason> {
        let (error, reason) = match reason {
            PuntReason::Arp => return self.arp(punted, slow),
            PuntReason::Control => return self.control(punted, slow),
            PuntReason::ToSelf => return self.for_self(punted, slow),
            PuntReason::EarlyFragment => return fragments::serve(punted, slow),
            PuntReason::TtlExceeded => (IcmpError::TimeExceeded, DropReason::TtlExceeded),
            PuntReason::NoRoute => (IcmpError::NetworkUnreachable, DropReason::NoRoute),
            // Of IPv6 alone.
            PuntReason::BeyondScope => return Err(DropReason::BeyondScope),
            PuntReason::Prohibited => (IcmpError::Prohibited, DropReason::RouteProhibited),
            PuntReason::NotNamed => {
                self.dns.note_unnamed(punted, slow);
                (IcmpError::Prohibited, DropReason::NameNotAllowed)
            }
            // As of a host on which nothing listens.
            PuntReason::NoResources(DropReason::NatNoServer) => {
                (IcmpError::PortUnreachable, DropReason::NatNoServer)
            }
            PuntReason::NoResources(reason) => match slow.gateway.nat.settings().exhausted {
                Exhausted::Prohibited => (IcmpError::Prohibited, reason),
                Exhausted::HostUnreachable => (IcmpError::HostUnreachable, reason),
            },
        };
        slow.tell(error, punted)?;
        Err(reason)
    }

    /// A frame to a group address, which goes to the protocol that has it.
    fn control(&mut self, punted: &mut Punted<'_>, slow: &mut Slow<'_>) -> Result<(), DropReason> {
        let bridge = slow.bridges.get(punted.input.index());
        if bridge.is_some_and(|bridge| bridge.probe().1 == punted.meta.dst) {
            return self.loops.serve(punted, slow);
        }
        self.stp.serve(punted, slow)
    }

    /// The DHCP servers want to know who uses which address.
    fn arp(&mut self, punted: &mut Punted<'_>, slow: &mut Slow<'_>) -> Result<(), DropReason> {
        let served = self.arp.serve(punted, slow);
        if let Some((hop, mac)) = self.arp.take_heard() {
            self.dhcp.hear(hop, mac, slow);
        }
        served
    }

    /// A packet for one of the switch's own addresses or sockets.
    fn for_self(&mut self, punted: &mut Punted<'_>, slow: &mut Slow<'_>) -> Result<(), DropReason> {
        let ip = punted.ip()?;
        let service = slow.gateway.sockets.find(punted.input, &ip);
        // An answer is the switch's own also where a host has the address, too.
        let is_answer = match service {
            Some(Service::Health) => self.health.serve(punted, slow).is_ok(),
            Some(Service::DnsAnswers) => self.dns.serve_answer(punted, slow).is_ok(),
            _ => false,
        };
        if is_answer {
            return Ok(());
        }
        let interface = slow.gateway.interface(punted.input).ok_or(DropReason::NoService)?;
        if interface.is_shared {
            // The host has heard it, too, and answers if need be.
            return Ok(());
        }
        let from_outside = matches!(interface.reach, Reach::Uplink(_));
        if slow.gateway.is_a_hosts(ip.dst) {
            slow.tell(IcmpError::Prohibited, punted)?;
            return Err(DropReason::HostNotReached);
        }
        match (service, ip.l4) {
            (Some(Service::Dhcp), _) => self.dhcp.serve(punted, slow),
            (Some(Service::Dns), L4::Tcp | L4::Udp) => self.dns.serve(punted, slow, &self.dhcp),
            (Some(Service::Pcp), _) => self.pcp.serve(punted, slow),
            (_, L4::Tcp) if from_outside && is_syn(ip.tcp_flags) => self.held.serve(punted, slow),
            // An answer to a stranger would tell that there is something to attack.
            (_, L4::Tcp | L4::Udp) if from_outside => Err(DropReason::NatUnsolicited),
            (_, L4::Tcp | L4::Udp) => {
                slow.tell(IcmpError::PortUnreachable, punted)?;
                Err(DropReason::NoService)
            }
            (_, L4::EchoReply) => {
                // Whoever answers an echo uses its address.
                let hop = Hop { network: punted.input, address: ip.src };
                self.dhcp.hear(hop, punted.meta.src, slow);
                icmp::serve(punted, slow)
            }
            _ => icmp::serve(punted, slow),
        }
    }
}
