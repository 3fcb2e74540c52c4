//! Lines from events, whatever becomes of where they go.

use std::sync::mpsc::{Receiver, Sender, channel};

use tracing::subscriber::with_default;
use tracing::{info, warn};

use super::*;

/// What takes lines only when told so.
struct Reluctant {
    turns: Receiver<io::Result<()>>,
    seen: Sender<String>,
}

impl Write for Reluctant {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self.turns.recv() {
            Ok(turn) => turn?,
            // Nobody tells it any more: it waits.
            Err(_) => loop {
                thread::park();
            },
        }
        // The test may be over.
        let _ = self.seen.send(String::from_utf8_lossy(line).into_owned());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn reluctant() -> (Log, Sender<io::Result<()>>, Receiver<String>) {
    let ((turn, turns), (seen, lines)) = (channel(), channel());
    (Log::start(Reluctant { turns, seen }).unwrap(), turn, lines)
}

fn next(lines: &Receiver<String>) -> String {
    lines.recv_timeout(Duration::from_secs(20)).expect("a line is written")
}

#[test]
fn lines_wait_in_order_nobody_waits_for_them_and_those_without_room_are_counted() {
    let (log, turn, lines) = reluctant();
    let line = |number: usize| format!("{number:0>999}");
    for number in 0..1000 {
        log.say(&line(number));
    }
    let kept = QUEUE / 1000;
    for _ in 0..2 * kept {
        turn.send(Ok(())).unwrap();
    }
    // Where the writer has taken a line meanwhile, a later one has its room: each gap is told of where it is.
    let (mut next_one, mut written) = (0, 0);
    while next_one < 1000 {
        let seen = next(&lines);
        match seen.split_once(" lines lost here") {
            Some((before, _)) => {
                let lost = before.rsplit(' ').next().and_then(|number| number.parse::<usize>().ok());
                next_one += lost.expect("a number of lines");
            }
            None => {
                assert_eq!(seen.trim_end(), line(next_one));
                (next_one, written) = (next_one + 1, written + 1);
            }
        }
    }
    assert!((kept..=kept + 1).contains(&written) && next_one == 1000, "{written} {next_one}");
    log.say("later");
    assert_eq!(next(&lines), "later\n");
}

#[test]
fn lines_that_cannot_be_written_are_told_of_before_the_next_one() {
    let (log, turn, lines) = reluctant();
    let fail = || turn.send(Err(io::ErrorKind::StorageFull.into())).unwrap();
    fail();
    log.say("one");
    // The second one isn't tried: it would be out of order.
    fail();
    log.say("two");
    turn.send(Ok(())).unwrap();
    turn.send(Ok(())).unwrap();
    log.say("three");
    assert!(next(&lines).contains("2 lines lost here"));
    assert_eq!(next(&lines), "three\n");
}

#[test]
fn the_end_waits_for_the_last_lines_but_not_for_ever() {
    let (log, turn, lines) = reluctant();
    log.say("stuck");
    let start = Instant::now();
    log.flush();
    assert!((FLUSH..FLUSH * 20).contains(&start.elapsed()));
    turn.send(Ok(())).unwrap();
    log.flush();
    assert_eq!(lines.try_recv().as_deref(), Ok("stuck\n"));
}

#[test]
fn events_of_one_port_are_limited_and_others_are_not() {
    let (log, turn, lines) = reluctant();
    with_default(log.subscriber(EnvFilter::new("info"), false), || {
        for number in 0..50 {
            info!(port = "a", "link down");
            warn!(port = "a", number, "link up");
            info!(port = "b", number, "link down");
            info!(number, "reloaded");
        }
        tracing::debug!("not of this level");
    });
    let count = 3 * 5 + 50;
    (0..count).for_each(|_| turn.send(Ok(())).unwrap());
    let seen: Vec<String> = (0..count).map(|_| next(&lines)).collect();
    let count = |text: &str| seen.iter().filter(|line| line.contains(text)).count();
    assert_eq!(
        [count("link down port=\"a\""), count("WARN"), count("port=\"b\""), count("reloaded")],
        [5, 5, 5, 50]
    );
    assert!(lines.try_recv().is_err());
}
