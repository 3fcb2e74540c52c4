//! `type = "dgram"`

use tapio::{DgramConfig, PortSpec};

use super::super::read::text;
use super::super::table::Table;
use super::super::value;
use super::kind::{Card, DeviceTable, Kind, Needs, Netdev, SOCKET, quoted};

pub(super) struct Dgram;

impl Kind for Dgram {
    fn name(&self) -> &'static str {
        "dgram"
    }

    fn read(&self, table: &mut Table<'_, '_>, _mac_key: &'static str) -> DeviceTable {
        let path = table.required("path", SOCKET, text(value::socket));
        let peer = table.required("peer", PEER_SOCKET, text(value::socket));
        let both = path.as_ref().zip(peer.as_ref());
        if let Some((_, peer)) = both.filter(|(path, peer)| path.get_ref() == peer.get_ref()) {
            table.wrong(peer.span(), "this is the switch's own socket", "write the other side's");
        }
        let config = both
            .map(|(path, peer)| DgramConfig { path: path.get_ref().clone(), peer: peer.get_ref().clone() });
        let settings = config.map(|config| Box::new(move |_| config.clone().into()) as _);
        DeviceTable { needs: Needs::Socket(path), peer_address: None, host: None, settings }
    }

    fn netdev(&self, spec: &PortSpec, _card: &Card<'_>) -> Option<Netdev> {
        let DgramConfig { path, peer } = spec.of()?;
        let [local, remote] = [peer, path].map(|path| quoted(&path.to_string_lossy()));
        let options = format!("local.type=unix,local.path={local},remote.type=unix,remote.path={remote}");
        Some(Netdev { before: Vec::new(), kind: "dgram", options })
    }
}

/// What to write where it is missing.
const PEER_SOCKET: &str = "peer = \"…\", the path of the other side's socket";
