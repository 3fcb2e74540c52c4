//! Links, addresses and routes of one network namespace.

use std::io;
use std::net::Ipv4Addr;

use packet::{Ipv4Cidr, MacAddr};

use crate::device::netlink::{Request, Socket, attributes, number};
use crate::sys::netdevice::{self, LinkIndex};

/// What the kernel says of a link.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Link {
    /// Its number.
    pub index: LinkIndex,
    /// Whether Ethernet frames pass there, with MAC addresses: not so on a tun or a tunnel.
    pub is_ethernet: bool,
    /// Administratively up.
    pub up: bool,
    /// Up, and with a carrier: frames pass.
    pub running: bool,
    /// Its MAC address.
    pub mac: MacAddr,
    /// The largest layer-3 packet, in bytes.
    pub mtu: u32,
    /// Frames it has received. For a tap: that the switch has written.
    pub rx_packets: u64,
    /// Bytes it has received.
    pub rx_bytes: u64,
    /// Frames it has sent. For a tap: that were queued for the switch.
    pub tx_packets: u64,
    /// Bytes it has sent.
    pub tx_bytes: u64,
}

/// What is to change on a link; `None` leaves it as it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LinkChange {
    /// Its MAC address.
    pub mac: Option<MacAddr>,
    /// The largest layer-3 packet, in bytes.
    pub mtu: Option<u32>,
    /// Administratively up or down.
    pub up: Option<bool>,
}

impl LinkChange {
    /// Whether `link` is like that already.
    pub fn is_met_by(&self, link: &Link) -> bool {
        self.mac.is_none_or(|mac| mac == link.mac)
            && self.mtu.is_none_or(|mtu| mtu == link.mtu)
            && self.up.is_none_or(|up| up == link.up)
    }
}

/// The links of the namespace in which this was opened. Works from any thread.
#[derive(Debug)]
pub struct Links(Socket);

impl Links {
    /// The links of the calling thread's namespace.
    ///
    /// # Errors
    /// No netlink socket can be opened.
    pub fn open() -> io::Result<Self> {
        Socket::open().map(Self)
    }

    /// The link called `name`.
    ///
    /// # Errors
    /// There is none.
    pub fn find(&self, name: &str) -> io::Result<Link> {
        let name = c_name(name)?;
        self.read(
            Request::new(libc::RTM_GETLINK, 0, &link_header(None, None)).attribute(libc::IFLA_IFNAME, &name),
        )
    }

    /// The link with this index.
    ///
    /// # Errors
    /// It is gone.
    pub fn get(&self, index: LinkIndex) -> io::Result<Link> {
        self.read(Request::new(libc::RTM_GETLINK, 0, &link_header(Some(index), None)))
    }

    /// Whether frames pass the link with this index. Never waits for who changes links meanwhile: netdevice(7), not
    /// rtnetlink(7), whose lock some hold for tens of milliseconds.
    ///
    /// # Errors
    /// It is gone.
    pub fn is_running(&self, index: LinkIndex) -> io::Result<bool> {
        netdevice::is_running(&self.0, index)
    }

    /// The MTU of the link with this index. Never waits, either.
    ///
    /// # Errors
    /// It is gone.
    pub fn mtu(&self, index: LinkIndex) -> io::Result<u32> {
        netdevice::mtu(&self.0, index)
    }

    /// Changes a link.
    ///
    /// # Errors
    /// It is gone, refuses a value, or the process lacks CAP_NET_ADMIN. Nothing or a part may have changed.
    pub fn change(&self, index: LinkIndex, change: &LinkChange) -> io::Result<()> {
        let request = Request::new(libc::RTM_SETLINK, 0, &link_header(Some(index), change.up))
            .maybe(libc::IFLA_ADDRESS, change.mac.map(MacAddr::octets))
            .maybe(libc::IFLA_MTU, change.mtu.map(u32::to_ne_bytes));
        self.0.call(request).map(drop)
    }

    /// Brings the link called `name` up.
    ///
    /// # Errors
    /// As [`find`](Self::find) and [`change`](Self::change).
    pub fn set_up(&self, name: &str) -> io::Result<()> {
        self.change(self.find(name)?.index, &LinkChange { up: Some(true), ..LinkChange::default() })
    }

