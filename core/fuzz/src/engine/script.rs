//! Scripts: how an input's bytes become a configuration and a sequence of frames and waits.
//!
//! Six bytes of settings, then operations until the bytes are used up; what is missing reads as 0.
//!
//! | byte | settings                                                                            |
//! |------|-------------------------------------------------------------------------------------|
//! | 0    | bits: restore, midstream drop, other drop, segment, depth 2, required, both: announce |
//! | 1    | which limits ([`LIMITS`])                                                           |
//! | 2    | bits 0-2 link type, bits 4-5 VLAN tags                                              |
//! | 3    | which ISN ([`ISNS`])                                                                |
//! | 4, 5 | the first connection's stream ([`STREAMS`]), and the step to the next one's         |
//!
//! An operation's byte: bits 0-2 say what, bits 3-7 how many milliseconds later.
//!
//! | what | then                                                                                |
//! |------|-------------------------------------------------------------------------------------|
//! | 0-3  | a segment: [`Player::segment`]                                                      |
//! | 4    | connection: a whole handshake                                                       |
//! | 5    | bits 0-3 pieces, 4 reversed, 5 one missing, 6 one twice; a segment: as fragments    |
//! | 6    | connection and bit 3 direction, bit 4 from a router, 5 wrong sum; quoted bytes; a seq |
//! | 7    | 0-119: tenths of a second pass; 120-123: the clock leaps on, -127: back; else a frame:   |
//! |      | length, length on the wire (2 bytes each), bytes                                    |

use std::fmt;

use peeltap_core::engine::{Checksum, Link, Meta, Nanos};

use super::super::wire::LINKS;
use super::frames::{self, Packet, Sum};
use super::setting::{Limits, LIMITS, TUPLES};
use super::streams::{Stream, STREAMS};

/// A client's initial sequence numbers: none of note, and just before each wrap.
const ISNS: [u32; 4] = [1000, u32::MAX - 20, u32::MAX, 0x7fff_fff0];

/// The server's.
const SERVER_ISN: u32 = 0xffff_ff00;

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const PSH: u8 = 8;
const ACK: u8 = 16;
const URG: u8 = 32;

const BEGIN: Nanos = 1_767_225_600_000_000_000;
const MILLI: Nanos = 1_000_000;

/// The most frames and waits: what they could lead to, fewer lead to sooner.
const MOST: usize = 120;

/// Payload bytes after which a script's segments stay small.
const MOST_BYTES: usize = 20_000;

/// A frame to push.
pub struct Input {
    pub meta: Meta,
    pub frame: Vec<u8>,
    /// Which of [`TUPLES`] it was made for.
    pub tuple: Option<usize>,
    pub to_server: bool,
    /// Whether it carries the stream's own bytes at their own place, so that what is checked of the
    /// connection's stream holds.
    pub honest: bool,
    /// Offset in the client's stream of what it carries or acknowledges, and its payload's length.
    pub offset: i64,
    pub len: usize,
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arrow = if self.to_server { "c>s" } else { "s>c" };
        let (offset, len) = (self.offset, self.len);
        let millis = self.meta.ts as i64 / MILLI as i64 - BEGIN as i64 / MILLI as i64;
        write!(
            f,
            "{millis} ms, {:?} {arrow} {offset} +{len}, {:?}: ",
            self.tuple, self.meta
        )?;
        self.frame
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// One step of a script.
#[derive(Debug)]
pub enum Step {
    Push(Input),
    Advance(Nanos),
}

/// A script, decoded.
pub struct Script {
    pub flags: u8,
    pub limits: Limits,
    pub depth: usize,
    pub streams: [usize; TUPLES.len()],
    /// Whether the clock is set somewhere.
    pub leaps: bool,
    pub steps: Vec<Step>,
}

impl Script {
    pub fn stream(&self, tuple: usize) -> &'static Stream {
        &STREAMS[self.streams[tuple]]
    }

    /// The sequence number of offset 0 of every client's stream.
    pub fn first_seq(data: &[u8]) -> u32 {
        let isn = ISNS[usize::from(*data.get(3).unwrap_or(&0)) % ISNS.len()];
        isn.wrapping_add(1)
    }

    /// Plays the bytes.
    pub fn new(data: &[u8]) -> Script {
        let mut player = Player::new(data);
        while !player.bytes.is_empty() && player.script.steps.len() < MOST {
            player.operation();
        }
        player.script
    }
}

/// Where a connection's ends are, as the natural next packet would have it.
#[derive(Clone, Copy, Default)]
struct Progress {
    client: i64,
    server: i64,
}

struct Player<'a> {
    bytes: &'a [u8],
    script: Script,
    link: Link,
    vlans: usize,
    first: u32,
    now: Nanos,
    id: u16,
    progress: [Progress; TUPLES.len()],
    /// Payload bytes so far.
    spent: usize,
}

