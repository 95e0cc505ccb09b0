//! A connection as bytes: what a restarted engine has to know of it.
//!
//! | field        | bytes                | where                                                       |
//! |--------------|----------------------|-------------------------------------------------------------|
//! | parts        | 1                    | which of the optional fields follow                         |
//! | key          | 12, or 40 for IPv6   | lower address, higher address, both ports; +4 with `VLAN`   |
//! | state, codec | 1, 1                 |                                                             |
//! | facts        | 2                    | those of [`fact`]; `HOLDING` means that what waited is lost |
//! | start, last  | 8, 4                 | nanoseconds; the count of [`Elapsed`]                       |
//! | ISN, `client_next`, `client_ack` | 12 |                                                           |
//! | epoch, removed, packets, bytes   | 6 numbers |                                                   |
//! | truth        | 12, or 36 for IPv6   | peer, destination, their ports; with `HAS_TRUTH`            |
//! | excisions    | pairs of numbers     | with `EXTRA`, their count first, as headers                 |
//! | headers      | codec, length, bytes | with `EXTRA`                                                |
//! | reason, MSS  | text, 2              | with `EXTRA`                                                |
//! | earlier      | as all of the above  | with `EARLIER`, without a key                               |
//!
//! Fixed fields are big-endian, numbers LEB128. Which leg the connection runs on is not kept: the
//! configuration that reads it says so. What is read is checked as if an attacker had written it.

use super::{fact, is_mapped, mapped, Connection, Elapsed, Extra, Key, State};
use crate::wire::Seq;

/// Optional parts of an entry.
mod part {
    /// The key is IPv4.
    pub const KEY4: u8 = 1 << 0;
    pub const VLAN: u8 = 1 << 1;
    /// Both true addresses are IPv4.
    pub const TRUTH4: u8 = 1 << 2;
    pub const EXTRA: u8 = 1 << 3;
    pub const EARLIER: u8 = 1 << 4;
    /// The entry lay in the half-open pool.
    pub const HALF_OPEN: u8 = 1 << 5;
    pub const ALL: u8 = (1 << 6) - 1;
}

/// More than any configuration can produce: eight stacked headers of 65,551 bytes.
const MOST_EXCISED: u32 = 1 << 20;
const MOST_HEADERS: u64 = 16;
const MOST_REASON: u64 = 255;

/// What a counter or a time can be without an overflow later on: years of anything.
const MOST_COUNTED: u64 = 1 << 62;

/// What is wrong with an entry's bytes.
pub type Fault = &'static str;

/// Bytes that are read from the front.
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    /// The next `count` bytes.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Fault> {
        let (front, rest) = self.0.split_at_checked(count).ok_or("an entry is cut")?;
        self.0 = rest;
        Ok(front)
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        self.take(N)?.try_into().map_err(|_| "an entry is cut")
    }

    /// One byte.
    pub fn byte(&mut self) -> Result<u8, Fault> {
        Ok(self.array::<1>()?[0])
    }

    /// A fixed field of 32 bits.
    pub fn word(&mut self) -> Result<u32, Fault> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    /// A fixed field of 64 bits.
    pub fn long(&mut self) -> Result<u64, Fault> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    /// A number of up to 63 bits, and at most `most`.
    pub fn number(&mut self, most: u64) -> Result<u64, Fault> {
        let mut value = 0;
        for shift in (0..63).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return if value <= most {
                    Ok(value)
                } else {
                    Err("a number is too large")
                };
            }
        }
        Err("a number is too long")
    }
}

/// Appends a number in LEB128.
pub fn put_number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Facts that a packet's way through the engine needs, and nobody after it.
const PASSING: u16 = fact::RELEASING | fact::GENERAL | fact::EARLIER;

/// Appends an entry. `half_open`: which pool it lies in.
pub fn emit(out: &mut Vec<u8>, connection: &Connection, half_open: bool) {
    let words = connection.key.words();
    let is_v4 = !connection.key.is_v6();
    let vlan = words[4] as u32;
    let mut parts = 0;
    for (holds, bit) in [
        (is_v4, part::KEY4),
        (vlan != 0, part::VLAN),
        (half_open, part::HALF_OPEN),
    ] {
        if holds {
            parts |= bit;
        }
    }
    let at = out.len();
    out.push(parts);
    if is_v4 {
        out.extend_from_slice(&(words[1] as u32).to_be_bytes());
        out.extend_from_slice(&(words[3] as u32).to_be_bytes());
    } else {
        for word in &words[..4] {
            out.extend_from_slice(&word.to_be_bytes());
        }
    }
    out.extend_from_slice(&((words[4] >> 32) as u32).to_be_bytes());
    if vlan != 0 {
        out.extend_from_slice(&vlan.to_be_bytes());
    }
    emit_rest(out, at, connection);
}

