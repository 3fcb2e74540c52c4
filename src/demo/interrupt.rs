//! Ctrl-C at any moment: the demo ends at once, and leaves nothing behind.

use std::io;
use std::process::exit;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, park};

use mio::{Events, Poll, Token};
use tapio::{Signal, Signals};

use super::switch::Process;

/// Whether a signal has come.
#[derive(Clone, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Waits on a thread for a signal, and then ends `switch` and this process, whatever it is waiting for.
    ///
    /// # Errors
    /// There is no thread or descriptor to spare.
    pub fn watch(mut signals: Signals, switch: Arc<Process>) -> io::Result<Self> {
        let mut poll = Poll::new()?;
        signals.register(poll.registry(), Token(0))?;
        let interrupt = Self::default();
        let came = interrupt.clone();
        Builder::new().name("interrupt".into()).spawn(move || {
            let mut events = Events::with_capacity(1);
            loop {
                if let Some(signal) = signals.next() {
                    came.0.store(true, Ordering::SeqCst);
                    switch.end();
                    eprintln!("interrupted; the demo's switch and its hosts are gone");
                    exit(status(signal));
                }
                // Interrupted or not: the next look at the signals tells.
                let _ = poll.poll(&mut events, None);
            }
        })?;
        Ok(interrupt)
    }

    /// Returns if no signal has come. Else what went wrong is a consequence, and not worth a word: the process ends.
    pub fn check(&self) {
        while self.0.load(Ordering::SeqCst) {
            park();
        }
    }
}

/// As a shell has it for a process that a signal ended: 128 and the signal's number.
const fn status(signal: Signal) -> i32 {
    128 + match signal {
        Signal::Hangup => 1,
        Signal::Interrupt => 2,
        Signal::Terminate => 15,
    }
}
