//! One event's text: where the members stand that tell its connection and its moment.

use std::ops::Range;

/// Where a value stands in the line; of a string with its quotes.
pub type Span = Range<usize>;

/// Members of the root and of the objects that repeat its ends.
#[derive(Debug, Default, PartialEq)]
pub struct Seen {
    pub event_type: Option<Span>,
    pub proto: Option<Span>,
    pub ends: Ends,
    pub community_id: Option<Span>,
    pub vlan: Option<Span>,
    pub timestamp: Option<Span>,
    pub flow_start: Option<Span>,
    pub flow_id: Option<Span>,
    /// The ends that `flow` names, all four or none.
    pub flow: Option<Ends>,
    has_flow: bool,
    pub has_alert: bool,
    /// The address and the port of an alert's `source` and of its `target`.
    pub sides: [Option<(Span, Span)>; 2],
}

/// The two ends of a connection, each an address and a port.
#[derive(Debug, Default, PartialEq)]
pub struct Ends {
    pub src_ip: Option<Span>,
    pub src_port: Option<Span>,
    pub dest_ip: Option<Span>,
    pub dest_port: Option<Span>,
}

impl Ends {
    /// Whether `key` is one of its members, which is then read.
    fn member(&mut self, scan: &mut Scan<'_>, key: &[u8]) -> Option<bool> {
        match key {
            b"src_ip" => scan.once(&mut self.src_ip, Scan::plain_string)?,
            b"dest_ip" => scan.once(&mut self.dest_ip, Scan::plain_string)?,
            b"src_port" => scan.once(&mut self.src_port, Scan::port)?,
            b"dest_port" => scan.once(&mut self.dest_port, Scan::port)?,
            _ => return Some(false),
        }
        Some(true)
    }
}

// Deeper ones are for others, who know how deep is too deep to be written again.
const MAX_DEPTH: usize = 100;

// From here on a number may have more than 64 bits.
const MAX_DIGITS: usize = 18;

/// What `line` tells; None if it is no plain event, or one that others have to look at.
///
/// Everything in it has been checked then: it is one JSON object without any space between its
/// tokens, whose members below are there once, spelt plainly, and of the type that they should be.
pub fn read(line: &[u8]) -> Option<Seen> {
    std::str::from_utf8(line).ok()?;
    let mut seen = Seen::default();
    let mut scan = Scan { line, at: 0 };
    scan.object(0, |scan, key| {
        if seen.ends.member(scan, key)? {
            return Some(());
        }
        match key {
            b"event_type" => scan.once(&mut seen.event_type, Scan::plain_string),
            b"proto" => scan.once(&mut seen.proto, Scan::plain_string),
            b"timestamp" => scan.once(&mut seen.timestamp, Scan::plain_string),
            b"community_id" => scan.once(&mut seen.community_id, Scan::plain_string),
            b"flow_id" => scan.once(&mut seen.flow_id, |scan| scan.value(1)),
            b"vlan" => scan.once(&mut seen.vlan, |scan| scan.value(1)),
            b"flow" => flow(scan, &mut seen),
            b"alert" => alert(scan, &mut seen),
            // Corrected before, or with ends of their own.
            b"peeltap" | b"tunnel" | b"netflow" => None,
            _ => scan.value(1).map(|_| ()),
        }
    })?;
    (scan.at == line.len()).then_some(seen)
}

fn flow(scan: &mut Scan<'_>, seen: &mut Seen) -> Option<()> {
    if std::mem::replace(&mut seen.has_flow, true) {
        return None;
    }
    let mut ends = Ends::default();
    scan.object(1, |scan, key| {
        if ends.member(scan, key)? {
            return Some(());
        }
        match key {
            b"start" => scan.once(&mut seen.flow_start, Scan::plain_string),
            _ => scan.value(2).map(|_| ()),
        }
    })?;
    let named = [&ends.src_ip, &ends.src_port, &ends.dest_ip, &ends.dest_port];
    if named.iter().any(|one| one.is_some()) {
        // A port that is absent, or 0, has a meaning of its own.
        if named.iter().any(|one| one.is_none()) {
            return None;
        }
        seen.flow = Some(ends);
    }
    Some(())
}

fn alert(scan: &mut Scan<'_>, seen: &mut Seen) -> Option<()> {
    if std::mem::replace(&mut seen.has_alert, true) {
        return None;
    }
    scan.object(1, |scan, key| {
        let side = match key {
            b"source" => 0,
            b"target" => 1,
            _ => return scan.value(2).map(|_| ()),
        };
        let (mut ip, mut port) = (None, None);
        scan.object(2, |scan, key| match key {
            b"ip" => scan.once(&mut ip, Scan::plain_string),
            b"port" => scan.once(&mut port, Scan::port),
            _ => scan.value(3).map(|_| ()),
        })?;
        if seen.sides[side].is_some() {
            return None;
        }
        seen.sides[side] = Some((ip?, port?));
        Some(())
    })
}

