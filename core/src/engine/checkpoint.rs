//! Checkpoints: what a restarted engine has to know of the connections that began before it.
//!
//! A checkpoint is taken in pieces, a part of the table at a time, so that packets need not wait for
//! all of it: [`Engine::checkpoint_begin`], then [`Engine::checkpoint_some`] until it has no more. A
//! full one holds every connection; the others those that had a packet since the last one began,
//! which the time of their last packet tells: the way of packets does nothing for checkpoints.
//!
//! What was removed since is not told. Where it is read again, an entry counts by its age at the
//! checkpoint's end, so those that had ended or were silent go by the limits by which they went here.
//! What comes back nevertheless, an entry that made room for another, makes its record twice, with
//! the same identifier.
//!
//! Packets that wait are not kept. A handshake that waited is just gone, and the header may come yet.
//! Where a part of the header was among them, it will never be whole: verdict `incomplete`, as after
//! [`Engine::finish`], with which a clean stop lets these packets go.
//!
//! A piece: magic, version, length of all that follows, time of the checkpoint, before when entries are
//! of unknown owners, names of codecs, number of entries, entries ([`saved`]), CRC-32C of all before.
//! A checkpoint is its pieces, one behind the other, and so are several checkpoints.

use std::fmt;

use crate::connection::saved::{self, put_number, Reader};
use crate::connection::{fact, Connection, State};
use crate::header::Codec;
use crate::tracker::Id;

use super::stats::Event;
use super::{nanos, Engine, Nanos};

const MAGIC: &[u8; 4] = b"PTCK";
const VERSION: u8 = 1;
/// Magic, version, length.
const FRONT: usize = 9;
const CHECKSUM: usize = 4;

/// A piece ends early beyond this: its entries may have headers of half a megabyte each.
const PIECE_BYTES: usize = 4 << 20;

/// Packets of several queues come slightly out of order, and old connections count time coarsely.
const SLACK: Nanos = 1_000_000_000;

/// Why a checkpoint was refused. None of it was taken over then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckpointError {
    /// It does not begin as one.
    Foreign,
    /// It was written by another version of this program.
    Version(u8),
    /// It is cut.
    Cut,
    /// Its checksum is wrong.
    Checksum,
    /// What it says cannot be.
    Content(saved::Fault),
}

impl fmt::Display for CheckpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CheckpointError::Foreign => f.write_str("this is no checkpoint"),
            CheckpointError::Version(version) => write!(
                f,
                "the checkpoint has version {version}; this program knows {VERSION}"
            ),
            CheckpointError::Cut => f.write_str("the checkpoint is cut"),
            CheckpointError::Checksum => {
                f.write_str("the checkpoint is damaged: its checksum is wrong")
            }
            CheckpointError::Content(fault) => write!(f, "the checkpoint is damaged: {fault}"),
        }
    }
}

impl std::error::Error for CheckpointError {}

impl From<saved::Fault> for CheckpointError {
    fn from(fault: saved::Fault) -> CheckpointError {
        CheckpointError::Content(fault)
    }
}

/// A checkpoint that is under way.
struct Walk {
    /// When it began.
    begun: Nanos,
    /// Entries are taken whose last packet came at this time or later.
    since: Nanos,
    /// Which pool, and from which slot on.
    half_open: bool,
    at: usize,
}

/// What the engine remembers of checkpoints.
#[derive(Default)]
pub(super) struct Checkpoints {
    walk: Option<Walk>,
    /// When the last complete one began; 0 asks for all, as the clock's steps do.
    last: Nanos,
    /// Entries last seen before this may be another worker's.
    unowned_before: Nanos,
    /// When the newest checkpoint was taken from which this engine resumed.
    resumed: Option<Nanos>,
}

impl Checkpoints {
    /// The clock was set: times before it and behind it cannot be compared.
    pub(super) fn forget(&mut self) {
        self.last = 0;
        if let Some(walk) = &mut self.walk {
            (walk.since, walk.begun) = (0, 0);
        }
    }
}

impl Engine {
    /// Begins a checkpoint of all connections, or of those that changed since the last one that was
    /// taken to its end. One that is under way is given up. Who loses a piece asks for a full one.
    pub fn checkpoint_begin(&mut self, full: bool) {
        self.checkpoints.walk = Some(Walk {
            begun: self.clock.now,
            since: if full {
                0
            } else {
                self.checkpoints.last.saturating_sub(SLACK)
            },
            // Entries are promoted from here to there, never back: none of them is missed.
            half_open: true,
            at: 0,
        });
    }

