//! `publish`: ports of the uplink that lead to a guest, written as docker's `-p`.

use std::net::Ipv4Addr;

use nat_engine::PortRange;
use packet::Protocol;

use super::read::{Read, Wrong};

/// `[outside address :] outside ports : inside address : inside ports / protocol`. There are as many ports inside as
/// outside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Publish {
    /// `None`: the uplink's.
    pub(super) address: Option<Ipv4Addr>,
    pub(super) outside: PortRange,
    pub(super) inside: (Ipv4Addr, PortRange),
    pub(super) protocol: Protocol,
}

/// `[ADDRESS:]PORT[-LAST]:ADDRESS:PORT[-LAST][/PROTOCOL]`.
pub(super) fn publish(text: &str) -> Read<Publish> {
    let (sockets, protocol) = match text.split_once('/') {
        None => (text, "tcp"),
        Some(parts) => parts,
    };
    let protocol = match protocol.to_ascii_lowercase().as_str() {
        "tcp" => Protocol::TCP,
        "udp" => Protocol::UDP,
        _ => {
            let message = format!("ports of `{protocol}` can't be published");
            return Err(Wrong::new(message, "write /tcp or /udp at the end, or nothing for tcp"));
        }
    };
    let parts: Vec<&str> = sockets.split(':').collect();
    let (outside_address, outside, inside_address, inside) = match parts.as_slice() {
        [outside, address, inside] => (None, *outside, *address, *inside),
        [own, outside, address, inside] => (Some(*own), *outside, *address, *inside),
        [outside, inside] if ports(outside).is_ok() && ports(inside).is_ok() => {
            let help =
                format!("write it between the two ports, for example \"{outside}:192.168.122.10:{inside}\"");
            return Err(Wrong::new("the guest's address is missing", help));
        }
        _ => return Err(Wrong::new(format!("`{text}` doesn't say what to publish"), EXAMPLE)),
    };
    let publish = Publish {
        // Docker's word for all addresses of the host.
        address: outside_address.map(address).transpose()?.filter(|address| !address.is_unspecified()),
        outside: ports(outside)?,
        inside: (address(inside_address)?, ports(inside)?),
        protocol,
    };
    let (there, here) = (count(publish.outside), count(publish.inside.1));
    if there != here {
        let message = format!("ports outside: {there}, inside: {here}");
        return Err(Wrong::new(message, "write two ranges of the same length, or two entries"));
    }
    if there > MAX_PORTS {
        let help = format!("write {MAX_PORTS} at most, so that enough are left for guests to go out by");
        return Err(Wrong::new(format!("`{outside}` has {there} ports"), help));
    }
    Ok(publish)
}

fn address(text: &str) -> Read<Ipv4Addr> {
    let wrong = |_| Wrong::new(format!("`{text}` is not an IPv4 address"), EXAMPLE);
    text.parse().map_err(wrong)
}

/// `PORT` or `PORT-LAST`.
fn ports(text: &str) -> Read<PortRange> {
    let port = |text: &str| {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let port = if is_number { text.parse().ok().filter(|&port| port != 0) } else { None };
        port.ok_or_else(|| {
            Wrong::new(format!("`{text}` is not a port"), "write a number from 1 to 65535, or FIRST-LAST")
        })
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last): PortRange = (port(first)?, port(last)?);
    if first > last {
        return Err(Wrong::new(format!("`{text}` ends before it begins"), format!("write {last}-{first}")));
    }
    Ok((first, last))
}

fn count((first, last): PortRange) -> u32 {
    u32::from(last) - u32::from(first) + 1
}

const EXAMPLE: &str = "write \"PORT:GUEST_ADDRESS:GUEST_PORT/tcp\", or /udp, for example \
                       \"8888:192.168.122.10:8080/tcp\"; before it ADDRESS: for another address than the uplink's";

/// What a rule may reserve: more would leave masquerading too little, a quarter of the ports.
const MAX_PORTS: u32 = 16_384;
