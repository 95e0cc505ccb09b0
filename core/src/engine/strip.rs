//! One packet of a decided connection: its header bytes taken out, its numbers mapped.
//!
//! All work is done in place. A packet that loses bytes is closed up from the front, by moving the
//! short headers and not the payload. Checksums are corrected by what changed, so that a wrong one
//! stays wrong and a payload that a snap length cut off is not needed.

use crate::connection::{fact, Connection};
use crate::wire::checksum::{self, sum, Sum};
use crate::wire::packet::Segment;
use crate::wire::tcp::{self, flag, option};
use crate::wire::{be16, be32, put16, put32, Seq};

use super::stats::{Event, Stats};
use super::{Checksum, Meta};

/// A packet after its treatment.
pub enum Stripped {
    /// It begins at `frame[start]`; the segment's offsets count from there, and it ends at `ip.end`.
    Packet {
        /// First byte.
        start: usize,
    },
    /// It carried header bytes and nothing else.
    Nothing,
    /// It acknowledged header bytes and said nothing else.
    Acknowledgement,
}

/// Completes a checksum that covers the pseudo-header only, as local traffic has it when its sender
/// left the rest to a network card that was never reached.
#[inline]
pub fn complete_checksum(segment: &Segment, frame: &mut [u8], meta: &Meta, stats: &mut Stats) {
    if meta.checksum != Checksum::Unknown {
        return;
    }
    let at = segment.ip.l4 + tcp::CHECKSUM;
    let pseudo = segment.ip.pseudo_sum(frame);
    if be16(frame, at) == pseudo.fold() {
        complete_checksum_with(segment, frame, pseudo, stats);
    }
}

#[cold]
fn complete_checksum_with(segment: &Segment, frame: &mut [u8], pseudo: Sum, stats: &mut Stats) {
    let Some(covered) = frame.get(segment.ip.l4..segment.ip.end) else {
        stats.note(Event::ChecksumCut);
        return;
    };
    let total = pseudo + sum(covered);
    // One valid checksum in 65,536 equals the pseudo-header's sum by chance.
    if total.fold() != 0xffff {
        let at = segment.ip.l4 + tcp::CHECKSUM;
        let field = total.sub16(be16(frame, at)).field();
        put16(frame, at, field);
        stats.note(Event::ChecksumCompleted);
    }
}

/// Corrects a TCP checksum by `delta`, unless it is a partial one, which does not cover the header.
#[inline(always)]
fn correct(segment: &Segment, frame: &mut [u8], meta: &Meta, delta: Sum) {
    if meta.checksum != Checksum::Partial {
        let at = segment.ip.l4 + tcp::CHECKSUM;
        let field = be16(frame, at);
        put16(frame, at, checksum::update(field, delta));
    }
}

/// Writes a 32-bit field of the TCP header and corrects the checksum.
#[inline(always)]
fn set32(segment: &Segment, frame: &mut [u8], meta: &Meta, offset: usize, value: u32) {
    let at = segment.ip.l4 + offset;
    let delta = Sum::ZERO.sub32(be32(frame, at)).add32(value);
    put32(frame, at, value);
    correct(segment, frame, meta, delta);
}

/// A packet from the client.
#[inline]
pub fn to_server(
    connection: &mut Connection,
    segment: &mut Segment,
    frame: &mut [u8],
    meta: &Meta,
    stats: &mut Stats,
) -> Stripped {
    if connection.removed > 0 {
        let options = segment.options(frame);
        if !options.is_empty() && !tcp::only_timestamp(options) {
            blank_auth_options(segment, frame, meta, stats);
        }
        let seq = segment.seq(frame);
        // What seems to lie further than a window before the stream is past it by more than 2 GiB.
        let near = -(1 << 30)..i64::from(connection.boundary());
        if !connection.is(fact::FAR_PAST) && near.contains(&connection.offset(seq)) {
            return near_header(connection, segment, frame, meta);
        }
        set32(
            segment,
            frame,
            meta,
            tcp::SEQ,
            seq.minus(connection.removed).0,
        );
    }
    note_client_ack(connection, segment, frame);
    Stripped::Packet { start: 0 }
}

