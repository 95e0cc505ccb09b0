//! A packet of a decided connection, on its way out: stripped, restored, cut to segments.

use crate::connection::{fact, Connection, State};
use crate::wire::packet::Segment;
use crate::wire::tcp;

use super::config::{Config, Superframes};
use super::restore::{self, Ends};
use super::stats::{Dropped, Event, Merged, Stats};
use super::strip::{self, Stripped};
use super::{superframe, Fate, Meta, Output};

/// Takes a packet of a decided connection through all stages.
#[allow(clippy::too_many_arguments)]
#[inline(always)]
pub(super) fn treat(
    connection: &mut Connection,
    to_server: bool,
    slot: u64,
    meta: &Meta,
    frame: &mut [u8],
    segment: &mut Segment,
    config: &Config,
    stats: &mut Stats,
    out: &mut impl Output,
) -> Fate {
    if connection.state == State::Dropped {
        stats.drop(Dropped::Midstream);
        return Fate::Gone;
    }
    let was_end = segment.ip.end;
    let stripped = if to_server {
        strip::to_server(connection, segment, frame, meta, stats)
    } else {
        strip::to_client(connection, segment, frame, meta, stats)
    };
    let start = match stripped {
        Stripped::Packet { start } => start,
        Stripped::Nothing => {
            stats.merge(Merged::Header);
            return Fate::Gone;
        }
        Stripped::Acknowledgement => {
            stats.merge(Merged::HeaderAck);
            return Fate::Gone;
        }
    };
    // Ethernet padding lies behind the IP packet's end.
    let end = frame.len().min(start + segment.ip.end);
    let mut orig_len = meta.orig_len;
    if end - start != frame.len() || segment.ip.end != was_end {
        let padding = (meta.orig_len as usize).saturating_sub(was_end);
        let taken = was_end - segment.ip.end;
        // A length that lies may count bytes that never were.
        let least = (end - start) as u32;
        orig_len = meta
            .orig_len
            .saturating_sub((padding + taken) as u32)
            .max(least);
    }

    let restores = connection.is(fact::RESTORE) && connection.state == State::Stripped;
    if restores {
        if let Some(ends) = Ends::of(connection, to_server) {
            if ends.is_v6() != segment.ip.v6 {
                let (new, segment) = restore::rebuild(&ends, segment, &frame[start..end], meta);
                let grown = i64::from(orig_len) + new.len() as i64 - (end - start) as i64;
                let meta = Meta {
                    orig_len: u32::try_from(grown).unwrap_or(0),
                    ..*meta
                };
                let frames = leave(connection, slot, &meta, &new, &segment, config, stats, out);
                stats.emit(frames);
                return Fate::Emitted;
            }
            restore::rewrite(&ends, segment, &mut frame[start..end], meta);
        }
    }
    if config.superframes == Superframes::Segment && segment.payload_len() > MIN_SEGMENT {
        let size = segment_size(connection, segment, meta);
        if segment.payload_len() > size {
            let meta = Meta { orig_len, ..*meta };
            let frames = leave(
                connection,
                slot,
                &meta,
                &frame[start..end],
                segment,
                config,
                stats,
                out,
            );
            stats.emit(frames);
            return Fate::Emitted;
        }
    }
    if start == 0 && end == frame.len() && orig_len == meta.orig_len {
        return Fate::Pass;
    }
    Fate::Rewritten {
        start,
        end,
        orig_len,
    }
}

/// No path has a maximum segment size below 536 (RFC 9293 section 3.7.1); options take up to 40 of it.
const MIN_SEGMENT: usize = 536 - 40;

/// The payload bytes that a segment of this connection may have.
fn segment_size(connection: &Connection, segment: &Segment, meta: &Meta) -> usize {
    if meta.gso_size > 0 {
        return usize::from(meta.gso_size);
    }
    let options = segment.payload - segment.ip.l4 - tcp::MIN_LEN;
    let announced = connection
        .extra
        .as_ref()
        .map_or(0, |extra| usize::from(extra.mss));
    let mss = match announced {
        0 if segment.ip.v6 => 1440,
        0 => 1460,
        announced => announced,
    };
    // Options take their space out of the announced size (RFC 6691).
    mss.saturating_sub(options).max(MIN_SEGMENT)
}

/// Hands a finished packet over, cut to segments if that is asked for; returns how many frames.
#[allow(clippy::too_many_arguments)]
fn leave(
    connection: &Connection,
    slot: u64,
    meta: &Meta,
    frame: &[u8],
    segment: &Segment,
    config: &Config,
    stats: &mut Stats,
    out: &mut impl Output,
) -> u64 {
    if config.superframes == Superframes::Keep {
        out.emit(slot, meta, frame);
        return 1;
    }
    let size = segment_size(connection, segment, meta);
    let frames = superframe::segment(segment, frame, meta, size, |piece| {
        let orig_len = if piece.len() == frame.len() {
            meta.orig_len
        } else {
            piece.len() as u32
        };
        out.emit(
            slot,
            &Meta {
                orig_len,
                gso_size: 0,
                ..*meta
            },
            piece,
        );
    });
    if frames > 1 {
        stats.note(Event::SuperframeSegmented);
    }
    frames
}
