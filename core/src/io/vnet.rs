//! The virtio-net header, in which the kernel says what of a frame is left to "hardware": a checksum
//! to complete, segments to cut. Packet sockets and taps carry it in front of each frame.
//!
//! `struct virtio_net_hdr` (linux/virtio_net.h), the ten bytes of its legacy form in the machine's own
//! byte order, as packet sockets write it and taps read it unless told otherwise.

use crate::engine::{Checksum, Meta};
use crate::wire::packet::{self, Kind, Segment};
use crate::wire::tcp::{self, flag};

/// Bytes of the header.
pub const LEN: usize = 10;

const FLAGS: usize = 0;
const GSO_TYPE: usize = 1;
const HDR_LEN: usize = 2;
const GSO_SIZE: usize = 4;
const CSUM_START: usize = 6;
const CSUM_OFFSET: usize = 8;

/// The checksum field covers the pseudo-header only.
const NEEDS_CSUM: u8 = 1;
/// Somebody verified the checksum.
const DATA_VALID: u8 = 2;

const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
/// Set beside the others where the first segment alone carries CWR.
const GSO_ECN: u8 = 0x80;

/// What the kernel says of a frame, or is told of one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vnet {
    flags: u8,
    gso: u8,
    hdr_len: u16,
    gso_size: u16,
    csum_start: u16,
    csum_offset: u16,
}

impl Vnet {
    /// Nothing is left to do.
    pub const NONE: Vnet = Vnet {
        flags: 0,
        gso: 0,
        hdr_len: 0,
        gso_size: 0,
        csum_start: 0,
        csum_offset: 0,
    };

    /// Reads a header.
    #[inline]
    #[must_use]
    pub fn parse(bytes: &[u8; LEN]) -> Vnet {
        let half = |at: usize| u16::from_ne_bytes([bytes[at], bytes[at + 1]]);
        Vnet {
            flags: bytes[FLAGS],
            gso: bytes[GSO_TYPE],
            hdr_len: half(HDR_LEN),
            gso_size: half(GSO_SIZE),
            csum_start: half(CSUM_START),
            csum_offset: half(CSUM_OFFSET),
        }
    }

    /// Writes a header.
    #[inline]
    #[must_use]
    pub fn emit(self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        bytes[FLAGS] = self.flags;
        bytes[GSO_TYPE] = self.gso;
        for (at, value) in [
            (HDR_LEN, self.hdr_len),
            (GSO_SIZE, self.gso_size),
            (CSUM_START, self.csum_start),
            (CSUM_OFFSET, self.csum_offset),
        ] {
            bytes[at..at + 2].copy_from_slice(&value.to_ne_bytes());
        }
        bytes
    }

    /// What the engine is told of the checksum.
    #[inline]
    #[must_use]
    pub fn checksum(self) -> Checksum {
        if self.flags & NEEDS_CSUM != 0 {
            Checksum::Partial
        } else {
            Checksum::Whole
        }
    }

    /// Payload bytes of each TCP segment of an offloaded frame; else 0.
    #[inline]
    #[must_use]
    pub fn segment_size(self) -> u16 {
        match self.gso & !GSO_ECN {
            GSO_TCPV4 | GSO_TCPV6 => self.gso_size,
            _ => 0,
        }
    }

    /// Whether it asks for nothing.
    #[inline]
    #[must_use]
    pub fn is_plain(self) -> bool {
        self.flags & NEEDS_CSUM == 0 && self.gso == 0
    }

    /// The same of a frame that grew by `bytes` in front of its network header.
    #[must_use]
    pub fn shifted(mut self, bytes: u16) -> Vnet {
        if self.flags & NEEDS_CSUM != 0 {
            self.csum_start = self.csum_start.saturating_add(bytes);
        }
        if self.hdr_len > 0 {
            self.hdr_len = self.hdr_len.saturating_add(bytes);
        }
        self
    }

    /// What has to be said of a finished frame. `source` is what the kernel said of it before: it holds
    /// for what is no TCP, which the engine leaves as it was.
    #[inline]
    #[must_use]
    pub fn of(meta: &Meta, frame: &[u8], source: Vnet) -> Vnet {
        if meta.checksum != Checksum::Partial && meta.gso_size == 0 && source.is_plain() {
            return Vnet {
                flags: source.flags & DATA_VALID,
                ..Vnet::NONE
            };
        }
        match packet::parse(frame, meta.link) {
            Kind::Tcp(segment) => Vnet::of_tcp(&segment, frame, meta),
            _ => source,
        }
    }

