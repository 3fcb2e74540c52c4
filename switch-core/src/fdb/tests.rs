use std::collections::HashMap;

use packet::hash::splitmix;
use packet::{MacAddr, Millis, PortId, Vid};
use proptest::prelude::*;

use crate::fdb::{Fdb, Learned};

const NO_LIMIT: u32 = u32::MAX;

const _: fn() = || {
    fn shared<T: Send + Sync>() {}
    shared::<Fdb>();
};

fn fdb(capacity: u32) -> Fdb {
    Fdb::new(capacity, Millis::from_secs(300), [1, 2])
}

fn port(id: u16) -> PortId {
    PortId::new(id).unwrap()
}

fn mac(n: u64) -> MacAddr {
    MacAddr::local(n + 1)
}

#[test]
fn a_station_is_found_where_it_was_last_seen() {
    let fdb = fdb(64);
    let t = Millis::from_secs(10);
    assert_eq!(fdb.lookup(mac(1), Vid::UNTAGGED, t), None);
    assert_eq!(fdb.learn(mac(1), Vid::UNTAGGED, fdb.sighting(port(3), t), NO_LIMIT), Learned::New);
    assert_eq!(fdb.learn(mac(1), Vid::UNTAGGED, fdb.sighting(port(3), t), NO_LIMIT), Learned::Known);
    assert_eq!(fdb.learn(mac(1), Vid::UNTAGGED, fdb.sighting(port(4), t), NO_LIMIT), Learned::New);
    assert_eq!(fdb.lookup(mac(1), Vid::UNTAGGED, t), Some(port(4)));
    assert_eq!(fdb.lookup(mac(1), Vid::new(2).unwrap(), t), None);
}

#[test]
fn a_silent_station_is_forgotten_after_the_ageing_time() {
    let fdb = fdb(64);
    fdb.learn(mac(1), Vid::UNTAGGED, fdb.sighting(port(0), Millis::from_secs(10)), NO_LIMIT);
    assert_eq!(fdb.lookup(mac(1), Vid::UNTAGGED, Millis::from_secs(309)), Some(port(0)));
    assert_eq!(fdb.lookup(mac(1), Vid::UNTAGGED, Millis::from_secs(310)), None);
    assert_eq!(fdb.entries(Millis::from_secs(310)).count(), 0);
}

#[test]
fn a_flushed_port_is_empty_at_once_and_learns_again() {
    let fdb = fdb(64);
    let t = Millis::from_secs(1);
    fdb.learn(mac(1), Vid::UNTAGGED, fdb.sighting(port(0), t), NO_LIMIT);
    fdb.learn(mac(2), Vid::UNTAGGED, fdb.sighting(port(1), t), NO_LIMIT);
    fdb.flush_port(port(0));
    assert_eq!(fdb.lookup(mac(1), Vid::UNTAGGED, t), None);
    assert_eq!(fdb.lookup(mac(2), Vid::UNTAGGED, t), Some(port(1)));
    assert_eq!(fdb.learn(mac(1), Vid::UNTAGGED, fdb.sighting(port(0), t), NO_LIMIT), Learned::New);
    assert_eq!(fdb.lookup(mac(1), Vid::UNTAGGED, t), Some(port(0)));
}

#[test]
fn a_static_entry_neither_ages_nor_moves() {
    let fdb = fdb(64);
    assert!(fdb.add_static(mac(1), Vid::UNTAGGED, port(0)));
    let late = Millis::from_secs(100_000);
    assert_eq!(fdb.learn(mac(1), Vid::UNTAGGED, fdb.sighting(port(1), late), NO_LIMIT), Learned::Refused);
    fdb.flush_port(port(0));
    assert_eq!(fdb.lookup(mac(1), Vid::UNTAGGED, late), Some(port(0)));
    fdb.remove_static(mac(1), Vid::UNTAGGED);
    assert_eq!(fdb.lookup(mac(1), Vid::UNTAGGED, late), None);
}

#[test]
fn a_port_learns_no_more_than_its_limit_until_entries_age() {
    let fdb = fdb(1024);
    let t = Millis::from_secs(1);
    for n in 0..10 {
        assert_eq!(fdb.learn(mac(n), Vid::UNTAGGED, fdb.sighting(port(0), t), 10), Learned::New);
    }
    assert_eq!(fdb.learn(mac(10), Vid::UNTAGGED, fdb.sighting(port(0), t), 10), Learned::Refused);
    assert_eq!(fdb.learn(mac(10), Vid::UNTAGGED, fdb.sighting(port(1), t), 10), Learned::New);
    let later = Millis::from_secs(400);
    assert_eq!(fdb.learn(mac(11), Vid::UNTAGGED, fdb.sighting(port(0), later), 10), Learned::New);
}

