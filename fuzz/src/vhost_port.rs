//! A vhost-user port, driven as the switch would.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use packet::{Burst, Gso, NetworkId, Offload, PortCounters, TxEntry, parse};
use tapio::testing::Port;
use tapio::{PortSpec, Role, Rx, VhostUserConfig};

/// The port.
pub(crate) struct Lab {
    path: PathBuf,
    port: Port,
    burst: Burst,
}

impl Lab {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("fuzz-vhost-{}-{number}", std::process::id()));
        let config = VhostUserConfig { path: path.clone(), role: Role::Server, offload: true };
        let port = Port::open(&PortSpec::from(config)).expect("the path is free");
        Self { path, port, burst: Burst::new() }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Receives until there is nothing left.
    pub(crate) fn run(&mut self) {
        for _ in 0..10_000 {
            self.burst.restart(None, NetworkId::new(0));
            match self.port.rx_burst(&mut self.burst).expect("a socket never goes for good") {
                Rx::Drained => return,
                Rx::More | Rx::LinkDown(_) => parse(&mut self.burst),
            }
        }
        panic!("the port never drains");
    }

    /// Sends a short frame, a long one, and a super-frame.
    pub(crate) fn send(&mut self) {
        let mut tcp = vec![0; 9000];
        tcp[12..15].copy_from_slice(&[8, 0, 0x45]);
        tcp[23] = 6;
        tcp[46] = 0x50;
        let offload = Offload {
            csum_start: 34,
            csum_offset: 16,
            gso_size: 1448,
            gso: Gso::Tcp4,
            needs_checksum: true,
            ..Offload::NONE
        };
        self.burst.restart(None, NetworkId::new(0));
        self.burst.push(&[1; 60], Offload::NONE);
        self.burst.push(&[2; 20_000], Offload::NONE);
        self.burst.push(&tcp, offload);
        parse(&mut self.burst);
        let mut counters = PortCounters::default();
        self.port.tx_burst(&mut self.burst, &[0, 1, 2].map(TxEntry::as_is), &mut counters);
        assert_eq!(counters.tx_frames + counters.drops.total(), 3);
    }
}
