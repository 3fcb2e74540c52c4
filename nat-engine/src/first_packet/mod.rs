//! A flow's first packet, from the rules to the stored flow: three questions that change nothing, and
//! one step that does.
//!
//! ```text
//! destination()  PREROUTING, or a mapping that lets the packet in  ─▶ Destination ─▶ the caller routes by it
//! prepare()      POSTROUTING: the source, and what answers will be ─▶ Admission
//! is_settled()   whether what others were admitted meanwhile leaves the Destination as it is
//! admit()        mapping or new port ─▶ flow ─▶ packet rewritten
//! ```
//!
//! The questions can be asked about all first packets of a burst before any of them is admitted, so that
//! the memory that admitting them takes is fetched together. They are asked of a [`Lookahead`], which has
//! no way to change anything. A [`Destination`] that isn't settled any longer is asked for again; an
//! [`Admission`] only proposes: admitting looks again whether the port and the reply are free.
//!
//! [`Lookahead`]: lookahead::Lookahead
//! [`Destination`]: lookahead::Destination
//! [`Admission`]: lookahead::Admission

pub(crate) mod admit;
pub(crate) mod lookahead;