    /// The engine may have moved, shortened or cut the segment, so all is derived from what it is now.
    fn of_tcp(segment: &Segment, frame: &[u8], meta: &Meta) -> Vnet {
        let mut vnet = Vnet::NONE;
        if meta.checksum == Checksum::Partial {
            vnet.flags = NEEDS_CSUM;
            vnet.csum_start = segment.ip.l4 as u16;
            vnet.csum_offset = tcp::CHECKSUM as u16;
            vnet.hdr_len = segment.payload as u16;
        }
        // A frame of one segment is none to be cut; of one that a snap length cut, the rest is not here.
        let is_super = meta.gso_size > 0 && segment.payload_len() > usize::from(meta.gso_size);
        if is_super && frame.len() >= segment.ip.end {
            let cwr = segment.flags(frame) & flag::CWR != 0;
            vnet.gso =
                if segment.ip.v6 { GSO_TCPV6 } else { GSO_TCPV4 } | if cwr { GSO_ECN } else { 0 };
            vnet.gso_size = meta.gso_size;
            vnet.hdr_len = segment.payload as u16;
        }
        vnet
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Link;

    fn meta(checksum: Checksum, gso_size: u16) -> Meta {
        Meta {
            ts: 0,
            orig_len: 0,
            link: Link::Ethernet,
            checksum,
            gso_size,
        }
    }

    /// Ethernet, IPv4 or IPv6, TCP with `payload` bytes.
    fn frame(v6: bool, tagged: bool, flags: u8, payload: usize) -> Vec<u8> {
        let mut frame = vec![0; 12];
        if tagged {
            frame.extend([0x81, 0, 0, 7]);
        }
        let len = (20 + payload) as u16;
        if v6 {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
            frame.extend(len.to_be_bytes());
            frame.extend([6, 64]);
            frame.extend([0; 32]);
        } else {
            frame.extend([8, 0, 0x45, 0]);
            frame.extend((len + 20).to_be_bytes());
            frame.extend([0, 0, 0, 0, 64, 6, 0, 0]);
            frame.extend([0; 8]);
        }
        let mut header = [0; 20];
        (header[12], header[13]) = (0x50, flags);
        frame.extend(header);
        frame.resize(frame.len() + payload, 0);
        frame
    }

    #[test]
    fn parse_and_emit_are_inverse() {
        let bytes: [u8; LEN] = core::array::from_fn(|at| at as u8 + 1);
        assert_eq!(Vnet::parse(&bytes).emit(), bytes);
        assert_eq!(Vnet::NONE.emit(), [0; LEN]);
    }

    #[test]
    fn what_is_said_of_a_frame_follows_from_what_it_is_now() {
        use Checksum::{Partial, Whole};
        #[rustfmt::skip]
        let table = [
            // checksum, gso size, IPv6, tagged, CWR, payload -> flags, gso, hdr_len, gso_size, csum_start
            (Whole,   0,    false, false, false, 100,  (0, 0,    0,  0,    0)),
            (Partial, 0,    false, false, false, 100,  (1, 0,    54, 0,    34)),
            (Partial, 0,    true,  true,  false, 100,  (1, 0,    78, 0,    58)),
            (Partial, 1448, false, false, false, 3000, (1, 1,    54, 1448, 34)),
            (Partial, 1448, true,  false, false, 3000, (1, 4,    74, 1448, 54)),
            (Partial, 1448, false, true,  true,  3000, (1, 0x81, 58, 1448, 38)),
            // What the header's excision left fits in one segment.
            (Partial, 1448, false, false, false, 1448, (1, 0,    54, 0,    34)),
            (Whole,   1448, false, false, false, 3000, (0, 1,    54, 1448, 0)),
        ];
        for (checksum, size, v6, tagged, cwr, payload, wanted) in table {
            let flags = flag::ACK | if cwr { flag::CWR } else { 0 };
            let frame = frame(v6, tagged, flags, payload);
            let said = Vnet::of(&meta(checksum, size), &frame, Vnet::NONE);
            let Vnet {
                flags,
                gso,
                hdr_len,
                gso_size,
                csum_start,
                csum_offset,
            } = said;
            let row = (checksum, size, v6, tagged, cwr, payload);
            assert_eq!(
                (flags, gso, hdr_len, gso_size, csum_start),
                wanted,
                "{row:?}"
            );
            assert_eq!(
                csum_offset,
                if flags & NEEDS_CSUM != 0 { 16 } else { 0 },
                "{row:?}"
            );
        }
    }

    #[test]
    fn what_the_engine_does_not_read_keeps_what_was_said_of_it() {
        let source = Vnet {
            flags: NEEDS_CSUM,
            csum_start: 34,
            csum_offset: 6,
            ..Vnet::NONE
        };
        assert_eq!(
            Vnet::of(&meta(Checksum::Partial, 0), &[0; 60], source),
            source
        );
        assert_eq!(source.shifted(4).csum_start, 38);
        let verified = Vnet {
            flags: DATA_VALID,
            ..Vnet::NONE
        };
        let tcp = frame(false, false, flag::ACK, 10);
        assert_eq!(
            Vnet::of(&meta(Checksum::Whole, 0), &tcp, verified),
            verified
        );
    }
}
