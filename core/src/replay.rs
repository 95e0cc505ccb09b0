//! Captures through the engine into a capture: joins [`crate::io`] and [`crate::engine`].
//!
//! Two ways lead through:
//!
//! * *in place*, where the output is written just as the one pcap input is: records are walked and
//!   rewritten where `read` put them, and neighbours leave in one piece ([`in_place`]);
//! * *by copy*, for everything else: each packet's record is written anew ([`by_copy`]).
//!
//! Both end in a [`Sink`], which keeps the input's order.

mod by_copy;
mod in_place;
mod sink;

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use serde_json::{json, Map, Value};

use crate::engine::{Engine, Fate, Meta, Output};
use crate::io::encode::Encoder;
use crate::io::filter::{Filter, Instruction};
use crate::io::reader::{self, Merge, Reader};
use crate::io::source::Source;
use crate::io::target::Target;
use crate::io::{link_name, Error, Interface};

use in_place::InPlace;
use sink::Sink;

/// What packets are pushed through: the engine, or a double of it.
pub trait Processor {
    /// Takes a frame; see [`Fate`].
    fn push(&mut self, slot: u64, meta: &Meta, frame: &mut [u8], out: &mut impl Output) -> Fate;

    /// The input has ended: everything that is held leaves.
    fn finish(&mut self, out: &mut impl Output);

    /// After [`Processor::finish`]: closes up to `count` connections, whose records can then be taken;
    /// false when none are left.
    fn close_some(&mut self, count: usize, out: &mut impl Output) -> bool;

    /// The flow records since the last call, one JSON object a line.
    fn take_records(&mut self) -> Vec<u8>;

    /// Counters, as a JSON object.
    fn stats(&self) -> Value;
}

/// Every packet leaves as it came: what reading and writing cost by themselves.
#[derive(Debug, Default)]
pub struct PassThrough {
    packets: u64,
}

impl Processor for PassThrough {
    #[inline]
    fn push(&mut self, _: u64, _: &Meta, _: &mut [u8], _: &mut impl Output) -> Fate {
        self.packets += 1;
        Fate::Pass
    }

    fn finish(&mut self, _: &mut impl Output) {}

    fn close_some(&mut self, _: usize, _: &mut impl Output) -> bool {
        false
    }

    fn take_records(&mut self) -> Vec<u8> {
        Vec::new()
    }

    fn stats(&self) -> Value {
        json!({"packets": {"in": self.packets, "emitted": self.packets}})
    }
}

impl Processor for Engine {
    #[inline]
    fn push(&mut self, slot: u64, meta: &Meta, frame: &mut [u8], out: &mut impl Output) -> Fate {
        Engine::push(self, slot, meta, frame, out)
    }

    fn finish(&mut self, out: &mut impl Output) {
        Engine::finish(self, out);
    }

    fn close_some(&mut self, count: usize, out: &mut impl Output) -> bool {
        Engine::close_some(self, count, out)
    }

    fn take_records(&mut self) -> Vec<u8> {
        Engine::take_records(self)
    }

    fn stats(&self) -> Value {
        Value::Object(self.stats_json())
    }
}

/// How far a replay has come; may be read while it runs.
#[derive(Debug, Default)]
pub struct Progress {
    /// Packets that were read.
    pub packets: AtomicU64,
    /// Bytes that were read.
    pub bytes: AtomicU64,
}

/// Filters by the link type that they were compiled for; `None` takes every packet.
#[derive(Clone, Debug, Default)]
pub enum Filters {
    /// No filter.
    #[default]
    None,
    /// One for every interface.
    One(Filter),
    /// One for each link type. A link type without one cannot be filtered by the expression.
    ByLinkType(BTreeMap<u16, Filter>),
}

impl Filters {
    /// Checks one program for all interfaces.
    pub fn one(program: &[Instruction]) -> Result<Filters, Error> {
        Filter::new(program).map(Filters::One).map_err(Error::Unfit)
    }

    /// Checks one program for each link type.
    pub fn by_link_type(programs: BTreeMap<u16, Vec<Instruction>>) -> Result<Filters, Error> {
        programs
            .into_iter()
            .map(|(link_type, program)| Ok((link_type, Filter::new(&program)?)))
            .collect::<Result<_, String>>()
            .map(Filters::ByLinkType)
            .map_err(Error::Unfit)
    }

