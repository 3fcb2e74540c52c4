//! What the worker tells about its state: plain values for `show`, JSON and metrics.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::ops::Range;

pub use nat_engine::FlowView;
use packet::{DnsName, MacAddr, Millis, NetworkId, PortCounters, PortId, Protocol, Vid};
use switch_core::PortState;
use switch_core::stp::{BridgeId, BridgeReport, Role, Traffic, TreePortReport};

/// How far somebody has come who looks at a table of all networks a part at a time. It changes meanwhile.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Cursor {
    pub(crate) network: usize,
    pub(crate) place: usize,
}

impl Cursor {
    /// The next part of a network that has so many places.
    pub(crate) fn next_part(&mut self, places: usize, part: usize) -> Range<usize> {
        let start = self.place.min(places);
        let end = places.min(start + part);
        *self = if end == places { self.to_next_network() } else { self.to(end) };
        start..end
    }

    pub(crate) const fn to(self, place: usize) -> Self {
        Self { place, ..self }
    }

    pub(crate) const fn to_next_network(self) -> Self {
        Self { network: self.network + 1, place: 0 }
    }
}

/// How many addresses are learned on each port, counted a part at a time.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Learned(Vec<u32>);

impl Learned {
    pub(crate) fn count(&mut self, port: PortId) {
        if self.0.len() <= port.index() {
            self.0.resize(port.index() + 1, 0);
        }
        self.0[port.index()] += 1;
    }

    pub(crate) fn on(&self, port: PortId) -> u32 {
        self.0.get(port.index()).copied().unwrap_or(0)
    }
}

/// A port with its counters.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PortReport {
    /// The port.
    pub id: PortId,
    /// Its network.
    pub network: NetworkId,
    /// Whether its device can send and receive, as far as known.
    pub link: bool,
    /// What it may do.
    pub state: PortState,
    /// Addresses learned on it.
    pub learned: u32,
    /// What it received, sent and dropped.
    pub counters: PortCounters,
}

/// An entry of the forwarding database.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FdbReport {
    /// The network.
    pub network: NetworkId,
    /// The VLAN.
    pub vid: Vid,
    /// The address.
    pub mac: MacAddr,
    /// The port it is behind.
    pub port: PortId,
    /// Time since it was last seen; `None` for static entries, which don't age.
    pub idle: Option<Millis>,
}

/// The chain that a NAT rule is in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Chain {
    /// Destination translation.
    Prerouting,
    /// Source translation.
    Postrouting,
}

/// How often a NAT rule was the deciding one. The rule itself is `rules.prerouting[index]` or
/// `rules.postrouting[index]` of the running configuration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RuleReport {
    /// The chain.
    pub chain: Chain,
    /// Its place in the chain.
    pub index: usize,
    /// Flows' first packets that it decided.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// A DHCP lease.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeaseReport {
    /// The network.
    pub network: NetworkId,
    /// The leased address.
    pub address: Ipv4Addr,
    /// Whose it is.
    pub mac: MacAddr,
    /// What the client calls itself.
    pub host_name: Option<String>,
    /// Time until it ends.
    pub expires_in: Millis,
}

/// A DHCP lease, as it is kept from one process to the next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeaseRecord {
    /// The network.
    pub network: NetworkId,
    /// The leased address.
    pub address: Ipv4Addr,
    /// Whose it is.
    pub mac: MacAddr,
    /// What the client is told apart by: its identifier, or hardware type and address.
    pub client: Box<[u8]>,
    /// What the client calls itself.
    pub host_name: Option<Box<str>>,
    /// Time until it ends.
    pub expires_in: Millis,
}

/// What happened to leases since the last time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeaseChanges {
    /// What the worker is to be told when these changes are kept.
    pub revision: u64,
    /// Whether these are all leases that there are, whatever was known before.
    pub is_all: bool,
    /// Leases by network and address; `None`: there is none any more.
    pub leases: Vec<((NetworkId, Ipv4Addr), Option<LeaseRecord>)>,
}

/// Something that happened to a lease.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeaseEvent {
    /// The network.
    pub network: NetworkId,
    /// The address.
    pub address: Ipv4Addr,
    /// Whose it is or was; of an address in use without a lease, the station that uses it.
    pub mac: MacAddr,
    /// What the client calls itself.
    pub host_name: Option<String>,
    /// What happened.
    pub kind: LeaseEventKind,
}

/// What happened to a lease.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LeaseEventKind {
    /// A client got the address.
    Leased,
    /// A client has it for longer.
    Renewed,
    /// The lease is over because its client got another address, or somebody else this one.
    Moved,
    /// The client gave the address back.
    Released,
    /// The client found that somebody else uses the address.
    Declined,
    /// A station that has no lease was seen to use the address, which is set aside.
    InUse,
    /// A station was seen to use an address that is leased to another.
    Disputed,
}

/// The range of a DHCP server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PoolReport {
    /// The network.
    pub network: NetworkId,
    /// Addresses of the range that anybody may get now.
    pub free: u32,
    /// Addresses that are leased, in the range or not.
    pub leased: u32,
}

