//! The way of a pcap file whose output is written just as it is: no packet is copied.
//!
//! ```text
//! chunk   [ record | record | hdr ░░header░░ payload | record | rec…      ]
//!           └──── run 1 ────┘         └─hdr payload │ record ┘   └ moves to the next chunk
//!                                       └──── run 2 ─────────┘
//! ```
//!
//! Where a frame lost bytes at its front, the record's own header is moved up against the rest.

use super::{Processor, State};
use crate::engine::{Checksum, Fate, Link, Meta};
use crate::io::chunks::{ChunkId, Run, CHUNK};
use crate::io::filter::Filter;
use crate::io::pcap::{FileHeader, Record, RECORD_HEADER};
use crate::io::Error;

/// Room in a chunk below which a pipe is not read into it any more.
const LEAST_READ: usize = 64 << 10;

pub(super) struct InPlace {
    header: FileHeader,
    link: Link,
    filter: Option<Filter>,
    /// The chunk that the reader's buffer is.
    chunk: ChunkId,
}

/// Why a walk through the chunk stopped.
enum Stop {
    /// As many packets as were asked for.
    Enough,
    /// The next record has so many bytes, and they are not all here.
    Needs(usize),
    /// The next record claims so many bytes.
    Lying(u32),
}

/// Neighbouring bytes of the chunk that leave as they lie.
struct Span {
    start: usize,
    end: usize,
}

impl InPlace {
    pub fn new(state: &mut State, header: FileHeader) -> Result<InPlace, Error> {
        let reader = state.merge.reader_mut(0);
        let interface = reader.interfaces()[0].clone();
        // The buffer that the reader began with becomes a chunk.
        let chunk = state.sink.chunks.acquire(CHUNK);
        state.sink.chunks.take(chunk);
        let link = interface.link().unwrap_or(Link::Ethernet);
        Ok(InPlace {
            header,
            link,
            filter: state.filters.of(&interface)?,
            chunk,
        })
    }

    /// Handles up to `budget` packets; false at the end of the input.
    pub fn step(
        &mut self,
        state: &mut State,
        processor: &mut impl Processor,
        mut budget: u64,
    ) -> Result<bool, Error> {
        loop {
            let before = state.counts.packets;
            let stop = self.walk(state, processor, budget);
            budget -= state.counts.packets - before;
            match stop {
                Stop::Enough => return Ok(true),
                Stop::Lying(captured) => {
                    state.merge.reader_mut(0).lying(captured);
                    break;
                }
                Stop::Needs(bytes) => {
                    if !self.read(state, bytes)? {
                        state.merge.reader_mut(0).cut(bytes);
                        break;
                    }
                }
            }
        }
        let last = state.merge.reader_mut(0).source_mut().lend();
        state.sink.chunks.put(self.chunk, last);
        state.sink.chunks.release(self.chunk);
        Ok(false)
    }

    /// Walks the records that are in the chunk.
    fn walk(&mut self, state: &mut State, processor: &mut impl Processor, budget: u64) -> Stop {
        let order = self.header.order();
        let nanos = self.header.nanos;
        let most = self.header.most();
        let source = state.merge.reader_mut(0).source_mut();
        let (from, filled) = source.bounds();
        // Lent, so that the processor can change a frame while its output is in use.
        let mut buffer = source.lend();
        let bytes = &mut buffer[..filled];
        let mut pos = from;
        let mut span = Span {
            start: from,
            end: from,
        };
        let mut left = budget;
        let stop = loop {
            if left == 0 {
                break Stop::Enough;
            }
            let Some(header) = bytes.get(pos..pos + RECORD_HEADER) else {
                break Stop::Needs(RECORD_HEADER);
            };
            let record = Record::parse(header, order);
            if record.captured > most {
                break Stop::Lying(record.captured);
            }
            let start = pos + RECORD_HEADER;
            let end = start + record.captured as usize;
            if end > filled {
                break Stop::Needs(end - pos);
            }
            left -= 1;
            let ts = record.ts(nanos);
            let orig_len = record.original.max(record.captured);
            if let Some(filter) = &self.filter {
                if !filter.accepts(&bytes[start..end], orig_len) {
                    state.counts.filtered += 1;
                    pos = end;
                    continue;
                }
            }
            let slot = state.next_slot;
            state.next_slot += 1;
            state.sink.slot = slot;
            state.sink.stamp.ts = ts;
            let meta = Meta {
                ts,
                orig_len,
                link: self.link,
                checksum: Checksum::Unknown,
                gso_size: 0,
            };
            let fate = processor.push(slot, &meta, &mut bytes[start..end], &mut state.sink);
            match fate {
                Fate::Pass => self.keep(state, &mut span, pos, end),
                Fate::Rewritten {
                    start: 0,
                    end: kept,
                    orig_len: new,
                } if start + kept == end && new == orig_len => {
                    self.keep(state, &mut span, pos, end);
                }
                Fate::Rewritten {
                    start: cut,
                    end: kept,
                    orig_len,
                } => {
                    // The record's header moves up against the frame's new beginning.
                    let head = pos + cut;
                    let captured = (kept - cut) as u32;
                    let record = Record {
                        captured,
                        original: orig_len,
                        ..record
                    };
                    record.emit(&mut bytes[head..head + RECORD_HEADER], order);
                    self.keep(state, &mut span, head, start + kept);
                }
                Fate::Emitted | Fate::Gone | Fate::Held => {}
            }
            if state.sink.needs_close(fate) {
                self.keep(state, &mut span, end, end);
                state.sink.close_slot(fate);
            }
            pos = end;
        };
        self.keep(state, &mut span, pos, pos);
        state.counts.packets += budget - left;
        let source = state.merge.reader_mut(0).source_mut();
        source.give_back(buffer);
        source.consume(pos - from);
        stop
    }

    /// Adds bytes to the span where they are its neighbours; else the span goes to the queue and
    /// they begin the next.
    #[inline]
    fn keep(&self, state: &mut State, span: &mut Span, start: usize, end: usize) {
        if span.end == start && start != end {
            span.end = end;
            return;
        }
        let run = Run {
            chunk: self.chunk,
            start: span.start as u32,
            end: span.end as u32,
        };
        state.sink.keep(run);
        *span = Span { start, end };
    }

    /// Writes what is ready and reads on, until the window has `bytes`; false at the end of the
    /// input. May be repeated after an error.
    fn read(&mut self, state: &mut State, bytes: usize) -> Result<bool, Error> {
        let lent = state.merge.reader_mut(0).source_mut().lend();
        state.sink.chunks.put(self.chunk, lent);
        let written = state.make_room();
        let is_free = state.sink.chunks.is_sole(self.chunk);
        let current = state.sink.chunks.take(self.chunk);
        let reader = state.merge.reader_mut(0);
        let source = reader.source_mut();
        source.give_back(current);
        written?;
        let (pos, filled) = source.bounds();
        // What is queued must stay where it is: new bytes come behind it, or in another chunk. A
        // chunk that nothing of is queued any more serves again: the reader moves its window to the
        // front.
        let fits = pos + bytes <= filled + source.room() && source.room() >= LEAST_READ;
        if !is_free && !fits {
            let fresh = state.sink.chunks.acquire(filled - pos);
            let old = source.renew(state.sink.chunks.take(fresh));
            state.sink.chunks.put(self.chunk, old);
            state.sink.chunks.release(self.chunk);
            self.chunk = fresh;
        }
        let got = source.ensure(bytes);
        got.map_err(|error| Error::io(reader.name(), error))
    }
}
