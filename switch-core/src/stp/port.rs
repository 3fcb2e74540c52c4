//! A port's variables and timers. Their names are those of IEEE 802.1D-2004, 17.17 and 17.19, spelled out.

use packet::{Millis, PortId};

use super::bpdu::{Bpdu, Role};
use super::settings::{Edge, TreePort};
use super::state::States;
use super::timer::Timer;
use super::vector::{PORT_NUMBER, Times, Vector, span};

/// Where the port's information is from. 17.19.10.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum InfoIs {
    /// There is none: no link.
    #[default]
    Disabled,
    /// What was received counts no more.
    Aged,
    /// This bridge.
    Mine,
    /// Another one.
    Received,
}

/// What a received message is to the port. 17.21.8.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Received {
    SuperiorDesignated,
    RepeatedDesignated,
    InferiorDesignated,
    InferiorRootAlternate,
    Other,
}

/// A port.
#[derive(Clone, Debug)]
pub(crate) struct Port {
    pub id: PortId,
    pub settings: TreePort,
    /// What the way by it costs.
    pub cost: u32,
    /// Where its machines are.
    pub states: States,
    /// Whether its machines are to be looked at.
    pub is_due: bool,

    // 17.19
    pub agree: bool,
    pub agreed: bool,
    pub designated_priority: Vector,
    pub designated_times: Times,
    pub disputed: bool,
    pub forward: bool,
    pub forwarding: bool,
    pub info_is: InfoIs,
    pub learn: bool,
    pub learning: bool,
    pub new_info: bool,
    pub oper_edge: bool,
    pub enabled: bool,
    pub priority: Vector,
    pub times: Times,
    pub proposed: bool,
    pub proposing: bool,
    /// A message that has come, and that nobody has looked at.
    pub bpdu: Option<Bpdu>,
    /// The message that is being looked at (rcvdMsg).
    pub message: Option<Bpdu>,
    pub received: Option<Received>,
    pub received_rapid: bool,
    pub received_stp: bool,
    pub received_tc: bool,
    pub received_tc_ack: bool,
    pub received_tcn: bool,
    pub re_root: bool,
    pub reselect: bool,
    pub role: Role,
    pub selected: bool,
    pub selected_role: Role,
    pub send_rapid: bool,
    pub sync: bool,
    pub synced: bool,
    pub tc_ack: bool,
    pub tc_prop: bool,
    pub update_info: bool,
    pub tx: Sent,

    pub timers: Timers,

    // Beside the standard.
    /// It has come up, and the timers that were held while it was down are to run.
    pub wants_start: bool,
    /// Until then it is taken to hear itself.
    pub is_looped_until: Millis,
    pub count: Counters,
}

impl Port {
    /// A port that is down, as long as its machines haven't begun.
    pub(crate) fn new(id: PortId, own: Vector, times: Times) -> Self {
        Self {
            id,
            settings: TreePort::default(),
            cost: 1,
            states: States::default(),
            is_due: false,
            agree: false,
            agreed: false,
            designated_priority: own,
            designated_times: times,
            disputed: false,
            forward: false,
            forwarding: false,
            info_is: InfoIs::Disabled,
            learn: false,
            learning: false,
            new_info: false,
            oper_edge: false,
            enabled: false,
            priority: own,
            times,
            proposed: false,
            proposing: false,
            bpdu: None,
            message: None,
            received: None,
            received_rapid: false,
            received_stp: false,
            received_tc: false,
            received_tc_ack: false,
            received_tcn: false,
            re_root: false,
            reselect: false,
            role: Role::Disabled,
            selected: false,
            selected_role: Role::Disabled,
            send_rapid: false,
            sync: false,
            synced: false,
            tc_ack: false,
            tc_prop: false,
            update_info: false,
            tx: Sent::default(),
            timers: Timers::default(),
            wants_start: false,
            is_looped_until: Millis::ZERO,
            count: Counters::default(),
        }
    }

    /// Its identifier on the wire: priority, and a number that isn't 0 but for the last of all.
    pub(crate) const fn number(&self) -> u16 {
        (self.settings.priority as u16) << 8 & !PORT_NUMBER | (self.id.get() + 1) & PORT_NUMBER
    }

    /// 17.13.1.
    pub(crate) fn admin_edge(&self) -> bool {
        self.settings.edge == Edge::Yes
    }

