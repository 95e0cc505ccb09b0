//! 5-tuple -> connection: the bounded table.
//!
//! Two pools: connections, and a smaller one for half-open entries, so that a SYN flood evicts only
//! half-open ones. A full pool gives up the oldest of a few entries picked at random, which needs no
//! list through the entries; expiry walks the pool a few entries at a time.

use std::hash::{Hash, Hasher};

use ahash::RandomState;
use hashbrown::HashTable;

use crate::connection::{Connection, State};
use crate::wire::be32;
use crate::wire::ip::{is_mapped, v4};
use crate::wire::packet::Segment;

/// Observed 5-tuple and VLAN ids, the same for both directions: the lower (address, port) first.
///
/// Words 0-1 and 2-3 are the addresses (IPv4 as IPv4-mapped), word 4 both ports and both VLAN tags.
#[derive(Clone, Copy, Debug, Eq)]
pub struct Key([u64; 5]);

impl PartialEq for Key {
    /// By words, without a branch: the derived comparison calls memcmp, on the hottest path there is.
    #[inline(always)]
    fn eq(&self, other: &Key) -> bool {
        let (a, b) = (&self.0, &other.0);
        (a[0] ^ b[0]) | (a[1] ^ b[1]) | (a[2] ^ b[2]) | (a[3] ^ b[3]) | (a[4] ^ b[4]) == 0
    }
}

/// Set in the outer VLAN word of IPv6 connections: an IPv4-mapped address on an IPv6 wire is not the
/// IPv4 address.
const V6: u16 = 0x8000;

impl Key {
    /// The key of a segment, and whether its source is the lower end.
    #[inline(always)]
    #[must_use]
    pub fn of(segment: &Segment, frame: &[u8]) -> (Key, bool) {
        let ip = &segment.ip;
        let (src_port, dst_port) = (segment.src_port(frame), segment.dst_port(frame));
        if ip.v6 {
            let (src, dst) = ip.addresses(frame);
            return Key::new((src, src_port), (dst, dst_port), segment.vlan, true);
        }
        let src = u64::from(be32(frame, ip.l3 + v4::SRC));
        let dst = u64::from(be32(frame, ip.l3 + v4::DST));
        let from_low = (src << 16 | u64::from(src_port)) <= (dst << 16 | u64::from(dst_port));
        let (low, high) = if from_low { (src, dst) } else { (dst, src) };
        let ports = if from_low {
            (src_port, dst_port)
        } else {
            (dst_port, src_port)
        };
        const MAPPED: u64 = 0xffff_0000_0000;
        (
            Key([
                0,
                MAPPED | low,
                0,
                MAPPED | high,
                word4(ports, segment.vlan, false),
            ]),
            from_low,
        )
    }

    /// The key of two ends, and whether the first is the lower one.
    #[must_use]
    pub fn new(
        src: ([u8; 16], u16),
        dst: ([u8; 16], u16),
        vlan: [u16; 2],
        ipv6: bool,
    ) -> (Key, bool) {
        let from_low = src <= dst;
        let (low, high) = if from_low { (src, dst) } else { (dst, src) };
        let half = |address: &[u8; 16], at: usize| {
            u64::from_be_bytes(address[at..at + 8].try_into().expect("8 bytes"))
        };
        let words = [
            half(&low.0, 0),
            half(&low.0, 8),
            half(&high.0, 0),
            half(&high.0, 8),
            word4((low.1, high.1), vlan, ipv6),
        ];
        (Key(words), from_low)
    }

    /// Whether the connection runs over IPv6.
    #[must_use]
    pub fn is_v6(&self) -> bool {
        (self.0[4] >> 16) as u16 & V6 != 0
    }

    /// The lower end, or the higher one: address and port.
    #[must_use]
    pub fn end(&self, low: bool) -> ([u8; 16], u16) {
        let at = if low { 0 } else { 2 };
        let mut address = [0; 16];
        address[..8].copy_from_slice(&self.0[at].to_be_bytes());
        address[8..].copy_from_slice(&self.0[at + 1].to_be_bytes());
        (address, (self.0[4] >> if low { 48 } else { 32 }) as u16)
    }

    /// VLAN ids, outermost first.
    pub fn vlans(&self) -> impl Iterator<Item = u16> {
        let words = [(self.0[4] >> 16) as u16, self.0[4] as u16];
        words
            .into_iter()
            .filter(|word| word & 0x1000 != 0)
            .map(|word| word & 0x0fff)
    }

    /// All words, for an identifier made from them.
    #[must_use]
    pub fn words(&self) -> [u64; 5] {
        self.0
    }

    /// The key of these words, if they are one's: a key that [`Key::of`] never gives would never be
    /// found again.
    #[must_use]
    pub fn from_words(words: [u64; 5]) -> Option<Key> {
        let key = Key(words);
        let (low, high) = (key.end(true), key.end(false));
        let fits = key.is_v6() || (is_mapped(&low.0) && is_mapped(&high.0));
        (fits && low <= high).then_some(key)
    }
}