/// Reads JSON without spaces; None is for whatever else.
struct Scan<'a> {
    line: &'a [u8],
    at: usize,
}

impl<'a> Scan<'a> {
    fn peek(&self) -> Option<u8> {
        self.line.get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// Read a value into `slot`, which must be empty: a member may be there once.
    fn once(
        &mut self,
        slot: &mut Option<Span>,
        read: impl FnOnce(&mut Self) -> Option<Span>,
    ) -> Option<()> {
        if slot.is_some() {
            return None;
        }
        *slot = Some(read(self)?);
        Some(())
    }

    /// An object at nesting `depth`; `member` gets each key, without quotes, and reads its value.
    fn object(
        &mut self,
        depth: usize,
        mut member: impl FnMut(&mut Self, &'a [u8]) -> Option<()>,
    ) -> Option<()> {
        if depth > MAX_DEPTH {
            return None;
        }
        self.take(b'{')?;
        if self.peek()? == b'}' {
            self.at += 1;
            return Some(());
        }
        loop {
            let key = self.plain_string()?;
            self.take(b':')?;
            let line = self.line;
            member(self, &line[key.start + 1..key.end - 1])?;
            match self.peek()? {
                b',' => self.at += 1,
                b'}' => break,
                _ => return None,
            }
        }
        self.at += 1;
        Some(())
    }

    fn array(&mut self, depth: usize) -> Option<()> {
        if depth > MAX_DEPTH {
            return None;
        }
        self.take(b'[')?;
        if self.peek()? == b']' {
            self.at += 1;
            return Some(());
        }
        loop {
            self.value(depth + 1)?;
            match self.peek()? {
                b',' => self.at += 1,
                b']' => break,
                _ => return None,
            }
        }
        self.at += 1;
        Some(())
    }

    /// Any value, in a container of which `depth` are around it.
    fn value(&mut self, depth: usize) -> Option<Span> {
        let start = self.at;
        match self.peek()? {
            b'"' => {
                self.string()?;
            }
            b'{' => self.object(depth, |scan, _| scan.value(depth + 1).map(|_| ()))?,
            b'[' => self.array(depth)?,
            b't' => self.word(b"true")?,
            b'f' => self.word(b"false")?,
            b'n' => self.word(b"null")?,
            _ => self.number()?,
        }
        Some(start..self.at)
    }

    fn word(&mut self, word: &[u8]) -> Option<()> {
        self.line[self.at..]
            .starts_with(word)
            .then(|| self.at += word.len())
    }

    fn number(&mut self) -> Option<()> {
        if self.peek()? == b'-' {
            self.at += 1;
        }
        let whole = self.digits()?;
        if whole > 1 && self.line[self.at - whole] == b'0' {
            return None;
        }
        let mut all = whole;
        if self.peek() == Some(b'.') {
            self.at += 1;
            all += self.digits()?;
        }
        // Behind it a container goes on, or the caller finds that it does not.
        (all <= MAX_DIGITS && !matches!(self.peek(), Some(b'e' | b'E'))).then_some(())
    }

    fn digits(&mut self) -> Option<usize> {
        let count = self.line[self.at..]
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        self.at += count;
        (count > 0).then_some(count)
    }

    /// A port's digits: from 1 to 65535.
    fn port(&mut self) -> Option<Span> {
        let start = self.at;
        let count = self.digits()?;
        let text = &self.line[start..self.at];
        let number = text
            .iter()
            .take(6)
            .fold(0u32, |sum, digit| sum * 10 + u32::from(digit - b'0'));
        let plain = count <= 5 && text[0] != b'0' && number <= 0xFFFF;
        (plain && matches!(self.peek()?, b',' | b'}')).then_some(start..self.at)
    }

    /// A string that is spelt as it reads: no escape in it.
    fn plain_string(&mut self) -> Option<Span> {
        let start = self.at;
        (!self.string()?).then_some(start..self.at)
    }

    /// Any string; whether it has escapes.
    fn string(&mut self) -> Option<bool> {
        self.take(b'"')?;
        let mut escaped = false;
        loop {
            let rest = &self.line[self.at..];
            let run = plain_run(rest)?;
            self.at += run + 1;
            match rest[run] {
                b'"' => return Some(escaped),
                b'\\' => {
                    escaped = true;
                    self.escape()?;
                }
                _ => return None,
            }
        }
    }

    fn escape(&mut self) -> Option<()> {
        let kind = self.peek()?;
        self.at += 1;
        match kind {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(()),
            b'u' => {
                let digits = self.line.get(self.at..self.at + 4)?;
                // Half of a surrogate pair may be no text; whole ones are left with it.
                let is_half = digits[0].eq_ignore_ascii_case(&b'd') && digits[1] > b'7';
                self.at += 4;
                (digits.iter().all(u8::is_ascii_hexdigit) && !is_half).then_some(())
            }
            _ => None,
        }
    }
}

/// Where the first byte is that stands for more than itself in a string: a quote, a backslash, a
/// control character. Eight at a time: most of an event is text.
fn plain_run(text: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::MAX / 0xFF;
    const HIGHS: u64 = ONES << 7;
    let mut at = 0;
    for chunk in text.chunks_exact(8) {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(chunk);
        let word = u64::from_le_bytes(bytes);
        // The high bit of each byte that is less than `limit`, up to the first such one.
        let less = |word: u64, limit: u8| word.wrapping_sub(ONES * u64::from(limit)) & !word;
        let quote = less(word ^ (ONES * u64::from(b'"')), 1);
        let slash = less(word ^ (ONES * u64::from(b'\\')), 1);
        let found = (quote | slash | less(word, 0x20)) & HIGHS;
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    let rest = text[at..].iter().position(|&byte| is_special(byte))?;
    Some(at + rest)
}

fn is_special(byte: u8) -> bool {
    byte == b'"' || byte == b'\\' || byte < 0x20
}

#[cfg(test)]
mod tests {
    use super::{is_special, plain_run, read};

    #[test]
    fn runs_of_plain_text_end_at_the_first_special_byte() {
        for byte in 0..=u8::MAX {
            for other in [b'x', b'"', b'\\', 0x1F, 0x20, 0x7F, 0x80, 0xFF] {
                for length in 0..20 {
                    let mut text = vec![b'!'; length];
                    text.extend([byte, other, b'#', byte]);
                    text.extend([0xC3; 7]);
                    let expected = text.iter().position(|&byte| is_special(byte));
                    assert_eq!(plain_run(&text), expected, "{text:?}");
                }
            }
        }
    }

    const EVENT: &str = r#"{"timestamp":"t","event_type":"alert","src_ip":"1.2.3.4","src_port":5,"dest_ip":"::1","dest_port":65535,"proto":"TCP","alert":{"source":{"ip":"a","port":1},"x":[1,-2.5,true,null,{}]},"flow":{"start":"s","src_ip":"a","src_port":1,"dest_ip":"b","dest_port":2}}"#;

    #[test]
    fn members_are_where_they_stand() {
        let seen = read(EVENT.as_bytes()).expect("plain");
        let text = |span: &Option<super::Span>| &EVENT[span.clone().expect("there")];
        assert_eq!(text(&seen.event_type), r#""alert""#);
        assert_eq!(text(&seen.ends.dest_ip), r#""::1""#);
        assert_eq!(text(&seen.ends.dest_port), "65535");
        assert_eq!(text(&seen.flow_start), r#""s""#);
        assert_eq!(text(&seen.flow.expect("named").src_ip), r#""a""#);
        assert!(seen.sides[0].is_some() && seen.sides[1].is_none());
    }

    #[test]
    fn what_is_left_to_others() {
        for text in [
            "",
            "{",
            "{}}",
            "[]",
            "null",
            r#"{"a":1"#,
            r#"{"a":1}x"#,
            r#"{"a" :1}"#,
            r#"{"a":1 }"#,
            r#"{a:1}"#,
            r#"{"a":01}"#,
            r#"{"a":1.}"#,
            r#"{"a":.5}"#,
            r#"{"a":1e5}"#,
            r#"{"a":+1}"#,
            r#"{"a":-}"#,
            r#"{"a":1234567890123456789}"#,
            r#"{"a":[1,]}"#,
            r#"{"a":tru}"#,
            r#"{"a":"\x"}"#,
            r#"{"a":"\u12"}"#,
            r#"{"a":"\ud800"}"#,
            r#"{"a":"\uDC00"}"#,
            "{\"a\":\"\n\"}",
            r#"{"\u0061":1}"#,
            r#"{"src_ip":null}"#,
            r#"{"src_ip":"a","src_ip":"a"}"#,
            r#"{"src_port":0}"#,
            r#"{"src_port":65536}"#,
            r#"{"src_port":080}"#,
            r#"{"src_port":1.5}"#,
            r#"{"peeltap":null}"#,
            r#"{"tunnel":{}}"#,
            r#"{"netflow":{}}"#,
            r#"{"flow":[]}"#,
            r#"{"flow":{"src_ip":"a"}}"#,
            r#"{"flow":{"start":"s"},"flow":{}}"#,
            r#"{"alert":{},"alert":{}}"#,
            r#"{"flow":{"start":null}}"#,
            r#"{"alert":{"target":{}}}"#,
        ] {
            assert_eq!(read(text.as_bytes()), None, "{text}");
        }
        assert_eq!(read(b"{\"a\":\"\xff\"}"), None);
        let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(101), "]".repeat(101));
        assert_eq!(read(deep.as_bytes()), None);
    }

    #[test]
    fn what_is_read() {
        for text in [
            r#"{}"#,
            r#"{"a":0}"#,
            r#"{"a":-0.5,"b":[],"c":{},"d":"é\u00e9\\\""}"#,
            r#"{"a":[[],[{"src_ip":5}]],"flow":{}}"#,
        ] {
            assert!(read(text.as_bytes()).is_some(), "{text}");
        }
    }
}
