//! One capture as a sequence of packets, and several by time.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;

use super::pcap::{FileHeader, Order, Record, FILE_HEADER, RECORD_HEADER};
use super::pcapng::{self, Content, BLOCK_HEADER};
use super::source::Source;
use super::{Error, Interface, MAX_RECORD, MAX_SNAPLEN};
use crate::engine::Nanos;

/// One packet; its bytes stand in the reader's buffer until the next one is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// The time of capture.
    pub ts: Nanos,
    /// The same in the interface's ticks, without loss.
    pub ticks: u64,
    /// Length on the wire; never less than the frame's.
    pub orig_len: u32,
    /// Index into [`Reader::interfaces`].
    pub interface: usize,
    /// Where the frame begins in the buffer.
    pub start: usize,
    /// One past its last byte.
    pub end: usize,
}

#[derive(Clone, Copy, Debug)]
enum Container {
    Pcap(FileHeader),
    /// The byte order of the section, and the number of interfaces before it.
    PcapNg {
        order: Order,
        base: usize,
    },
}

/// Reads one capture, pcap or pcapng.
#[derive(Debug)]
pub struct Reader {
    name: String,
    source: Source,
    container: Container,
    interfaces: Vec<Interface>,
    skipped: BTreeMap<&'static str, u64>,
    warning: Option<String>,
    last_ts: Nanos,
}

/// Formats that a capture may be wrapped in, and what unwraps them.
const WRAPPED: &[(&[u8], &str, &str)] = &[
    (b"\x1f\x8b", "gzip", "zcat"),
    (b"\x28\xb5\x2f\xfd", "Zstandard", "zstdcat"),
    (b"\xfd7zXZ\0", "xz", "xzcat"),
    (b"BZh", "bzip2", "bzcat"),
    (b"\x04\x22\x4d\x18", "LZ4", "lz4cat"),
];

/// Opens a capture file, `-` for standard input.
pub fn open(name: &str) -> Result<File, Error> {
    use std::os::fd::AsFd;
    if name == "-" {
        let descriptor = io::stdin().as_fd().try_clone_to_owned();
        return descriptor
            .map(File::from)
            .map_err(|error| Error::io("standard input", error));
    }
    let failed = |error| Error::io(name, error);
    let file = File::open(Path::new(name)).map_err(failed)?;
    if file.metadata().map_err(failed)?.is_dir() {
        return Err(failed(rustix::io::Errno::ISDIR.into()));
    }
    Ok(file)
}

impl Reader {
    /// Reads the beginning of a capture. `name` is what messages call it. When a signal interrupts
    /// the wait for it, `go_on` says whether to wait on.
    pub fn new(
        name: &str,
        mut source: Source,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Reader, Error> {
        let name = if name == "-" { "standard input" } else { name };
        let failed = |error| Error::io(name, error);
        let mut ensure = |source: &mut Source, bytes| loop {
            match source.ensure(bytes) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted && go_on() => {}
                result => return result.map_err(failed),
            }
        };
        let unfit = |what: &str| Err(Error::Unfit(format!("{name}: {what}")));
        if !ensure(&mut source, 1)? {
            return unfit("empty: 0 bytes, not even a capture's header");
        }
        ensure(&mut source, FILE_HEADER)?;
        let window = source.window();
        if let Some((_, format, tool)) =
            WRAPPED.iter().find(|(magic, ..)| window.starts_with(magic))
        {
            return unfit(&format!(
                "compressed with {format}; unpack it on the way in: {tool} FILE | peeltap replay -"
            ));
        }
        let container = if window.len() >= BLOCK_HEADER && pcapng::section_order(window).is_some() {
            // The first block is read, like all, by `next`.
            Container::PcapNg {
                order: Order { big_endian: false },
                base: 0,
            }
        } else if let Some(header) = FileHeader::parse(window) {
            source.consume(FILE_HEADER);
            Container::Pcap(header)
        } else if window.len() < FILE_HEADER {
            return unfit("not a capture: it ends within the file header");
        } else {
            return unfit("not a capture: neither pcap nor pcapng");
        };
        let interfaces = match container {
            Container::Pcap(header) => vec![header.interface()],
            Container::PcapNg { .. } => Vec::new(),
        };
        Ok(Reader {
            name: name.to_owned(),
            source,
            container,
            interfaces,
            skipped: BTreeMap::new(),
            warning: None,
            last_ts: 0,
        })
    }