/// Shows `count` stations from `first` on at a port; returns how many were refused.
fn show(fdb: &Fdb, id: u16, first: u64, count: u64, t: Millis) -> usize {
    let shown =
        (first..first + count).map(|n| fdb.learn(mac(n), Vid::UNTAGGED, fdb.sighting(port(id), t), NO_LIMIT));
    shown.filter(|&learned| learned == Learned::Refused).count()
}

/// How many of those stations are known there.
fn known(fdb: &Fdb, id: u16, first: u64, count: u64, t: Millis) -> usize {
    (first..first + count).filter(|&n| fdb.lookup(mac(n), Vid::UNTAGGED, t) == Some(port(id))).count()
}

#[test]
fn a_full_table_refuses_and_keeps_what_it_has() {
    let fdb = fdb(64);
    let t = Millis::from_secs(1);
    let refused = show(&fdb, 0, 0, 1000, t);
    assert!((1000 - fdb.capacity()..1000 - fdb.capacity() / 2).contains(&refused), "{refused}");
    assert_eq!(known(&fdb, 0, 0, 1000, t), 1000 - refused);
}

#[test]
fn thousands_of_stations_behind_one_port_are_all_learned() {
    let fdb = fdb(8192);
    assert_eq!(show(&fdb, 0, 0, 4000, Millis::ZERO), 0);
    assert_eq!(known(&fdb, 0, 0, 4000, Millis::ZERO), 4000);
}

#[test]
fn a_port_with_ever_new_addresses_evicts_nobody_and_gives_way_to_all_others() {
    let fdb = fdb(8192);
    let t = Millis::from_secs(1);
    // A LAN with less than its share, then the flood, then guests with one address each.
    show(&fdb, 0, 0, 3900, t);
    show(&fdb, 1, 100_000, 200_000, t);
    assert_eq!(known(&fdb, 0, 0, 3900, t), 3900);
    for id in 2..60 {
        assert_eq!(show(&fdb, id, u64::from(id) * 1_000_000, 1, t), 0, "port {id}");
    }
    show(&fdb, 1, 500_000, 200_000, Millis::from_secs(2));
    for id in 2..60 {
        assert_eq!(known(&fdb, id, u64::from(id) * 1_000_000, 1, t), 1, "port {id}");
    }
}

#[test]
fn two_ports_that_want_all_share_by_half() {
    let fdb = fdb(8192);
    let t = Millis::from_secs(1);
    show(&fdb, 0, 0, 20_000, t);
    show(&fdb, 1, 100_000, 20_000, t);
    let all = [known(&fdb, 0, 0, 20_000, t), known(&fdb, 1, 100_000, 20_000, t)];
    assert!(all.iter().all(|known| (3900..4300).contains(known)), "{all:?}");
}

#[test]
fn stations_that_have_aged_are_no_part_of_a_share() {
    let fdb = fdb(1024);
    show(&fdb, 0, 0, 600, Millis::from_secs(1));
    // Port 0 is silent, and port 1 may have the whole table.
    let late = Millis::from_secs(1000);
    show(&fdb, 1, 10_000, 5000, late);
    assert!(known(&fdb, 1, 10_000, 5000, late) > 1000);
    assert_eq!(show(&fdb, 0, 0, 10, late), 0);
}

#[test]
fn the_count_of_a_port_is_that_of_its_entries() {
    let fdb = fdb(256);
    let mut state = 1_u64;
    for step in 0..20_000_u64 {
        state = splitmix(state);
        let (id, n, t) = ((state % 5) as u16, state >> 8 & 0x1ff, Millis::from_secs(step / 20));
        match state >> 32 & 63 {
            0 => fdb.flush_port(port(id)),
            1 => drop(fdb.add_static(mac(n), Vid::UNTAGGED, port(id))),
            2..6 => fdb.remove_static(mac(n), Vid::UNTAGGED),
            _ => drop(fdb.learn(mac(n), Vid::UNTAGGED, fdb.sighting(port(id), t), 100)),
        }
    }
    let (counted, there) = fdb.counts();
    assert_eq!(counted, there);
    assert!(there[..5].iter().all(|&count| count > 0));
    assert_eq!(fdb.sharers(), there.iter().filter(|&&count| count > 0).count());
}

#[test]
fn a_static_entry_finds_room_in_a_full_table() {
    let fdb = fdb(64);
    let t = Millis::from_secs(1);
    show(&fdb, 0, 0, 1000, t);
    for n in 2000..2008 {
        assert!(fdb.add_static(mac(n), Vid::UNTAGGED, port(1)));
        assert_eq!(fdb.lookup(mac(n), Vid::UNTAGGED, t), Some(port(1)));
    }
}

