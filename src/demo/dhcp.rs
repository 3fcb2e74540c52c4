//! A DHCP client that gets one lease and never renews it. RFC 2131.

use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use packet::{Ipv4Cidr, MacAddr};
use smoltcp::wire::{DhcpMessageType, DhcpPacket, DhcpRepr, EthernetAddress};

use super::traffic::PATIENCE;

/// What the server granted, or offers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lease {
    /// The address, in its network.
    pub address: Ipv4Cidr,
    /// The default gateway.
    pub router: Option<Ipv4Addr>,
    /// How long it is good for.
    pub duration: Duration,
    /// Who grants it.
    pub server: Ipv4Addr,
}

/// Gets a lease for `device` of the calling thread's namespace, whose MAC address is `mac`.
///
/// # Errors
/// Nobody answers in time, or the answers make no sense.
pub fn lease(device: &str, mac: MacAddr) -> io::Result<Lease> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, CLIENT_PORT))?;
    socket.set_broadcast(true)?;
    socket.set_read_timeout(Some(RETRY))?;
    tapio::bind_to_device(&socket, device)?;
    let transaction = u32::from_ne_bytes(tapio::random_bytes()?);

    let discover = message(mac, transaction);
    let offer = ask(&socket, &discover, DhcpMessageType::Offer)?;
    let request = DhcpRepr {
        message_type: DhcpMessageType::Request,
        requested_ip: Some(offer.address.address()),
        server_identifier: Some(offer.server),
        ..discover
    };
    ask(&socket, &request, DhcpMessageType::Ack)
}

/// Sends the message, again and again, until the expected answer is there.
fn ask(socket: &UdpSocket, message: &DhcpRepr<'_>, expected: DhcpMessageType) -> io::Result<Lease> {
    let mut bytes = vec![0; message.buffer_len()];
    message.emit(&mut DhcpPacket::new_unchecked(&mut bytes)).map_err(|_| io::ErrorKind::InvalidInput)?;
    let deadline = Instant::now() + PATIENCE;
    let mut buffer = [0; 1500];
    while Instant::now() < deadline {
        socket.send_to(&bytes, (Ipv4Addr::BROADCAST, SERVER_PORT))?;
        // Until the next read timeout, whatever else may come by.
        let retry = Instant::now() + RETRY;
        while Instant::now() < retry {
            let len = match socket.recv(&mut buffer) {
                Ok(len) => len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            };
            if let Some(lease) = read(&buffer[..len], message.transaction_id, expected) {
                return Ok(lease);
            }
        }
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, format!("no DHCP {expected:?}")))
}

/// A DISCOVER that asks for a broadcast answer: an ordinary socket gets nothing that is sent to an address which
/// the host doesn't have yet.
fn message(mac: MacAddr, transaction: u32) -> DhcpRepr<'static> {
    DhcpRepr {
        message_type: DhcpMessageType::Discover,
        transaction_id: transaction,
        secs: 0,
        client_hardware_address: EthernetAddress(mac.octets()),
        client_ip: Ipv4Addr::UNSPECIFIED,
        your_ip: Ipv4Addr::UNSPECIFIED,
        server_ip: Ipv4Addr::UNSPECIFIED,
        router: None,
        subnet_mask: None,
        relay_agent_ip: Ipv4Addr::UNSPECIFIED,
        broadcast: true,
        requested_ip: None,
        client_identifier: None,
        server_identifier: None,
        parameter_request_list: Some(&[SUBNET_MASK, ROUTER]),
        dns_servers: None,
        max_size: None,
        lease_duration: None,
        renew_duration: None,
        rebind_duration: None,
        additional_options: &[],
    }
}

/// The answer, if it is the one that is waited for and complete.
fn read(payload: &[u8], transaction: u32, expected: DhcpMessageType) -> Option<Lease> {
    let packet = DhcpPacket::new_checked(payload).ok()?;
    let answer = DhcpRepr::parse(&packet).ok()?;
    if answer.transaction_id != transaction || answer.message_type != expected {
        return None;
    }
    let prefix_len = answer.subnet_mask?.to_bits().leading_ones() as u8;
    Some(Lease {
        address: Ipv4Cidr::new(answer.your_ip, prefix_len)?,
        router: answer.router,
        duration: Duration::from_secs(answer.lease_duration?.into()),
        server: answer.server_identifier?,
    })
}

const SERVER_PORT: u16 = 67;
const CLIENT_PORT: u16 = 68;
const SUBNET_MASK: u8 = 1;
const ROUTER: u8 = 3;
/// How long to wait before a message is sent again.
const RETRY: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(message: &DhcpRepr<'_>) -> Vec<u8> {
        let mut bytes = vec![0; message.buffer_len()];
        message.emit(&mut DhcpPacket::new_unchecked(&mut bytes)).unwrap();
        bytes
    }

    #[test]
    fn only_a_complete_answer_to_the_own_question_is_taken() {
        let (mac, server) = (MacAddr::local(1), Ipv4Addr::new(10, 0, 0, 1));
        let ack = DhcpRepr {
            message_type: DhcpMessageType::Ack,
            your_ip: Ipv4Addr::new(10, 0, 0, 9),
            subnet_mask: Some(Ipv4Addr::new(255, 255, 255, 0)),
            router: Some(server),
            server_identifier: Some(server),
            lease_duration: Some(60),
            ..message(mac, 7)
        };
        let lease = read(&bytes(&ack), 7, DhcpMessageType::Ack).unwrap();
        assert_eq!(lease.address.to_string(), "10.0.0.9/24");
        assert_eq!((lease.router, lease.server, lease.duration.as_secs()), (Some(server), server, 60));
        assert_eq!(read(&bytes(&ack), 8, DhcpMessageType::Ack), None, "another client's");
        assert_eq!(read(&bytes(&ack), 7, DhcpMessageType::Offer), None, "not asked for");
        assert_eq!(read(&bytes(&DhcpRepr { subnet_mask: None, ..ack }), 7, DhcpMessageType::Ack), None);
        assert_eq!(read(&[0; 100], 7, DhcpMessageType::Ack), None);
    }
}