/// Whether a server of a balance rule is alive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ServerState {
    /// No check has ended yet, or there is none: it is taken to be alive.
    Unchecked,
    /// New flows may go to it.
    Alive,
    /// They may not.
    Dead,
}

/// How a check of a server ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CheckOutcome {
    /// It lives.
    Answered,
    /// It refused the connection.
    Refused,
    /// Nothing came, or there is no way to it.
    Silent,
}

/// A server that has died, or come back, by this outcome.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ServerChange {
    /// The network that it is reached by.
    pub network: NetworkId,
    /// The server.
    pub server: SocketAddrV4,
    /// The protocol that it serves by.
    pub protocol: Protocol,
    /// `Answered`: it has come back.
    pub outcome: CheckOutcome,
}

/// A port was closed because of a loop, or is open again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LoopChange {
    /// The port.
    pub port: PortId,
    /// `Some`: it is closed, because what the switch sent out of one of the two came back by the other; `None`: nothing comes
    /// back any more, and it is open.
    pub other: Option<PortId>,
}

/// The spanning tree of a network.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TreeReport {
    /// The network.
    pub network: NetworkId,
    /// The switch as a bridge.
    pub bridge: BridgeReport,
    /// Time since the topology changed last.
    pub unchanged_for: Option<Millis>,
    /// The ports.
    pub ports: Vec<TreePortReport>,
    /// Those that are shut, because a BPDU came where none may.
    pub shut: Vec<PortId>,
}

/// Something that happened to a spanning tree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TreeChange {
    /// There is another root.
    Root {
        /// The network.
        network: NetworkId,
        /// The root.
        root: BridgeId,
        /// The port that leads there; `None`: the switch is the root.
        port: Option<PortId>,
    },
    /// A port does something else than before.
    Port {
        /// The port.
        port: PortId,
        /// What it is in the tree.
        role: Role,
        /// What it does with frames.
        traffic: Traffic,
    },
    /// A BPDU came where none may, and has shut the port.
    Shut(PortId),
}

/// A server of a balance rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerReport {
    /// Its place among `balances` of the running configuration.
    pub balance: usize,
    /// Address and port.
    pub server: SocketAddrV4,
    /// Whether it serves only while none of the others lives.
    pub is_backup: bool,
    /// Whether it is alive.
    pub state: ServerState,
    /// For how long it has been in that state.
    pub since: Option<Millis>,
    /// Checks that have ended.
    pub checks: u64,
    /// Those that failed.
    pub failures: u64,
    /// Flows that it has.
    pub flows: u64,
    /// Flows that it was ever given.
    pub flows_admitted: u64,
}

/// A next hop, of ARP's table or of neighbour discovery's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NeighbourReport {
    /// The network.
    pub network: NetworkId,
    /// Its address.
    pub address: IpAddr,
    /// Its MAC, once known.
    pub mac: Option<MacAddr>,
}

/// Counters of the whole worker.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StatsReport {
    /// Bursts processed.
    pub bursts: u64,
    /// Frames processed.
    pub frames: u64,
    /// Frames that went to the slow path.
    pub punted: u64,
    /// Frames that the switch itself sent.
    pub injected: u64,
    /// Flows in the table.
    pub flows: u64,
    /// Flows ever admitted.
    pub flows_admitted: u64,
    /// Flows that timed out.
    pub flows_expired: u64,
    /// Of these, those that nobody had answered and that made room for another.
    pub flows_displaced: u64,
    /// Frames of the switch itself that were dropped, by any reason.
    pub own_drops: packet::DropCounters,
}

/// A name of `hosts`, or one that has led hosts of a network with `allow-names` somewhere.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NameReport {
    /// The network.
    pub network: NetworkId,
    /// The name.
    pub name: String,
    /// What it leads to.
    pub address: IpAddr,
    /// Who says so.
    pub source: NameSource,
    /// Time until it no longer does; `None`: that isn't known.
    pub ends_in: Option<Millis>,
}

/// Who says what a name leads to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum NameSource {
    /// The configuration: `hosts`.
    Host,
    /// A server.
    Answer,
}

/// Something that a network's `allow-names` has refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DnsRefusal {
    /// The network.
    pub network: NetworkId,
    /// Who was refused.
    pub guest: Ipv4Addr,
    /// The name that was asked for, or that has led to the address before.
    pub name: Option<DnsName>,
    /// The address that the guest wanted to go to, or that the name leads to.
    pub address: Option<Ipv4Addr>,
}

/// A question that the host is to ask of one of its own resolvers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostQuestion {
    /// To be said with the answer.
    pub number: u64,
    /// To be said with the answer, too.
    pub attempt: u32,
    /// Whom to ask.
    pub server: SocketAddr,
    /// Whether to ask by TCP.
    pub by_tcp: bool,
    /// The message.
    pub message: Vec<u8>,
}

/// What came of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostAnswer {
    /// Of the question.
    pub number: u64,
    /// Of the question.
    pub attempt: u32,
    /// The message; `None`: there is no way to the server.
    pub message: Option<Vec<u8>>,
}
