//! The order in which packets leave, although some are decided later than others.
//!
//! Items stand in the order of the input. A packet that the engine holds leaves a *slot*: a place
//! that is filled when the engine emits and closed when it settles. What stands before the first
//! open slot can be written.
//!
//! ```text
//! front  run ─ run ─ slot 7 (closed, 2 frames) ─ run ─ slot 9 (open) ─ run ─ slot 12 (closed)  tail
//!        └────────────── can be written ─────────────┘
//! ```
//!
//! The queue keeps no bytes of its own: runs refer to [`Chunks`]. Where the chunks in use outgrow
//! their bound, the oldest open slot gives up its place ([`Queue::give_up`]); what still comes for it
//! goes to the tail.

use std::collections::{HashMap, VecDeque};
use std::io::{self, IoSlice, Write};

use super::chunks::{Chunks, Run};

/// Runs offered to one `writev`; the kernel's own limit (IOV_MAX) is 1024.
const MOST_RUNS: usize = 1024;

#[derive(Debug)]
enum Item<T> {
    Run(Run),
    Slot(Slot<T>),
}

#[derive(Debug)]
struct Slot<T> {
    open: bool,
    note: T,
    first: Option<Run>,
    /// Unused, and not allocated, for all but segmented superframes.
    more: VecDeque<Run>,
}

/// Where a frame of a slot belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<T> {
    /// In its order; with what was noted when the slot was held.
    InOrder(T),
    /// At the tail: the slot gave up its place.
    Late(T),
    /// No such slot is open.
    Unknown,
}

/// The ordered queue; `T` is noted with each held slot and given back when it is filled.
#[derive(Debug)]
pub struct Queue<T> {
    items: VecDeque<Item<T>>,
    /// How many items have left at the front: turns the numbers in `held` into indices.
    left: u64,
    /// Every held slot from the first open one on, in order, with its item's number.
    held: VecDeque<(u64, u64)>,
    gave_up: HashMap<u64, T, ahash::RandomState>,
}

impl<T: Copy> Default for Queue<T> {
    fn default() -> Self {
        Queue {
            items: VecDeque::new(),
            left: 0,
            held: VecDeque::new(),
            gave_up: HashMap::default(),
        }
    }
}

impl<T: Copy> Queue<T> {
    /// Appends bytes at the tail. The run's chunk gets a reference.
    pub fn push(&mut self, chunks: &mut Chunks, run: Run) {
        if run.is_empty() {
            return;
        }
        if let Some(Item::Run(last)) = self.items.back_mut() {
            if join(last, run) {
                return;
            }
        }
        chunks.retain(run.chunk);
        self.items.push_back(Item::Run(run));
    }

    /// Appends a place for what the engine holds. Slots must be held in rising order.
    pub fn hold(&mut self, slot: u64, note: T) {
        debug_assert!(self.held.back().is_none_or(|&(last, _)| last < slot));
        self.held
            .push_back((slot, self.left + self.items.len() as u64));
        self.items.push_back(Item::Slot(Slot {
            open: true,
            note,
            first: None,
            more: VecDeque::new(),
        }));
    }

    /// Where a frame of `slot` belongs now.
    pub fn place(&self, slot: u64) -> Place<T> {
        if let Some(index) = self.find(slot) {
            if let Item::Slot(Slot {
                open: true, note, ..
            }) = &self.items[index]
            {
                return Place::InOrder(*note);
            }
        }
        match self.gave_up.get(&slot) {
            Some(note) => Place::Late(*note),
            None => Place::Unknown,
        }
    }

    /// Adds a frame to a slot whose place is [`Place::InOrder`]. The chunk gets a reference.
    pub fn fill(&mut self, chunks: &mut Chunks, slot: u64, run: Run) {
        let Some(index) = self.find(slot) else {
            return self.push(chunks, run);
        };
        let Item::Slot(slot) = &mut self.items[index] else {
            return self.push(chunks, run);
        };
        if let Some(last) = slot.more.back_mut().or(slot.first.as_mut()) {
            if join(last, run) {
                return;
            }
        }
        chunks.retain(run.chunk);
        if slot.first.is_none() {
            slot.first = Some(run);
        } else {
            slot.more.push_back(run);
        }
    }

    /// Nothing more comes for `slot`.
    pub fn settle(&mut self, slot: u64) {
        match self.find(slot) {
            Some(index) => self.close(index),
            None => {
                self.gave_up.remove(&slot);
            }
        }
    }

    /// Closes every slot: the engine has finished.
    pub fn settle_all(&mut self) {
        while let Some(&(_, item)) = self.held.front() {
            self.close((item - self.left) as usize);
        }
        self.gave_up.clear();
    }

