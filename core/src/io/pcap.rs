//! The pcap container (draft-ietf-opsawg-pcap): a file header, then records of a header and a frame.
//!
//! ```text
//! file header  magic 4 | major 2 | minor 2 | zone 4 | accuracy 4 | snaplen 4 | link type 4
//! record       seconds 4 | fraction 4 | captured 4 | original 4 | frame
//! ```

use pcap_parser::parse_pcap_header;

use super::{Clock, Interface, MAX_RECORD, MAX_SNAPLEN, SECOND};
use crate::engine::Nanos;

/// Length of the file header.
pub const FILE_HEADER: usize = 24;
/// Length of a record's header.
pub const RECORD_HEADER: usize = 16;

const MICROS: u32 = 0xa1b2_c3d4;
const NANOS: u32 = 0xa1b2_3c4d;

/// Offset of the snap length in the file header.
const SNAPLEN: usize = 16;

/// What the file header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileHeader {
    /// Numbers are big-endian.
    pub big_endian: bool,
    /// Fractions are nanoseconds, not microseconds.
    pub nanos: bool,
    /// Length of a record's header: 16, or 24 in Kuznetsov's modification.
    pub record_header: usize,
    /// The snap length as in the file.
    pub snaplen: u32,
    /// The LINKTYPE_ value.
    pub link_type: u16,
    /// The link type's field holds nothing else, such as the length of a frame check sequence.
    pub plain_link: bool,
}

impl FileHeader {
    /// Reads the file header; `None` where the bytes do not begin with a pcap magic. `bytes` must
    /// hold [`FILE_HEADER`] bytes.
    pub fn parse(bytes: &[u8]) -> Option<FileHeader> {
        let (_, header) = parse_pcap_header(bytes).ok()?;
        let network = header.network.0 as u32;
        Some(FileHeader {
            big_endian: header.is_bigendian(),
            nanos: header.is_nanosecond_precision(),
            record_header: if header.is_modified_format() {
                24
            } else {
                RECORD_HEADER
            },
            snaplen: header.snaplen,
            link_type: network as u16,
            plain_link: network <= 0xffff,
        })
    }

    /// Writes a file header.
    pub fn emit(&self) -> [u8; FILE_HEADER] {
        let mut bytes = [0; FILE_HEADER];
        let order = Order {
            big_endian: self.big_endian,
        };
        order.put_u32(&mut bytes[0..], if self.nanos { NANOS } else { MICROS });
        order.put_u16(&mut bytes[4..], 2);
        order.put_u16(&mut bytes[6..], 4);
        // A frame may grow by an IP header; what reads the output must not cut it for that.
        order.put_u32(&mut bytes[SNAPLEN..], self.snaplen.max(MAX_SNAPLEN));
        order.put_u32(&mut bytes[20..], u32::from(self.link_type));
        bytes
    }

    /// The interface that the file speaks of.
    pub fn interface(&self) -> Interface {
        Interface {
            link_type: self.link_type,
            snaplen: self.snaplen,
            clock: if self.nanos {
                Clock::NANOS
            } else {
                Clock::MICROS
            },
            name: None,
        }
    }

    /// The most bytes that a record can hold; a larger claim is damage.
    pub fn most(&self) -> u32 {
        self.snaplen.clamp(MAX_SNAPLEN, MAX_RECORD)
    }

    /// The byte order of numbers.
    pub fn order(&self) -> Order {
        Order {
            big_endian: self.big_endian,
        }
    }
}

/// The byte order of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// Most significant byte first.
    pub big_endian: bool,
}

impl Order {
    /// The number at the front of `bytes`.
    #[inline]
    pub fn u32(self, bytes: &[u8]) -> u32 {
        let bytes = [bytes[0], bytes[1], bytes[2], bytes[3]];
        if self.big_endian {
            u32::from_be_bytes(bytes)
        } else {
            u32::from_le_bytes(bytes)
        }
    }

    /// Writes a number at the front of `bytes`.
    #[inline]
    pub fn put_u32(self, bytes: &mut [u8], value: u32) {
        let value = if self.big_endian {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        };
        bytes[..4].copy_from_slice(&value);
    }

    /// Writes a number at the front of `bytes`.
    pub fn put_u16(self, bytes: &mut [u8], value: u16) {
        let value = if self.big_endian {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        };
        bytes[..2].copy_from_slice(&value);
    }
}

/// A record's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Seconds since the epoch.
    pub seconds: u32,
    /// Microseconds or nanoseconds.
    pub fraction: u32,
    /// Bytes of the frame in the file.
    pub captured: u32,
    /// Bytes of the frame on the wire.
    pub original: u32,
}

