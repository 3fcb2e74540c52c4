//! Connections.

use engine::report::FlowReport;
use serde::{Deserialize, Serialize};

use super::Answer;
use super::list::Listed;
use super::table::{Column, left, right, time};

/// A flow. For ICMP, ports are the query's identifier.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
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
}

/// One direction of a flow.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
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
    left("proto", |flow| flow.protocol.clone()),
    left("state", |flow| flow.state.clone()),
    left("original", |flow| flow.original.text()),
    left("reply", |flow| flow.reply.text()),
    right("packets", |flow| format!("{} / {}", flow.original.packets, flow.reply.packets)),
    right("bytes", |flow| format!("{} / {}", flow.original.bytes, flow.reply.bytes)),
    right("expires", |flow| time(flow.expires_in_ms)),
];

/// A table.
pub(super) fn text(list: &Listed<Flow>) -> String {
    list.text(COLUMNS)
}

/// To `show flows`: `reports`, of `total` that there are.
pub fn answer(reports: &[FlowReport], total: u64) -> Answer {
    let tuple = |source: &dyn ToString, destination: &dyn ToString, packets, bytes| Tuple {
        source: source.to_string(),
        destination: destination.to_string(),
        packets,
        bytes,
    };
    let flow = |report: &FlowReport| Flow {
        protocol: report.protocol.to_string(),
        state: report.state.to_owned(),
        original: tuple(
            &report.original_source,
            &report.original_destination,
            report.packets[0],
            report.bytes[0],
        ),
        reply: tuple(&report.reply_source, &report.reply_destination, report.packets[1], report.bytes[1]),
        expires_in_ms: report.expires_in.get(),
    };
    Answer::Flows(Listed { total, entries: reports.iter().map(flow).collect() })
}
