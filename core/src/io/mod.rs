//! Captures in and out: bytes, order and time, nothing of what a packet means.
//!
//! Parts, and how they meet:
//!
//! * [`source`]: a file or pipe read in large pieces; the piece is the reader's window.
//! * [`pcap`], [`pcapng`]: the two containers: where a record lies in the window, how one is written.
//! * [`reader`]: one capture as a sequence of [`reader::Packet`]s, and [`reader::Merge`]: several by
//!   time.
//! * [`filter`]: a classic BPF program, as libpcap compiles it, run on each packet.
//! * [`chunks`]: the large buffers that packets live in from `read` until `write`.
//! * [`queue`]: the order in which packets leave, although some are decided later than others.
//! * [`encode`]: what the output holds (interfaces, precision, byte order), and a packet's bytes in it.
//! * [`target`]: the file or pipe that is written.
//!
//! and of the live service:
//!
//! * [`ring`]: the socket that captures, its buffer shared with the kernel; [`block`]: the frames in a
//!   piece of that buffer.
//! * [`port`]: the tap or socket that finished packets leave by.
//! * [`vnet`]: what both say of checksums and segments that are left to "hardware".
//! * [`netdev`]: whether a device is there.
//!
//! [`crate::replay`] and [`crate::live`] join them to the engine.

pub mod block;
pub mod chunks;
pub mod encode;
pub mod filter;
pub mod netdev;
pub mod pcap;
pub mod pcapng;
pub mod port;
pub mod queue;
pub mod reader;
pub mod ring;
pub mod source;
pub mod target;
pub mod vnet;

use std::io;

use crate::engine::{Link, Nanos};

/// Nanoseconds in a second.
pub const SECOND: u64 = 1_000_000_000;

/// What no packet exceeds, whatever a file says: the bound of `pcap_set_snaplen` for ordinary links.
pub const MAX_SNAPLEN: u32 = 262_144;

/// The most that any file may claim for one record or block; larger claims are damage.
pub const MAX_RECORD: u32 = 16 << 20;

/// Why a replay cannot start or go on.
#[derive(Debug)]
pub enum Error {
    /// The operating system refused; `name` is the file.
    Io {
        /// The file as the caller named it.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// The input or the combination of inputs does not fit; the text says what and what to do.
    Unfit(String),
}

impl Error {
    /// The error of file `name`.
    pub fn io(name: &str, source: io::Error) -> Self {
        Error::Io {
            name: name.to_owned(),
            source,
        }
    }

    /// Whether a signal came in; the call may be repeated once it is handled.
    pub fn is_interrupted(&self) -> bool {
        matches!(self, Error::Io { source, .. } if source.kind() == io::ErrorKind::Interrupted)
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::Io { name, source } => write!(f, "{name}: {source}"),
            Error::Unfit(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for Error {}

/// What a capture says of one interface: how frames begin and how time is counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// The registered LINKTYPE_ value.
    pub link_type: u16,
    /// Frames were cut to this many bytes; 0 where the capture does not say.
    pub snaplen: u32,
    /// How time is counted.
    pub clock: Clock,
    /// The interface's name, where the capture has it.
    pub name: Option<String>,
}

impl Interface {
    /// How a frame begins; `None` for a link type that Peeltap does not read.
    pub fn link(&self) -> Option<Link> {
        link(self.link_type)
    }
}

/// Maps a LINKTYPE_ value (<https://www.tcpdump.org/linktypes.html>) to what the engine reads.
pub fn link(link_type: u16) -> Option<Link> {
    Some(match link_type {
        1 => Link::Ethernet,
        // 12 and 14 are DLT_RAW of several systems, written to files before LINKTYPE_RAW was.
        12 | 14 | 101 | 228 | 229 => Link::Raw,
        113 => Link::Sll,
        276 => Link::Sll2,
        0 | 108 => Link::Null,
        _ => return None,
    })
}

/// A link type for a person to read.
pub fn link_name(link_type: u16) -> String {
    let name = match link_type {
        0 => "BSD loopback",
        1 => "Ethernet",
        12 | 14 | 101 => "raw IP",
        108 => "OpenBSD loopback",
        113 => "Linux cooked v1",
        228 => "raw IPv4",
        229 => "raw IPv6",
        276 => "Linux cooked v2",
        other => return format!("link type {other}"),
    };
    format!("{name} ({link_type})")
}

/// How an interface counts time: ticks of a fraction of a second, from an offset.
///
/// pcapng: `if_tsresol` and `if_tsoffset` (draft-ietf-opsawg-pcapng section 4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// `if_tsresol` as in the file: a power of ten, or of two where the top bit is set.
    pub resolution: u8,
    /// Seconds to add.
    pub offset: i64,
}

impl Clock {
    /// Microseconds since the epoch.
    pub const MICROS: Clock = Clock {
        resolution: 6,
        offset: 0,
    };
    /// Nanoseconds since the epoch.
    pub const NANOS: Clock = Clock {
        resolution: 9,
        offset: 0,
    };

