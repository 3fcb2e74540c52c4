//! The forwarding database among threads: a model checker tries all orders in which their steps can happen, and all that
//! the memory of a weakly ordered processor may show them.
#![allow(
    clippy::unwrap_used,
    dead_code,
    unused_imports,
    reason = "tests fail by it; and not all of the file is used"
)]

mod sync {
    pub(crate) use loom::sync::atomic::{AtomicU16, AtomicU64, Ordering, fence};
    pub(crate) use loom::sync::{Mutex, MutexGuard};

    pub(crate) const PORTS: usize = 3;
    pub(crate) const READS: usize = 1;
}

#[path = "../src/fdb/mod.rs"]
mod fdb;

use loom::sync::Arc;
use loom::thread;
use packet::{MacAddr, Millis, PortId, Vid};

use self::fdb::Fdb;

const NOW: Millis = Millis::from_secs(10);

fn port(id: u16) -> PortId {
    PortId::new(id).unwrap()
}

fn fdb() -> Fdb {
    Fdb::new(64, Millis::from_secs(300), [1, 2])
}

fn learn(fdb: &Fdb, mac: MacAddr, id: u16) {
    fdb.learn(mac, Vid::UNTAGGED, fdb.sighting(port(id), NOW), 100);
}

fn where_is(fdb: &Fdb, mac: MacAddr) -> Option<u16> {
    fdb.lookup(mac, Vid::UNTAGGED, NOW).map(PortId::get)
}

/// Two stations that need the same slot.
fn rivals(fdb: &Fdb) -> (MacAddr, MacAddr) {
    let both = fdb.rivals(2);
    (both[0], both[1])
}

/// Tries all orders with so many switches between threads where none had to wait.
fn check(preemptions: usize, test: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(preemptions);
    model.max_branches = 10_000;
    model.check(test);
}

#[test]
fn nobody_finds_a_station_at_the_port_of_the_one_that_has_its_slot_now() {
    // Some 3500 orders; with one switch more 49 000, which end alike.
    check(1, || {
        let fdb = Arc::new(fdb());
        let (one, other) = rivals(&fdb);
        learn(&fdb, one, 1);
        let reader = thread::spawn({
            let fdb = fdb.clone();
            move || assert!(matches!(where_is(&fdb, one), None | Some(1)))
        });
        fdb.forget(one, Vid::UNTAGGED, NOW);
        learn(&fdb, other, 2);
        fdb.forget(other, Vid::UNTAGGED, NOW);
        learn(&fdb, one, 1);
        reader.join().unwrap();
        assert_eq!((where_is(&fdb, one), where_is(&fdb, other)), (Some(1), None));
    });
}

#[test]
fn two_writers_leave_one_entry_and_a_right_count() {
    check(2, || {
        let fdb = Arc::new(fdb());
        let (one, other) = rivals(&fdb);
        let writer = thread::spawn({
            let fdb = fdb.clone();
            move || {
                learn(&fdb, one, 1);
                learn(&fdb, other, 1);
            }
        });
        learn(&fdb, one, 2);
        fdb.forget(other, Vid::UNTAGGED, NOW);
        writer.join().unwrap();
        let (counted, there) = fdb.counts();
        assert_eq!(counted, there);
        assert_eq!(fdb.sharers(), there.iter().filter(|&&count| count > 0).count());
        assert_eq!(fdb.entries(NOW).filter(|entry| entry.mac == one).count(), 1);
        assert!(where_is(&fdb, one).is_some());
    });
}

#[test]
fn what_is_seen_while_its_port_is_flushed_is_gone_or_new_and_counted() {
    check(2, || {
        let fdb = Arc::new(fdb());
        let one = MacAddr::local(1);
        learn(&fdb, one, 1);
        let sighting = fdb.sighting(port(1), Millis::from_secs(11));
        let flusher = thread::spawn({
            let fdb = fdb.clone();
            move || fdb.flush_port(port(1))
        });
        fdb.learn(one, Vid::UNTAGGED, sighting, 100);
        flusher.join().unwrap();
        assert_eq!(where_is(&fdb, one), None);
        let (counted, there) = fdb.counts();
        assert_eq!(counted, there);
    });
}