    /// Deletes a link.
    ///
    /// # Errors
    /// It is gone, can't be deleted, or the process lacks CAP_NET_ADMIN.
    pub fn delete(&self, index: LinkIndex) -> io::Result<()> {
        self.0.call(Request::new(libc::RTM_DELLINK, 0, &link_header(Some(index), None))).map(drop)
    }

    /// Gives a link an address.
    ///
    /// # Errors
    /// `AlreadyExists` if it has it; otherwise as [`change`](Self::change).
    pub fn add_address(&self, index: LinkIndex, address: Ipv4Cidr) -> io::Result<()> {
        let flags = libc::NLM_F_CREATE | libc::NLM_F_EXCL;
        let request = address_request(libc::RTM_NEWADDR, flags, index, address);
        let broadcast = (address.prefix_len() < 31).then(|| address.broadcast().octets());
        self.0.call(request.maybe(libc::IFA_BROADCAST, broadcast)).map(drop)
    }

    /// Takes an address from a link.
    ///
    /// # Errors
    /// `AddrNotAvailable` if it doesn't have it; otherwise as [`change`](Self::change).
    pub fn remove_address(&self, index: LinkIndex, address: Ipv4Cidr) -> io::Result<()> {
        self.0.call(address_request(libc::RTM_DELADDR, 0, index, address)).map(drop)
    }

    /// Routes everything that is on no link to `gateway`.
    ///
    /// # Errors
    /// There is a default route already, or `gateway` is on no link that is up.
    pub fn add_default_route(&self, gateway: Ipv4Addr) -> io::Result<()> {
        self.add_route(DEFAULT_ROUTE, gateway)
    }

    /// Routes `destination` to `gateway`.
    ///
    /// # Errors
    /// There is such a route already, or `gateway` is on no link that is up.
    pub fn add_route(&self, destination: Ipv4Cidr, gateway: Ipv4Addr) -> io::Result<()> {
        // struct rtmsg: family, dst_len, src_len, tos, table, protocol, scope, type, flags
        let header = [
            libc::AF_INET as u8,
            destination.prefix_len(),
            0,
            0,
            libc::RT_TABLE_MAIN,
            libc::RTPROT_STATIC,
            libc::RT_SCOPE_UNIVERSE,
            libc::RTN_UNICAST,
            0,
            0,
            0,
            0,
        ];
        let request = Request::new(libc::RTM_NEWROUTE, libc::NLM_F_CREATE | libc::NLM_F_EXCL, &header)
            .attribute(libc::RTA_DST, &destination.network().octets())
            .attribute(libc::RTA_GATEWAY, &gateway.octets());
        self.0.call(request).map(drop)
    }

    fn read(&self, request: Request) -> io::Result<Link> {
        let answer = self.0.call(request)?;
        let (header, rest) =
            answer.split_first_chunk::<LINK_HEADER_LEN>().ok_or(io::ErrorKind::InvalidData)?;
        let flags = number(&header[8..]).cast_signed();
        let mut link = Link {
            index: LinkIndex::new(number(&header[4..])),
            is_ethernet: u16::from_ne_bytes([header[2], header[3]]) == libc::ARPHRD_ETHER,
            up: flags & libc::IFF_UP != 0,
            running: flags & libc::IFF_UP != 0 && flags & libc::IFF_RUNNING != 0,
            mac: MacAddr::ZERO,
            mtu: 0,
            rx_packets: 0,
            rx_bytes: 0,
            tx_packets: 0,
            tx_bytes: 0,
        };
        for (kind, value) in attributes(rest) {
            match kind {
                libc::IFLA_ADDRESS => link.mac = value.try_into().map_or(MacAddr::ZERO, MacAddr::new),
                libc::IFLA_MTU => link.mtu = number(value),
                libc::IFLA_STATS64 => {
                    // struct rtnl_link_stats64: rx_packets, tx_packets, rx_bytes, tx_bytes, …
                    let counters =
                        [&mut link.rx_packets, &mut link.tx_packets, &mut link.rx_bytes, &mut link.tx_bytes];
                    for (counter, bytes) in counters.into_iter().zip(value.as_chunks().0) {
                        *counter = u64::from_ne_bytes(*bytes);
                    }
                }
                _ => {}
            }
        }
        Ok(link)
    }
}

