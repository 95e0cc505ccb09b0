//! IPv4 (RFC 791) and IPv6 (RFC 8200) headers, and the TCP pseudo-header over them.

use super::checksum::{sum, update, Sum};
use super::{be16, be32, put16};

/// Offsets in an IPv4 header.
pub mod v4 {
    #![allow(missing_docs)]
    pub const TOS: usize = 1;
    pub const TOTAL_LEN: usize = 2;
    pub const ID: usize = 4;
    pub const FRAGMENT: usize = 6;
    pub const TTL: usize = 8;
    pub const PROTOCOL: usize = 9;
    pub const CHECKSUM: usize = 10;
    pub const SRC: usize = 12;
    pub const DST: usize = 16;
    pub const MIN_LEN: usize = 20;
    pub const MORE_FRAGMENTS: u16 = 0x2000;
    pub const DONT_FRAGMENT: u16 = 0x4000;
    pub const OFFSET_MASK: u16 = 0x1fff;
}

/// Offsets in an IPv6 header.
pub mod v6 {
    #![allow(missing_docs)]
    pub const PAYLOAD_LEN: usize = 4;
    pub const NEXT_HEADER: usize = 6;
    pub const HOP_LIMIT: usize = 7;
    pub const SRC: usize = 8;
    pub const DST: usize = 24;
    pub const LEN: usize = 40;
}

/// Protocol numbers.
pub mod protocol {
    #![allow(missing_docs)]
    pub const HOP_BY_HOP: u8 = 0;
    pub const ICMP: u8 = 1;
    pub const TCP: u8 = 6;
    pub const ROUTING: u8 = 43;
    pub const FRAGMENT: u8 = 44;
    pub const ICMPV6: u8 = 58;
    pub const DESTINATION: u8 = 60;
}

/// Length of IPv6's fragment header (RFC 8200 section 4.5).
pub const FRAGMENT_HEADER: usize = 8;

/// A fragment's place in its datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Byte offset of its data in the datagram.
    pub offset: u32,
    /// Whether more follow.
    pub more: bool,
    /// The datagram's identification.
    pub id: u32,
    /// IPv6: offset, in the frame, of the next-header field that named the fragment header.
    pub named_at: usize,
}

/// A checked view: all offsets are into the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ip {
    /// Whether this is IPv6.
    pub v6: bool,
    /// Offset of the IP header.
    pub l3: usize,
    /// Offset of what follows the IP header and its extension headers.
    pub l4: usize,
    /// End of the packet by its own length field; past the frame's end where a snap length cut it.
    pub end: usize,
    /// Protocol of what follows.
    pub protocol: u8,
    /// Whether it is a fragment; see [`Ip::fragment`].
    pub is_fragment: bool,
}

/// Reads an IPv4 header at `l3`. `None` if it lies.
#[inline(always)]
#[must_use]
pub fn parse_v4(frame: &[u8], l3: usize) -> Option<Ip> {
    let header = frame.get(l3..l3 + v4::MIN_LEN)?;
    let header_len = usize::from(header[0] & 0x0f) * 4;
    if header[0] >> 4 != 4 || header_len < v4::MIN_LEN || frame.len() < l3 + header_len {
        return None;
    }
    let total = match usize::from(be16(header, v4::TOTAL_LEN)) {
        // A superframe of the local stack, captured before its length was filled in.
        0 => frame.len() - l3,
        total => total,
    };
    if total < header_len {
        return None;
    }
    let word = be16(header, v4::FRAGMENT);
    let is_fragment = word & (v4::MORE_FRAGMENTS | v4::OFFSET_MASK) != 0;
    let protocol = header[v4::PROTOCOL];
    Some(Ip {
        v6: false,
        l3,
        l4: l3 + header_len,
        end: l3 + total,
        protocol,
        is_fragment,
    })
}

/// Reads an IPv6 header at `l3` and walks its extension headers. `None` if it lies.
#[must_use]
pub fn parse_v6(frame: &[u8], l3: usize) -> Option<Ip> {
    let header = frame.get(l3..l3 + v6::LEN)?;
    if header[0] >> 4 != 6 {
        return None;
    }
    let end = match usize::from(be16(header, v6::PAYLOAD_LEN)) {
        0 => frame.len(),
        len => l3 + v6::LEN + len,
    };
    let mut protocol = header[v6::NEXT_HEADER];
    let mut l4 = l3 + v6::LEN;
    let mut is_fragment = false;
    // RFC 8200 names at most this many extension headers in a packet; a longer chain is an attack.
    for _ in 0..8 {
        let len = match protocol {
            protocol::HOP_BY_HOP | protocol::ROUTING | protocol::DESTINATION => {
                let ext = frame.get(l4..l4 + 2)?;
                (usize::from(ext[1]) + 1) * 8
            }
            protocol::FRAGMENT => {
                let ext = frame.get(l4..l4 + FRAGMENT_HEADER)?;
                // An atomic fragment (RFC 6946) is a whole packet with a fragment header.
                is_fragment = be16(ext, 2) & 0xfff9 != 0;
                FRAGMENT_HEADER
            }
            _ => break,
        };
        protocol = frame[l4];
        l4 += len;
        if l4 > end || l4 > frame.len() {
            return None;
        }
        if is_fragment {
            break;
        }
    }
    Some(Ip {
        v6: true,
        l3,
        l4,
        end,
        protocol,
        is_fragment,
    })
}