    /// The next piece, from up to `slots` slots of the table; empty if nothing there changed, `None`
    /// when the checkpoint is complete.
    pub fn checkpoint_some(&mut self, slots: usize) -> Option<Vec<u8>> {
        let walk = self.checkpoints.walk.as_mut()?;
        let (half_open, since, clock) = (walk.half_open, walk.since, self.clock);
        let age = clock.now.saturating_sub(since);
        let mut count = 0u32;
        let mut entries = Vec::new();
        let next = self.tracker.walk(half_open, walk.at, slots, |connection| {
            if since == 0 || clock.silence(connection.last_seen()) <= age {
                count += 1;
                saved::emit(&mut entries, connection, half_open);
            }
            entries.len() < PIECE_BYTES
        });
        match next {
            Some(at) => walk.at = at,
            None if half_open => (walk.half_open, walk.at) = (false, 0),
            None => {
                self.checkpoints.last = walk.begun;
                self.checkpoints.walk = None;
            }
        }
        if count == 0 {
            return self.checkpoints.walk.as_ref().map(|_| Vec::new());
        }
        let mut piece = Vec::with_capacity(entries.len() + 256);
        piece.extend_from_slice(MAGIC);
        piece.push(VERSION);
        piece.extend_from_slice(&[0; 4]);
        piece.extend_from_slice(&self.clock.now.to_be_bytes());
        piece.extend_from_slice(&self.checkpoints.unowned_before.to_be_bytes());
        piece.push(self.config.codecs.len() as u8);
        for codec in &self.config.codecs {
            let name = codec.name().as_bytes();
            put_number(&mut piece, name.len() as u64);
            piece.extend_from_slice(name);
        }
        put_number(&mut piece, count.into());
        piece.extend_from_slice(&entries);
        let length = (piece.len() - FRONT + CHECKSUM) as u32;
        piece[FRONT - 4..FRONT].copy_from_slice(&length.to_be_bytes());
        let checksum = crc32c::crc32c(&piece);
        piece.extend_from_slice(&checksum.to_be_bytes());
        Some(piece)
    }

    /// A whole checkpoint at once.
    pub fn checkpoint(&mut self, full: bool) -> Vec<u8> {
        let mut all = Vec::new();
        self.checkpoint_begin(full);
        while let Some(piece) = self.checkpoint_some(usize::MAX) {
            all.extend_from_slice(&piece);
        }
        all
    }

    /// Takes the connections of a checkpoint over, before the first packet; returns how many were not
    /// known yet. Of several checkpoints the newest comes first: its entries stay, and get the room.
    ///
    /// Not taken over, and counted: an entry whose leg or codec the configuration does not have any
    /// more, whose client is not trusted any more, or for which there is no room; and, uncounted, one
    /// that would have expired by the newest checkpoint's time.
    ///
    /// `shared`: these may be other workers' connections as well. Of two entries for one 5-tuple the
    /// one with the later packet stays then, and those that no packet touches make no record, since
    /// their own worker does.
    pub fn resume(&mut self, checkpoint: &[u8], shared: bool) -> Result<usize, CheckpointError> {
        // Twice: nothing is taken over of a checkpoint that is damaged at its end.
        let pieces = pieces(checkpoint)?;
        for piece in &pieces {
            piece.each_entry(|_, _| {})?;
        }
        let Some(newest) = pieces.last().map(|piece| piece.now) else {
            return Ok(0);
        };
        let now = *self.checkpoints.resumed.get_or_insert(newest);
        let mut taken = 0;
        for piece in pieces.iter().rev() {
            let codecs: Vec<Option<u8>> = piece
                .codecs
                .iter()
                .map(|name| {
                    let mut known = self.config.codecs.iter();
                    let at = known.position(|codec| codec.name().as_bytes() == *name);
                    at.map(|at| at as u8)
                })
                .collect();
            let unowned = if shared {
                now.saturating_add(1)
            } else {
                piece.unowned_before
            };
            self.checkpoints.unowned_before = self.checkpoints.unowned_before.max(unowned);
            piece.each_entry(|mut connection, half_open| {
                if self.has_expired(&connection, half_open, now) {
                    return;
                }
                let is_known = saved::translate(&mut connection, &codecs);
                match self.take_over(connection, half_open, shared, is_known) {
                    Some(true) => taken += 1,
                    Some(false) => {}
                    None => self.stats.note(Event::NotResumed),
                }
            })?;
        }
        self.stats.note_many(Event::Resumed, taken);
        Ok(taken as usize)
    }

    /// Whether an entry's record is left to whoever owns it.
    pub(super) fn is_unowned(&self, connection: &Connection) -> bool {
        connection.last_seen() < self.checkpoints.unowned_before
    }

    /// Whether an entry would have left the table by the time of its checkpoint.
    fn has_expired(&self, connection: &Connection, half_open: bool, now: Nanos) -> bool {
        let limits = self.config.limits;
        let limit = if connection.is_closed() {
            limits.closed_seconds
        } else if half_open {
            limits.half_open_seconds
        } else {
            limits.idle_seconds
        };
        now.saturating_sub(connection.last_seen()) > nanos(limit)
    }