/// struct ifinfomsg: family, pad, type:16, index:32, flags:32, change:32
fn link_header(index: Option<LinkIndex>, up: Option<bool>) -> [u8; LINK_HEADER_LEN] {
    let mut header = [0; LINK_HEADER_LEN];
    let up_flag = libc::IFF_UP.to_ne_bytes();
    header[4..8].copy_from_slice(&index.map_or(0, LinkIndex::get).to_ne_bytes());
    if up == Some(true) {
        header[8..12].copy_from_slice(&up_flag);
    }
    if up.is_some() {
        header[12..16].copy_from_slice(&up_flag);
    }
    header
}

/// struct ifaddrmsg: family, prefixlen, flags, scope, index:32
fn address_request(kind: u16, flags: i32, index: LinkIndex, address: Ipv4Cidr) -> Request {
    let [i0, i1, i2, i3] = index.get().to_ne_bytes();
    let header = [libc::AF_INET as u8, address.prefix_len(), 0, libc::RT_SCOPE_UNIVERSE, i0, i1, i2, i3];
    Request::new(kind, flags, &header)
        .attribute(libc::IFA_LOCAL, &address.address().octets())
        .attribute(libc::IFA_ADDRESS, &address.address().octets())
}

fn c_name(name: &str) -> io::Result<Vec<u8>> {
    if name.len() >= libc::IF_NAMESIZE {
        return Err(rustix::io::Errno::NAMETOOLONG.into());
    }
    Ok([name.as_bytes(), &[0]].concat())
}

const LINK_HEADER_LEN: usize = 16;

const DEFAULT_ROUTE: Ipv4Cidr = match Ipv4Cidr::new(Ipv4Addr::UNSPECIFIED, 0) {
    Some(cidr) => cidr,
    None => unreachable!(),
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NetnsHandle;

    fn in_own_namespace(f: impl FnOnce(Links) + Send) {
        NetnsHandle::anonymous().unwrap().enter(|| f(Links::open().unwrap())).unwrap();
    }

    #[test]
    fn a_link_is_brought_up_and_down() {
        in_own_namespace(|links| {
            assert!(!links.find("lo").unwrap().up);
            links.set_up("lo").unwrap();
            let lo = links.find("lo").unwrap();
            assert!(lo.up && lo.running && links.is_running(lo.index).unwrap());
            links
                .change(lo.index, &LinkChange { up: Some(false), mtu: Some(1400), ..LinkChange::default() })
                .unwrap();
            let lo = links.get(lo.index).unwrap();
            assert!(!lo.up && !lo.running && !links.is_running(lo.index).unwrap());
            assert_eq!(lo.mtu, 1400);
        });
    }

    #[test]
    fn addresses_come_and_go_and_say_if_they_were_there() {
        in_own_namespace(|links| {
            let lo = links.find("lo").unwrap().index;
            let address = "192.0.2.1/24".parse().unwrap();
            links.add_address(lo, address).unwrap();
            assert_eq!(links.add_address(lo, address).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
            links.remove_address(lo, address).unwrap();
            assert_eq!(
                links.remove_address(lo, address).unwrap_err().kind(),
                io::ErrorKind::AddrNotAvailable
            );
        });
    }

    #[test]
    fn a_default_route_needs_a_gateway_on_a_link() {
        in_own_namespace(|links| {
            let gateway = Ipv4Addr::new(192, 0, 2, 9);
            assert!(links.add_default_route(gateway).is_err());
            links.set_up("lo").unwrap();
            links.add_address(links.find("lo").unwrap().index, "192.0.2.1/24".parse().unwrap()).unwrap();
            // The loopback link doesn't serve as a way to a gateway, but the route to the network is there.
            assert!(links.add_route("198.51.100.0/24".parse().unwrap(), gateway).is_ok());
            links.add_default_route(gateway).unwrap();
            assert_eq!(links.add_default_route(gateway).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        });
    }

    #[test]
    fn a_link_that_does_not_exist_is_an_error() {
        in_own_namespace(|links| {
            assert!(links.find("nothing0").is_err());
            assert!(links.find("a-name-longer-than-fifteen").is_err());
            assert!(links.get(LinkIndex::new(4242)).is_err());
        });
    }
}
