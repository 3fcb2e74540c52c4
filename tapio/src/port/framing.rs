//! Frames in a stream of bytes, as QEMU's `-netdev stream` and `-netdev socket` have them.
//!
//! ```text
//! [length:32 big-endian][frame …][length][frame …] …
//! ```
//!
//! Both directions are buffered in plain memory of fixed size, so that a system call moves many frames.

use packet::{DropReason, MAX_FRAME};

use crate::port::outcome::LinkLoss;

/// Received bytes, to be taken out frame by frame.
#[derive(Debug)]
pub(crate) struct Inbox {
    bytes: Box<[u8]>,
    first: usize,
    end: usize,
}

impl Inbox {
    pub(crate) fn new() -> Self {
        Self { bytes: vec![0; CAPACITY].into(), first: 0, end: 0 }
    }

    /// Takes out the next frame, if it is complete.
    ///
    /// # Errors
    /// It can't be a frame: what follows can't be understood.
    pub(crate) fn next(&mut self) -> Result<Option<&[u8]>, LinkLoss> {
        let Some((len, rest)) = self.bytes[self.first..self.end].split_first_chunk() else { return Ok(None) };
        let len = u32::from_be_bytes(*len);
        let bytes = len as usize;
        if !(1..=MAX_FRAME).contains(&bytes) {
            return Err(LinkLoss::BadLength(len));
        }
        if rest.len() < bytes {
            return Ok(None);
        }
        let frame = self.first + LENGTH;
        self.first = frame + bytes;
        Ok(Some(&self.bytes[frame..frame + bytes]))
    }

    /// Where to receive: room for the rest of a frame at least, as long as [`next`](Self::next) has nothing.
    pub(crate) fn space(&mut self) -> &mut [u8] {
        let left = self.end - self.first;
        // A peer that sends byte by byte doesn't have all bytes moved each time.
        if left == 0 || self.bytes.len() - self.end < LENGTH + MAX_FRAME {
            self.bytes.copy_within(self.first..self.end, 0);
            (self.first, self.end) = (0, left);
        }
        &mut self.bytes[self.end..]
    }

    /// The first `len` bytes of the space were received.
    pub(crate) fn received(&mut self, len: usize) {
        self.end += len;
    }

    pub(crate) fn clear(&mut self) {
        (self.first, self.end) = (0, 0);
    }
}

/// Frames to be sent.
#[derive(Debug)]
pub(crate) struct Outbox {
    bytes: Box<[u8]>,
    first: usize,
    end: usize,
}

impl Outbox {
    pub(crate) fn new() -> Self {
        Self { bytes: vec![0; CAPACITY].into(), first: 0, end: 0 }
    }

    /// Adds a frame.
    ///
    /// # Errors
    /// `TxQueueFull`.
    #[inline]
    pub(crate) fn push(&mut self, frame: &[u8]) -> Result<(), DropReason> {
        let end = self.end + LENGTH + frame.len();
        let Some(place) = self.bytes.get_mut(self.end..end) else { return Err(DropReason::TxQueueFull) };
        let (length, bytes) = place.split_at_mut(LENGTH);
        length.copy_from_slice(&(frame.len() as u32).to_be_bytes());
        bytes.copy_from_slice(frame);
        self.end = end;
        Ok(())
    }

    /// What is to be sent, lengths included.
    pub(crate) fn unsent(&self) -> &[u8] {
        &self.bytes[self.first..self.end]
    }

    /// The frame to be sent next, without its length, if only whole ones were sent.
    pub(crate) fn next_frame(&self) -> Option<&[u8]> {
        let (len, rest) = self.unsent().split_first_chunk()?;
        rest.get(..u32::from_be_bytes(*len) as usize)
    }

    /// The first `len` bytes were sent.
    pub(crate) fn sent(&mut self, len: usize) {
        self.first += len;
        // What is left moves only if there is little of it, and so has to at most once for as many bytes sent.
        if self.unsent().len() <= self.first {
            self.bytes.copy_within(self.first..self.end, 0);
            (self.first, self.end) = (0, self.end - self.first);
        }
    }