impl Ip {
    /// The fragment's place in its datagram; `None` of a whole packet.
    #[must_use]
    pub fn fragment(&self, frame: &[u8]) -> Option<Fragment> {
        if !self.is_fragment {
            return None;
        }
        if !self.v6 {
            let word = be16(frame, self.l3 + v4::FRAGMENT);
            return Some(Fragment {
                offset: u32::from(word & v4::OFFSET_MASK) * 8,
                more: word & v4::MORE_FRAGMENTS != 0,
                id: u32::from(be16(frame, self.l3 + v4::ID)),
                named_at: 0,
            });
        }
        // The fragment header is the last that `parse_v6` walked over.
        let header = self.l4 - FRAGMENT_HEADER;
        let (mut named_at, mut at) = (self.l3 + v6::NEXT_HEADER, self.l3 + v6::LEN);
        while at < header {
            let is_atomic = frame[named_at] == protocol::FRAGMENT;
            named_at = at;
            at += if is_atomic {
                FRAGMENT_HEADER
            } else {
                (usize::from(frame[at + 1]) + 1) * 8
            };
        }
        let word = be16(frame, header + 2);
        Some(Fragment {
            offset: u32::from(word & 0xfff8),
            more: word & 1 != 0,
            id: be32(frame, header + 4),
            named_at,
        })
    }

    /// The addresses, IPv4 ones as IPv4-mapped IPv6 (RFC 4291 section 2.5.5.2).
    #[inline]
    #[must_use]
    pub fn addresses(&self, frame: &[u8]) -> ([u8; 16], [u8; 16]) {
        if self.v6 {
            let at = |offset: usize| -> [u8; 16] {
                frame[self.l3 + offset..self.l3 + offset + 16]
                    .try_into()
                    .expect("16 bytes")
            };
            (at(v6::SRC), at(v6::DST))
        } else {
            let at = |offset: usize| mapped(frame[self.l3 + offset..][..4].try_into().expect("4"));
            (at(v4::SRC), at(v4::DST))
        }
    }

    /// The sum of both addresses, as they stand in the TCP pseudo-header.
    #[inline]
    #[must_use]
    pub fn address_sum(&self, frame: &[u8]) -> Sum {
        if self.v6 {
            sum(&frame[self.l3 + v6::SRC..self.l3 + v6::LEN])
        } else {
            Sum::ZERO
                .add32(be32(frame, self.l3 + v4::SRC))
                .add32(be32(frame, self.l3 + v4::DST))
        }
    }

    /// The sum of the TCP pseudo-header (RFC 9293 section 3.1, RFC 8200 section 8.1).
    #[inline]
    #[must_use]
    pub fn pseudo_sum(&self, frame: &[u8]) -> Sum {
        self.address_sum(frame)
            .add16(u16::from(protocol::TCP))
            .add32((self.end - self.l4) as u32)
    }

    /// Sets the packet's length field for a packet that ends at `self.end`, and corrects the IPv4
    /// header checksum for it.
    pub fn write_length(&self, frame: &mut [u8]) {
        if self.v6 {
            // A jumbo payload's length field is 0 and stays so.
            let len = self.end - self.l3 - v6::LEN;
            put16(
                frame,
                self.l3 + v6::PAYLOAD_LEN,
                u16::try_from(len).unwrap_or(0),
            );
        } else {
            let len = u16::try_from(self.end - self.l3).unwrap_or(0);
            set16(frame, self.l3, v4::TOTAL_LEN, len);
        }
    }
}

/// Sets a 16-bit word of the IPv4 header at `l3` and corrects the header checksum.
pub fn set16(frame: &mut [u8], l3: usize, offset: usize, value: u16) {
    let old = be16(frame, l3 + offset);
    let field = be16(frame, l3 + v4::CHECKSUM);
    put16(frame, l3 + offset, value);
    put16(
        frame,
        l3 + v4::CHECKSUM,
        update(field, Sum::ZERO.sub16(old).add16(value)),
    );
}