    /// Ticks a second; `None` where they do not fit 64 bits and so no packet could be dated.
    pub fn per_second(self) -> Option<u64> {
        let exponent = u32::from(self.resolution & 0x7f);
        if self.resolution & 0x80 == 0 {
            10u64.checked_pow(exponent)
        } else {
            1u64.checked_shl(exponent)
        }
    }

    /// Whether microseconds lose something of this clock.
    pub fn is_finer_than_micros(self) -> bool {
        // A power of two never divides 10^6 evenly beyond 2^6.
        if self.resolution & 0x80 == 0 {
            self.resolution > 6
        } else {
            self.resolution & 0x7f > 6
        }
    }

    /// The time of `ticks`, rounded down to the nanosecond; times before 1970 or after 2554 are
    /// brought to those ends.
    pub fn nanos(self, ticks: u64) -> Nanos {
        match (self.resolution, self.offset) {
            (9, 0) => ticks,
            (6, 0) => ticks.saturating_mul(1000),
            _ => {
                let per_second = i128::from(self.per_second().unwrap_or(u64::MAX));
                let ticks = i128::from(ticks);
                let second = i128::from(SECOND);
                let nanos = (ticks / per_second + i128::from(self.offset)) * second
                    + ticks % per_second * second / per_second;
                u64::try_from(nanos.max(0)).unwrap_or(u64::MAX)
            }
        }
    }

    /// The ticks of a time: the inverse of [`Clock::nanos`], rounded down.
    pub fn ticks(self, nanos: Nanos) -> u64 {
        let per_second = i128::from(self.per_second().unwrap_or(u64::MAX));
        let second = i128::from(SECOND);
        let nanos = i128::from(nanos) - i128::from(self.offset) * second;
        let ticks =
            nanos.div_euclid(second) * per_second + nanos.rem_euclid(second) * per_second / second;
        u64::try_from(ticks.max(0)).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clock_reads_every_resolution() {
        #[rustfmt::skip]
        let cases = [
            // resolution, offset,      ticks,                     nanoseconds,               finer than us
            (6,            0,  1_700_000_000_123_456,     1_700_000_000_123_456_000, false),
            (9,            0,  1_700_000_000_123_456_789, 1_700_000_000_123_456_789, true),
            (0,            0,  1_700_000_000,             1_700_000_000_000_000_000, false),
            (3,            0,  1_700_000_000_123,         1_700_000_000_123_000_000, false),
            (6,           -7,  8_000_000,                 1_000_000_000,             false),
            (6,  1_700_000_000, 123_456,                  1_700_000_000_123_456_000, false),
            (0x80 | 10,    0,  1024 + 512,                1_500_000_000,             true),
            (0x80 | 1,     0,  3,                         1_500_000_000,             false),
            (12,           0,  1_000_000_000_001,         1_000_000_000,             true),
            (6,         -100,  0,                         0,                         false),
        ];
        for (resolution, offset, ticks, nanos, finer) in cases {
            let clock = Clock { resolution, offset };
            assert_eq!(clock.nanos(ticks), nanos, "{clock:?} {ticks}");
            assert_eq!(clock.is_finer_than_micros(), finer, "{clock:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn decimal_clocks_up_to_nanoseconds_lose_nothing(
            resolution in 0u8..=9, offset in -1_000i64..1_000_000, seconds in 2_000u64..4_000_000_000, part: u64,
        ) {
            let clock = Clock { resolution, offset };
            let per_second = clock.per_second().unwrap();
            let ticks = seconds * per_second + part % per_second;
            proptest::prop_assert_eq!(clock.ticks(clock.nanos(ticks)), ticks);
        }

        #[test]
        fn no_clock_panics(resolution: u8, offset: i64, value: u64) {
            let clock = Clock { resolution, offset };
            clock.nanos(value);
            clock.ticks(value);
        }
    }
}
