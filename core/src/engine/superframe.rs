//! Offloaded frames, cut to segments as a network card would have.

use crate::wire::checksum::sum;
use crate::wire::ip::{set16, v4};
use crate::wire::packet::Segment;
use crate::wire::tcp::{self, flag};
use crate::wire::{be16, be32, put16, put32};

use super::{Checksum, Meta};

/// Cuts a packet into segments of at most `size` payload bytes, as TSO does: IPv4 identifications
/// count up, PSH and FIN stay on the last, CWR on the first. Calls `emit` with each frame and its
/// length on the wire. A packet whose checksum was wrong gives segments whose checksums are wrong.
///
/// Needs the whole payload: a packet that a snap length cut is emitted as it is.
pub fn segment(
    packet: &Segment,
    frame: &[u8],
    meta: &Meta,
    size: usize,
    mut emit: impl FnMut(&[u8]),
) -> u64 {
    let ip = &packet.ip;
    let total = packet.payload_len();
    if total <= size || size == 0 || frame.len() < ip.end {
        emit(frame);
        return 1;
    }
    let valid = meta.checksum == Checksum::Partial
        || (ip.pseudo_sum(frame) + sum(&frame[ip.l4..ip.end])).fold() == 0xffff;
    let first_seq = be32(frame, ip.l4 + tcp::SEQ);
    let first_id = if ip.v6 {
        0
    } else {
        be16(frame, ip.l3 + v4::ID)
    };
    let mut piece = Vec::with_capacity(packet.payload + size);
    let mut count = 0;
    for at in (0..total).step_by(size) {
        let len = size.min(total - at);
        piece.clear();
        piece.extend_from_slice(&frame[..packet.payload]);
        piece.extend_from_slice(&frame[packet.payload + at..packet.payload + at + len]);

        let mut part = *packet;
        part.ip.end = packet.payload + len;
        part.ip.write_length(&mut piece);
        if !ip.v6 {
            set16(
                &mut piece,
                ip.l3,
                v4::ID,
                first_id.wrapping_add(count as u16),
            );
        }
        put32(
            &mut piece,
            ip.l4 + tcp::SEQ,
            first_seq.wrapping_add(at as u32),
        );
        if at + len < total {
            piece[ip.l4 + tcp::FLAGS] &= !(flag::PSH | flag::FIN);
        }
        if at > 0 {
            piece[ip.l4 + tcp::FLAGS] &= !flag::CWR;
        }
        put16(&mut piece, ip.l4 + tcp::CHECKSUM, 0);
        let pseudo = part.ip.pseudo_sum(&piece);
        let field = match meta.checksum {
            Checksum::Partial => pseudo.fold(),
            Checksum::Unknown | Checksum::Whole => (pseudo + sum(&piece[ip.l4..])).field(),
        };
        put16(
            &mut piece,
            ip.l4 + tcp::CHECKSUM,
            if valid { field } else { !field ^ 0x5555 },
        );
        emit(&piece);
        count += 1;
    }
    count
}