    /// 17.13.3.
    pub(crate) fn auto_edge(&self) -> bool {
        self.settings.edge == Edge::Auto
    }

    /// 17.20.3.
    pub(crate) const fn edge_delay(&self) -> Millis {
        if self.settings.point_to_point { MIGRATE_TIME } else { self.max_age() }
    }

    /// 17.20.4.
    pub(crate) const fn forward_delay(&self) -> Millis {
        if self.send_rapid { self.hello_time() } else { self.full_forward_delay() }
    }

    /// 17.20.5.
    pub(crate) const fn full_forward_delay(&self) -> Millis {
        span(self.designated_times.forward_delay)
    }

    /// 17.20.6.
    pub(crate) const fn hello_time(&self) -> Millis {
        span(self.designated_times.hello)
    }

    /// 17.20.7.
    pub(crate) const fn max_age(&self) -> Millis {
        span(self.designated_times.max_age)
    }

    /// Whether what it is to be is decided: the machines of roles, of transmission and of information wait for that.
    pub(crate) const fn is_decided(&self) -> bool {
        self.selected && !self.update_info
    }

    /// Whether what is known is better than what the port holds, or the same. 17.21.1.
    pub(crate) fn better_or_same(&self, new_info_is: InfoIs) -> bool {
        match (new_info_is, self.info_is, &self.message) {
            (InfoIs::Received, InfoIs::Received, Some(Bpdu::Config(message) | Bpdu::Rapid(message))) => {
                message.vector <= self.priority
            }
            (InfoIs::Mine, InfoIs::Mine, _) => self.designated_priority <= self.priority,
            _ => false,
        }
    }

    /// Whether it may send one more message. 17.19.44.
    pub(crate) const fn may_send(&self) -> bool {
        self.tx.count < TX_HOLD_COUNT
    }

    /// Messages sent some time ago don't count.
    pub(crate) fn forget_sent(&mut self, now: Millis) {
        let times = now.since(self.tx.since).get() / TX_FORGET.get();
        if times > 0 {
            self.tx.count = self.tx.count.saturating_sub(u32::try_from(times).unwrap_or(u32::MAX));
            self.tx.since = self.tx.since + Millis::new(times * TX_FORGET.get());
        }
    }

    /// The earliest moment after `now` at which something may be due.
    pub(crate) fn next_timeout(&self, now: Millis) -> Option<Millis> {
        let held_back = (self.new_info && !self.may_send()).then(|| self.tx.since + TX_FORGET);
        let ends = self.timers.ends().chain(held_back);
        ends.filter(|end| self.enabled && *end > now).min()
    }

    /// Whether a timer has come to zero after `last`, and by `now`.
    pub(crate) fn has_expired(&self, last: Millis, now: Millis) -> bool {
        let mut ends = self.timers.ends();
        self.enabled && ends.any(|end| end > last && end <= now)
    }
}

/// A port's timers. 17.17.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Timers {
    pub edge_delay: Timer,
    pub forward_delay: Timer,
    pub hello: Timer,
    pub migration_delay: Timer,
    pub recent_backup: Timer,
    pub received_info: Timer,
    pub recent_root: Timer,
    pub topology_change: Timer,
}

impl Timers {
    fn ends(self) -> impl Iterator<Item = Millis> {
        let Self { edge_delay, forward_delay, hello, migration_delay, .. } = self;
        let Self { recent_backup, received_info, recent_root, topology_change, .. } = self;
        let first = [edge_delay, forward_delay, hello, migration_delay];
        let last = [recent_backup, received_info, recent_root, topology_change];
        first.into_iter().chain(last).filter_map(Timer::end)
    }
}

/// Messages sent of late, and the moment from which on they are forgotten one by one.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sent {
    pub count: u32,
    pub since: Millis,
}

/// Messages sent and heard.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counters {
    pub sent: u64,
    pub heard: u64,
}

/// 17.13.9, table 17-1.
pub(crate) const MIGRATE_TIME: Millis = Millis::from_secs(3);
/// Table 17-1.
pub(crate) const TX_HOLD_COUNT: u32 = 6;
/// One message is forgotten in this time. The standard says a second, in which a port whose hello time is that long sends
/// as many as are forgotten: after a burst it would be held back for ever.
const TX_FORGET: Millis = Millis::new(500);