impl Record {
    /// Reads a record's header; `bytes` must hold [`RECORD_HEADER`] bytes.
    #[inline]
    pub fn parse(bytes: &[u8], order: Order) -> Record {
        let bytes = &bytes[..RECORD_HEADER];
        Record {
            seconds: order.u32(&bytes[0..]),
            fraction: order.u32(&bytes[4..]),
            captured: order.u32(&bytes[8..]),
            original: order.u32(&bytes[12..]),
        }
    }

    /// Writes a record's header at the front of `bytes`.
    #[inline]
    pub fn emit(&self, bytes: &mut [u8], order: Order) {
        order.put_u32(&mut bytes[0..], self.seconds);
        order.put_u32(&mut bytes[4..], self.fraction);
        order.put_u32(&mut bytes[8..], self.captured);
        order.put_u32(&mut bytes[12..], self.original);
    }

    /// The time of capture.
    #[inline]
    pub fn ts(&self, nanos: bool) -> Nanos {
        let fraction = u64::from(self.fraction) * if nanos { 1 } else { 1000 };
        u64::from(self.seconds) * SECOND + fraction
    }

    /// Seconds and fraction of a time; one beyond the year 2106 is brought to that end.
    pub fn stamp(ts: Nanos, nanos: bool) -> (u32, u32) {
        let seconds = u32::try_from(ts / SECOND).unwrap_or(u32::MAX);
        let fraction = (ts % SECOND) as u32;
        (seconds, if nanos { fraction } else { fraction / 1000 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rustfmt::skip]
    const HEADERS: &[(&[u8], FileHeader)] = &[
        (b"\xd4\xc3\xb2\xa1\x02\x00\x04\x00\0\0\0\0\0\0\0\0\x00\x00\x04\x00\x01\x00\x00\x00",
         FileHeader { big_endian: false, nanos: false, record_header: 16, snaplen: 262_144, link_type: 1, plain_link: true }),
        (b"\xa1\xb2\xc3\xd4\x00\x02\x00\x04\0\0\0\0\0\0\0\0\x00\x04\x00\x00\x00\x00\x00\x71",
         FileHeader { big_endian: true, nanos: false, record_header: 16, snaplen: 262_144, link_type: 113, plain_link: true }),
        (b"\x4d\x3c\xb2\xa1\x02\x00\x04\x00\0\0\0\0\0\0\0\0\x00\x00\x10\x00\x14\x01\x00\x00",
         FileHeader { big_endian: false, nanos: true, record_header: 16, snaplen: 1 << 20, link_type: 276, plain_link: true }),
        (b"\xa1\xb2\x3c\x4d\x00\x02\x00\x04\0\0\0\0\0\0\0\0\x00\x04\x00\x00\x00\x00\x00\x65",
         FileHeader { big_endian: true, nanos: true, record_header: 16, snaplen: 262_144, link_type: 101, plain_link: true }),
    ];

    #[test]
    fn file_headers_round_trip() {
        for (bytes, header) in HEADERS {
            assert_eq!(FileHeader::parse(bytes).as_ref(), Some(header));
            assert_eq!(&header.emit()[..], *bytes);
        }
    }

    #[test]
    fn modified_and_flagged_headers_are_understood() {
        let mut modified = HEADERS[0].0.to_vec();
        modified[..4].copy_from_slice(b"\x34\xcd\xb2\xa1");
        assert_eq!(FileHeader::parse(&modified).unwrap().record_header, 24);
        // Top bits: the frames end in a frame check sequence of 4 bytes.
        let mut flagged = HEADERS[0].0.to_vec();
        flagged[23] = 0x44;
        let header = FileHeader::parse(&flagged).unwrap();
        assert_eq!((header.link_type, header.plain_link), (1, false));
        assert_eq!(FileHeader::parse(b"GIF89a.................."), None);
    }

    #[test]
    fn a_small_snap_length_is_raised_for_frames_that_grow() {
        let header = FileHeader {
            snaplen: 65_535,
            ..HEADERS[0].1
        };
        assert_eq!(
            FileHeader::parse(&header.emit()).unwrap().snaplen,
            MAX_SNAPLEN
        );
    }

    proptest::proptest! {
        #[test]
        fn records_round_trip(seconds: u32, fraction in 0u32..1_000_000, captured: u32, original: u32, big_endian: bool) {
            let record = Record { seconds, fraction, captured, original };
            let order = Order { big_endian };
            let mut bytes = [0; RECORD_HEADER];
            record.emit(&mut bytes, order);
            proptest::prop_assert_eq!(Record::parse(&bytes, order), record);
            proptest::prop_assert_eq!(Record::stamp(record.ts(false), false), (seconds, fraction));
            proptest::prop_assert_eq!(Record::stamp(record.ts(true), true), (seconds, fraction));
        }
    }
}