#[inline(always)]
fn note_client_ack(connection: &mut Connection, segment: &Segment, frame: &[u8]) {
    if segment.flags(frame) & flag::ACK != 0 {
        let ack = segment.ack(frame);
        if acks_news(connection, ack) {
            connection.client_ack = ack;
        }
    }
}

/// Whether the client acknowledged less so far.
#[inline(always)]
fn acks_news(connection: &Connection, ack: Seq) -> bool {
    let unknown = connection.client_ack == Seq(0) && !connection.is(fact::SYN_ACK);
    unknown || ack.after(connection.client_ack)
}

/// A client's packet that begins before the end of the last excision.
#[cold]
fn near_header(
    connection: &mut Connection,
    segment: &mut Segment,
    frame: &mut [u8],
    meta: &Meta,
) -> Stripped {
    let flags = segment.flags(frame);
    let is_syn = flags & flag::SYN != 0;
    let at = connection.offset(segment.seq(frame));
    // The SYN takes a sequence number of its own; its payload begins behind it.
    let begin = at + i64::from(is_syn);
    let len = segment.payload_len() as i64;
    let sent = connection.offset(connection.client_next);

    // 1. A keepalive or probe repeats the last byte sent, or names its place without a byte (RFC 9293
    //    section 3.8.4). It stays one.
    let repeats_last = begin + 1 == sent
        && !connection.is(fact::RELEASING)
        && flags & (flag::SYN | flag::FIN | flag::RST) == 0;
    let excised = |offset: i64| {
        connection
            .excisions()
            .any(|(s, l)| (s..s + l).contains(&offset))
    };
    let is_probe = repeats_last && excised(begin) && len <= 1;
    if is_probe {
        let mapped = connection.seq(connection.map(sent) - 1);
        let start = cut(segment, frame, meta, 0, len as usize, Edits::seq(mapped));
        return Stripped::Packet { start };
    }

    // 2. Where the packet goes, and what of it stays.
    let new_begin = connection.map(begin);
    let new_seq = connection.seq(new_begin - i64::from(is_syn));
    let mut edits = Edits::seq(new_seq);
    let parts: Vec<(usize, usize)> = connection
        .excisions()
        .filter_map(|(start, excised)| {
            let from = (start - begin).clamp(0, len);
            let to = (start + excised - begin).clamp(0, len);
            (to > from).then_some((from as usize, (to - from) as usize))
        })
        .collect();
    let taken: i64 = parts.iter().map(|(_, len)| *len as i64).sum();

    // 3. The urgent pointer counts from the sequence number (RFC 9293 section 3.8.5).
    if flags & flag::URG != 0 {
        let pointer = i64::from(be16(frame, segment.ip.l4 + tcp::URGENT));
        let moved = connection.map(begin + pointer) - new_begin;
        edits.urgent = Some(u16::try_from(moved).unwrap_or(0));
        if moved <= 0 {
            edits.clear |= flag::URG;
        }
    }

    // 4. A packet that had nothing but header bytes leaves if it says something else.
    if taken > 0 && taken == len {
        let plain = flag::ACK | flag::PSH | flag::URG;
        let says_more = flags & !plain != 0 || tcp::has_sack(segment.options(frame));
        let acks_new = flags & flag::ACK != 0 && acks_news(connection, segment.ack(frame));
        if !says_more && !acks_new {
            return Stripped::Nothing;
        }
        edits.clear |= flag::PSH;
    }

    note_client_ack(connection, segment, frame);
    // 5. From the last excision to the first, so that offsets before it stay as they are.
    let mut start = 0;
    match parts.split_first() {
        None => start = cut(segment, frame, meta, 0, 0, edits),
        Some((first, later)) => {
            for (from, len) in later.iter().rev() {
                start += cut(
                    segment,
                    &mut frame[start..],
                    meta,
                    *from,
                    *len,
                    Edits::none(),
                );
            }
            start += cut(segment, &mut frame[start..], meta, first.0, first.1, edits);
        }
    }
    Stripped::Packet { start }
}

