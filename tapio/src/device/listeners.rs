//! What the host itself serves: its listening TCP sockets and unconnected UDP sockets. proc_pid_net(5).

use std::fs;
use std::io;
use std::net::Ipv4Addr;

use packet::Protocol;

use crate::device::netns::Netns;

/// Ports of `address` in `netns` that somebody serves there.
///
/// # Errors
/// The namespace can't be had.
pub fn listeners(netns: Option<&Netns>, address: Ipv4Addr) -> io::Result<Vec<(Protocol, u16)>> {
    match netns {
        Some(netns) => netns.open()?.enter(|| listeners_here(address)),
        None => Ok(listeners_here(address)),
    }
}

fn listeners_here(address: Ipv4Addr) -> Vec<(Protocol, u16)> {
    let mut found = Vec::new();
    for (file, protocol, state) in [
        ("tcp", Protocol::TCP, "0A"),
        ("tcp6", Protocol::TCP, "0A"),
        ("udp", Protocol::UDP, "07"),
        ("udp6", Protocol::UDP, "07"),
    ] {
        // Absent where the kernel has no IPv6.
        let table = fs::read_to_string(format!("/proc/thread-self/net/{file}")).unwrap_or_default();
        found.extend(
            table.lines().filter_map(|line| served(line, state, address)).map(|port| (protocol, port)),
        );
    }
    found
}

/// The port of a line `1: 0100007F:1F90 00000000:0000 0A …`, if it is in this state and serves `address`.
fn served(line: &str, state: &str, address: Ipv4Addr) -> Option<u16> {
    let mut words = line.split_whitespace().skip(1);
    let (local, _, its_state) = (words.next()?, words.next()?, words.next()?);
    let (host, port) = local.split_once(':')?;
    let own = format!("{:08X}", u32::from_ne_bytes(address.octets()));
    let is_any = host.bytes().all(|digit| digit == b'0');
    let serves = its_state == state && (is_any || host.ends_with(&own));
    u16::from_str_radix(port, 16).ok().filter(|_| serves)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Links, NetnsHandle};
    use std::net::{TcpListener, UdpSocket};

    #[test]
    fn sockets_that_serve_the_address_are_found() {
        let own = Ipv4Addr::new(127, 0, 0, 7);
        let namespace = NetnsHandle::anonymous().unwrap();
        let look = || {
            Links::open().unwrap().set_up("lo").unwrap();
            let _sockets =
                (TcpListener::bind("0.0.0.0:80").unwrap(), TcpListener::bind("127.0.0.9:81").unwrap());
            let _own = (TcpListener::bind((own, 82)).unwrap(), UdpSocket::bind((own, 53)).unwrap());
            listeners_here(own)
        };
        let mut found = namespace.enter(look).unwrap();
        found.sort_unstable_by_key(|&(protocol, port)| (protocol.0, port));
        assert_eq!(found, [(Protocol::TCP, 80), (Protocol::TCP, 82), (Protocol::UDP, 53)]);
    }
}
