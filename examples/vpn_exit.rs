//! The exit of a VPN in one file: packets of its clients leave with one public address, and the answers find back.
//!
//! ```text
//! VPN clients ── tun (inside) ──▶ nat-engine ──▶ tun (outside) ── the world
//!                            ◀──            ◀──
//! ```
//!
//! The inside tun stands where a VPN's code hands over decrypted packets; to embed the engine, call [`Exit::outward`] and
//! [`Exit::inward`] there instead. Nothing in `nat-engine` touches a descriptor, a thread or a clock.
//!
//! `cargo run --example vpn_exit -- INSIDE_DEVICE OUTSIDE_DEVICE PUBLIC_ADDRESS`, as root; then give the devices addresses and
//! routes as usual. Ends with SIGTERM or SIGINT.
#![forbid(unsafe_code)]

use std::error::Error;
use std::net::Ipv4Addr;
use std::time::Duration;

use mio::{Events, Poll, Token};
use nat_engine::{Condition, Known, Match, Nat, NatConfig, NatPacket, NatRule, RuleSet, Target};
use packet::{DropReason, Ipv4Packet, Millis, NetworkId};
use tapio::{Clock, Signals, Tun, random_bytes};

const VPN: NetworkId = NetworkId::new(0);
const WORLD: NetworkId = NetworkId::new(1);

/// The engine with the one rule that a VPN's exit needs.
struct Exit {
    nat: Nat,
}

impl Exit {
    /// `seed` must be random: it keys hashes and the choice of ports.
    fn new(public: Ipv4Addr, seed: [u64; 2]) -> Self {
        let leaves = Match { output: Some(Condition::is(WORLD)), ..Match::default() };
        let masquerade = NatRule { matches: leaves, target: Target::Masquerade { ports: None } };
        let config = NatConfig {
            rules: RuleSet { prerouting: Vec::new(), postrouting: vec![masquerade] },
            flow_limit: 65_536,
            addresses: vec![None, Some(public)],
            ..NatConfig::default()
        };
        Self { nat: Nat::new(config, seed) }
    }

    /// Translates a client's packet in place. Whether it may go out now; `false`: it is kept, and comes out of
    /// [`next_waiting`](Self::next_waiting).
    fn outward(&mut self, bytes: &mut [u8], now: Millis) -> Result<bool, DropReason> {
        self.translate(bytes, VPN, now)
    }

    /// Translates a packet from the world in place, likewise: `true` if it is for a client now.
    fn inward(&mut self, bytes: &mut [u8], now: Millis) -> Result<bool, DropReason> {
        self.translate(bytes, WORLD, now)
    }

    fn translate(&mut self, bytes: &mut [u8], from: NetworkId, now: Millis) -> Result<bool, DropReason> {
        let mut ip = Ipv4Packet::parse(bytes)?;
        let mut packet = NatPacket { bytes, ip: &mut ip, partial_checksum: false };
        match self.nat.translate_known(&mut packet, now) {
            Known::Translated => Ok(true),
            Known::Drop(reason) => Err(reason),
            Known::Later => {
                self.nat.keep_fragment(packet.ip, from, packet.bytes, now)?;
                Ok(false)
            }
            Known::Miss if from == WORLD => Err(DropReason::NatUnsolicited),
            Known::Miss => {
                let destination = self.nat.destination(packet.ip, from)?;
                self.nat.admit_new(&mut packet, destination, from, WORLD, now)?;
                Ok(true)
            }
        }
    }

    /// A packet that had to wait and now may go on, from one side to the other.
    fn next_waiting(&mut self, now: Millis) -> Option<(NetworkId, Vec<u8>)> {
        while let Some(mut fragment) = self.nat.next_fragment(now) {
            if self.translate(&mut fragment.bytes, fragment.from, now) == Ok(true) {
                return Some((fragment.from, fragment.bytes));
            }
        }
        None
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [inside, outside, public] = arguments.as_slice() else {
        return Err("usage: vpn_exit INSIDE_DEVICE OUTSIDE_DEVICE PUBLIC_ADDRESS".into());
    };
    let mut signals = Signals::new()?;
    let (inside, outside) = (Tun::open(inside)?, Tun::open(outside)?);
    let seed = random_bytes::<16>()?;
    let [low, high] = [&seed[..8], &seed[8..]].map(|half| half.iter().fold(0, |n, &b| n << 8 | u64::from(b)));
    let mut exit = Exit::new(public.parse()?, [low, high]);

    let mut poll = Poll::new()?;
    inside.register(poll.registry(), Token(0))?;
    outside.register(poll.registry(), Token(1))?;
    signals.register(poll.registry(), Token(2))?;
    eprintln!("vpn_exit: ready");
    let (clock, mut events) = (Clock::start(), Events::with_capacity(8));
    while signals.next().is_none() {
        let wait = exit.nat.next_timeout().map(|at| Duration::from_millis(at.since(clock.now()).get()));
        poll.poll(&mut events, wait)?;
        let now = clock.now();
        exit.nat.on_timeout(now);
        forward(&inside, &outside, |packet| exit.outward(packet, now))?;
        forward(&outside, &inside, |packet| exit.inward(packet, now))?;
        while let Some((from, packet)) = exit.next_waiting(now) {
            let _ = if from == VPN { outside.send(&packet) } else { inside.send(&packet) };
        }
    }
    Ok(())
}

/// Takes all packets that wait at `from`, and sends on to `to` what `translate` lets pass.
fn forward(
    from: &Tun,
    to: &Tun,
    mut translate: impl FnMut(&mut [u8]) -> Result<bool, DropReason>,
) -> std::io::Result<()> {
    let mut buffer = vec![0; 65_535];
    while let Some(len) = from.receive(&mut buffer)? {
        // What is refused, or finds its device down, is lost, as packets are.
        if translate(&mut buffer[..len]) == Ok(true) {
            let _ = to.send(&buffer[..len]);
        }
    }
    Ok(())
}
