//! The way of everything that cannot be rewritten in place: several inputs, pcapng, another container.

use super::{Processor, State};
use crate::engine::{Checksum, Fate, Link, Meta};
use crate::io::chunks::CHUNK;
use crate::io::encode::Stamp;
use crate::io::filter::Filter;
use crate::io::Error;

/// An interface of an input, as the output and the processor see it.
struct Known {
    number: u32,
    link: Option<Link>,
    filter: Option<Filter>,
}

pub(super) struct ByCopy {
    /// By input, then by the interface's index there.
    known: Vec<Vec<Known>>,
}

impl ByCopy {
    /// Takes in the interfaces that are described before the first packet.
    pub fn new(state: &mut State) -> Result<ByCopy, Error> {
        let mut way = ByCopy { known: Vec::new() };
        way.known.resize_with(state.merge.readers().len(), Vec::new);
        for input in 0..way.known.len() {
            way.learn(state, input)?;
        }
        Ok(way)
    }

    fn learn(&mut self, state: &mut State, input: usize) -> Result<(), Error> {
        let reader = &state.merge.readers()[input];
        let known = &mut self.known[input];
        for interface in &reader.interfaces()[known.len()..] {
            let (number, bytes) = state.sink.encoder.add_interface(reader.name(), interface)?;
            let filter = state.filters.of(interface)?;
            known.push(Known {
                number,
                link: interface.link(),
                filter,
            });
            state.sink.raw(&bytes);
        }
        Ok(())
    }

    /// Handles up to `budget` packets; false at the end of the inputs.
    pub fn step(
        &mut self,
        state: &mut State,
        processor: &mut impl Processor,
        budget: u64,
    ) -> Result<bool, Error> {
        for _ in 0..budget {
            // Before a pipe is waited for, everything that is ready leaves.
            if state.sink.written >= CHUNK || (state.sink.written > 0 && state.merge.may_wait()) {
                state.make_room()?;
                state.sink.written = 0;
            }
            let Some((input, packet)) = state.merge.peek()? else {
                return Ok(false);
            };
            if packet.interface >= self.known[input].len() {
                self.learn(state, input)?;
            }
            let Known {
                number,
                link,
                filter,
            } = &self.known[input][packet.interface];
            state.merge.take(input);
            state.counts.packets += 1;
            // The frame stays in the reader's buffer until the reader is asked again.
            let mut buffer = state.merge.reader_mut(input).source_mut().lend();
            let frame = &mut buffer[packet.start..packet.end];
            if filter
                .as_ref()
                .is_some_and(|filter| !filter.accepts(frame, packet.orig_len))
            {
                state.counts.filtered += 1;
            } else {
                state.sink.stamp = Stamp {
                    ts: packet.ts,
                    ticks: packet.ticks,
                    interface: *number,
                };
                match link {
                    Some(link) => {
                        let meta = Meta {
                            ts: packet.ts,
                            orig_len: packet.orig_len,
                            link: *link,
                            checksum: Checksum::Unknown,
                            gso_size: 0,
                        };
                        push(state, processor, &meta, frame);
                    }
                    None => {
                        state.counts.unknown_link += 1;
                        state.sink.append(packet.orig_len, frame);
                    }
                }
            }
            state.merge.reader_mut(input).source_mut().give_back(buffer);
        }
        Ok(true)
    }
}

fn push(state: &mut State, processor: &mut impl Processor, meta: &Meta, frame: &mut [u8]) {
    let slot = state.next_slot;
    state.next_slot += 1;
    state.sink.slot = slot;
    let fate = processor.push(slot, meta, frame, &mut state.sink);
    match fate {
        Fate::Pass => state.sink.append(meta.orig_len, frame),
        Fate::Rewritten {
            start,
            end,
            orig_len,
        } => {
            state.sink.append(orig_len, &frame[start..end]);
        }
        Fate::Emitted | Fate::Gone | Fate::Held => {}
    }
    if state.sink.needs_close(fate) {
        state.sink.close_slot(fate);
    }
}
