//! What the worker's calls exchange, so that their order is checked when the caller is compiled. Nothing of it is there at
//! run time.

/// A burst has gone through all stages: [`Worker::transmit`](super::Worker::transmit) takes it from here.
#[must_use = "the frames of the burst are sent by `Worker::transmit`"]
#[derive(Debug)]
pub struct Processed(pub(super) ());

/// A burst's frames were sent: [`Worker::service`](super::Worker::service) deals with those for the switch itself.
#[must_use = "frames for the switch itself are dealt with by `Worker::service`"]
#[derive(Debug)]
pub struct Transmitted(pub(super) ());

/// There may be frames of the switch itself: [`Worker::transmit_own`](super::Worker::transmit_own) sends them.
#[must_use = "the switch's own frames are sent by `Worker::transmit_own`"]
#[derive(Debug)]
pub struct OwnFrames(pub(super) ());
