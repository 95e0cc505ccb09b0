//! Declared layouts: header formats that a site describes field by field.
//!
//! A layout is a list of fields in the order of the stream. Each field is an object with one key
//! that says its kind; the key's value says its role; further keys are options of that role.
//!
//! # Binary
//!
//! | field | bytes | options |
//! |---|---|---|
//! | `{bytes: "d1e0c0ff"}` | these, in hex | |
//! | `{u8: 1}`, `{u16be: 1}`, ... | a constant number | |
//! | `{u8: family}` | 4: IPv4, 6: IPv6; decides the size of the `ip` fields behind it | `ipv4: N`, `ipv6: N`: other values |
//! | `{ip: peer}`, `{ip: destination}` | 4 or 16, by the family | `width: 16`: zeros behind an IPv4 address |
//! | `{ipv4: peer}`, `{ipv6: peer}`, ... | 4 or 16, whatever the family | |
//! | `{u16be: peer_port}`, `{u16be: destination_port}` | | |
//! | `{u8: length}` | how long the header is | `of: rest` (behind this field, the default) or `whole` |
//! | `{u32be: crc32c}`, `{u32be: crc32}` | a checksum | `over: whole` (with zeros in its own place, the default) or `before` (this field) |
//! | `{u32be: value}` | a number that is only reported | `name: TEXT` |
//! | `{skip: 3}` | anything | `name: TEXT`: reported in hex |
//! | `{skip: rest}` | anything up to the length; last field | |
//! | `{padding: 3}` | zeros | |
//!
//! Numbers are `u8`, `u16be`, `u16le`, `u32be`, `u32le`. Without `{skip: rest}` a length must be
//! exactly that of the fields.
//!
//! # Text
//!
//! | field | text | options |
//! |---|---|---|
//! | `{literal: "PEER "}` | exactly this | |
//! | `{separator: " \t"}` | one or more of these characters | |
//! | `{word: family}` | the family | `ipv4: TCP4`, `ipv6: TCP6` (both needed) |
//! | `{ip: peer}`, `{ipv4: peer}`, `{ipv6: peer}`, ... | a canonical address | |
//! | `{decimal: peer_port}`, `{hex: peer_port}`, ... | a number without heading zeros | |
//! | `{text: NAME}` | anything up to the next field, reported under NAME | `max: 64`, `emit: "-"` |
//! | `{terminator: "\r\n"}` | exactly this; the last field, and needed | |
//!
//! A field of variable length ends at the literal, separator or terminator behind it, which so must
//! not begin with a character that the field itself may hold.
//!
//! # What is refused
//!
//! A layout's *signature* is its first run of constants. What differs up to its end is not this
//! layout's; what breaks a rule behind it is malformed.

mod binary;
mod declare;
mod textual;

use std::net::{IpAddr, SocketAddr};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Codec, Malformed, Parse, Truth};

/// The most bytes that a layout may be told to wait for: as many as `proxy-v2` can be long.
pub const MAX_LENGTH: usize = 65551;

/// How a layout's fields are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// Bytes at offsets.
    #[default]
    Binary,
    /// A line of text.
    Text,
}

/// Whose address or port a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Peer,
    Destination,
}

/// Which addresses a field takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum IpForm {
    /// Those of the family that the header names.
    Either,
    V4,
    V6,
}

/// Addresses and ports as they come in.
#[derive(Clone, Copy, Debug, Default)]
struct Endpoints {
    ips: [Option<IpAddr>; 2],
    ports: [u16; 2],
}

impl Endpoints {
    fn set_ip(&mut self, side: Side, ip: IpAddr) {
        self.ips[side as usize] = Some(ip);
    }

    fn set_port(&mut self, side: Side, port: u16) {
        self.ports[side as usize] = port;
    }

    fn truth(&self) -> Result<Truth, Malformed> {
        let [Some(peer), Some(destination)] = self.ips else {
            return Err(Malformed("an address is absent"));
        };
        let [peer_port, destination_port] = self.ports;
        Truth::new(
            SocketAddr::new(peer, peer_port),
            SocketAddr::new(destination, destination_port),
        )
        .ok_or(Malformed("peer and destination are of two families"))
    }
}

/// The endpoint of one side.
fn endpoint(truth: &Truth, side: Side) -> SocketAddr {
    match side {
        Side::Peer => truth.peer,
        Side::Destination => truth.destination,
    }
}

/// Why a walk over the fields ended early.
enum Stop {
    NeedMore,
    /// A field does not fit, for this reason.
    Unfit(&'static str),
}

type Walk<T> = Result<T, Stop>;

#[derive(Clone, Debug)]
enum Program {
    Binary(binary::Program),
    Text(textual::Program),
}

/// The codec of one declared layout.
#[derive(Clone, Debug)]
pub struct Layout {
    name: String,
    program: Program,
}

impl Layout {
    /// Compiles a declaration: `fields` as configuration gives them, `max_length` in bytes.
    ///
    /// # Errors
    /// A sentence that begins with the field's place, such as `layout[2].u16be`.
    pub fn declare(
        name: &str,
        encoding: Encoding,
        fields: &[Value],
        max_length: Option<usize>,
    ) -> Result<Self, String> {
        if max_length.is_some_and(|max| !(1..=MAX_LENGTH).contains(&max)) {
            return Err(format!("max_length: must be 1 to {MAX_LENGTH}"));
        }
        let program = match encoding {
            Encoding::Binary => Program::Binary(declare::binary(fields, max_length)?),
            Encoding::Text => Program::Text(declare::text(fields, max_length)?),
        };
        Ok(Layout {
            name: name.to_owned(),
            program,
        })
    }

    /// The layout that ships as `magic`: 8 bytes of the site's own, family (4 or 6), peer, peer's
    /// port, destination, destination's port, ports big-endian.
    ///
    /// # Errors
    /// `magic` is not 16 hexadecimal digits.
    pub fn magic(name: &str, magic: &str) -> Result<Self, String> {
        let is_magic = magic.len() == 16 && magic.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_magic {
            return Err(format!(
                "magic: {magic:?} is not 8 bytes in hexadecimal digits"
            ));
        }
        let fields = serde_json::json!([
            {"bytes": magic},
            {"u8": "family"},
            {"ip": "peer"},
            {"u16be": "peer_port"},
            {"ip": "destination"},
            {"u16be": "destination_port"},
        ]);
        let fields = fields.as_array().map_or(&[][..], Vec::as_slice);
        Self::declare(name, Encoding::Binary, fields, None)
    }
}

impl Codec for Layout {
    fn name(&self) -> &str {
        &self.name
    }

    fn parse(&self, stream: &[u8]) -> Result<Parse, Malformed> {
        match &self.program {
            Program::Binary(program) => program.parse(stream),
            Program::Text(program) => program.parse(stream),
        }
    }

    fn max_len(&self) -> usize {
        match &self.program {
            Program::Binary(program) => program.max_len,
            Program::Text(program) => program.max_len,
        }
    }

    fn describe(&self, header: &[u8]) -> Map<String, Value> {
        match &self.program {
            Program::Binary(program) => program.describe(header),
            Program::Text(program) => program.describe(header),
        }
    }

    fn emit(&self, truth: &Truth) -> Option<Vec<u8>> {
        let header = match &self.program {
            Program::Binary(program) => program.emit(truth),
            Program::Text(program) => program.emit(truth),
        }?;
        (header.len() <= self.max_len()).then_some(header)
    }
}

#[cfg(test)]
mod tests;
