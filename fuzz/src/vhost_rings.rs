//! What a guest writes to its rings.
//!
//! Input: a byte that chooses the features, then steps of `where:8 offset:16 len:8` and `len` bytes. `where` below 128: the
//! bytes are written to the rings, at the offset; above: to the buffers, with room for indirect tables. After each step the
//! port receives, and sends three frames.

use crate::guest::{BASE, BUFFERS, EVENT_IDX, GUEST, GUEST_CSUM, GUEST_TSO, Guest, MRG_RXBUF, VERSION_1};
use crate::vhost_port::Lab;

/// Panics if something is wrong.
pub fn run(data: &[u8]) {
    let Some((&choice, mut rest)) = data.split_first() else { return };
    let optional = [EVENT_IDX, GUEST_CSUM | GUEST_TSO, MRG_RXBUF, VERSION_1];
    let wanted = (0..).zip(optional).filter(|(bit, _)| choice >> bit & 1 == 0).map(|(_, feature)| feature);
    let features = wanted.fold(BASE & !(MRG_RXBUF | VERSION_1), |features, feature| features | feature);
    let mut lab = Lab::new();
    let mut guest = Guest::connect(lab.path());
    guest.start(features, 2);
    guest.fill(0, 8);
    guest.send(1, &[0; 12], &[0x55; 60]);
    lab.run();
    while let Some((&[place, o0, o1, len], behind)) = rest.split_first_chunk() {
        let (bytes, behind) = behind.split_at(behind.len().min(usize::from(len)));
        rest = behind;
        let offset = u64::from(u16::from_be_bytes([o0, o1]));
        let start = if place < 128 { GUEST } else { GUEST + BUFFERS };
        guest.write(start + offset, bytes);
        lab.run();
        lab.send();
    }
}