    /// The oldest open slot gives up its place; false where none is open.
    pub fn give_up(&mut self) -> bool {
        let Some(&(slot, item)) = self.held.front() else {
            return false;
        };
        let index = (item - self.left) as usize;
        if let Item::Slot(open) = &self.items[index] {
            self.gave_up.insert(slot, open.note);
        }
        self.close(index);
        true
    }

    /// Writes what stands before the first open slot, in as few calls as the kernel allows, and lets
    /// go of its chunks. Without a writer the bytes are only let go of. Returns the bytes that left.
    ///
    /// An error, an interrupted call included, leaves the rest in the queue: the call can be repeated.
    pub fn flush(&mut self, chunks: &mut Chunks, writer: Option<&mut dyn Write>) -> io::Result<()> {
        let Some(writer) = writer else {
            self.advance(chunks, usize::MAX);
            return Ok(());
        };
        loop {
            let written = {
                let mut slices = Vec::with_capacity(MOST_RUNS.min(self.items.len()));
                for item in &self.items {
                    if slices.len() >= MOST_RUNS {
                        break;
                    }
                    match item {
                        Item::Run(run) => slices.push(IoSlice::new(chunks.bytes(*run))),
                        Item::Slot(slot) if slot.open => break,
                        Item::Slot(slot) => {
                            let runs = slot.first.iter().chain(&slot.more);
                            slices.extend(runs.map(|run| IoSlice::new(chunks.bytes(*run))));
                        }
                    }
                }
                slices.truncate(MOST_RUNS);
                if slices.is_empty() {
                    0
                } else {
                    match writer.write_vectored(&slices)? {
                        0 => return Err(io::ErrorKind::WriteZero.into()),
                        written => written,
                    }
                }
            };
            // Also takes away closed slots that hold nothing.
            self.advance(chunks, written);
            if written == 0 {
                return Ok(());
            }
        }
    }

    /// Takes `bytes` off the front, never beyond the first open slot.
    fn advance(&mut self, chunks: &mut Chunks, mut bytes: usize) {
        while let Some(item) = self.items.front_mut() {
            let gone = match item {
                Item::Run(run) => shorten(chunks, run, &mut bytes),
                Item::Slot(slot) if slot.open => false,
                Item::Slot(slot) => loop {
                    let Some(first) = slot.first.as_mut() else {
                        break true;
                    };
                    if !shorten(chunks, first, &mut bytes) {
                        break false;
                    }
                    slot.first = slot.more.pop_front();
                },
            };
            if !gone {
                return;
            }
            self.items.pop_front();
            self.left += 1;
        }
    }

    fn find(&self, slot: u64) -> Option<usize> {
        let found = self
            .held
            .binary_search_by_key(&slot, |&(slot, _)| slot)
            .ok()?;
        Some((self.held[found].1 - self.left) as usize)
    }

    fn close(&mut self, index: usize) {
        if let Item::Slot(slot) = &mut self.items[index] {
            slot.open = false;
        }
        // The front of `held` must be open, so that every item it names is still in the queue.
        while let Some(&(_, item)) = self.held.front() {
            match &self.items[(item - self.left) as usize] {
                Item::Slot(slot) if slot.open => break,
                _ => self.held.pop_front(),
            };
        }
    }
}

/// Makes one run of two where the second begins at the end of the first.
fn join(last: &mut Run, next: Run) -> bool {
    let joins = last.chunk == next.chunk && last.end == next.start;
    if joins {
        last.end = next.end;
    }
    joins
}

