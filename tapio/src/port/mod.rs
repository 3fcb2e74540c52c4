//! Ports: see [`kind`].

pub(crate) mod dgram;
pub(crate) mod error;
mod framing;
pub(crate) mod kind;
pub(crate) mod outcome;
pub(crate) mod packet_socket;
pub(crate) mod parcel;
pub(crate) mod software_offload;
pub(crate) mod spec;
pub(crate) mod stream;
pub(crate) mod tap;
pub(crate) mod vhost;