    /// Takes one entry over: whether its 5-tuple is new here; `None` if it is left out.
    fn take_over(
        &mut self,
        mut connection: Connection,
        half_open: bool,
        shared: bool,
        is_known: bool,
    ) -> Option<bool> {
        // 1. Its leg, by this configuration.
        let low = connection.is(fact::CLIENT_IS_LOW);
        let (client, server) = (connection.key.end(low), connection.key.end(!low));
        let found = self.config.rules.find(&client, &server)?;
        let believed = connection.state == State::Stripped;
        if !is_known || (believed && !found.trusted) {
            return None;
        }
        connection.rule = found.rule;
        if connection.state.is_undecided() {
            connection.unset(fact::UNTRUSTED);
            if !found.trusted {
                connection.set(fact::UNTRUSTED);
                connection.unset(fact::RESTORE);
            }
        }
        let was_cut = connection.is(fact::HOLDING);
        connection.unset(fact::HOLDING);
        if let Some(earlier) = connection
            .extra
            .as_mut()
            .and_then(|extra| extra.earlier.as_mut())
        {
            earlier.rule = found.rule;
        }

        // 2. Its place.
        let before = self.tracker.find(&connection.key);
        if let Some(id) = before {
            let known = self.tracker.get(id);
            let is_later = known.last_seen() < connection.last_seen();
            if !shared || !is_later || known.is(fact::HOLDING) {
                return Some(false);
            }
            self.free_true_tuples(id);
            self.tracker.remove(id);
        }
        if !self.tracker.has_room(half_open) {
            return None;
        }
        let id = self.tracker.insert(connection, half_open);

        // 3. What else the engine remembers of it.
        self.note_true_tuple(id);
        let earlier = self
            .tracker
            .get(id)
            .earlier()
            .and_then(super::admit::open_true_key);
        if let Some(key) = earlier {
            self.use_true_tuple(key);
        }
        if was_cut {
            self.cut_short(id);
        }
        Some(before.is_none())
    }

    /// A connection of the table is replaced: its true 5-tuples are free.
    fn free_true_tuples(&mut self, id: Id) {
        let connection = self.tracker.get(id);
        let keys = [Some(connection), connection.earlier()]
            .map(|one| one.and_then(super::admit::open_true_key));
        for key in keys.into_iter().flatten() {
            self.free_true_tuple(key);
        }
    }
}

/// A piece of a checkpoint, its checksum right.
struct Piece<'a> {
    now: Nanos,
    unowned_before: Nanos,
    codecs: Vec<&'a [u8]>,
    count: u64,
    entries: &'a [u8],
}

impl Piece<'_> {
    fn each_entry(&self, mut visit: impl FnMut(Connection, bool)) -> Result<(), CheckpointError> {
        let mut reader = Reader(self.entries);
        for _ in 0..self.count {
            let (connection, half_open) = saved::parse(&mut reader)?;
            visit(connection, half_open);
        }
        if reader.0.is_empty() {
            Ok(())
        } else {
            Err(CheckpointError::Content("there is more than it says"))
        }
    }
}

/// The pieces of a checkpoint.
fn pieces(mut checkpoint: &[u8]) -> Result<Vec<Piece<'_>>, CheckpointError> {
    let mut all = Vec::new();
    while !checkpoint.is_empty() {
        let magic = &checkpoint[..checkpoint.len().min(MAGIC.len())];
        if !MAGIC.starts_with(magic) {
            return Err(CheckpointError::Foreign);
        }
        if let Some(version) = checkpoint.get(4).filter(|version| **version != VERSION) {
            return Err(CheckpointError::Version(*version));
        }
        let cut = CheckpointError::Cut;
        let (front, rest) = checkpoint.split_at_checked(FRONT).ok_or(cut)?;
        let length = Reader(&front[FRONT - 4..]).word()? as usize;
        let (body, after) = rest.split_at_checked(length).ok_or(cut)?;
        let summed = length.checked_sub(CHECKSUM).ok_or(cut)?;
        let (body, sum) = body.split_at(summed);
        if crc32c::crc32c(&checkpoint[..FRONT + summed]).to_be_bytes() != *sum {
            return Err(CheckpointError::Checksum);
        }
        let mut reader = Reader(body);
        let (now, unowned_before) = (reader.long()?, reader.long()?);
        let mut codecs = Vec::new();
        for _ in 0..reader.byte()? {
            let len = reader.number(u64::from(u16::MAX))?;
            codecs.push(reader.take(len as usize)?);
        }
        let count = reader.number(u32::MAX.into())?;
        all.push(Piece {
            now,
            unowned_before,
            codecs,
            count,
            entries: reader.0,
        });
        checkpoint = after;
    }
    Ok(all)
}

#[cfg(test)]
#[path = "checkpoint_tests.rs"]
mod tests;