    /// What messages call this capture.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The header of a pcap file; `None` for pcapng.
    pub fn pcap_header(&self) -> Option<FileHeader> {
        match self.container {
            Container::Pcap(header) => Some(header),
            Container::PcapNg { .. } => None,
        }
    }

    /// The interfaces that have been described so far, of all sections.
    pub fn interfaces(&self) -> &[Interface] {
        &self.interfaces
    }

    /// Blocks that hold no packet, or not a sound one, by name.
    pub fn skipped(&self) -> &BTreeMap<&'static str, u64> {
        &self.skipped
    }

    /// One sentence where the capture ended too early.
    pub fn warning(&self) -> Option<&str> {
        self.warning.as_deref()
    }

    /// The bytes behind the packets.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// The bytes behind the packets, to be read in place.
    pub fn source_mut(&mut self) -> &mut Source {
        &mut self.source
    }

    /// The bytes of the packet that [`Reader::next`] gave last.
    pub fn frame_mut(&mut self, packet: &Packet) -> &mut [u8] {
        &mut self.source.buffer_mut()[packet.start..packet.end]
    }

    /// Whether the next packet is not in the buffer yet, so that asking for it may wait.
    pub fn needs_input(&self) -> bool {
        let window = self.source.window();
        let needed = match self.container {
            Container::Pcap(header) if window.len() >= header.record_header => {
                header.record_header + Record::parse(window, header.order()).captured as usize
            }
            Container::PcapNg { order, .. } if window.len() >= BLOCK_HEADER => {
                let order = pcapng::section_order(window).unwrap_or(order);
                pcapng::block_len(window, order).unwrap_or(0)
            }
            _ => return true,
        };
        window.len() < needed
    }

    /// The next packet; `None` at the end, also at one that came too early ([`Reader::warning`]).
    ///
    /// An error, an interrupted call included, leaves the reader where it was.
    #[allow(clippy::should_implement_trait)] // an Iterator cannot fail and lend
    pub fn next(&mut self) -> io::Result<Option<Packet>> {
        if self.warning.is_some() {
            return Ok(None);
        }
        match self.container {
            Container::Pcap(header) => self.next_record(header),
            Container::PcapNg { .. } => self.next_in_section(),
        }
    }

    fn next_record(&mut self, header: FileHeader) -> io::Result<Option<Packet>> {
        if !self.source.ensure(header.record_header)? {
            self.cut(header.record_header);
            return Ok(None);
        }
        let record = Record::parse(self.source.window(), header.order());
        if record.captured > header.most() {
            self.lying(record.captured);
            return Ok(None);
        }
        let length = header.record_header + record.captured as usize;
        if !self.source.ensure(length)? {
            self.cut(length);
            return Ok(None);
        }
        let (pos, _) = self.source.bounds();
        self.source.consume(length);
        let per_second = if header.nanos {
            super::SECOND
        } else {
            1_000_000
        };
        Ok(Some(Packet {
            ts: record.ts(header.nanos),
            ticks: u64::from(record.seconds) * per_second + u64::from(record.fraction),
            orig_len: record.original.max(record.captured),
            interface: 0,
            start: pos + header.record_header,
            end: pos + length,
        }))
    }

    fn next_in_section(&mut self) -> io::Result<Option<Packet>> {
        loop {
            let Container::PcapNg {
                mut order,
                mut base,
            } = self.container
            else {
                return Ok(None);
            };
            if !self.source.ensure(BLOCK_HEADER)? {
                self.cut(BLOCK_HEADER);
                return Ok(None);
            }
            // A section header is read in its own order.
            if order.u32(self.source.window()) == pcapng::SECTION {
                let Some(own) = pcapng::section_order(self.source.window()) else {
                    self.stop("a section begins there whose byte order cannot be told".to_owned());
                    return Ok(None);
                };
                (order, base) = (own, self.interfaces.len());
            }
            let length = match pcapng::block_len(self.source.window(), order) {
                Some(length) if length <= MAX_RECORD as usize => length,
                _ => {
                    let claimed = order.u32(&self.source.window()[4..]);
                    self.stop(format!("a block claims {claimed} bytes, which cannot be"));
                    return Ok(None);
                }
            };
            if !self.source.ensure(length)? {
                self.cut(length);
                return Ok(None);
            }
            let snaplen = self
                .interfaces
                .get(base)
                .map_or(0, |interface| interface.snaplen);
            let content = pcapng::parse(&self.source.window()[..length], order, snaplen);
            let (pos, _) = self.source.bounds();
            self.source.consume(length);
            self.container = Container::PcapNg { order, base };
            match content {
                Content::Section => {}
                Content::Interface(interface) => self.interfaces.push(interface),
                Content::Other(name) => self.skip(name),
                Content::Malformed => self.skip("malformed_block"),
                Content::Packet(packet) => {
                    let index = base.saturating_add(packet.interface as usize);
                    let Some(interface) = self.interfaces.get(index) else {
                        self.skip("unknown_interface");
                        continue;
                    };
                    // A simple packet has no time: it came with the one before it, as near as its
                    // interface's clock can say.
                    let ticks = packet.ticks.unwrap_or(interface.clock.ticks(self.last_ts));
                    let ts = interface.clock.nanos(ticks);
                    self.last_ts = if packet.ticks.is_some() {
                        ts
                    } else {
                        self.last_ts
                    };
                    return Ok(Some(Packet {
                        ts,
                        ticks,
                        orig_len: packet.orig_len.max((packet.end - packet.start) as u32),
                        interface: index,
                        start: pos + packet.start,
                        end: pos + packet.end,
                    }));
                }
            }
        }
    }

    fn skip(&mut self, name: &'static str) {
        *self.skipped.entry(name).or_default() += 1;
    }

    /// The input ended; a warning unless it ended between records. `needed` is what the record that
    /// begins here asks for.
    pub fn cut(&mut self, needed: usize) {
        let left = self.source.window().len();
        if left > 0 {
            let what = match self.container {
                Container::Pcap(_) => "a record",
                Container::PcapNg { .. } => "a block",
            };
            self.stop(format!(
                "{what} of {needed} or more bytes begins there, {left} are left"
            ));
        }
    }

    /// A record claims `captured` bytes, which cannot be.
    pub fn lying(&mut self, captured: u32) {
        self.stop(format!(
            "a record claims {captured} bytes, more than the snap length and than {MAX_SNAPLEN}"
        ));
    }

    fn stop(&mut self, what: String) {
        self.warning = Some(format!(
            "{}: cut or damaged at byte {}: {what}; everything before it was read",
            self.name,
            self.source.offset()
        ));
    }
}

