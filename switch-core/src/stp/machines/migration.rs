//! Port Protocol Migration: whether the neighbours know RSTP. Figure 17-13.

use packet::Millis;

use crate::stp::port::{MIGRATE_TIME, Port};
use crate::stp::state::Migration;
use crate::stp::timer::Timer;

pub(crate) fn next(port: &Port, is_rapid: bool, now: Millis) -> Option<Migration> {
    let has_waited = port.timers.migration_delay.is_zero(now);
    match port.states.migration {
        Migration::CheckingRstp if has_waited => Some(Migration::Sensing),
        Migration::CheckingRstp if !port.enabled => {
            let is_held = port.timers.migration_delay == Timer::Held(MIGRATE_TIME);
            (!is_held).then_some(Migration::CheckingRstp)
        }
        Migration::Sensing if !port.enabled || (is_rapid && !port.send_rapid && port.received_rapid) => {
            Some(Migration::CheckingRstp)
        }
        Migration::Sensing if port.send_rapid && port.received_stp => Some(Migration::SelectingStp),
        Migration::SelectingStp if has_waited || !port.enabled => Some(Migration::Sensing),
        _ => None,
    }
}

pub(crate) fn enter(port: &mut Port, state: Migration, is_rapid: bool, now: Millis) {
    port.states.migration = state;
    match state {
        Migration::CheckingRstp => {
            port.send_rapid = is_rapid;
            port.timers.migration_delay = if port.enabled {
                Timer::start(MIGRATE_TIME, now)
            } else {
                // Set anew as long as the port is down.
                Timer::Held(MIGRATE_TIME)
            };
        }
        Migration::Sensing => (port.received_rapid, port.received_stp) = (false, false),
        Migration::SelectingStp => {
            port.send_rapid = false;
            port.timers.migration_delay = Timer::start(MIGRATE_TIME, now);
        }
    }
}
