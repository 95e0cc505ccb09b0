//! Where packets go on their way out: into the ordered queue, as records of the output.

use crate::engine::{Fate, Meta, Output};
use crate::io::chunks::{ChunkId, Chunks, Run, CHUNK};
use crate::io::encode::{Encoder, Stamp};
use crate::io::queue::{Place, Queue};

/// The slot of no packet: the engine was told the time, or the end.
const OUTSIDE: u64 = u64::MAX;

/// The processor's output.
pub(super) struct Sink {
    pub chunks: Chunks,
    pub queue: Queue<Stamp>,
    pub encoder: Encoder,
    /// Packets that came after their place had been given up.
    pub late: u64,
    /// Nothing is to be written.
    discard: bool,
    /// The packet that is being pushed.
    pub slot: u64,
    pub stamp: Stamp,
    /// What the processor emitted under the slot that is being pushed.
    staged: Vec<Run>,
    /// The chunk that records are written into, and how much of it is used.
    arena: Option<(ChunkId, usize)>,
    /// Bytes put into the arena since somebody set this to nought.
    pub written: usize,
}

impl Sink {
    pub fn new(encoder: Encoder, discard: bool) -> Sink {
        Sink {
            chunks: Chunks::default(),
            queue: Queue::default(),
            encoder,
            late: 0,
            discard,
            slot: OUTSIDE,
            stamp: Stamp {
                ts: 0,
                ticks: 0,
                interface: 0,
            },
            staged: Vec::new(),
            arena: None,
            written: 0,
        }
    }

    /// Puts the output's first bytes.
    pub fn begin(&mut self) {
        let bytes = self.encoder.begin();
        self.raw(&bytes);
    }

    /// Puts bytes that are not a packet at the tail.
    pub fn raw(&mut self, bytes: &[u8]) {
        if bytes.is_empty() || self.discard {
            return;
        }
        let run = self.reserve(bytes.len());
        self.slice_mut(run).copy_from_slice(bytes);
        self.queue.push(&mut self.chunks, run);
    }

    /// What comes from now on belongs to no packet that is being pushed.
    pub fn outside(&mut self) {
        self.slot = OUTSIDE;
    }

    /// Puts a packet's record at the tail.
    pub fn append(&mut self, orig_len: u32, frame: &[u8]) {
        if !self.discard {
            let run = self.record(self.stamp, orig_len, frame);
            self.queue.push(&mut self.chunks, run);
        }
    }

    /// Puts bytes of an input's chunk at the tail.
    #[inline]
    pub fn keep(&mut self, run: Run) {
        if !self.discard {
            self.queue.push(&mut self.chunks, run);
        }
    }

    /// Whether the processor emitted under the slot that is being pushed, or holds it: then the queue
    /// must be brought up to this slot, and [`Sink::close_slot`] called.
    #[inline]
    pub fn needs_close(&self, fate: Fate) -> bool {
        fate == Fate::Held || !self.staged.is_empty()
    }

    /// Queues what was emitted under the slot that was pushed, and its place where it is held.
    pub fn close_slot(&mut self, fate: Fate) {
        if self.discard {
            return;
        }
        let mut staged = std::mem::take(&mut self.staged);
        if fate == Fate::Held {
            self.queue.hold(self.slot, self.stamp);
        }
        for run in staged.drain(..) {
            if fate == Fate::Held {
                self.queue.fill(&mut self.chunks, self.slot, run);
            } else {
                self.queue.push(&mut self.chunks, run);
            }
            self.chunks.release(run.chunk);
        }
        // Keeps its room.
        self.staged = staged;
    }

    fn record(&mut self, stamp: Stamp, orig_len: u32, frame: &[u8]) -> Run {
        let run = self.reserve(self.encoder.record_len(frame.len()));
        let Sink {
            chunks, encoder, ..
        } = self;
        let bytes = &mut chunks.bytes_mut(run.chunk)[run.start as usize..run.end as usize];
        encoder.emit(bytes, &stamp, orig_len, frame);
        run
    }

    fn slice_mut(&mut self, run: Run) -> &mut [u8] {
        &mut self.chunks.bytes_mut(run.chunk)[run.start as usize..run.end as usize]
    }

    /// Room for a record. The arena's own reference keeps its chunk until the next is begun.
    fn reserve(&mut self, length: usize) -> Run {
        self.written += length;
        let (chunk, used) = match self.arena {
            Some((chunk, used)) if self.chunks.bytes_mut(chunk).len() - used >= length => {
                (chunk, used)
            }
            arena => {
                if let Some((full, _)) = arena {
                    self.chunks.release(full);
                }
                (self.chunks.acquire(length.max(CHUNK)), 0)
            }
        };
        self.arena = Some((chunk, used + length));
        Run {
            chunk,
            start: used as u32,
            end: (used + length) as u32,
        }
    }
}

impl Output for Sink {
    fn emit(&mut self, slot: u64, meta: &Meta, frame: &[u8]) {
        if self.discard {
            return;
        }
        let (stamp, late) = if slot == self.slot {
            (self.stamp, false)
        } else {
            match self.queue.place(slot) {
                Place::InOrder(stamp) => (stamp, false),
                Place::Late(stamp) => (stamp, true),
                // Written all the same: nothing is lost silently.
                Place::Unknown => {
                    let stamp = Stamp {
                        ts: meta.ts,
                        ticks: meta.ts,
                        interface: 0,
                    };
                    (self.encoder.restamp(&stamp, meta.ts), true)
                }
            }
        };
        let stamp = if stamp.ts == meta.ts {
            stamp
        } else {
            self.encoder.restamp(&stamp, meta.ts)
        };
        let run = self.record(stamp, meta.orig_len, frame);
        if slot == self.slot {
            self.chunks.retain(run.chunk);
            self.staged.push(run);
        } else if late {
            self.late += 1;
            self.queue.push(&mut self.chunks, run);
        } else {
            self.queue.fill(&mut self.chunks, slot, run);
        }
    }

    fn settle(&mut self, slot: u64) {
        if !self.discard {
            self.queue.settle(slot);
        }
    }
}
