//! Connections.

use std::collections::HashSet;

use engine::report::FlowView;
use serde::{Deserialize, Serialize};

use super::list::Listed;
use super::table::{Column, Style, fits, left, right, table, time};

/// A flow. For ICMP, ports are the query's identifier.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Flow {
    /// `tcp`, `udp`, `icmp`, or a number.
    pub protocol: String,
    /// Where it is in its life.
    pub state: String,
    /// Who began.
    pub original: Tuple,
    /// What the other side answers with.
    pub reply: Tuple,
    /// Milliseconds until it is forgotten.
    pub expires_in_ms: u64,
    /// Milliseconds since its last packet, or up to a second more.
    pub idle_ms: u64,
}

/// One direction of a flow.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Tuple {
    /// `ADDRESS:PORT`.
    pub source: String,
    /// `ADDRESS:PORT`.
    pub destination: String,
    /// Packets.
    pub packets: u64,
    /// Bytes of IP packets.
    pub bytes: u64,
}

impl Tuple {
    fn text(&self) -> String {
        format!("{} → {}", self.source, self.destination)
    }
}

const COLUMNS: &[Column<Flow>] = &[
    left("proto", |flow, _| flow.protocol.clone()),
    left("state", |flow, _| flow.state.clone()),
    left("original", |flow, _| flow.original.text()),
    left("reply", |flow, _| flow.reply.text()),
    right("packets", |flow, _| format!("{} / {}", flow.original.packets, flow.reply.packets)),
    right("bytes", |Flow { original, reply, .. }, style| {
        format!("{} / {}", style.bytes(original.bytes), style.bytes(reply.bytes))
    }),
    right("idle", |flow: &Flow, _| time(flow.idle_ms)).rank(1),
    right("expires", |flow, _| time(flow.expires_in_ms)),
];

/// A table.
pub(super) fn text(list: &Listed<Flow>, style: &Style) -> String {
    if fits(COLUMNS, &list.entries, style) {
        return list.text(COLUMNS, style);
    }
    let halves = |flow| [Half { flow, is_reply: false }, Half { flow, is_reply: true }];
    let halves: Vec<Half<'_>> = list.entries.iter().flat_map(halves).collect();
    table(&narrow(), &halves, style) + &list.left_out()
}

/// One direction of a flow: a line of its own, where both have no room in one.
struct Half<'a> {
    flow: &'a Flow,
    is_reply: bool,
}

impl Half<'_> {
    /// What is told once for both.
    fn once(&self, text: String) -> String {
        if self.is_reply { String::new() } else { text }
    }

    fn tuple(&self) -> &Tuple {
        if self.is_reply { &self.flow.reply } else { &self.flow.original }
    }
}

fn narrow<'a>() -> [Column<Half<'a>>; 7] {
    [
        left("proto", |half, _| half.once(half.flow.protocol.clone())),
        left("state", |half, _| half.once(half.flow.state.clone())),
        left("original, reply", |half, _| half.tuple().text()),
        right("packets", |half: &Half<'_>, _| half.tuple().packets.to_string()).rank(2),
        right("bytes", |half: &Half<'_>, style| style.bytes(half.tuple().bytes)).rank(1),
        right("idle", |half: &Half<'_>, _| half.once(time(half.flow.idle_ms))).rank(3),
        right("expires", |half, _| half.once(time(half.flow.expires_in_ms))),
    ]
}

/// To `show flows`: `reports`, of `total` that there are. They were taken a part at a time: what has ended and begun anew
/// meanwhile is shown as it was last.
pub fn answer(reports: &[FlowView], total: u64) -> Listed<Flow> {
    let tuple = |tuple: &nat_engine::Tuple, packets, bytes| Tuple {
        source: tuple.source().to_string(),
        destination: tuple.destination().to_string(),
        packets,
        bytes,
    };
    let flow = |view: &FlowView| Flow {
        protocol: view.original.protocol().to_string(),
        state: view.state.to_owned(),
        original: tuple(&view.original, view.packets[0], view.bytes[0]),
        reply: tuple(&view.reply, view.packets[1], view.bytes[1]),
        expires_in_ms: view.expires_in.get(),
        idle_ms: view.idle.get(),
    };
    let mut known = HashSet::new();
    let mut entries: Vec<Flow> = reports
        .iter()
        .rev()
        .filter(|report| {
            known.insert((
                report.original.protocol().0,
                report.original.source(),
                report.original.destination(),
            ))
        })
        .map(flow)
        .collect();
    entries.reverse();
    Listed { total: total.max(entries.len() as u64), entries }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_says_how_long_it_has_been_idle() {
        let idle = packet::Millis::from_secs(90);
        let list = answer(&[FlowView { idle, ..FlowView::default() }], 1);
        assert_eq!(list.entries[0].idle_ms, 90_000);
        assert!(text(&list, &Style::WIDE).contains("1m 30s"));
    }
}