    fn of(&self, interface: &Interface) -> Result<Option<Filter>, Error> {
        match self {
            Filters::None => Ok(None),
            Filters::One(filter) => Ok(Some(filter.clone())),
            Filters::ByLinkType(filters) => match filters.get(&interface.link_type) {
                Some(filter) => Ok(Some(filter.clone())),
                None => Err(Error::Unfit(format!(
                    "the filter cannot be applied to frames of {}",
                    link_name(interface.link_type)
                ))),
            },
        }
    }
}

/// What a replay counts of the captures.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    packets: u64,
    filtered: u64,
    unknown_link: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Reading,
    /// The input has ended; connections are being closed.
    Closing,
    /// The queue may still hold packets.
    Writing,
    Done,
}

/// Everything but the processor.
struct State {
    merge: Merge,
    filters: Filters,
    sink: Sink,
    target: Option<Target>,
    window: usize,
    counts: Counts,
    next_slot: u64,
    phase: Phase,
    bytes_total: Option<u64>,
    progress: Arc<Progress>,
}

enum Way {
    InPlace(InPlace),
    ByCopy(by_copy::ByCopy),
}

/// A replay: inputs, a processor, an output.
pub struct Replay<P> {
    processor: P,
    state: State,
    way: Way,
}

/// The least window: some chunks must be in use for anything to move.
const LEAST_WINDOW: usize = 8 << 20;