/// A segment and what is done to its frame.
struct Made {
    packet: Packet,
    input: Input,
    extras: u16,
}

impl<'a> Player<'a> {
    fn new(data: &'a [u8]) -> Player<'a> {
        let setting = |at: usize| usize::from(*data.get(at).unwrap_or(&0));
        let kind = |tuple: usize| (setting(4) + tuple * setting(5)) % STREAMS.len();
        Player {
            bytes: data.get(6..).unwrap_or_default(),
            script: Script {
                flags: setting(0) as u8,
                limits: LIMITS[setting(1) % LIMITS.len()],
                depth: 1 + (setting(0) >> 4 & 1),
                streams: std::array::from_fn(kind),
                leaps: false,
                steps: Vec::new(),
            },
            link: LINKS[(setting(2) & 7) % LINKS.len()],
            vlans: (setting(2) >> 4 & 3).min(2),
            first: Script::first_seq(data),
            now: BEGIN,
            id: 0,
            progress: [Progress::default(); TUPLES.len()],
            spent: 0,
        }
    }

    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.bytes.split_first() else {
            return 0;
        };
        self.bytes = rest;
        *first
    }

    fn word(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    fn operation(&mut self) {
        let operation = self.byte();
        self.now += u64::from(operation >> 3) * MILLI;
        match operation & 7 {
            0..=3 => {
                let made = self.segment();
                self.send(made);
            }
            4 => self.handshake(),
            5 => self.fragments(),
            6 => self.icmp(),
            _ => match self.byte() {
                tenths @ 0..120 => {
                    self.now += u64::from(tenths) * 100 * MILLI;
                    self.script.steps.push(Step::Advance(self.now));
                }
                leap @ 120..128 => self.leap(leap),
                _ => self.raw(),
            },
        }
    }

    /// The clock is set: by a minute and a half, a day, a decade, or to somewhere impossible.
    fn leap(&mut self, leap: u8) {
        let seconds = [90, 86_400, 300_000_000, 1 << 33][usize::from(leap & 3)];
        let nanos = seconds * 1000 * MILLI;
        self.now = if leap < 124 {
            self.now.saturating_add(nanos).min(u64::MAX / 2)
        } else {
            self.now.saturating_sub(nanos)
        };
        self.script.leaps = true;
    }

    /// A frame of the script's own bytes.
    fn raw(&mut self) {
        let (len, wire) = (usize::from(self.word()), self.word());
        let (frame, rest) = self.bytes.split_at(len.min(self.bytes.len()));
        self.bytes = rest;
        let mut input = self.input(None, true);
        input.frame = frame.to_vec();
        input.meta.orig_len = u32::from(wire).max(frame.len() as u32);
        input.honest = false;
        self.script.steps.push(Step::Push(input));
    }

    fn input(&self, tuple: Option<usize>, to_server: bool) -> Input {
        let meta = Meta {
            ts: self.now,
            orig_len: 0,
            link: self.link,
            checksum: Checksum::Unknown,
            gso_size: 0,
        };
        Input {
            meta,
            frame: Vec::new(),
            tuple,
            to_server,
            honest: true,
            offset: 0,
            len: 0,
        }
    }

    fn packet(&mut self, tuple: usize, to_server: bool) -> Packet {
        self.id = self.id.wrapping_add(1);
        let ends = &TUPLES[tuple];
        let client = (ends.client.to_vec(), ends.client_port);
        let server = (ends.server.to_vec(), ends.server_port);
        let (src, dst) = if to_server {
            (client, server)
        } else {
            (server, client)
        };
        Packet {
            src: src.0,
            dst: dst.0,
            ports: (src.1, dst.1),
            seq: 0,
            ack: 0,
            flags: ACK,
            window: 500,
            urgent: 0,
            options: Vec::new(),
            payload: Vec::new(),
            id: self.id,
            extended: false,
            no_length: false,
            sum: Sum::Good,
        }
    }

    fn client_seq(&self, offset: i64) -> u32 {
        self.first.wrapping_add(offset as u32)
    }

    fn server_seq(offset: i64) -> u32 {
        SERVER_ISN.wrapping_add(1).wrapping_add(offset as u32)
    }

    /// SYN, SYN/ACK, ACK.
    fn handshake(&mut self) {
        let tuple = usize::from(self.byte()) % TUPLES.len();
        for (to_server, flags) in [(true, SYN), (false, SYN | ACK), (true, ACK)] {
            let mut packet = self.packet(tuple, to_server);
            packet.flags = flags;
            let back = i64::from(flags & SYN != 0);
            let (client, server) = (self.client_seq(0), Self::server_seq(0));
            if to_server {
                packet.seq = client.wrapping_sub(back as u32);
                packet.ack = if flags == SYN { 0 } else { server };
            } else {
                packet.seq = server.wrapping_sub(back as u32);
                packet.ack = client;
            }
            if flags & SYN != 0 {
                packet.options = vec![2, 4, 2, 88];
            }
            let input = self.input(Some(tuple), to_server);
            self.send(Made {
                packet,
                input,
                extras: 0,
            });
        }
    }

    /// A segment: four bytes, and two more where bit 7 of the first is set.
    ///
    /// 1. bits 0-2 connection, 3 direction, 4 wrong bytes, 5-6 checksum (2 good, pseudo, bad), 7 extras
    /// 2. bits 0-5 flags, 6-7 where: next, near the headers' end (1 byte), anywhere (2), far away (2)
    /// 3. the acknowledgement: 0 the other end's next, 1-127 that offset, else that one +- 64
    /// 4. payload bytes; from 240 on, thousands
    fn segment(&mut self) -> Made {
        let (first, second) = (self.byte(), self.byte());
        let tuple = usize::from(first & 7);
        let to_server = first & 8 == 0;
        let stream = self.script.stream(tuple);
        let progress = self.progress[tuple];
        let natural = if to_server {
            progress.client
        } else {
            progress.server
        };
        let offset = match second >> 6 {
            0 => natural,
            1 => stream.clear() + i64::from(self.byte() as i8),
            2 => i64::from(self.word() as i16),
            _ => i64::from(self.word()) << 16,
        };
        let other = if to_server {
            progress.server
        } else {
            progress.client
        };
        let acked = match self.byte() {
            0 => other,
            near @ 1..128 => i64::from(near),
            far => other + i64::from(far) - 192,
        };
        let len = match self.byte() {
            short @ 0..240 => usize::from(short),
            _ if self.spent > MOST_BYTES => 240,
            long => (usize::from(long) - 239) * 1000,
        };
        self.spent += len;

        let mut packet = self.packet(tuple, to_server);
        packet.flags = second & 0x3f;
        let syn = i64::from(packet.flags & SYN != 0);
        let mut input = self.input(Some(tuple), to_server);
        input.len = len;
        if to_server {
            packet.seq = self.client_seq(offset - syn);
            packet.ack = Self::server_seq(acked);
            packet.payload = stream.slice(offset, len);
            input.offset = offset;
        } else {
            packet.seq = Self::server_seq(offset - syn);
            packet.ack = self.client_seq(acked);
            packet.payload = (0..len).map(|at| at as u8 | 0x80).collect();
            input.offset = acked;
        }
        if first & 16 != 0 {
            packet
                .payload
                .iter_mut()
                .step_by(3)
                .for_each(|byte| *byte ^= 0x20);
            input.honest &= !to_server || len == 0;
        }
        packet.sum = match first >> 5 & 3 {
            2 => Sum::Pseudo,
            3 => Sum::Bad,
            _ => Sum::Good,
        };
        // A second way in: the client's SYN anywhere but at its place is another use of the ports.
        input.honest &= !to_server || syn == 0 || offset == 0;
        input.honest &= (-1..1 << 20).contains(&offset) || !to_server;
        let end = offset + len as i64 + i64::from(packet.flags & FIN != 0);
        let next = if to_server {
            &mut self.progress[tuple].client
        } else {
            &mut self.progress[tuple].server
        };
        if packet.flags & RST == 0 && end > *next && end < 1 << 20 {
            *next = end;
        }
        let extras = if first & 0x80 != 0 { self.word() } else { 0 };
        self.tcp_extras(extras, &mut packet, &mut input);
        Made {
            packet,
            input,
            extras,
        }
    }

    /// What else may be odd about a segment: its options (bits 0-2), URG with a pointer (3), a window
    /// of 0 (4), IP options (5), lengths of 0 (6), a partial checksum known as such (7), a segment size
    /// known (8).
    fn tcp_extras(&mut self, extras: u16, packet: &mut Packet, input: &mut Input) {
        let edge = |player: &mut Self| {
            let offset = i64::from(player.byte());
            player.client_seq(offset)
        };
        packet.options = match extras & 7 {
            1 => vec![1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2],
            kind @ 2..=3 => {
                let blocks = if kind == 2 { 1 } else { 3 };
                let mut options = vec![1, 1, 5, 2 + 8 * blocks];
                for _ in 0..2 * blocks {
                    options.extend(edge(self).to_be_bytes());
                }
                options
            }
            4 => [&[1, 1, 19, 18][..], &[7; 16]].concat(),
            5 => [&[29, 8, 1, 2][..], &[7; 4]].concat(),
            6 => vec![2, 4, 0, self.byte()],
            7 => vec![self.byte(), self.byte(), self.byte(), self.byte()],
            _ => Vec::new(),
        };
        if extras & 1 << 3 != 0 {
            packet.flags |= URG;
            packet.urgent = u16::from(self.byte());
        }
        if extras & 1 << 4 != 0 {
            packet.window = 0;
        }
        packet.extended = extras & 1 << 5 != 0;
        packet.no_length = extras & 1 << 6 != 0;
        if extras & 1 << 7 != 0 {
            input.meta.checksum = Checksum::Partial;
            packet.sum = Sum::Pseudo;
        }
        if extras & 1 << 8 != 0 {
            input.meta.gso_size = u16::from(self.byte()) * 8;
        }
    }

    fn vlan_ids(&self, other: bool) -> Vec<u16> {
        let first = if other { 0x2065 } else { 0x0064 };
        [first, 7][..self.vlans].to_vec()
    }

    /// The frame of a segment: in another VLAN (bit 9), padded (10), cut by a snap length (11), with
    /// two bytes changed (12), another IP version's EtherType or address family (13).
    fn send(&mut self, made: Made) {
        let Made {
            packet,
            mut input,
            extras,
        } = made;
        let mut bytes = packet.ip();
        if extras & 1 << 10 != 0 && !packet.no_length {
            bytes.extend([0; 6]);
        }
        let other = extras & 1 << 9 != 0;
        input.honest &= !(other && self.vlans > 0 && self.link == Link::Ethernet);
        input.frame = frames::frame(self.link, &self.vlan_ids(other), &bytes);
        input.meta.orig_len = input.frame.len() as u32;
        if extras & 1 << 11 != 0 {
            let len = usize::from(self.byte());
            input.frame.truncate(len);
            input.honest &= packet.flags & SYN == 0;
        }
        if extras & 1 << 12 != 0 {
            for _ in 0..2 {
                let (at, change) = (usize::from(self.byte()), self.byte());
                if let Some(byte) = input.frame.get_mut(at) {
                    *byte ^= change;
                }
            }
            input.honest = false;
        }
        self.script.steps.push(Step::Push(input));
    }

    /// A segment in fragments.
    fn fragments(&mut self) {
        let how = self.byte();
        let Made {
            packet,
            mut input,
            extras,
        } = self.segment();
        let tcp = packet.tcp();
        let count = usize::from(how & 15) + 1;
        let size = (tcp.len() / count).next_multiple_of(8).max(8);
        let mut places: Vec<usize> = (0..tcp.len()).step_by(size).collect();
        if how & 1 << 4 != 0 {
            places.reverse();
        }
        if how & 1 << 5 != 0 {
            places.pop();
        }
        if how & 1 << 6 != 0 {
            places.extend(places.first().copied());
        }
        input.honest &= packet.flags & SYN == 0;
        let vlans = self.vlan_ids(false);
        for at in places {
            let end = (at + size).min(tcp.len());
            let (src, dst, extended) = (&packet.src, &packet.dst, extras & 1 << 5 != 0);
            let place = Some((at, end < tcp.len()));
            let bytes = frames::ip(src, dst, 6, packet.id, extended, place, &tcp[at..end]);
            let frame = frames::frame(self.link, &vlans, &bytes);
            let meta = Meta {
                orig_len: frame.len() as u32,
                ..input.meta
            };
            self.script.steps.push(Step::Push(Input {
                frame,
                meta,
                ..input
            }));
        }
    }

    /// An ICMP error about a packet of a connection.
    fn icmp(&mut self) {
        let how = self.byte();
        let quoted = usize::from(self.byte());
        let offset = i64::from(self.byte()) - 64;
        let (tuple, to_server) = (usize::from(how & 7), how & 8 == 0);
        let mut packet = self.packet(tuple, to_server);
        let mut input = self.input(Some(tuple), !to_server);
        let stream = self.script.stream(tuple);
        if to_server {
            packet.seq = self.client_seq(offset);
            packet.payload = stream.slice(offset, 40);
        } else {
            packet.ack = self.client_seq(offset);
            packet.payload = vec![0x80; 40];
        }
        packet.flags |= PSH;
        input.offset = offset;
        let mut quote = packet.ip();
        quote.truncate(quoted);
        let router: &[u8] = match (how & 1 << 4 != 0, packet.src.len()) {
            (false, _) => &packet.dst,
            (true, 4) => &[192, 0, 2, 1],
            (true, _) => &[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9],
        };
        let bytes = frames::icmp_error(router, &packet.src, &quote, how & 1 << 5 == 0);
        input.frame = frames::frame(self.link, &self.vlan_ids(false), &bytes);
        input.meta.orig_len = input.frame.len() as u32;
        self.script.steps.push(Step::Push(input));
    }
}
