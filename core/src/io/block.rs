//! A block of a packet socket's ring: where its frames lie, and what the kernel says of each.
//!
//! TPACKET_V3 (Documentation/networking/packet_mmap.rst, linux/if_packet.h), all in the machine's own
//! byte order:
//!
//! ```text
//! block  [ description | packet | packet | ... ]
//! packet [ tpacket3_hdr | sockaddr_ll | room | virtio_net_hdr | frame ]   tp_next_offset to the next
//! ```
//!
//! The numbers come from the kernel and are checked all the same: no offset leads out of the block.

use crate::engine::Nanos;
use crate::wire::put16;

use super::vnet::{self, Vnet};
use super::SECOND;

/// Offsets in the block's description.
pub const STATUS: usize = 8;
const PACKETS: usize = 12;
const FIRST: usize = 16;
const DESCRIPTION: usize = 48;

/// Offsets in `tpacket3_hdr`.
const NEXT: usize = 0;
const SECONDS: usize = 4;
const NANOSECONDS: usize = 8;
const CAPTURED: usize = 12;
const LENGTH: usize = 16;
const PACKET_STATUS: usize = 20;
const MAC: usize = 24;
const TCI: usize = 32;
const TPID: usize = 36;
const HEADER: usize = 48;

/// Bits of `tp_status`.
const CSUM_NOT_READY: u32 = 1 << 3;
const VLAN_VALID: u32 = 1 << 4;
const TPID_VALID: u32 = 1 << 6;

/// Bytes of a VLAN tag, and where it stands: behind the two addresses.
const TAG: usize = 4;
const ADDRESSES: usize = 12;
const DOT1Q: u16 = 0x8100;

/// What lies in front of a frame, between the packet's header and the frame, is at least so long: the
/// tag that is put back and the virtio-net header that is written before the frame fit in there.
pub const ROOM: usize = vnet::LEN + TAG;

/// A captured frame: `block[start..end]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
    /// Its length on the wire.
    pub wire_len: u32,
    /// When the kernel saw it.
    pub ts: Nanos,
    /// What is left to "hardware".
    pub vnet: Vnet,
    /// Whether its checksum covers the pseudo-header only.
    pub is_partial: bool,
    /// Whether a VLAN tag was put back.
    pub is_tagged: bool,
}

/// A walk over a block's packets.
#[derive(Debug)]
pub struct Walk {
    at: usize,
    left: u32,
    /// Packets that the block claims and that do not lie within it.
    pub damaged: u32,
}

fn half(block: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes([block[at], block[at + 1]])
}

fn word(block: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]])
}

impl Walk {
    /// A walk from the first packet.
    #[must_use]
    pub fn new(block: &[u8]) -> Walk {
        if block.len() < DESCRIPTION {
            return Walk {
                at: 0,
                left: 0,
                damaged: 0,
            };
        }
        Walk {
            at: word(block, FIRST) as usize,
            left: word(block, PACKETS),
            damaged: 0,
        }
    }

    /// The next frame. A VLAN tag that the kernel had taken out is back in it.
    ///
    /// There are [`ROOM`] bytes in front of the frame as it was captured, so at least a virtio-net
    /// header's in front of what is returned.
    #[inline]
    pub fn next(&mut self, block: &mut [u8]) -> Option<Frame> {
        while self.left > 0 {
            let at = self.at;
            let Some(end) = at.checked_add(HEADER).filter(|end| *end <= block.len()) else {
                self.damaged += self.left;
                self.left = 0;
                return None;
            };
            self.left -= 1;
            // The kernel fills blocks forwards; a packet that led back could be met for ever.
            let next = word(block, at + NEXT) as usize;
            if self.left > 0 && next < HEADER {
                self.damaged += self.left;
                self.left = 0;
            }
            self.at = at.saturating_add(next);
            match packet(block, at, end) {
                Some(frame) => return Some(frame),
                None => self.damaged += 1,
            }
        }
        None
    }
}