#[test]
fn another_capacity_keeps_what_fits_the_youngest_first() {
    let mut fdb = fdb(1024);
    assert!(fdb.add_static(mac(9999), Vid::UNTAGGED, port(2)));
    show(&fdb, 0, 0, 400, Millis::from_secs(1));
    show(&fdb, 1, 1000, 40, Millis::from_secs(2));
    let t = Millis::from_secs(3);
    fdb.set_capacity(4096);
    assert_eq!((fdb.capacity(), known(&fdb, 0, 0, 400, t), known(&fdb, 1, 1000, 40, t)), (4096, 400, 40));
    fdb.set_capacity(64);
    assert_eq!((fdb.capacity(), known(&fdb, 1, 1000, 40, t)), (64, 40));
    assert_eq!(fdb.lookup(mac(9999), Vid::UNTAGGED, Millis::from_secs(100_000)), Some(port(2)));
    let old = known(&fdb, 0, 0, 400, t);
    assert!((1..=23).contains(&old), "{old}");
    assert_eq!(fdb.counts().0[0] as usize, old);
}

#[test]
fn a_station_that_flaps_stays_where_it_was_and_one_that_moves_now_and_then_is_followed() {
    let fdb = fdb(64);
    let learn = |id, t| fdb.learn(mac(1), Vid::UNTAGGED, fdb.sighting(port(id), t), NO_LIMIT);
    let t = Millis::from_secs(100);
    learn(7, t);
    let seen: Vec<_> = (0..100).map(|n| learn(n % 2, t)).collect();
    assert_eq!(seen[..16], [Learned::New; 16]);
    assert_eq!(seen[16..], [Learned::Flapping; 84]);
    assert_eq!(fdb.lookup(mac(1), Vid::UNTAGGED, t), Some(port(7)));
    // If it isn't there any more, it moves after all.
    fdb.flush_port(port(7));
    assert_eq!([learn(0, t), learn(0, t)], [Learned::New, Learned::Known]);
    for second in 200..300 {
        for id in 1..5 {
            assert_eq!(learn(id, Millis::from_secs(second)), Learned::New);
        }
    }
}

#[test]
fn at_half_load_no_random_address_is_turned_away() {
    let fdb = fdb(8192);
    for n in 0..4096_u64 {
        let random = MacAddr::local(n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 8);
        assert_ne!(
            fdb.learn(random, Vid::UNTAGGED, fdb.sighting(port(0), Millis::ZERO), NO_LIMIT),
            Learned::Refused
        );
    }
}

proptest! {
    #[test]
    fn agrees_with_a_map(
        steps in proptest::collection::vec((0_u64..20, 0_u16..4, 0_u64..200, 0_u8..10), 0..200),
    ) {
        let fdb = fdb(256);
        let mut model: HashMap<u64, (u16, u64)> = HashMap::new();
        let mut now = 0;
        for (n, p, wait, action) in steps {
            now += wait;
            let time = Millis::from_secs(now);
            match action {
                0 => {
                    fdb.flush_port(port(p));
                    model.retain(|_, entry| entry.0 != p);
                }
                1..5 => {
                    prop_assert_ne!(fdb.learn(mac(n), Vid::UNTAGGED, fdb.sighting(port(p), time), NO_LIMIT), Learned::Refused);
                    model.insert(n, (p, now));
                }
                _ => {
                    let expected = model.get(&n).filter(|entry| now - entry.1 < 300).map(|entry| port(entry.0));
                    prop_assert_eq!(fdb.lookup(mac(n), Vid::UNTAGGED, time), expected);
                }
            }
            let alive = model.values().filter(|entry| now - entry.1 < 300).count();
            prop_assert_eq!(fdb.entries(time).count(), alive);
        }
    }
}

#[test]
fn a_forgotten_station_is_learned_again_and_a_static_one_stays() {
    let fdb = fdb(64);
    let now = Millis::from_secs(1);
    let learn = |n| fdb.learn(mac(n), Vid::UNTAGGED, fdb.sighting(port(1), now), 2);
    assert_eq!([learn(1), learn(2), learn(3)], [Learned::New, Learned::New, Learned::Refused]);
    assert!(fdb.forget(mac(1), Vid::UNTAGGED, now) && !fdb.forget(mac(1), Vid::UNTAGGED, now));
    assert_eq!(
        (fdb.lookup(mac(1), Vid::UNTAGGED, now), fdb.lookup(mac(2), Vid::UNTAGGED, now)),
        (None, Some(port(1)))
    );
    assert_eq!(learn(3), Learned::New, "its place is free");
    fdb.add_static(mac(9), Vid::UNTAGGED, port(2));
    assert!(!fdb.forget(mac(9), Vid::UNTAGGED, now));
    assert_eq!(fdb.lookup(mac(9), Vid::UNTAGGED, now), Some(port(2)));
}

#[test]
fn stations_that_need_the_same_slot_are_all_found() {
    let fdb = fdb(1024);
    let t = Millis::from_secs(1);
    let rivals = fdb.rivals(12);
    for &mac in &rivals {
        assert_eq!(fdb.learn(mac, Vid::UNTAGGED, fdb.sighting(port(1), t), NO_LIMIT), Learned::New);
    }
    assert!(rivals.iter().all(|&mac| fdb.lookup(mac, Vid::UNTAGGED, t) == Some(port(1))));
}
