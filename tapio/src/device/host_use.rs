//! What the host itself has on a device: addresses and default routes. rtnetlink(7).

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};

use packet::Ipv4Cidr;
use rustix::io::Errno;

use crate::device::link::{Link, Links};
use crate::device::netlink::{Request, Socket, attributes, number};
use crate::device::netns::Netns;
use crate::sys::netdevice::LinkIndex;

/// What the host has on a device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostUse {
    /// The device.
    pub link: Link,
    /// Its IPv4 addresses, with the lengths of their subnets' prefixes.
    pub addresses: Vec<Ipv4Cidr>,
    /// An IPv6 address that is more than link-local.
    pub address6: Option<Ipv6Addr>,
    /// Default routes of the main tables that lead out of it, the best one first.
    pub default_routes: Vec<DefaultRoute>,
}

/// The host's way to everywhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DefaultRoute {
    /// The IPv4 router; `None`: there is none, or it is about IPv6.
    pub gateway: Option<Ipv4Addr>,
    /// Which IPv4 address the host sends from, if the route says so.
    pub source: Option<Ipv4Addr>,
    /// The lower, the better.
    pub metric: u32,
}

impl HostUse {
    /// Looks at the device; `None`: there is none of this name.
    ///
    /// # Errors
    /// The namespace can't be had, or the kernel doesn't answer.
    pub fn of(device: &str, netns: Option<&Netns>) -> io::Result<Option<Self>> {
        match netns {
            Some(netns) => netns.open()?.enter(|| Self::here(device))?,
            None => Self::here(device),
        }
    }

    /// Looks at the device of the calling thread's namespace.
    pub(crate) fn here(device: &str) -> io::Result<Option<Self>> {
        let link = match Links::open()?.find(device) {
            Err(error) if Errno::from_io_error(&error) == Some(Errno::NODEV) => return Ok(None),
            found => found?,
        };
        let socket = Socket::open()?;
        let mut default_routes = default_routes(&socket, libc::AF_INET, link.index)?;
        default_routes.extend(default_routes_6(&socket, link.index));
        Ok(Some(Self {
            addresses: addresses(&socket, link.index)?,
            address6: addresses_6(&socket, link.index).into_iter().find(|address| !is_link_local(*address)),
            default_routes,
            link,
        }))
    }

    /// What the host would lose with the device, for people; `None`: nothing.
    pub fn what(&self) -> Option<String> {
        let address = self.addresses.first().map(Ipv4Cidr::to_string);
        let address = address.or_else(|| self.address6.map(|address| address.to_string()));
        match (address, self.default_routes.first()) {
            (Some(address), Some(_)) => Some(format!("its address {address} and its default route")),
            (Some(address), None) => Some(format!("its address {address}")),
            (None, Some(_)) => Some("its default route".to_owned()),
            (None, None) => None,
        }
    }

    /// The address that the host sends from to the world, or else to the device's subnet, and the router to the world.
    pub fn address(&self) -> Option<(Ipv4Cidr, Option<Ipv4Addr>)> {
        let route = self.default_routes.iter().find(|route| route.gateway.is_some());
        let gateway = route.and_then(|route| route.gateway);
        let of_route =
            |address: &&Ipv4Cidr| route.is_some_and(|route| route.source == Some(address.address()));
        let of_gateway = |address: &&Ipv4Cidr| gateway.is_some_and(|gateway| address.contains(gateway));
        let addresses = || self.addresses.iter();
        let address = addresses().find(of_route).or_else(|| addresses().find(of_gateway));
        Some((*address.or_else(|| addresses().next())?, gateway))
    }
}

fn addresses(socket: &Socket, index: LinkIndex) -> io::Result<Vec<Ipv4Cidr>> {
    let found = socket.dump(address_request(libc::AF_INET, index))?;
    let address = |body: &Vec<u8>| {
        let header = of_link(body, index)?;
        let local = attributes(body.get(ADDRESS_HEADER_LEN..)?).find(|&(kind, _)| kind == libc::IFA_LOCAL)?.1;
        Ipv4Cidr::new(Ipv4Addr::from(*local.first_chunk::<4>()?), header[1])
    };
    Ok(found.iter().filter_map(address).collect())
}

/// None where the kernel has no IPv6.
fn addresses_6(socket: &Socket, index: LinkIndex) -> Vec<Ipv6Addr> {
    let found = socket.dump(address_request(libc::AF_INET6, index)).unwrap_or_default();
    let address = |body: &Vec<u8>| {
        of_link(body, index)?;
        let (_, value) =
            attributes(body.get(ADDRESS_HEADER_LEN..)?).find(|&(kind, _)| kind == libc::IFA_ADDRESS)?;
        Some(Ipv6Addr::from(*value.first_chunk::<16>()?))
    };
    found.iter().filter_map(address).collect()
}

/// struct ifaddrmsg: family, prefixlen, flags, scope, index:32
fn address_request(family: libc::c_int, index: LinkIndex) -> Request {
    let [i0, i1, i2, i3] = index.get().to_ne_bytes();
    Request::new(libc::RTM_GETADDR, libc::NLM_F_DUMP, &[family as u8, 0, 0, 0, i0, i1, i2, i3])
}

