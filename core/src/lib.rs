//! The packet side of Peeltap: it takes proxy headers out of TCP streams.
//!
//! Parts, and how they meet:
//!
//! * [`wire`]: views on Ethernet, VLAN, IP, TCP; checksums; sequence arithmetic.
//! * [`connection`] and [`tracker`]: one connection, and the bounded table of all.
//! * [`header`]: the codecs that recognise a proxy header at the front of a stream.
//! * [`engine`]: packet in, packets out, flow records; it opens nothing and reads no clock.
//! * [`io`]: bytes in and out of files, rings and taps; nothing else.
//! * [`replay`]: captures through the engine into a capture.
//! * [`events`]: Suricata's usual events, corrected where they lie.
//! * [`live`]: what crosses an interface now, through the engine to a tap.
//! * `python`: the binding, behind the `python` feature.

pub mod connection;
pub mod engine;
pub mod events;
pub mod header;
pub mod io;
pub mod live;
pub mod replay;
pub mod tracker;
pub mod wire;

#[cfg(feature = "python")]
mod python;