impl<P: Processor> Replay<P> {
    /// Opens `inputs` (`-`: standard input), reads up to the first packets, then opens `output`
    /// (`-`: standard output; `None`: nothing is written, only the processor sees the packets).
    ///
    /// `window` bounds the bytes that wait in memory for a packet that the processor holds. When a
    /// signal interrupts the wait for a first packet, `go_on` says whether to wait on.
    pub fn new(
        processor: P,
        inputs: &[String],
        output: Option<&str>,
        filters: Filters,
        window: usize,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Replay<P>, Error> {
        if inputs.is_empty() {
            return Err(Error::Unfit("no input capture was named".to_owned()));
        }
        if inputs.iter().filter(|name| *name == "-").count() > 1 {
            return Err(Error::Unfit(
                "standard input (-) can be read only once".to_owned(),
            ));
        }
        let mut files = Vec::new();
        for name in inputs {
            files.push(reader::open(name)?);
        }
        let size = |file: &std::fs::File| {
            let metadata = file.metadata().ok().filter(|metadata| metadata.is_file());
            metadata.map(|metadata| metadata.len())
        };
        let bytes_total = files.iter().map(size).sum::<Option<u64>>();
        let mut readers = Vec::new();
        for (name, file) in inputs.iter().zip(&files) {
            let own = file.try_clone().map_err(|error| Error::io(name, error))?;
            readers.push(Reader::new(name, Source::from_file(own), go_on)?);
        }
        let header = match readers.as_slice() {
            [reader] => reader.pcap_header().filter(|header| {
                header.record_header == reader::IN_PLACE_HEADER
                    && header.plain_link
                    && reader.interfaces()[0].link().is_some()
            }),
            _ => None,
        };
        let name = output.unwrap_or_default();
        let to_pcapng = Encoder::new(name, &[]).is_pcapng();
        let mut merge = Merge::new(readers);
        let in_place = header.filter(|_| !to_pcapng);
        let encoder = match in_place {
            Some(header) => Encoder::like(name, header),
            None => {
                // The first packets come behind the descriptions of the interfaces.
                while let Err(error) = merge.peek() {
                    if !error.is_interrupted() || !go_on() {
                        return Err(error);
                    }
                }
                let readers = merge.readers();
                let interfaces: Vec<_> = readers.iter().flat_map(Reader::interfaces).collect();
                Encoder::new(name, &interfaces)
            }
        };
        let target = match output {
            None => None,
            Some(name) => {
                let inputs: Vec<_> = inputs.iter().map(String::as_str).zip(&files).collect();
                Some(Target::create(name, &inputs, bytes_total.unwrap_or(0))?)
            }
        };
        let mut state = State {
            sink: Sink::new(encoder, target.is_none()),
            merge,
            filters,
            target,
            window: window.max(LEAST_WINDOW),
            counts: Counts::default(),
            next_slot: 0,
            phase: Phase::Reading,
            bytes_total,
            progress: Arc::default(),
        };
        state.sink.begin();
        let way = match in_place {
            Some(header) => Way::InPlace(InPlace::new(&mut state, header)?),
            None => Way::ByCopy(by_copy::ByCopy::new(&mut state)?),
        };
        Ok(Replay {
            processor,
            state,
            way,
        })
    }

    /// Handles about `packets` packets, or, at the end of the input, closes as many connections;
    /// false when all is done and written. Returns early, to be called again, when a signal came in.
    pub fn step(&mut self, packets: u64) -> Result<bool, Error> {
        let result = self.advance(packets);
        let Progress { packets, bytes } = &*self.state.progress;
        packets.store(self.state.counts.packets, Ordering::Relaxed);
        bytes.store(self.state.bytes_read(), Ordering::Relaxed);
        match result {
            Err(error) if error.is_interrupted() => Ok(true),
            result => result,
        }
    }

    fn advance(&mut self, packets: u64) -> Result<bool, Error> {
        let Replay {
            processor,
            state,
            way,
        } = self;
        if state.phase == Phase::Reading {
            let more = match way {
                Way::InPlace(way) => way.step(state, processor, packets)?,
                Way::ByCopy(way) => way.step(state, processor, packets)?,
            };
            if more {
                return Ok(true);
            }
            state.sink.outside();
            processor.finish(&mut state.sink);
            state.sink.queue.settle_all();
            state.phase = Phase::Closing;
        }
        if state.phase == Phase::Closing {
            let count = usize::try_from(packets).unwrap_or(usize::MAX).max(1);
            if processor.close_some(count, &mut state.sink) {
                return Ok(true);
            }
            state.phase = Phase::Writing;
        }
        if state.phase == Phase::Writing {
            state.flush()?;
            // Closes the file, and gives back what was reserved for it.
            state.target = None;
            state.phase = Phase::Done;
        }
        Ok(false)
    }

    /// How far it has come, shared.
    pub fn progress(&self) -> Arc<Progress> {
        self.state.progress.clone()
    }

    /// The inputs' size in bytes; `None` where one is a pipe.
    pub fn bytes_total(&self) -> Option<u64> {
        self.state.bytes_total
    }

    /// The processor's records since the last call.
    pub fn take_records(&mut self) -> Vec<u8> {
        self.processor.take_records()
    }

    /// The processor's counters, and under `capture` those of the files.
    pub fn stats(&self) -> Value {
        let mut stats = match self.processor.stats() {
            Value::Object(stats) => stats,
            _ => Map::new(),
        };
        let readers = self.state.merge.readers();
        let mut skipped = BTreeMap::<&str, u64>::new();
        for (name, count) in readers.iter().flat_map(|reader| reader.skipped()) {
            *skipped.entry(name).or_default() += count;
        }
        stats.insert(
            "capture".to_owned(),
            json!({
                "packets": self.state.counts.packets,
                "bytes": self.state.bytes_read(),
                "filtered": self.state.counts.filtered,
                "unknown_link": self.state.counts.unknown_link,
                "late": self.state.sink.late,
                "shortened_timestamps": self.state.sink.encoder.shortened,
                "truncated": readers.iter().any(|reader| reader.warning().is_some()),
                "skipped": skipped,
            }),
        );
        Value::Object(stats)
    }

    /// One sentence for each thing that an operator should know.
    pub fn warnings(&self) -> Vec<String> {
        let readers = self.state.merge.readers();
        let mut warnings: Vec<String> = readers
            .iter()
            .filter_map(Reader::warning)
            .map(str::to_owned)
            .collect();
        let unknown = self.state.counts.unknown_link;
        if unknown > 0 {
            warnings.push(format!(
                "{unknown} packets passed unread: peeltap does not know their link type"
            ));
        }
        let shortened = self.state.sink.encoder.shortened;
        if shortened > 0 {
            warnings.push(format!(
                "{shortened} timestamps were cut to microseconds: an interface with finer ones began \
                 after the output; give the output a name that ends in .pcapng to keep them"
            ));
        }
        warnings
    }
}

impl State {
    fn bytes_read(&self) -> u64 {
        self.merge
            .readers()
            .iter()
            .map(|reader| reader.source().bytes_read())
            .sum()
    }

    /// Writes what is ready.
    fn flush(&mut self) -> Result<(), Error> {
        let Sink { queue, chunks, .. } = &mut self.sink;
        match &mut self.target {
            None => queue
                .flush(chunks, None)
                .map_err(|error| Error::io("", error)),
            Some(target) => queue
                .flush(chunks, Some(target as &mut dyn Write))
                .map_err(|error| Error::io(target.name(), error)),
        }
    }

    /// Writes what is ready; where too much waits, the oldest held packets give up their places.
    fn make_room(&mut self) -> Result<(), Error> {
        self.flush()?;
        while self.sink.chunks.alive() > self.window && self.sink.queue.give_up() {
            self.flush()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
