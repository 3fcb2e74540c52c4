//! Whoever started the process as a service and wants to know how it is. sd_notify(3), systemd.service(5) `Type=notify-reload`.
//!
//! ```text
//! start ─▶ READY=1 ─▶ SIGHUP or `reload` ─▶ RELOADING=1 … READY=1 ─▶ the end ─▶ STOPPING=1
//!             └ WATCHDOG=1 twice as often as it is asked for, from the loop that moves frames
//! ```

use std::env;
use std::ffi::{OsStr, OsString};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process;

use packet::Millis;
use rustix::time::{ClockId, clock_gettime};

/// The way to it. Without one, nobody is told anything.
#[derive(Debug, Default)]
pub struct Manager {
    socket: Option<UnixDatagram>,
    /// Between two signs of life.
    interval: Option<Millis>,
    /// When the next one is due.
    due: Millis,
    is_reloading: bool,
}

impl Manager {
    /// As the environment has it.
    pub fn from_environment() -> Self {
        let is_for_us = env::var("WATCHDOG_PID").map_or(true, |pid| pid == process::id().to_string());
        let watchdog = env::var_os("WATCHDOG_USEC").filter(|_| is_for_us);
        Self::new(env::var_os("NOTIFY_SOCKET"), watchdog)
    }

    fn new(socket: Option<OsString>, watchdog: Option<OsString>) -> Self {
        let micros = watchdog.and_then(|micros| micros.to_str()?.parse::<u64>().ok());
        let interval = micros.filter(|&micros| micros > 0).map(|micros| Millis::new((micros / 2000).max(1)));
        let socket = socket.and_then(|path| connect(&path));
        Self { interval: interval.filter(|_| socket.is_some()), socket, ..Self::default() }
    }

    /// Everything is in place, for the first time or again.
    pub fn ready(&mut self, status: &str) {
        self.is_reloading = false;
        self.tell(&format!("READY=1\nSTATUS={status}"));
    }

    /// The configuration is read again, until [`ready`](Self::ready).
    pub fn reloading(&mut self) {
        self.is_reloading = true;
        let time = clock_gettime(ClockId::Monotonic);
        let micros = time.tv_sec * 1_000_000 + time.tv_nsec / 1000;
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    /// Whether it has been told of a reload, and not of its end.
    pub const fn is_reloading(&self) -> bool {
        self.is_reloading
    }

    /// The process ends.
    pub fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=Giving back devices");
    }

    /// When [`live`](Self::live) has something to do.
    pub fn next_timeout(&self) -> Option<Millis> {
        self.interval.map(|_| self.due)
    }

    /// Gives a sign of life, if one is due.
    #[inline]
    pub fn live(&mut self, now: Millis) {
        if let Some(interval) = self.interval
            && self.due <= now
        {
            self.due = now + interval;
            self.tell("WATCHDOG=1");
        }
    }

    /// Whoever doesn't listen is not waited for.
    fn tell(&self, words: &str) {
        if let Some(socket) = &self.socket {
            let _ = socket.send(words.as_bytes());
        }
    }
}

/// A path, or behind an `@` a name that is none.
fn connect(place: &OsStr) -> Option<UnixDatagram> {
    let address = match place.as_bytes() {
        [b'/', ..] => SocketAddr::from_pathname(place),
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        _ => return None,
    };
    let socket = UnixDatagram::unbound().ok()?;
    socket.set_nonblocking(true).ok()?;
    socket.connect_addr(&address.ok()?).ok()?;
    Some(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn supervisor(name: &str) -> (UnixDatagram, OsString) {
        let name = format!("tapswitch-manager-{name}-{}", process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        (UnixDatagram::bind_addr(&address).unwrap(), format!("@{name}").into())
    }

    fn next(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 256];
        let len = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..len].to_vec()).unwrap()
    }

    #[test]
    fn each_state_is_told_and_a_reload_says_when_it_began() {
        let (socket, place) = supervisor("states");
        let mut manager = Manager::new(Some(place), None);
        assert_eq!(manager.next_timeout(), None);
        manager.ready("1 port is up");
        assert_eq!(next(&socket), "READY=1\nSTATUS=1 port is up");
        manager.reloading();
        let told = next(&socket);
        let micros: u64 = told.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap().parse().unwrap();
        let now = clock_gettime(ClockId::Monotonic).tv_sec as u64 * 1_000_000;
        assert!(micros > 0 && micros <= now + 1_000_000 && manager.is_reloading());
        manager.ready("again");
        assert!(next(&socket).starts_with("READY=1\n") && !manager.is_reloading());
        manager.stopping();
        assert!(next(&socket).starts_with("STOPPING=1\n"));
    }

    #[test]
    fn signs_of_life_come_twice_as_often_as_asked_for() {
        let (socket, place) = supervisor("life");
        socket.set_nonblocking(true).unwrap();
        let mut manager = Manager::new(Some(place), Some("2000000".into()));
        let start = Millis::from_secs(1000);
        manager.live(start);
        assert_eq!(next(&socket), "WATCHDOG=1");
        assert_eq!(manager.next_timeout(), Some(start + Millis::from_secs(1)));
        manager.live(start + Millis::new(999));
        assert!(socket.recv(&mut [0; 64]).is_err());
        manager.live(start + Millis::new(1000));
        assert_eq!(next(&socket), "WATCHDOG=1");
    }

    #[test]
    fn without_anybody_to_tell_nothing_happens() {
        for place in [None, Some("relative".into()), Some("/nowhere/socket".into()), Some("".into())] {
            let mut manager = Manager::new(place, Some("1000000".into()));
            manager.ready("x");
            manager.live(Millis::from_secs(1));
            assert_eq!(manager.next_timeout(), None);
        }
    }

    #[test]
    fn whoever_does_not_listen_is_not_waited_for() {
        let (_socket, place) = supervisor("deaf");
        let manager = Manager::new(Some(place), None);
        (0..10_000).for_each(|_| manager.stopping());
    }
}