/// What changes in a header beside lengths.
#[derive(Clone, Copy)]
struct Edits {
    seq: Option<Seq>,
    clear: u8,
    urgent: Option<u16>,
}

impl Edits {
    fn none() -> Edits {
        Edits {
            seq: None,
            clear: 0,
            urgent: None,
        }
    }

    fn seq(seq: Seq) -> Edits {
        Edits {
            seq: Some(seq),
            ..Edits::none()
        }
    }
}

/// Takes `len` bytes out of the payload at `from`, edits the header, corrects lengths and checksums.
/// Returns where the packet begins in `frame` now; the segment's offsets count from there.
fn cut(
    segment: &mut Segment,
    frame: &mut [u8],
    meta: &Meta,
    from: usize,
    len: usize,
    edits: Edits,
) -> usize {
    let l4 = segment.ip.l4;
    let partial = meta.checksum == Checksum::Partial;
    let cut_at = segment.payload + from;
    // A snap length may end inside the part: what was not captured is not there to be moved.
    let captured = frame.len().min(segment.ip.end);
    let there = cut_at.min(captured)..(cut_at + len).min(captured);

    // The sum of everything behind the part, by what the checksum says and the rest does not.
    let pseudo = segment.ip.pseudo_sum(frame);
    let before = sum(&frame[l4..there.start]);
    let mut behind = Sum::ZERO.add16(0xffff) - pseudo - before;
    let part = sum(&frame[there.clone()]);
    behind = behind - if from % 2 == 1 { part.swapped() } else { part };
    if len % 2 == 1 {
        behind = behind.swapped();
    }

    if let Some(seq) = edits.seq {
        put32(frame, l4 + tcp::SEQ, seq.0);
    }
    if let Some(urgent) = edits.urgent {
        put16(frame, l4 + tcp::URGENT, urgent);
    }
    frame[l4 + tcp::FLAGS] &= !edits.clear;
    let old_end = segment.ip.end;
    segment.ip.end -= len;
    if len > 0 {
        segment.ip.write_length(frame);
    }
    let pseudo_now = segment.ip.pseudo_sum(frame);
    let at = l4 + tcp::CHECKSUM;
    if partial {
        let field = (Sum::ZERO.add16(be16(frame, at)) - pseudo + pseudo_now).fold();
        put16(frame, at, field);
    } else {
        // The field's own word is in both sums; what it has to become is what makes 0xffff.
        let old_field = be16(frame, at);
        let now = sum(&frame[l4..there.start]).sub16(old_field);
        put16(frame, at, (pseudo_now + now + behind).field());
    }

    debug_assert!(segment.ip.end <= old_end);
    let gone = there.len();
    frame.copy_within(0..there.start, gone);
    gone
}

/// A packet from the server.
#[inline]
pub fn to_client(
    connection: &mut Connection,
    segment: &mut Segment,
    frame: &mut [u8],
    meta: &Meta,
    stats: &mut Stats,
) -> Stripped {
    if connection.removed > 0 && segment.flags(frame) & flag::ACK != 0 {
        let ack = segment.ack(frame);
        let removed = connection.removed;
        if connection.is(fact::FAR_PAST) {
            set32(segment, frame, meta, tcp::ACK, ack.minus(removed).0);
        } else {
            let offset = connection.offset(ack);
            let boundary = i64::from(connection.boundary());
            if (1..=boundary).contains(&offset)
                && acks_headers_only(connection, segment, frame, offset == boundary)
            {
                return Stripped::Acknowledgement;
            }
            if offset >= boundary {
                set32(segment, frame, meta, tcp::ACK, ack.minus(removed).0);
            } else if offset > 0 {
                let mapped = connection.seq(connection.map(offset)).0;
                set32(segment, frame, meta, tcp::ACK, mapped);
            }
        }
        let options = segment.options(frame);
        if !options.is_empty() && !tcp::only_timestamp(options) {
            map_sack(connection, segment, frame, meta, stats);
            blank_auth_options(segment, frame, meta, stats);
        }
    }
    Stripped::Packet { start: 0 }
}

