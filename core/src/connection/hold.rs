//! Packets of one connection that wait until its header is known.

use super::Assembler;
use crate::engine::{Meta, Nanos};

/// A packet that waits.
pub struct HeldPacket {
    /// The slot under which it came in.
    pub slot: u64,
    /// What is known of it.
    pub meta: Meta,
    /// Its bytes.
    pub frame: Box<[u8]>,
    /// Its direction.
    pub to_server: bool,
}

/// All packets of a connection that wait, both directions, in capture order.
pub struct Hold {
    /// Which hold this is, so that a timer of an earlier one does not end it.
    pub stamp: u64,
    /// When the first packet was held.
    pub since: Nanos,
    /// The client's first bytes.
    pub stream: Assembler,
    /// In capture order.
    pub packets: Vec<HeldPacket>,
    /// Bytes of packets and stream.
    pub bytes: usize,
}

impl Hold {
    /// An empty hold.
    #[must_use]
    pub fn new(stamp: u64, since: Nanos) -> Hold {
        Hold {
            stamp,
            since,
            stream: Assembler::default(),
            packets: Vec::new(),
            bytes: 0,
        }
    }
}
