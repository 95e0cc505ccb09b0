//! What the first bytes of a stream are, and what is remembered of the headers among them.

use crate::connection::{fact, Connection};
use crate::header::registry::AnyCodec;
use crate::header::{Codec, Parse, Truth};

use super::rules::Rule;

/// A header that was found: codec, offset in the stream, length.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peeled {
    pub codec: u8,
    pub start: usize,
    pub len: usize,
}

/// What the first bytes of a stream are.
pub(super) enum Decision {
    /// It takes more of them to tell.
    Wait,
    /// No header.
    Plain,
    /// No header, where one is required.
    Missing,
    /// Not what was agreed.
    Malformed(&'static str),
    /// As many headers as the leg has.
    Headers {
        first: Peeled,
        more: Vec<Peeled>,
        truth: Option<Truth>,
        forged: bool,
    },
}

/// Reads the headers at the front of a stream.
pub(super) fn decide(rule: &Rule, codecs: &[AnyCodec], stream: &[u8]) -> Decision {
    let mut at = 0;
    let mut first: Option<Peeled> = None;
    let mut more = Vec::new();
    let mut truth = None;
    for _ in 0..rule.depth {
        let mut waits = false;
        let mut broken = None;
        let mut found = None;
        for codec in &rule.codecs {
            match codecs[usize::from(*codec)].parse(&stream[at..]) {
                Ok(Parse::Header(header)) => {
                    found = Some((*codec, header));
                    break;
                }
                Ok(Parse::NeedMore) => waits = true,
                Ok(Parse::NotMine) => {}
                Err(malformed) => broken = broken.or(Some(malformed.0)),
            }
        }
        let Some((codec, header)) = found else {
            return match (waits, broken, first) {
                (true, ..) => Decision::Wait,
                (_, Some(reason), _) => Decision::Malformed(reason),
                (.., Some(_)) => Decision::Malformed("fewer headers than the leg's depth"),
                _ if rule.required => Decision::Missing,
                _ => Decision::Plain,
            };
        };
        let peeled = Peeled {
            codec,
            start: at + header.start,
            len: header.len,
        };
        at = peeled.start + peeled.len;
        truth = header.truth;
        match first {
            None => first = Some(peeled),
            Some(_) => more.push(peeled),
        }
    }
    let Some(first) = first else {
        return Decision::Plain;
    };
    let forged = at < stream.len() && is_header(rule, codecs, &stream[at..]);
    Decision::Headers {
        first,
        more,
        truth,
        forged,
    }
}

/// Whether a stream begins with a whole header that the leg knows.
pub(super) fn is_header(rule: &Rule, codecs: &[AnyCodec], stream: &[u8]) -> bool {
    rule.codecs.iter().any(|codec| {
        let parsed = codecs[usize::from(*codec)].parse(stream);
        matches!(parsed, Ok(Parse::Header(_)))
    })
}

/// Notes where the headers lie, and keeps their bytes where there is more to say of them than two
/// addresses.
pub(super) fn peel(
    connection: &mut Connection,
    codecs: &[AnyCodec],
    first: Peeled,
    more: &[Peeled],
    stream: &[u8],
) {
    connection.codec = first.codec;
    connection.removed = (first.len + more.iter().map(|peeled| peeled.len).sum::<usize>()) as u32;
    let all = || std::iter::once(&first).chain(more);
    let last = more.last().unwrap_or(&first);
    let contiguous = last.start + last.len == connection.removed as usize;
    if !contiguous {
        connection.set(fact::GENERAL);
        let mut excisions: Vec<(u32, u32)> = Vec::new();
        for peeled in all() {
            match excisions.last_mut() {
                Some((start, len)) if (*start + *len) as usize == peeled.start => {
                    *len += peeled.len as u32;
                }
                _ => excisions.push((peeled.start as u32, peeled.len as u32)),
            }
        }
        connection.extra_mut().excisions = excisions;
    }
    let bytes = |peeled: &Peeled| &stream[peeled.start..peeled.start + peeled.len];
    let says_more = |peeled: &Peeled| {
        !codecs[usize::from(peeled.codec)]
            .describe(bytes(peeled))
            .is_empty()
    };
    if !more.is_empty() || says_more(&first) {
        connection.extra_mut().headers = all()
            .map(|peeled| (peeled.codec, bytes(peeled).to_vec()))
            .collect();
    }
}