/// Whether a server's packet, whose acknowledgement lies within the headers or at their end, says
/// nothing but that. Mapped, it would repeat the acknowledgement of the SYN, and readers take repeats
/// for loss (RFC 5681 section 2). Where the server itself repeats it, that is news.
#[cold]
fn acks_headers_only(
    connection: &mut Connection,
    segment: &Segment,
    frame: &[u8],
    all: bool,
) -> bool {
    if connection.is(fact::GENERAL) {
        // Bytes of the application come first there, and are acknowledged with it.
        return false;
    }
    let was_shut = connection.is(fact::ZERO_WINDOW);
    let is_shut = be16(frame, segment.ip.l4 + tcp::WINDOW) == 0;
    connection.unset(fact::ZERO_WINDOW);
    if is_shut {
        connection.set(fact::ZERO_WINDOW);
    }
    let says_more = segment.payload_len() > 0
        || segment.flags(frame) & !flag::PSH != flag::ACK
        || is_shut
        || was_shut
        || tcp::has_sack(segment.options(frame));
    let repeats = all && connection.is(fact::HEADERS_ACKED);
    if all && !says_more {
        connection.set(fact::HEADERS_ACKED);
    }
    !says_more && !repeats
}

/// Changes the options in place, keeping their space, and corrects the checksum.
fn edit_options(segment: &Segment, frame: &mut [u8], meta: &Meta, edit: impl FnOnce(&mut [u8])) {
    let range = segment.ip.l4 + tcp::MIN_LEN..segment.payload;
    let before = sum(&frame[range.clone()]);
    edit(&mut frame[range.clone()]);
    let delta = sum(&frame[range]) - before;
    correct(segment, frame, meta, delta);
}

/// Shifts both edges of the SACK blocks with which a server reports what it has of the client's
/// stream (RFC 2018, RFC 2883); blocks that lie wholly inside a header go.
#[cold]
fn map_sack(
    connection: &Connection,
    segment: &Segment,
    frame: &mut [u8],
    meta: &Meta,
    stats: &mut Stats,
) {
    let mut place = None;
    tcp::each_option(segment.options(frame), |kind, start, end| {
        if kind == option::SACK && (end - start) % 8 == 2 {
            place = Some((start, end));
        }
    });
    let Some((start, end)) = place else { return };
    let far = connection.is(fact::FAR_PAST);
    let map = |edge: u32| {
        if far {
            return edge.wrapping_sub(connection.removed);
        }
        connection
            .seq(connection.map(connection.offset(Seq(edge))))
            .0
    };
    edit_options(segment, frame, meta, |options| {
        let mut kept = start + 2;
        for at in (start + 2..end).step_by(8) {
            let (left, right) = (map(be32(options, at)), map(be32(options, at + 4)));
            if left == right {
                stats.note(Event::SackBlockRemoved);
                continue;
            }
            put32(options, kept, left);
            put32(options, kept + 4, right);
            kept += 8;
        }
        if kept == start + 2 {
            kept = start;
        } else {
            options[start + 1] = (kept - start) as u8;
        }
        options[kept..end].fill(option::NOP);
    });
}

/// Blanks TCP MD5 (RFC 2385) and AO (RFC 5925): they sign what has just been changed.
#[cold]
fn blank_auth_options(segment: &Segment, frame: &mut [u8], meta: &Meta, stats: &mut Stats) {
    let is_auth = |kind| matches!(kind, option::MD5 | option::AO);
    let mut any = false;
    tcp::each_option(segment.options(frame), |kind, _, _| {
        any |= is_auth(kind);
        match kind {
            option::MD5 => stats.note(Event::Md5Blanked),
            option::AO => stats.note(Event::AoBlanked),
            _ => {}
        }
    });
    if !any {
        return;
    }
    edit_options(segment, frame, meta, |options| {
        let mut places = [(0, 0); tcp::MIN_LEN];
        let mut count = 0;
        tcp::each_option(options, |kind, start, end| {
            if is_auth(kind) && count < places.len() {
                places[count] = (start, end);
                count += 1;
            }
        });
        for (start, end) in &places[..count] {
            options[*start..*end].fill(option::NOP);
        }
    });
}