/// Appends all but the key; `at` is where the entry's parts stand.
fn emit_rest(out: &mut Vec<u8>, at: usize, connection: &Connection) {
    let lost = connection
        .hold()
        .is_some_and(|hold| !hold.stream.is_empty() || hold.acks_data);
    let mut facts = connection.facts & !PASSING & !fact::HOLDING;
    if lost {
        facts |= fact::HOLDING;
    }
    out.push(connection.state as u8);
    out.push(connection.codec);
    out.extend_from_slice(&facts.to_be_bytes());
    out.extend_from_slice(&connection.start.to_be_bytes());
    out.extend_from_slice(&connection.last.0.to_be_bytes());
    for seq in [
        connection.isn,
        connection.client_next,
        connection.client_ack,
    ] {
        out.extend_from_slice(&seq.0.to_be_bytes());
    }
    put_number(out, connection.epoch.into());
    put_number(out, connection.removed.into());
    for count in connection.packets().into_iter().chain(connection.bytes) {
        put_number(out, count);
    }
    if connection.is(fact::HAS_TRUTH) {
        let addresses = [&connection.true_peer, &connection.true_destination];
        if addresses.iter().all(|address| is_mapped(address)) {
            out[at] |= part::TRUTH4;
            for address in addresses {
                out.extend_from_slice(&address[12..]);
            }
        } else {
            for address in addresses {
                out.extend_from_slice(address);
            }
        }
        for port in connection.true_ports {
            out.extend_from_slice(&port.to_be_bytes());
        }
    }
    let Some(extra) = &connection.extra else {
        return;
    };
    let says_more = !extra.excisions.is_empty()
        || !extra.headers.is_empty()
        || extra.reason.is_some()
        || extra.mss != 0;
    if says_more {
        out[at] |= part::EXTRA;
        put_number(out, extra.excisions.len() as u64);
        for (start, len) in &extra.excisions {
            put_number(out, u64::from(*start));
            put_number(out, u64::from(*len));
        }
        put_number(out, extra.headers.len() as u64);
        for (codec, bytes) in &extra.headers {
            out.push(*codec);
            put_number(out, bytes.len() as u64);
            out.extend_from_slice(bytes);
        }
        let reason = extra.reason.as_deref().unwrap_or("").as_bytes();
        let reason = &reason[..reason.len().min(MOST_REASON as usize)];
        put_number(out, reason.len() as u64);
        out.extend_from_slice(reason);
        out.extend_from_slice(&extra.mss.to_be_bytes());
    }
    if let Some(earlier) = &extra.earlier {
        out[at] |= part::EARLIER;
        let nested = out.len();
        out.push(0);
        emit_rest(out, nested, earlier);
    }
}

/// Reads an entry: the connection, and whether it was half-open. Its leg is still to be found, its
/// codecs still to be [translated](translate).
pub fn parse(reader: &mut Reader) -> Result<(Connection, bool), Fault> {
    let parts = reader.byte()?;
    let mut words = [0; 5];
    if parts & part::KEY4 != 0 {
        const MAPPED: u64 = 0xffff_0000_0000;
        words[1] = MAPPED | u64::from(reader.word()?);
        words[3] = MAPPED | u64::from(reader.word()?);
    } else {
        for word in &mut words[..4] {
            *word = reader.long()?;
        }
    }
    words[4] = u64::from(reader.word()?) << 32;
    if parts & part::VLAN != 0 {
        words[4] |= u64::from(reader.word()?);
    }
    let key = Key::from_words(words).ok_or("a key is none")?;
    if key.is_v6() == (parts & part::KEY4 != 0) {
        return Err("a key is of two IP versions");
    }
    let connection = parse_rest(reader, parts, key)?;
    Ok((connection, parts & part::HALF_OPEN != 0))
}