/// An IPv4 address as an IPv4-mapped IPv6 address.
#[inline]
#[must_use]
pub fn mapped(v4: [u8; 4]) -> [u8; 16] {
    let mut address = [0; 16];
    address[10] = 0xff;
    address[11] = 0xff;
    address[12..].copy_from_slice(&v4);
    address
}

/// Whether an address is an IPv4-mapped one.
#[inline]
#[must_use]
pub fn is_mapped(address: &[u8; 16]) -> bool {
    address[..10] == [0; 10] && address[10..12] == [0xff; 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4_header(edit: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
        let mut header = vec![
            0x45, 0, 0, 40, 0, 1, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
        ];
        header.extend([0; 20]);
        edit(&mut header);
        header
    }

    fn v6_packet(next: u8, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x60, 0, 0, 0, 0, payload.len() as u8, next, 64];
        packet.extend([1; 16]);
        packet.extend([2; 16]);
        packet.extend(payload);
        packet
    }

    #[test]
    fn v4_offsets() {
        let ip = parse_v4(&v4_header(|_| {}), 0).unwrap();
        assert_eq!(
            (ip.l4, ip.end, ip.protocol, ip.is_fragment),
            (20, 40, 6, false)
        );
        let ip = parse_v4(&v4_header(|h| h[0] = 0x46), 0).unwrap();
        assert_eq!(ip.l4, 24, "options");
        let ip = parse_v4(&v4_header(|h| h[3] = 200), 0).unwrap();
        assert_eq!(ip.end, 200, "cut by a snap length");
        let ip = parse_v4(&v4_header(|h| h[3] = 0), 0).unwrap();
        assert_eq!(ip.end, 40, "length not filled in");
        let header = v4_header(|h| h[6] = 0x20);
        let ip = parse_v4(&header, 0).unwrap();
        assert_eq!(
            ip.fragment(&header),
            Some(Fragment {
                offset: 0,
                more: true,
                id: 1,
                named_at: 0
            })
        );
    }

    #[test]
    fn v4_lies_are_refused() {
        for (name, header) in [
            ("version", v4_header(|h| h[0] = 0x55)),
            ("header length below 20", v4_header(|h| h[0] = 0x44)),
            ("total below header", v4_header(|h| h[3] = 19)),
            ("cut", v4_header(|h| h.truncate(19))),
            (
                "options cut",
                v4_header(|h| {
                    h[0] = 0x4f;
                    h.truncate(40)
                }),
            ),
        ] {
            assert_eq!(parse_v4(&header, 0), None, "{name}");
        }
    }

    #[test]
    fn v6_extension_headers_are_walked() {
        let ip = parse_v6(&v6_packet(6, &[0; 20]), 0).unwrap();
        assert_eq!((ip.l4, ip.end, ip.protocol), (40, 60, 6));
        let chained = [
            &[60u8, 0, 1, 4, 0, 0, 0, 0][..],
            &[6, 0, 1, 4, 0, 0, 0, 0],
            &[0; 20],
        ]
        .concat();
        let ip = parse_v6(&v6_packet(0, &chained), 0).unwrap();
        assert_eq!(
            (ip.l4, ip.protocol),
            (56, 6),
            "hop-by-hop, destination options, TCP"
        );
        let fragment = [&[6u8, 0, 0, 9, 0, 0, 0, 5][..], &[0; 20]].concat();
        let packet = v6_packet(44, &fragment);
        let ip = parse_v6(&packet, 0).unwrap();
        assert_eq!(
            ip.fragment(&packet),
            Some(Fragment {
                offset: 8,
                more: true,
                id: 5,
                named_at: 6
            })
        );
        let atomic = [&[6u8, 0, 0, 0, 0, 0, 0, 5][..], &[0; 20]].concat();
        let ip = parse_v6(&v6_packet(44, &atomic), 0).unwrap();
        assert_eq!(
            (ip.is_fragment, ip.protocol, ip.l4),
            (false, 6, 48),
            "atomic fragment"
        );
        let behind = [&[44u8, 0, 1, 4, 0, 0, 0, 0][..], &fragment].concat();
        let packet = v6_packet(0, &behind);
        let named_at = parse_v6(&packet, 0).and_then(|ip| ip.fragment(&packet));
        assert_eq!(
            named_at.map(|place| place.named_at),
            Some(40),
            "behind options"
        );
    }

    #[test]
    fn v6_lies_are_refused() {
        for (name, packet) in [
            ("version", {
                let mut p = v6_packet(6, &[]);
                p[0] = 0x40;
                p
            }),
            ("cut", v6_packet(6, &[])[..39].to_vec()),
            (
                "extension past the end",
                v6_packet(0, &[6, 9, 0, 0, 0, 0, 0, 0]),
            ),
            ("extension cut", v6_packet(0, &[6])),
        ] {
            assert_eq!(parse_v6(&packet, 0), None, "{name}");
        }
    }
}
