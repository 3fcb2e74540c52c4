//! `type = "udp"`

use std::net::SocketAddr;

use tapio::{PortSpec, UdpConfig};

use super::super::read::{Read, Wrong, text};
use super::super::table::Table;
use super::kind::{Card, DeviceTable, Kind, Needs, Netdev};

pub(super) struct Udp;

impl Kind for Udp {
    fn name(&self) -> &'static str {
        "udp"
    }

    fn read(&self, table: &mut Table<'_, '_>, _mac_key: &'static str) -> DeviceTable {
        let local = table.required("local", "local = \"127.0.0.1:20001\"", text(socket));
        let remote = table.required("remote", "remote = \"127.0.0.1:20002\"", text(socket));
        let both = local.zip(remote).map(|(local, peer)| {
            let (place, local, peer) = (peer.span(), local.into_inner(), peer.into_inner());
            if local == peer {
                table.wrong(place, "this is the switch's own side", "write the other side's");
            } else if local.is_ipv4() != peer.is_ipv4() {
                table.wrong(place, "`local` is of the other family", "write both for IPv4, or both for IPv6");
            }
            UdpConfig { local, peer }
        });
        let settings = both.map(|config| Box::new(move |_| config.clone().into()) as _);
        DeviceTable { needs: Needs::Nothing, peer_address: None, host: None, settings }
    }

    fn netdev(&self, spec: &PortSpec, _card: &Card<'_>) -> Option<Netdev> {
        let &UdpConfig { local, peer } = spec.of()?;
        let side = |name, at: SocketAddr| {
            format!("{name}.type=inet,{name}.host={},{name}.port={}", at.ip(), at.port())
        };
        let options = format!("{},{}", side("local", peer), side("remote", local));
        Some(Netdev { before: Vec::new(), kind: "dgram", options })
    }
}

/// `ADDRESS:PORT`, of a host.
fn socket(text: &str) -> Read<SocketAddr> {
    let found = text
        .parse()
        .ok()
        .filter(|at: &SocketAddr| at.port() != 0 && !at.ip().is_unspecified() && !at.ip().is_multicast());
    found.ok_or_else(|| {
        let help = "write ADDRESS:PORT, for example 127.0.0.1:20001 or [::1]:20001";
        Wrong::new(format!("`{text}` is not an address of one host with a port"), help)
    })
}
