//! The switch's own addresses in a segment.

use packet::MacAddr;

#[derive(Debug)]
pub(crate) struct Own {
    /// The gateway's.
    pub gateway: Option<MacAddr>,
    /// Where probes for loops come from. They go to its group address.
    pub probe: MacAddr,
    /// Group addresses whose frames end at the host.
    pub asked_for: Vec<MacAddr>,
}

impl Default for Own {
    fn default() -> Self {
        Self { gateway: None, probe: MacAddr::ZERO, asked_for: Vec::new() }
    }
}