fn word4(ports: (u16, u16), vlan: [u16; 2], ipv6: bool) -> u64 {
    let outer = vlan[0] | if ipv6 { V6 } else { 0 };
    u64::from(ports.0) << 48
        | u64::from(ports.1) << 32
        | u64::from(outer) << 16
        | u64::from(vlan[1])
}

impl Hash for Key {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        if self.is_v6() {
            for word in self.0 {
                state.write_u64(word);
            }
        } else {
            state.write_u64(self.0[1] << 32 | self.0[3] & 0xffff_ffff);
            state.write_u64(self.0[4]);
        }
    }
}

/// Names an entry until it is removed or promoted. The top bit tells the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id(u32);

const HALF_OPEN: u32 = 0x8000_0000;

impl Id {
    /// Whether the entry lies in the half-open pool.
    #[inline(always)]
    #[must_use]
    pub fn is_half_open(self) -> bool {
        self.0 & HALF_OPEN != 0
    }

    #[inline(always)]
    fn slot(self) -> usize {
        (self.0 & !HALF_OPEN) as usize
    }
}

struct Pool {
    bit: u32,
    capacity: usize,
    slots: Vec<Connection>,
    free: Vec<u32>,
    /// Where the next sweep goes on.
    hand: usize,
}

impl Pool {
    fn new(bit: u32, capacity: usize) -> Pool {
        // Reserved whole: pages that are never used cost nothing, and the table never has to be
        // copied while packets wait.
        Pool {
            bit,
            capacity,
            slots: Vec::with_capacity(capacity),
            free: Vec::new(),
            hand: 0,
        }
    }

    fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    fn put(&mut self, connection: Connection) -> Id {
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = connection;
                slot
            }
            None => {
                self.slots.push(connection);
                self.slots.len() as u32 - 1
            }
        };
        Id(slot | self.bit)
    }

    fn take(&mut self, slot: usize) -> Connection {
        self.free.push(slot as u32);
        std::mem::replace(&mut self.slots[slot], Connection::vacant())
    }
}

/// The table.
pub struct Tracker {
    index: HashTable<Id>,
    hash: RandomState,
    open: Pool,
    half_open: Pool,
    random: u64,
    /// The most entries there were at once.
    peak: usize,
}

/// How many entries are compared when one has to go.
const SAMPLE: usize = 8;

impl Tracker {
    /// A table of at most `connections` entries and `half_open` half-open ones, each below 2^31.
    #[must_use]
    pub fn new(connections: usize, half_open: usize) -> Tracker {
        Tracker {
            index: HashTable::new(),
            // Keyed at random: tuples are chosen by attackers.
            hash: RandomState::new(),
            open: Pool::new(0, connections),
            half_open: Pool::new(HALF_OPEN, half_open),
            random: 0x9e37_79b9_7f4a_7c15,
            peak: 0,
        }
    }