    pub(crate) fn clear(&mut self) {
        (self.first, self.end) = (0, 0);
    }
}

/// The bytes of a frame's length.
pub(crate) const LENGTH: usize = 4;

/// Bytes buffered in each direction: two bursts, and no more, because what waits here comes late.
const CAPACITY: usize = 512 * 1024;
const _: () = assert!(CAPACITY >= 2 * (LENGTH + MAX_FRAME));

#[cfg(test)]
mod tests {
    use super::*;

    fn received(inbox: &mut Inbox, bytes: &[u8]) {
        inbox.space()[..bytes.len()].copy_from_slice(bytes);
        inbox.received(bytes.len());
    }

    #[test]
    fn frames_come_out_as_they_went_in_however_the_stream_is_cut() {
        let frames: Vec<Vec<u8>> = (0..40).map(|n| vec![n as u8; 1 + n * 400]).collect();
        let mut outbox = Outbox::new();
        frames.iter().for_each(|frame| outbox.push(frame).unwrap());
        for cut in [1, 3, 4, 5, 1000, 65_536] {
            let (mut inbox, mut seen) = (Inbox::new(), Vec::new());
            for part in outbox.unsent().chunks(cut) {
                received(&mut inbox, part);
                while let Some(frame) = inbox.next().unwrap() {
                    seen.push(frame.to_vec());
                }
            }
            assert!(seen == frames, "cut into {cut}");
        }
    }

    #[test]
    fn frames_are_sent_one_by_one_in_order() {
        let mut outbox = Outbox::new();
        outbox.push(b"one").unwrap();
        outbox.push(b"three").unwrap();
        assert_eq!(outbox.next_frame(), Some(&b"one"[..]));
        outbox.sent(LENGTH + 3);
        assert_eq!(outbox.next_frame(), Some(&b"three"[..]));
        outbox.sent(LENGTH + 5);
        assert_eq!(outbox.next_frame(), None);
    }

    #[test]
    fn a_length_that_no_frame_has_ends_the_stream() {
        for length in [0, MAX_FRAME as u32 + 1, u32::MAX] {
            let mut inbox = Inbox::new();
            received(&mut inbox, &[0, 0, 0, 1, 7]);
            received(&mut inbox, &length.to_be_bytes());
            assert_eq!(inbox.next(), Ok(Some(&[7][..])));
            assert_eq!(inbox.next(), Err(LinkLoss::BadLength(length)));
        }
    }

    #[test]
    fn an_incomplete_frame_of_the_greatest_length_leaves_room_for_its_rest() {
        let mut inbox = Inbox::new();
        received(&mut inbox, &[0, 0, 0, 1, 7]);
        received(&mut inbox, &(MAX_FRAME as u32).to_be_bytes());
        received(&mut inbox, &[1; MAX_FRAME - 1]);
        inbox.next().unwrap();
        assert_eq!(inbox.next(), Ok(None));
        received(&mut inbox, &[1]);
        assert_eq!(inbox.next().unwrap().map(<[u8]>::len), Some(MAX_FRAME));
    }

    #[test]
    fn a_full_outbox_takes_frames_again_when_some_were_sent() {
        let mut outbox = Outbox::new();
        let mut pushed = 0;
        while outbox.push(&[0; MAX_FRAME]).is_ok() {
            pushed += 1;
        }
        assert_eq!(pushed, CAPACITY / (LENGTH + MAX_FRAME));
        assert_eq!(outbox.push(&[0; MAX_FRAME]), Err(DropReason::TxQueueFull));
        // A frame and a part of the next.
        outbox.sent(LENGTH + MAX_FRAME + 100);
        let left = outbox.unsent().len();
        outbox.sent(left / 2);
        assert_eq!(outbox.unsent().len(), left - left / 2);
        assert_eq!(outbox.push(&[0; MAX_FRAME]), Ok(()));
    }
}
