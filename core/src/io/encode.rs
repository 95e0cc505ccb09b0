//! What the output holds, and a packet's bytes in it.

use super::pcap::{FileHeader, Order, Record, RECORD_HEADER};
use super::{link_name, pcapng, Clock, Error, Interface, MAX_SNAPLEN};
use crate::engine::Nanos;

/// What a packet's record says beside its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The time of capture.
    pub ts: Nanos,
    /// The same in the interface's ticks.
    pub ticks: u64,
    /// The interface's number in the output.
    pub interface: u32,
}

/// A kind of capture file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Container {
    Pcap(FileHeader),
    PcapNg,
}

/// Knows the output's container and interfaces; writes headers and records.
#[derive(Debug)]
pub struct Encoder {
    name: String,
    container: Container,
    /// Of pcapng.
    clocks: Vec<Clock>,
    /// Timestamps of which the container could not keep all.
    pub shortened: u64,
}

impl Encoder {
    /// An encoder for the file `name`: pcapng where the name ends so, else pcap with the link type
    /// and the precision that `interfaces` need.
    pub fn new(name: &str, interfaces: &[&Interface]) -> Encoder {
        let container = if name.to_ascii_lowercase().ends_with(".pcapng") {
            Container::PcapNg
        } else {
            Container::Pcap(FileHeader {
                big_endian: false,
                nanos: interfaces
                    .iter()
                    .any(|interface| interface.clock.is_finer_than_micros()),
                record_header: RECORD_HEADER,
                snaplen: MAX_SNAPLEN,
                // A capture of no interface at all is still a capture.
                link_type: interfaces
                    .first()
                    .map_or(1, |interface| interface.link_type),
                plain_link: true,
            })
        };
        Encoder {
            name: name.to_owned(),
            container,
            clocks: Vec::new(),
            shortened: 0,
        }
    }

    /// An encoder that writes just as `header` reads: records may be copied as they are.
    pub fn like(name: &str, header: FileHeader) -> Encoder {
        let container = Container::Pcap(header);
        Encoder {
            name: name.to_owned(),
            container,
            clocks: Vec::new(),
            shortened: 0,
        }
    }

    /// Whether the file is pcapng.
    pub fn is_pcapng(&self) -> bool {
        self.container == Container::PcapNg
    }

    /// What the file begins with.
    pub fn begin(&self) -> Vec<u8> {
        match &self.container {
            Container::Pcap(header) => header.emit().to_vec(),
            Container::PcapNg => pcapng::emit_section(),
        }
    }

    /// Takes an interface in: its number, and the bytes that announce it. `source` is the capture
    /// that it stands in.
    pub fn add_interface(
        &mut self,
        source: &str,
        interface: &Interface,
    ) -> Result<(u32, Vec<u8>), Error> {
        match &self.container {
            Container::PcapNg => {
                self.clocks.push(interface.clock);
                let number = (self.clocks.len() - 1) as u32;
                Ok((number, pcapng::emit_interface(interface)))
            }
            Container::Pcap(header) if header.link_type != interface.link_type => {
                Err(Error::Unfit(format!(
                    "{source}: its frames begin as {}, those before as {}; a pcap file holds one kind: \
                     give the output ({}) a name that ends in .pcapng",
                    link_name(interface.link_type),
                    link_name(header.link_type),
                    self.name,
                )))
            }
            Container::Pcap(_) => Ok((0, Vec::new())),
        }
    }

    /// How many bytes [`Encoder::emit`] writes for a frame of `length` bytes.
    pub fn record_len(&self, length: usize) -> usize {
        match self.container {
            Container::Pcap(_) => RECORD_HEADER + length,
            Container::PcapNg => pcapng::packet_len(length),
        }
    }

    /// Writes a record that fills `out`.
    pub fn emit(&mut self, out: &mut [u8], stamp: &Stamp, orig_len: u32, frame: &[u8]) {
        match &self.container {
            Container::Pcap(header) => {
                let (seconds, fraction) = Record::stamp(stamp.ts, header.nanos);
                self.shortened += u64::from(!header.nanos && !stamp.ts.is_multiple_of(1000));
                let captured = frame.len() as u32;
                let record = Record {
                    seconds,
                    fraction,
                    captured,
                    original: orig_len,
                };
                record.emit(
                    out,
                    Order {
                        big_endian: header.big_endian,
                    },
                );
                out[RECORD_HEADER..].copy_from_slice(frame);
            }
            Container::PcapNg => {
                pcapng::emit_packet(out, stamp.interface, stamp.ticks, orig_len, frame);
            }
        }
    }

    /// The stamp of a packet to which the engine gave a time of its own.
    pub fn restamp(&self, stamp: &Stamp, ts: Nanos) -> Stamp {
        let clock = self.clocks.get(stamp.interface as usize);
        Stamp {
            ts,
            ticks: clock.map_or(ts, |clock| clock.ticks(ts)),
            ..*stamp
        }
    }
}
