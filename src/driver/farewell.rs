//! What the switch says when it ends.

use super::Driver;

impl Driver {
    /// Guests need not wait until they find out that the switch is no router any more.
    pub(super) fn say_farewell(&mut self) {
        let now = self.clock.now();
        let (own, mut meter) = (self.worker.farewell(now), self.meter());
        self.transmit_own(own, &mut meter, now);
    }
}