/// The header of a message about an address, if that is the link's: older kernels tell of all.
fn of_link(body: &[u8], index: LinkIndex) -> Option<&[u8; ADDRESS_HEADER_LEN]> {
    body.first_chunk().filter(|header| number(&header[4..]) == index.get())
}

/// None where the kernel has no IPv6.
fn default_routes_6(socket: &Socket, index: LinkIndex) -> Vec<DefaultRoute> {
    default_routes(socket, libc::AF_INET6, index).unwrap_or_default()
}

fn default_routes(socket: &Socket, family: libc::c_int, index: LinkIndex) -> io::Result<Vec<DefaultRoute>> {
    // struct rtmsg: family, dst_len, src_len, tos, table, protocol, scope, type, flags:32
    let mut header = [0; ROUTE_HEADER_LEN];
    (header[0], header[4]) = (family as u8, libc::RT_TABLE_MAIN);
    let request = Request::new(libc::RTM_GETROUTE, libc::NLM_F_DUMP, &header);
    let found = socket.dump(request.attribute(libc::RTA_OIF, &index.get().to_ne_bytes()))?;
    let mut routes: Vec<_> = found.iter().filter_map(|body| default_route(body, family, index)).collect();
    routes.sort_by_key(|route| route.metric);
    Ok(routes)
}

/// The route in a message, if it is a default route of the main table out of the link.
fn default_route(body: &[u8], family: libc::c_int, index: LinkIndex) -> Option<DefaultRoute> {
    let header = body.first_chunk::<ROUTE_HEADER_LEN>()?;
    let is_default = (header[0], header[1], header[4]) == (family as u8, 0, libc::RT_TABLE_MAIN);
    let mut route = DefaultRoute { gateway: None, source: None, metric: 0 };
    let mut is_of_link = false;
    let address = |value: &[u8]| value.try_into().ok().map(|octets: [u8; 4]| Ipv4Addr::from(octets));
    for (kind, value) in attributes(&body[ROUTE_HEADER_LEN..]) {
        match kind {
            libc::RTA_OIF => is_of_link = number(value) == index.get(),
            libc::RTA_GATEWAY => route.gateway = address(value),
            libc::RTA_PREFSRC => route.source = address(value),
            libc::RTA_PRIORITY => route.metric = number(value),
            _ => {}
        }
    }
    (is_default && is_of_link && header[7] == libc::RTN_UNICAST).then_some(route)
}

const fn is_link_local(address: Ipv6Addr) -> bool {
    address.segments()[0] & 0xffc0 == 0xfe80
}

const ADDRESS_HEADER_LEN: usize = 8;
const ROUTE_HEADER_LEN: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NetnsHandle;
    use std::process::Command;

    fn on(commands: &str) -> HostUse {
        let namespace = NetnsHandle::anonymous().unwrap();
        let look = || {
            let setup = format!(
                "ip link add d0 type veth peer name d1 && ip link set d0 up && ip link set d1 up\n{commands}"
            );
            assert!(Command::new("sh").args(["-ec", &setup]).status().unwrap().success());
            assert_eq!(HostUse::here("nothing0").unwrap(), None);
            HostUse::here("d0").unwrap().unwrap()
        };
        namespace.enter(look).unwrap()
    }

    #[test]
    fn the_hosts_address_is_that_of_its_way_to_the_world() {
        let uses = on("ip addr add 10.9.0.1/16 dev d0\nip addr add 192.168.1.5/24 dev d0\n\
                       ip addr add 10.8.0.1/16 dev d1\nip route add default via 192.168.1.1 metric 9\n\
                       ip route add default via 10.8.0.2 dev d1");
        let address = "192.168.1.5/24".parse().unwrap();
        assert_eq!(uses.address(), Some((address, Some(Ipv4Addr::new(192, 168, 1, 1)))));
        assert_eq!(uses.addresses.len(), 2);
        assert_eq!(uses.what().unwrap(), "its address 10.9.0.1/16 and its default route");
        let uses = on("ip addr add 192.168.1.5/24 dev d0");
        assert_eq!(uses.address(), Some((address, None)));
        assert_eq!(uses.what().unwrap(), "its address 192.168.1.5/24");
        let uses = on("ip addr add 10.0.0.5/32 dev d0\nip route add 10.0.0.1 dev d0\n\
                       ip route add default via 10.0.0.1 dev d0");
        assert_eq!(uses.address(), Some(("10.0.0.5/32".parse().unwrap(), Some(Ipv4Addr::new(10, 0, 0, 1)))));
    }

    #[test]
    fn link_local_addresses_are_no_use_of_a_device() {
        let uses = on("ip addr add fe80::7/64 dev d0 nodad");
        assert_eq!((uses.what(), uses.address()), (None, None));
        let uses = on("ip addr add fd00::7/64 dev d0 nodad");
        assert_eq!(uses.what().unwrap(), "its address fd00::7");
    }
}