/// Takes up to `bytes` off the run's front; true when nothing is left of it, and its chunk let go.
fn shorten(chunks: &mut Chunks, run: &mut Run, bytes: &mut usize) -> bool {
    if *bytes < run.len() {
        run.start += *bytes as u32;
        *bytes = 0;
        return false;
    }
    *bytes -= run.len();
    chunks.release(run.chunk);
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use Op::*;

    enum Op {
        /// A frame that leaves at once.
        Push(&'static str),
        Hold(u64),
        /// A frame for a slot, in order or, where it gave up its place, at the tail.
        Emit(u64, &'static str),
        Settle(u64),
        GiveUp,
        SettleAll,
        /// What must have been written by now.
        Written(&'static str),
    }

    /// A writer that takes three bytes at a time, and every second call is interrupted.
    #[derive(Default)]
    struct Slow {
        bytes: Vec<u8>,
        calls: u32,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.calls += 1;
            if self.calls.is_multiple_of(2) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let taken = &bytes[..bytes.len().min(3)];
            self.bytes.extend_from_slice(taken);
            Ok(taken.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn run(operations: &[Op]) {
        let mut chunks = Chunks::default();
        let mut queue = Queue::<u64>::default();
        let mut writer = Slow::default();
        let chunk = chunks.acquire(1);
        let mut used = 0;
        let mut store = |chunks: &mut Chunks, text: &str| {
            let start = used;
            // A gap of a byte, so that runs are joined only where a case repeats a chunk's end.
            used += text.len() + 1;
            chunks.bytes_mut(chunk)[start..start + text.len()].copy_from_slice(text.as_bytes());
            Run {
                chunk,
                start: start as u32,
                end: (start + text.len()) as u32,
            }
        };
        for operation in operations {
            match operation {
                Push(text) => {
                    let run = store(&mut chunks, text);
                    queue.push(&mut chunks, run);
                }
                Hold(slot) => queue.hold(*slot, *slot * 10),
                Emit(slot, text) => {
                    let run = store(&mut chunks, text);
                    match queue.place(*slot) {
                        Place::InOrder(note) => {
                            assert_eq!(note, slot * 10);
                            queue.fill(&mut chunks, *slot, run);
                        }
                        Place::Late(note) => {
                            assert_eq!(note, slot * 10);
                            queue.push(&mut chunks, run);
                        }
                        Place::Unknown => panic!("slot {slot} is not open"),
                    }
                }
                Settle(slot) => queue.settle(*slot),
                GiveUp => assert!(queue.give_up()),
                SettleAll => queue.settle_all(),
                Written(expected) => {
                    while let Err(error) = queue.flush(&mut chunks, Some(&mut writer)) {
                        assert_eq!(error.kind(), io::ErrorKind::Interrupted);
                    }
                    assert_eq!(String::from_utf8_lossy(&writer.bytes), *expected);
                }
            }
        }
        queue.settle_all();
        assert!(!queue.give_up());
        queue.flush(&mut chunks, None).unwrap();
        assert!(chunks.is_sole(chunk), "every run let go of its chunk");
        chunks.release(chunk);
        assert_eq!(chunks.alive(), 0);
    }

    #[test]
    fn packets_leave_in_the_order_of_their_slots() {
        #[rustfmt::skip]
        let cases: &[&[Op]] = &[
            &[Written("")],
            &[Push("one"), Push("two"), Written("onetwo")],
            // Held and released.
            &[Push("a"), Hold(1), Push("b"), Written("a"), Emit(1, "H"), Written("a"), Settle(1), Written("aHb")],
            // Held and merged away.
            &[Hold(0), Push("b"), Written(""), Settle(0), Written("b")],
            // Released in another order than held.
            &[Hold(1), Push("x"), Hold(2), Push("y"), Emit(2, "22"), Settle(2), Written(""), Emit(1, "11"), Settle(1), Written("11x22y")],
            // Several frames of one slot, in several calls.
            &[Hold(3), Emit(3, "abcd"), Push("z"), Emit(3, "efgh"), Emit(3, "i"), Written(""), Settle(3), Written("abcdefghiz")],
            // The oldest gives up its place and comes late; the next keeps its own.
            &[Hold(1), Push("b"), Hold(2), Push("d"), GiveUp, Written("b"), Emit(1, "late"), Emit(2, "c"), Settle(1), Settle(2), Written("bcdlate")],
            // A slot that was filled in part gives up: the first part is in order.
            &[Hold(1), Emit(1, "a"), Push("b"), GiveUp, Written("ab"), Emit(1, "c"), Settle(1), Written("abc")],
            // Closed in the middle, then everything at the end.
            &[Hold(1), Hold(2), Hold(3), Settle(2), Emit(3, "3"), Push("4"), Written(""), SettleAll, Written("34")],
            // A slot settled twice, or one never held, changes nothing.
            &[Settle(9), Hold(10), Settle(10), Settle(10), Push("a"), Written("a")],
        ];
        for operations in cases {
            run(operations);
        }
    }

    #[test]
    fn a_closed_slot_takes_no_more() {
        let mut queue = Queue::<()>::default();
        queue.hold(1, ());
        queue.hold(2, ());
        queue.settle(2);
        assert_eq!(queue.place(1), Place::InOrder(()));
        assert_eq!(queue.place(2), Place::Unknown);
        assert_eq!(queue.place(3), Place::Unknown);
    }

    #[test]
    fn runs_that_touch_are_written_as_one() {
        let mut chunks = Chunks::default();
        let mut queue = Queue::<()>::default();
        let chunk = chunks.acquire(1);
        for start in [0, 4, 8] {
            queue.push(
                &mut chunks,
                Run {
                    chunk,
                    start,
                    end: start + 4,
                },
            );
        }
        assert_eq!(queue.items.len(), 1);
    }
}
