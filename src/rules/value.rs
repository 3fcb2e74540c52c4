//! What stands after an option: addresses, ports, protocols.

use std::net::Ipv4Addr;
use std::str::FromStr;

use nat_engine::{AddressRange, PortList, PortRange};
use packet::{Ipv4Cidr, Protocol};

use super::words::Word;
use crate::mistake::Mistake;

/// `ADDRESS`, `ADDRESS/LENGTH` or `ADDRESS/MASK`; of the address, what the mask leaves.
pub(super) fn network(word: &Word) -> Result<Ipv4Cidr, Mistake> {
    const EXAMPLE: &str = "write an address, or a network such as 192.168.122.0/24";
    let text = word.text.as_str();
    if text.contains(',') {
        return Err(word.wrong("a rule has one network here", "write a rule for each"));
    }
    let (address, mask) = text.split_once('/').map_or((text, None), |(address, mask)| (address, Some(mask)));
    let Ok(address) = Ipv4Addr::from_str(address) else {
        return Err(word.wrong(format!("`{text}` is not an IPv4 address or network"), EXAMPLE));
    };
    let cidr = prefix_len(mask).and_then(|len| Ipv4Cidr::new(address, len));
    let cidr = cidr.and_then(|cidr| Ipv4Cidr::new(cidr.network(), cidr.prefix_len()));
    cidr.ok_or_else(|| word.wrong(format!("`{text}` has no prefix length or mask after its `/`"), EXAMPLE))
}

fn prefix_len(mask: Option<&str>) -> Option<u8> {
    let Some(mask) = mask else { return Some(32) };
    match mask.parse::<Ipv4Addr>() {
        Ok(mask) => {
            let len = mask.to_bits().leading_ones();
            (len + mask.to_bits().trailing_zeros() >= 32).then_some(len as u8)
        }
        Err(_) => number(mask).filter(|&len| len <= 32).map(|len| len as u8),
    }
}

/// `None`: all protocols.
pub(super) fn protocol(word: &Word) -> Result<Option<Protocol>, Mistake> {
    let text = word.text.to_ascii_lowercase();
    let protocol = match text.as_str() {
        "all" => None,
        "tcp" => Some(Protocol::TCP),
        "udp" => Some(Protocol::UDP),
        "udplite" => Some(Protocol::UDP_LITE),
        "dccp" => Some(Protocol::DCCP),
        "icmp" => Some(Protocol::ICMP),
        _ => match number(&text).and_then(|number| u8::try_from(number).ok()) {
            Some(0) => None,
            Some(number) => Some(Protocol(number)),
            None => {
                let message = format!("`{}` is not a protocol", word.text);
                return Err(
                    word.wrong(message, "write tcp, udp, icmp, dccp, udplite, all, or a number up to 255")
                );
            }
        },
    };
    Ok(protocol)
}

/// `PORT` or `FIRST:LAST`, either of which may be left out.
pub(super) fn ports(word: &Word) -> Result<PortList, Mistake> {
    port_range(word, &word.text, ':').map(|range| PortList(vec![range]))
}

/// Several ports and ranges with commas between them.
pub(super) fn port_list(word: &Word) -> Result<PortList, Mistake> {
    let ranges: Vec<PortRange> =
        word.text.split(',').map(|part| port_range(word, part, ':')).collect::<Result<_, _>>()?;
    // As iptables counts: a range takes the room of two.
    let places: usize = ranges.iter().map(|(first, last)| if first == last { 1 } else { 2 }).sum();
    if places > MAX_PORTS {
        let help =
            format!("write {MAX_PORTS} at most, a range counts as two, and another rule for the others");
        return Err(word.wrong("too many ports", help));
    }
    Ok(PortList(ranges))
}

/// `PORT` or `FIRST-LAST`, to translate to.
pub(super) fn new_ports(word: &Word, text: &str) -> Result<PortRange, Mistake> {
    let range = port_range(word, text, '-')?;
    if range.0 == 0 || text.starts_with('-') || text.ends_with('-') {
        return Err(
            word.wrong(format!("`{text}` is not a range of new ports"), "write FIRST-LAST, from 1 to 65535")
        );
    }
    Ok(range)
}

fn port_range(word: &Word, text: &str, between: char) -> Result<PortRange, Mistake> {
    let end = |text: &str, open: u16| match text {
        "" => Ok(open),
        text => number(text).and_then(|port| u16::try_from(port).ok()).ok_or_else(|| {
            let help = format!("write a number up to 65535, or a range FIRST{between}LAST");
            word.wrong(format!("`{text}` is not a port"), help)
        }),
    };
    let (first, last) = match text.split_once(between) {
        Some((first, last)) => (end(first, 0)?, end(last, u16::MAX)?),
        None if text.is_empty() => return Err(word.wrong("a port is missing", "write a number up to 65535")),
        None => (end(text, 0)?, end(text, 0)?),
    };
    if first > last {
        let help = format!("write {last}{between}{first}");
        return Err(word.wrong("the range ends before it begins", help));
    }
    Ok((first, last))
}

/// `ADDRESS[-LAST][:PORT[-LAST[/BASE]]]`, to translate destinations to.
pub(super) fn destination(word: &Word) -> Result<(AddressRange, Option<PortRange>, Option<u16>), Mistake> {
    let Some((text, base)) = word.text.split_once('/') else {
        let (addresses, ports) = sockets(word, &word.text)?;
        return Ok((addresses, ports, None));
    };
    let (addresses, ports) = sockets(word, text)?;
    let (first, last) = port_range(word, base, ':')?;
    if ports.is_none_or(|(low, high)| low == high) || first != last || first == 0 {
        let message = format!("`/{base}` doesn't say which port becomes the first of a range");
        return Err(word.wrong(message, "write ADDRESS:FIRST-LAST/PORT"));
    }
    Ok((addresses, ports, Some(first)))
}

/// `ADDRESS[-LAST][:PORT[-LAST]]` in `word`, to translate to.
pub(super) fn sockets(word: &Word, text: &str) -> Result<(AddressRange, Option<PortRange>), Mistake> {
    let (addresses, ports) = match text.split_once(':') {
        Some((addresses, ports)) => (addresses, Some(new_ports(word, ports)?)),
        None => (text, None),
    };
    let address = |text: &str| {
        let host = |address: &Ipv4Addr| {
            !(address.is_multicast() || address.is_broadcast() || address.is_unspecified())
        };
        text.parse().ok().filter(host).ok_or_else(|| {
            let help = "write ADDRESS, ADDRESS-LAST, or either with :PORT or :PORT-LAST behind it";
            word.wrong(format!("`{text}` is not the address of a host"), help)
        })
    };
    let (first, last) = match addresses.split_once('-') {
        Some((first, last)) => (address(first)?, address(last)?),
        None => (address(addresses)?, address(addresses)?),
    };
    if first > last {
        return Err(word.wrong("the range ends before it begins", format!("write {last}-{first}")));
    }
    Ok((AddressRange { first, last }, ports))
}

/// Digits only: no sign.
pub(super) fn number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Ports of a list, as iptables has it.
const MAX_PORTS: usize = 15;