/// Reads all but the key.
fn parse_rest(reader: &mut Reader, parts: u8, key: Key) -> Result<Connection, Fault> {
    if parts & !part::ALL != 0 {
        return Err("an entry has parts that are not known");
    }
    let state = match reader.byte()? {
        1 => State::Header,
        2 => State::Unsure,
        3 => State::Stripped,
        4 => State::Plain,
        5 => State::Incomplete,
        6 => State::Malformed,
        7 => State::Midstream,
        8 => State::Dropped,
        9 => State::Untrusted,
        _ => return Err("a state is none"),
    };
    let codec = reader.byte()?;
    let facts = u16::from_be_bytes(reader.array()?) & !PASSING;
    if facts & fact::HOLDING != 0 && state != State::Header {
        return Err("packets waited for a header that was known");
    }
    let start = reader.long()?;
    let last = Elapsed(reader.word()?);
    if start > MOST_COUNTED || start.checked_add(last.nanos()).is_none() {
        return Err("a time is none");
    }
    let isn = Seq(reader.word()?);
    let mut connection = Connection::new(key, start, isn, state, facts);
    connection.codec = codec;
    connection.last = last;
    connection.client_next = Seq(reader.word()?);
    connection.client_ack = Seq(reader.word()?);
    connection.epoch = reader.number(u16::MAX.into())? as u16;
    connection.removed = reader.number(MOST_EXCISED.into())? as u32;
    for at in 0..2 {
        let packets = reader.number(MOST_COUNTED)?;
        connection.packets[at] = packets as u32;
        if packets >> 32 > 0 {
            connection.extra_mut().packets_high[at] = (packets >> 32) as u32;
        }
    }
    for at in 0..2 {
        connection.bytes[at] = reader.number(MOST_COUNTED)?;
    }
    if connection.removed > 0 && state != State::Stripped {
        return Err("a header is known where none was found");
    }
    if facts & fact::HAS_TRUTH != 0 {
        for address in [&mut connection.true_peer, &mut connection.true_destination] {
            *address = if parts & part::TRUTH4 != 0 {
                mapped(reader.array()?)
            } else {
                reader.array()?
            };
        }
        for port in &mut connection.true_ports {
            *port = u16::from_be_bytes(reader.array()?);
        }
    }
    if parts & part::EXTRA != 0 {
        let removed = connection.removed;
        if parse_extra(reader, connection.extra_mut(), removed)? {
            connection.set(fact::GENERAL);
        }
    }
    if parts & part::EARLIER != 0 {
        let parts = reader.byte()?;
        let earlier = match parts & (part::EARLIER | part::KEY4 | part::VLAN | part::HALF_OPEN) {
            0 => parse_rest(reader, parts, key)?,
            _ => return Err("an earlier use has one of its own"),
        };
        if earlier.state.is_undecided() {
            return Err("an earlier use was never decided");
        }
        connection.set(fact::EARLIER);
        connection.extra_mut().earlier = Some(Box::new(earlier));
    }
    Ok(connection)
}

/// Reads what few connections have; whether they have excisions in more than one place.
fn parse_extra(reader: &mut Reader, extra: &mut Extra, removed: u32) -> Result<bool, Fault> {
    let mut sum = 0;
    let mut end = 0;
    for _ in 0..reader.number(MOST_HEADERS)? {
        let start = reader.number(MOST_EXCISED.into())? as u32;
        let len = reader.number(MOST_EXCISED.into())? as u32;
        let touches = start <= end && !extra.excisions.is_empty();
        if len == 0 || touches {
            return Err("excisions are not in order");
        }
        (sum, end) = (sum + len, start + len);
        extra.excisions.push((start, len));
    }
    let is_general = !extra.excisions.is_empty();
    if is_general && sum != removed {
        return Err("excisions and their sum disagree");
    }
    for _ in 0..reader.number(MOST_HEADERS)? {
        let codec = reader.byte()?;
        let len = reader.number(MOST_EXCISED.into())?;
        extra
            .headers
            .push((codec, reader.take(len as usize)?.to_vec()));
    }
    let len = reader.number(MOST_REASON)?;
    let reason =
        std::str::from_utf8(reader.take(len as usize)?).map_err(|_| "a reason is no text")?;
    if !reason.is_empty() {
        extra.reason = Some(reason.to_owned().into());
    }
    extra.mss = u16::from_be_bytes(reader.array()?);
    Ok(is_general)
}

/// Puts this configuration's codecs in the place of those under which an entry was written; `false`
/// if one is gone.
pub fn translate(connection: &mut Connection, codecs: &[Option<u8>]) -> bool {
    let known = |codec: u8| codecs.get(usize::from(codec)).copied().flatten();
    match (known(connection.codec), connection.removed) {
        (Some(codec), _) => connection.codec = codec,
        (None, 0) => connection.codec = 0,
        (None, _) => return false,
    }
    let Some(extra) = &mut connection.extra else {
        return true;
    };
    for (codec, _) in &mut extra.headers {
        match known(*codec) {
            Some(now) => *codec = now,
            None => return false,
        }
    }
    match &mut extra.earlier {
        Some(earlier) => translate(earlier, codecs),
        None => true,
    }
}