    /// How many connections are tracked, half-open ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.open.len() + self.half_open.len()
    }

    /// Whether nothing is tracked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many half-open connections are tracked.
    #[must_use]
    pub fn half_open(&self) -> usize {
        self.half_open.len()
    }

    /// The most connections that were tracked at once.
    #[must_use]
    pub fn peak(&self) -> usize {
        self.peak
    }

    /// Bytes that one tracked connection costs, the index included, at the table's largest.
    #[must_use]
    pub fn bytes_per_connection(&self) -> f64 {
        // hashbrown: buckets are a power of two and at most 7/8 full; one control byte a bucket.
        let capacity = self.index.capacity();
        let buckets = if capacity < 8 {
            8
        } else {
            (capacity * 8 / 7).next_power_of_two()
        };
        let index = buckets * (std::mem::size_of::<Id>() + 1);
        std::mem::size_of::<Connection>() as f64 + index as f64 / self.peak.max(1) as f64
    }

    /// The entry of a key.
    #[inline(always)]
    #[must_use]
    pub fn find(&self, key: &Key) -> Option<Id> {
        let hash = self.hash.hash_one(key);
        self.index
            .find(hash, |id| self.get(*id).key == *key)
            .copied()
    }

    /// An entry.
    #[inline(always)]
    #[must_use]
    pub fn get(&self, id: Id) -> &Connection {
        let pool = if id.is_half_open() {
            &self.half_open
        } else {
            &self.open
        };
        &pool.slots[id.slot()]
    }

    /// An entry, to change.
    #[inline(always)]
    pub fn get_mut(&mut self, id: Id) -> &mut Connection {
        let pool = if id.is_half_open() {
            &mut self.half_open
        } else {
            &mut self.open
        };
        &mut pool.slots[id.slot()]
    }

    /// The entry that has to go before another fits in, if the pool is full.
    pub fn victim(&mut self, half_open: bool, now: u64) -> Option<Id> {
        let pool = if half_open {
            &self.half_open
        } else {
            &self.open
        };
        if pool.len() < pool.capacity {
            return None;
        }
        let mut oldest: Option<(u64, usize)> = None;
        for _ in 0..SAMPLE {
            // xorshift64 (Marsaglia): spread, not secrecy, is wanted here.
            self.random ^= self.random << 13;
            self.random ^= self.random >> 7;
            self.random ^= self.random << 17;
            let slot = (self.random % pool.slots.len() as u64) as usize;
            let connection = &pool.slots[slot];
            // A full pool has no vacant slot but those of the moment.
            if connection.state == State::Vacant {
                continue;
            }
            let closed = if connection.is_closed() {
                u64::MAX / 2
            } else {
                0
            };
            let age = now
                .saturating_sub(connection.last_seen())
                .saturating_add(closed);
            if oldest.is_none_or(|(most, _)| age > most) {
                oldest = Some((age, slot));
            }
        }
        let slot = match oldest {
            Some((_, slot)) => slot,
            None => pool.slots.iter().position(|c| c.state != State::Vacant)?,
        };
        Some(Id(slot as u32 | pool.bit))
    }

    /// Adds a connection whose key is not in the table yet. The caller made room with [`victim`].
    ///
    /// [`victim`]: Tracker::victim
    pub fn insert(&mut self, connection: Connection, half_open: bool) -> Id {
        let hash = self.hash.hash_one(connection.key);
        let id = if half_open {
            &mut self.half_open
        } else {
            &mut self.open
        }
        .put(connection);
        self.peak = self.peak.max(self.len());
        let Tracker {
            index,
            hash: state,
            open,
            half_open,
            ..
        } = self;
        index.insert_unique(hash, id, |id| {
            let pool: &Pool = if id.is_half_open() { half_open } else { open };
            state.hash_one(pool.slots[id.slot()].key)
        });
        id
    }

    /// Takes an entry out.
    pub fn remove(&mut self, id: Id) -> Connection {
        let hash = self.hash.hash_one(self.get(id).key);
        if let Ok(entry) = self.index.find_entry(hash, |other| *other == id) {
            entry.remove();
        }
        let pool = if id.is_half_open() {
            &mut self.half_open
        } else {
            &mut self.open
        };
        pool.take(id.slot())
    }

    /// Moves a half-open entry among the connections; the caller made room there.
    pub fn promote(&mut self, id: Id) -> Id {
        let connection = self.remove(id);
        self.insert(connection, false)
    }

    /// Visits the next `count` slots of each pool, in turn over the whole pool, and returns those
    /// whose entry `wanted` names.
    pub fn sweep(
        &mut self,
        count: usize,
        mut wanted: impl FnMut(&Connection, bool) -> bool,
    ) -> Vec<Id> {
        let mut found = Vec::new();
        for pool in [&mut self.open, &mut self.half_open] {
            for _ in 0..count.min(pool.slots.len()) {
                if pool.hand >= pool.slots.len() {
                    pool.hand = 0;
                }
                let connection = &pool.slots[pool.hand];
                if connection.state != State::Vacant && wanted(connection, pool.bit != 0) {
                    found.push(Id(pool.hand as u32 | pool.bit));
                }
                pool.hand += 1;
            }
        }
        found
    }

    /// Whether a pool has room for one more.
    #[must_use]
    pub fn has_room(&self, half_open: bool) -> bool {
        let pool = if half_open {
            &self.half_open
        } else {
            &self.open
        };
        pool.len() < pool.capacity
    }

    /// Shows the entries among the next `count` slots of one pool, from slot `at` on, until `visit`
    /// says that it is enough; where to go on, or `None` at the pool's end.
    #[must_use]
    pub fn walk(
        &self,
        half_open: bool,
        at: usize,
        count: usize,
        mut visit: impl FnMut(&Connection) -> bool,
    ) -> Option<usize> {
        let pool = if half_open {
            &self.half_open
        } else {
            &self.open
        };
        let end = at.saturating_add(count).min(pool.slots.len());
        for slot in at..end {
            let connection = &pool.slots[slot];
            if connection.state != State::Vacant && !visit(connection) {
                return Some(slot + 1);
            }
        }
        (end < pool.slots.len()).then_some(end)
    }

    /// All entries, with when they began.
    #[must_use]
    pub fn all(&self) -> Vec<(u64, Id)> {
        let mut found = Vec::with_capacity(self.len());
        for pool in [&self.open, &self.half_open] {
            for (slot, connection) in pool.slots.iter().enumerate() {
                if connection.state != State::Vacant {
                    found.push((connection.start, Id(slot as u32 | pool.bit)));
                }
            }
        }
        found
    }
}