/// Several captures as one, by time; equal times in the order of the captures.
///
/// Within one capture the order stays as it is, also where its times go back.
#[derive(Debug)]
pub struct Merge {
    readers: Vec<Reader>,
    heads: Vec<Head>,
}

#[derive(Clone, Copy, Debug)]
enum Head {
    Unread,
    Packet(Packet),
    End,
}

impl Merge {
    /// Merges `readers`.
    pub fn new(readers: Vec<Reader>) -> Merge {
        let heads = vec![Head::Unread; readers.len()];
        Merge { readers, heads }
    }

    /// The captures.
    pub fn readers(&self) -> &[Reader] {
        &self.readers
    }

    /// One of the captures.
    pub fn reader_mut(&mut self, index: usize) -> &mut Reader {
        &mut self.readers[index]
    }

    /// Whether [`Merge::peek`] may have to wait for somebody else to write.
    pub fn may_wait(&self) -> bool {
        self.readers.iter().zip(&self.heads).any(|(reader, head)| {
            matches!(head, Head::Unread) && reader.source().is_stream() && reader.needs_input()
        })
    }

    /// The next packet and whose it is. It stays the next until [`Merge::take`].
    pub fn peek(&mut self) -> Result<Option<(usize, Packet)>, Error> {
        let mut earliest: Option<(usize, Packet)> = None;
        for (index, (reader, head)) in self.readers.iter_mut().zip(&mut self.heads).enumerate() {
            if matches!(head, Head::Unread) {
                *head = match reader
                    .next()
                    .map_err(|error| Error::io(reader.name(), error))?
                {
                    Some(packet) => Head::Packet(packet),
                    None => Head::End,
                };
            }
            if let Head::Packet(packet) = *head {
                if earliest.is_none_or(|(_, other)| packet.ts < other.ts) {
                    earliest = Some((index, packet));
                }
            }
        }
        Ok(earliest)
    }

    /// Goes beyond the packet that [`Merge::peek`] gave of capture `index`.
    pub fn take(&mut self, index: usize) {
        self.heads[index] = Head::Unread;
    }
}

/// The bytes of a record's header before the frame, where a packet can be rewritten in place.
pub const IN_PLACE_HEADER: usize = RECORD_HEADER;

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
