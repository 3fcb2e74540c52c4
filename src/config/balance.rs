//! `[network.NAME.balance.NAME]`: servers that share an outside port.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::ops::Range;

use engine::CheckKind;
use packet::Protocol;
use toml::Spanned;
use toml::de::DeTable;

use super::read::{Read, Wrong, choice, number, text};
use super::table::{Maybe, Table};
use super::value;
use crate::mistake::Mistake;

/// The section.
pub(super) struct BalanceTable {
    pub(super) name: Spanned<String>,
    pub(super) listen: Maybe<Listen>,
    pub(super) servers: Maybe<Vec<Spanned<SocketAddrV4>>>,
    pub(super) backup: Maybe<Vec<Spanned<SocketAddrV4>>>,
    /// Inner `None`: no check.
    pub(super) check: Maybe<Option<CheckKind>>,
    pub(super) interval: Maybe<u32>,
    pub(super) failures: Maybe<u32>,
    pub(super) successes: Maybe<u32>,
}

/// What clients connect to.
#[derive(Clone, Copy)]
pub(super) struct Listen {
    /// `None`: the uplink's.
    pub(super) address: Option<Ipv4Addr>,
    pub(super) port: u16,
    pub(super) protocol: Protocol,
}

impl BalanceTable {
    pub(super) fn read(name: Spanned<String>, entries: &DeTable<'_>, mistakes: &mut Vec<Mistake>) -> Self {
        let mut table = Table::new(name.span(), entries, mistakes);
        let count = |table: &mut Table<'_, '_>, key| table.optional(key, number(1..=100, "checks"));
        let section = Self {
            listen: table.required("listen", "listen = \"80/tcp\"", text(listen)),
            servers: table.list("servers", text(server)),
            backup: table.list("backup", text(server)),
            check: table.optional("check", choice(CHECKS)),
            interval: table.optional("interval", number(1..=3600, "seconds")),
            failures: count(&mut table, "failures"),
            successes: count(&mut table, "successes"),
            name,
        };
        table.finish();
        section
    }

    /// Servers and backups, in this order.
    pub(super) fn all(&self) -> impl Iterator<Item = &Spanned<SocketAddrV4>> {
        self.servers.iter().chain(&self.backup).flat_map(Spanned::get_ref)
    }

    /// Where to point at what is wrong with the section as a whole.
    pub(super) fn place(&self) -> Range<usize> {
        self.servers.as_ref().map_or(self.name.span(), Spanned::span)
    }
}

/// `[ADDRESS:]PORT[/PROTOCOL]`.
fn listen(text: &str) -> Read<Listen> {
    let parse = || {
        let (socket, protocol) = value::protocol(text)?;
        let (address, port) = match socket.rsplit_once(':') {
            Some((address, port)) => (Some(address.parse().ok().filter(is_host)?), port),
            None => (None, socket),
        };
        Some(Listen { address, port: value::port(port)?, protocol })
    };
    parse().ok_or_else(|| {
        let help = "write \"PORT/tcp\", or /udp, for a port of the uplink's address, or \"ADDRESS:PORT/tcp\"";
        Wrong::new(format!("`{text}` doesn't say where to listen"), help)
    })
}

/// `ADDRESS:PORT`.
fn server(text: &str) -> Read<SocketAddrV4> {
    text.parse().ok().filter(|server: &SocketAddrV4| server.port() != 0 && is_host(server.ip())).ok_or_else(
        || {
            let help = "write \"ADDRESS:PORT\", for example \"192.168.122.10:8080\"";
            Wrong::new(format!("`{text}` is no server"), help)
        },
    )
}

fn is_host(address: &Ipv4Addr) -> bool {
    let first = address.octets()[0];
    (1..224).contains(&first) && !address.is_loopback()
}

const CHECKS: &[(&str, Option<CheckKind>)] =
    &[("tcp", Some(CheckKind::Tcp)), ("icmp", Some(CheckKind::Icmp)), ("none", None)];
