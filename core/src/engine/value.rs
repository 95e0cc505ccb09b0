//! What goes into the engine and what comes out: frozen values, and where packets go.

/// Nanoseconds since the Unix epoch.
pub type Nanos = u64;

/// How a frame begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Ethernet II (LINKTYPE_ETHERNET).
    Ethernet,
    /// An IP packet without a link header (LINKTYPE_RAW, _IPV4, _IPV6).
    Raw,
    /// Linux cooked capture v1 (LINKTYPE_LINUX_SLL).
    Sll,
    /// Linux cooked capture v2 (LINKTYPE_LINUX_SLL2).
    Sll2,
    /// BSD loopback: a 4-byte address family (LINKTYPE_NULL, either endian, and LINKTYPE_LOOP).
    Null,
}

/// What the source knows of a frame's transport checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// Nothing: a capture file. A checksum field that holds just the pseudo-header's sum, as local
    /// traffic with checksum offload does, is completed.
    Unknown,
    /// The field covers the whole segment, or is wrong because it was so on the wire.
    Whole,
    /// The field covers the pseudo-header only and stays so (virtio-net NEEDS_CSUM).
    Partial,
}

/// What is known of a frame beside its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Meta {
    /// When it was captured.
    pub ts: Nanos,
    /// Its length on the wire; more than the frame's where a snap length cut it.
    pub orig_len: u32,
    /// How it begins.
    pub link: Link,
    /// What is known of its transport checksum.
    pub checksum: Checksum,
    /// Payload bytes a segment, where the source knows them of an offloaded frame; else 0.
    pub gso_size: u16,
}

/// Where finished packets go. The engine names each by the `slot` under which it came in.
pub trait Output {
    /// One finished packet of `slot`. A slot may give several (a segmented superframe).
    fn emit(&mut self, slot: u64, meta: &Meta, frame: &[u8]);

    /// A slot that was held gives nothing (more).
    fn settle(&mut self, slot: u64);
}

/// What became of a frame that was pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The whole frame is the packet, its length unchanged.
    Pass,
    /// `frame[start..end]` is the packet, rewritten in place.
    Rewritten {
        /// First byte.
        start: usize,
        /// One past the last byte.
        end: usize,
        /// Its length on the wire, were the capture not cut by a snap length.
        orig_len: u32,
    },
    /// The packets went to [`Output::emit`] under this slot already; nothing more comes.
    Emitted,
    /// Nothing comes out of it: merged away or dropped, and counted.
    Gone,
    /// The engine took a copy; `emit` and `settle` will name the slot later.
    Held,
}
