//! Packets of one connection that wait until its header is known.

use super::Assembler;
use crate::engine::Meta;

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
    /// Whether a packet that waits acknowledges client data: then data was missed.
    pub acks_data: bool,
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
    pub fn new(stamp: u64) -> Hold {
        Hold {
            stamp,
            acks_data: false,
            stream: Assembler::default(),
            packets: Vec::new(),
            bytes: 0,
        }
    }
}
