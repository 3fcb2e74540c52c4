//! The switch's own sockets: which of its services a packet is for.

use std::collections::BTreeMap;
use std::net::SocketAddrV4;

use packet::{Fragment, Ipv4Packet, L4, NetworkId, Protocol};

/// Who has a socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Service {
    /// The DHCP servers.
    Dhcp,
    /// The port mapping server.
    Pcp,
    /// The DNS forwarders.
    Dns,
    /// What they have asked servers for.
    DnsAnswers,
    /// The health checks of servers.
    Health,
}

/// All own sockets.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    /// What a network's hosts may send to, at any of the switch's addresses: a few.
    listening: Vec<(NetworkId, Protocol, u16, Service)>,
    connected: BTreeMap<Connected, Service>,
}

/// A socket that one remote socket alone can send to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Connected {
    pub protocol: Protocol,
    /// The port of an ICMP echo is its identifier.
    pub local: SocketAddrV4,
    /// The port of an ICMP echo is 0.
    pub remote: SocketAddrV4,
}

impl Sockets {
    /// Has `service` receive what hosts of `network` send to this port.
    pub(crate) fn listen(&mut self, network: NetworkId, protocol: Protocol, port: u16, service: Service) {
        self.listening.push((network, protocol, port, service));
    }

    /// Closes all sockets by which `service` listens.
    pub(crate) fn stop_listening(&mut self, service: Service) {
        self.listening.retain(|&(.., listener)| listener != service);
    }

    /// Has `service` receive what is sent to `socket`.
    pub(crate) fn connect(&mut self, socket: Connected, service: Service) {
        self.connected.insert(socket, service);
    }

    /// Closes `socket`.
    pub(crate) fn disconnect(&mut self, socket: Connected) {
        self.connected.remove(&socket);
    }

    /// The service that a packet from `input` is for.
    #[inline]
    pub(crate) fn find(&self, input: NetworkId, ip: &Ipv4Packet) -> Option<Service> {
        self.connected_to(ip).or_else(|| self.listener(input, ip))
    }

    /// The service that listens for such packets on the network.
    #[cold]
    pub(crate) fn listener(&self, input: NetworkId, ip: &Ipv4Packet) -> Option<Service> {
        let is_it = |&&(network, protocol, port, _): &&(NetworkId, Protocol, u16, Service)| {
            (network, protocol, port) == (input, ip.protocol, ip.dst_port)
        };
        self.listening.iter().find(is_it).map(|&(.., service)| service)
    }

    /// The service that asked the packet's sender for it.
    #[inline]
    pub(crate) fn connected_to(&self, ip: &Ipv4Packet) -> Option<Service> {
        if self.connected.is_empty()
            || ip.fragment != Fragment::Whole
            || !matches!(ip.l4, L4::Tcp | L4::Udp | L4::EchoReply)
        {
            return None;
        }
        let local = SocketAddrV4::new(ip.dst, ip.dst_port);
        let remote = SocketAddrV4::new(ip.src, ip.src_port);
        self.connected.get(&Connected { protocol: ip.protocol, local, remote }).copied()
    }

    /// Whether `service` listens on the network.
    pub(crate) fn listens(&self, network: NetworkId, service: Service) -> bool {
        self.listening.iter().any(|&(other, .., listener)| (other, listener) == (network, service))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use packet::builder::eth;
    use packet::wire::TcpHeader;
    use std::net::Ipv4Addr;

    const LAN: NetworkId = NetworkId::new(0);
    const WAN: NetworkId = NetworkId::new(1);
    const OWN: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
    const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

    fn tcp(src: (Ipv4Addr, u16), dst: (Ipv4Addr, u16)) -> Ipv4Packet {
        let frame = eth().ipv4(src.0, dst.0).tcp(src.1, dst.1, TcpHeader::ACK).payload(b"");
        Ipv4Packet::parse(&frame[14..]).unwrap()
    }

    #[test]
    fn a_service_listens_on_one_network_and_at_all_addresses() {
        let mut sockets = Sockets::default();
        sockets.listen(LAN, Protocol::UDP, 67, Service::Dhcp);
        let to = |address, port| {
            let frame = eth().ipv4(SERVER, address).udp(68, port).payload(b"");
            Ipv4Packet::parse(&frame[14..]).unwrap()
        };
        assert_eq!(sockets.find(LAN, &to(OWN, 67)), Some(Service::Dhcp));
        assert_eq!(sockets.find(LAN, &to(Ipv4Addr::BROADCAST, 67)), Some(Service::Dhcp));
        assert_eq!(sockets.find(LAN, &to(OWN, 68)), None);
        assert_eq!(sockets.find(WAN, &to(OWN, 67)), None);
        assert_eq!(sockets.find(LAN, &tcp((SERVER, 68), (OWN, 67))), None, "another protocol");
        sockets.stop_listening(Service::Dhcp);
        assert_eq!(sockets.find(LAN, &to(OWN, 67)), None);
    }

    #[test]
    fn a_connected_socket_hears_its_peer_alone() {
        let mut sockets = Sockets::default();
        let local = SocketAddrV4::new(OWN, 4000);
        let socket = Connected { protocol: Protocol::TCP, local, remote: SocketAddrV4::new(SERVER, 80) };
        sockets.connect(socket, Service::Health);
        assert_eq!(sockets.find(WAN, &tcp((SERVER, 80), (OWN, 4000))), Some(Service::Health));
        assert_eq!(sockets.find(WAN, &tcp((SERVER, 81), (OWN, 4000))), None);
        assert_eq!(sockets.find(WAN, &tcp((SERVER, 80), (OWN, 4001))), None);
        let request = eth().ipv4(SERVER, OWN).icmp_echo(4000, 80).payload(b"");
        assert_eq!(sockets.find(WAN, &Ipv4Packet::parse(&request[14..]).unwrap()), None);
        sockets.disconnect(socket);
        assert_eq!(sockets.find(WAN, &tcp((SERVER, 80), (OWN, 4000))), None);
    }
}