/// The packet whose header lies in `block[at..header_end]`; `None` if it leads out of the block.
#[inline]
fn packet(block: &mut [u8], at: usize, header_end: usize) -> Option<Frame> {
    let captured = word(block, at + CAPTURED);
    let start = at + usize::from(half(block, at + MAC));
    let end = start.checked_add(captured as usize)?;
    if start < header_end + ROOM || end > block.len() {
        return None;
    }
    let status = word(block, at + PACKET_STATUS);
    let length = word(block, at + LENGTH);
    let is_whole = captured >= length;
    let mut frame = Frame {
        start,
        end,
        wire_len: length.max(captured),
        ts: u64::from(word(block, at + SECONDS)) * SECOND
            + u64::from(word(block, at + NANOSECONDS)),
        // Of a frame that it had to cut the kernel says nothing there, and what stands there is old.
        vnet: match block[start - vnet::LEN..start].try_into() {
            Ok(bytes) if is_whole => Vnet::parse(bytes),
            _ => Vnet::NONE,
        },
        is_partial: status & CSUM_NOT_READY != 0,
        is_tagged: false,
    };
    if status & VLAN_VALID != 0 && captured as usize >= ADDRESSES {
        let tpid = if status & TPID_VALID != 0 {
            half(block, at + TPID)
        } else {
            DOT1Q
        };
        let tci = word(block, at + TCI) as u16;
        block.copy_within(start..start + ADDRESSES, start - TAG);
        put16(block, start - TAG + ADDRESSES, tpid);
        put16(block, start - TAG + ADDRESSES + 2, tci);
        frame.start -= TAG;
        frame.wire_len = frame.wire_len.saturating_add(TAG as u32);
        frame.vnet = frame.vnet.shifted(TAG as u16);
        frame.is_tagged = true;
    }
    Some(frame)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What a packet of a made-up block says.
    #[derive(Clone, Copy)]
    struct Said {
        status: u32,
        captured: u32,
        length: u32,
        mac: u16,
        tci: u32,
        tpid: u16,
    }

    const PLAIN: Said = Said {
        status: 1,
        captured: 20,
        length: 20,
        mac: 96,
        tci: 0,
        tpid: 0,
    };
    const STEP: usize = 128;

    fn block(packets: &[Said]) -> Vec<u8> {
        let mut block = vec![0; DESCRIPTION + packets.len() * STEP];
        let mut put =
            |at: usize, value: u32| block[at..at + 4].copy_from_slice(&value.to_ne_bytes());
        put(PACKETS, packets.len() as u32);
        put(FIRST, DESCRIPTION as u32);
        for (index, said) in packets.iter().enumerate() {
            let at = DESCRIPTION + index * STEP;
            put(
                at + NEXT,
                if index + 1 < packets.len() {
                    STEP as u32
                } else {
                    0
                },
            );
            put(at + SECONDS, 7);
            put(at + NANOSECONDS, index as u32);
            put(at + CAPTURED, said.captured);
            put(at + LENGTH, said.length);
            put(at + PACKET_STATUS, said.status);
            put(at + MAC, u32::from(said.mac));
            put(at + TCI, said.tci);
            put(at + TPID, u32::from(said.tpid));
        }
        for (index, said) in packets.iter().enumerate() {
            let start = DESCRIPTION + index * STEP + usize::from(said.mac);
            for (offset, byte) in block.iter_mut().skip(start).take(20).enumerate() {
                *byte = offset as u8;
            }
        }
        block
    }

    fn walk(block: &mut [u8]) -> (Vec<Frame>, u32) {
        let mut walk = Walk::new(block);
        let mut frames = Vec::new();
        while let Some(frame) = walk.next(block) {
            frames.push(frame);
        }
        (frames, walk.damaged)
    }

    #[test]
    fn frames_come_in_order_with_their_times() {
        let mut block = block(&[PLAIN; 3]);
        let (frames, damaged) = walk(&mut block);
        assert_eq!(damaged, 0);
        let times: Vec<_> = frames.iter().map(|frame| frame.ts).collect();
        assert_eq!(times, [7 * SECOND, 7 * SECOND + 1, 7 * SECOND + 2]);
        for frame in frames {
            assert_eq!(block[frame.start..frame.end], (0..20).collect::<Vec<u8>>());
        }
    }

    #[test]
    fn tags_are_put_back() {
        // (status, tci, tpid) -> what stands behind the addresses
        let table: [(u32, u32, u16, &[u8]); 4] = [
            (
                VLAN_VALID,
                0x2007,
                0x88a8,
                &[0x81, 0x00, 0x20, 0x07, 12, 13],
            ),
            (
                VLAN_VALID | TPID_VALID,
                0x2007,
                0x88a8,
                &[0x88, 0xa8, 0x20, 0x07, 12, 13],
            ),
            (
                VLAN_VALID | TPID_VALID,
                0,
                0x8100,
                &[0x81, 0x00, 0, 0, 12, 13],
            ),
            (TPID_VALID, 7, 0x8100, &[12, 13]),
        ];
        for (status, tci, tpid, wanted) in table {
            let mut block = block(&[Said {
                status,
                tci,
                tpid,
                ..PLAIN
            }]);
            let (frames, _) = walk(&mut block);
            let frame = frames[0];
            let bytes = &block[frame.start..frame.end];
            assert_eq!(bytes[..12], (0..12).collect::<Vec<u8>>());
            assert_eq!(bytes[12..12 + wanted.len()], *wanted);
            assert_eq!(frame.wire_len as usize, bytes.len());
        }
    }

    #[test]
    fn what_leads_out_of_the_block_is_counted_and_left() {
        let far = u32::MAX;
        #[rustfmt::skip]
        let table = [
            ("as it should be", PLAIN, 2),
            ("longer than the block", Said { captured: far, ..PLAIN }, 1),
            ("begins behind the block", Said { mac: 60_000, ..PLAIN }, 1),
            ("begins in its own header", Said { mac: 20, ..PLAIN }, 1),
            ("no room in front", Said { mac: (HEADER + ROOM - 1) as u16, ..PLAIN }, 1),
        ];
        for (name, second, wanted) in table {
            let (frames, damaged) = walk(&mut block(&[PLAIN, second]));
            assert_eq!(
                (frames.len(), damaged as usize),
                (wanted, 2 - wanted),
                "{name}"
            );
        }
    }

    #[test]
    fn a_walk_ends_whatever_the_steps_say() {
        for (next, wanted) in [(0u32, 1), (40, 1), (u32::MAX, 1), (1 << 20, 1)] {
            let mut block = block(&[PLAIN; 3]);
            block[DESCRIPTION..DESCRIPTION + 4].copy_from_slice(&next.to_ne_bytes());
            let (frames, damaged) = walk(&mut block);
            assert_eq!((frames.len(), damaged), (wanted, 2), "{next}");
        }
    }

    #[test]
    fn of_a_cut_frame_nothing_old_is_believed() {
        let said = Said {
            status: CSUM_NOT_READY,
            length: 9000,
            ..PLAIN
        };
        let mut block = block(&[said]);
        block[DESCRIPTION + 96 - vnet::LEN] = 1;
        let (frames, _) = walk(&mut block);
        assert_eq!((frames[0].vnet, frames[0].is_partial), (Vnet::NONE, true));
        assert_eq!(frames[0].wire_len, 9000);
    }

    proptest! {
        #[test]
        fn any_bytes_give_frames_within_the_block(
            mut bytes in proptest::collection::vec(any::<u8>(), 0..600), packets in 0u32..2000, first in 0u32..700,
        ) {
            if bytes.len() >= DESCRIPTION {
                bytes[PACKETS..PACKETS + 4].copy_from_slice(&packets.to_ne_bytes());
                bytes[FIRST..FIRST + 4].copy_from_slice(&first.to_ne_bytes());
            }
            let (frames, _) = walk(&mut bytes);
            for frame in frames {
                prop_assert!(frame.start >= vnet::LEN && frame.start <= frame.end && frame.end <= bytes.len());
            }
        }
    }
}
