//! The binary form: a walk over fields of known size.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde_json::{Map, Value};

use super::{endpoint, Endpoints, IpForm, Side, Stop, Walk};
use crate::header::{hex, signature, Found, Malformed, Parse, Truth};

/// The layout of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Number {
    /// Bytes: 1, 2 or 4.
    pub(super) width: usize,
    pub(super) little_endian: bool,
}

impl Number {
    fn read(self, bytes: &[u8]) -> u32 {
        let fold = |value, byte: &u8| value << 8 | u32::from(*byte);
        if self.little_endian {
            bytes.iter().rev().fold(0, fold)
        } else {
            bytes.iter().fold(0, fold)
        }
    }

    /// The bytes of `value`; `None` where it does not fit.
    pub(super) fn write(self, value: u64) -> Option<Vec<u8>> {
        if value >> (8 * self.width) != 0 {
            return None;
        }
        let mut bytes = value.to_be_bytes()[8 - self.width..].to_vec();
        if self.little_endian {
            bytes.reverse();
        }
        Some(bytes)
    }
}

/// From where a length counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    Rest,
    Whole,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sum {
    Crc32c,
    Crc32,
}

/// What a checksum covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    Whole,
    Before,
}

impl Sum {
    /// The sum of these parts, one behind the other.
    fn of(self, parts: [&[u8]; 3]) -> u32 {
        match self {
            Sum::Crc32c => parts
                .iter()
                .fold(0, |sum, part| crc32c::crc32c_append(sum, part)),
            Sum::Crc32 => {
                let mut hasher = crc32fast::Hasher::new();
                parts.iter().for_each(|part| hasher.update(part));
                hasher.finalize()
            }
        }
    }

    /// The sum of `header` whose field of 4 bytes stands at `at`.
    fn of_header(self, header: &[u8], at: usize, over: Over) -> u32 {
        match over {
            Over::Whole => self.of([&header[..at], &[0; 4], &header[at + 4..]]),
            Over::Before => self.of([&header[..at], &[], &[]]),
        }
    }
}

#[derive(Clone, Debug)]
pub(super) enum Field {
    Constant(Vec<u8>),
    Family {
        number: Number,
        ipv4: u32,
        ipv6: u32,
    },
    Ip {
        side: Side,
        form: IpForm,
        width: Option<usize>,
    },
    Port {
        side: Side,
        number: Number,
    },
    Length {
        number: Number,
        of: Of,
        /// Where it tells the family: how long the header is with IPv4 and with IPv6.
        families: Option<[usize; 2]>,
    },
    Sum {
        sum: Sum,
        number: Number,
        over: Over,
    },
    Value {
        number: Number,
        name: String,
    },
    Skip {
        len: usize,
        name: Option<String>,
    },
    SkipRest,
    Padding(usize),
}

#[derive(Clone, Debug)]
pub(super) struct Program {
    pub(super) fields: Vec<Field>,
    /// How many fields belong to the signature or stand before it.
    pub(super) signature: usize,
    pub(super) max_len: usize,
}

/// What a walk knows so far.
#[derive(Default)]
struct State {
    /// Where the next field begins.
    at: usize,
    /// Where the header ends, once a length has said so.
    end: Option<usize>,
    /// Whether the header named IPv6.
    v6: bool,
    endpoints: Endpoints,
    /// Where the checksum stands, what it is and what it says.
    sum: Option<(usize, Sum, Over, u32)>,
}

impl State {
    /// The next `len` bytes, which must lie before the end that a length gave.
    fn take<'a>(&mut self, stream: &'a [u8], len: usize) -> Walk<&'a [u8]> {
        let to = self.at + len;
        if self.end.is_some_and(|end| to > end) {
            return Err(Stop::Unfit("the length is below that of the fields"));
        }
        let bytes = stream.get(self.at..to).ok_or(Stop::NeedMore)?;
        self.at = to;
        Ok(bytes)
    }
}

impl Field {
    /// Reads one field. Returns its bytes.
    fn step<'a>(&self, state: &mut State, stream: &'a [u8], max_len: usize) -> Walk<&'a [u8]> {
        match self {
            Field::Constant(constant) => {
                let rest = &stream[state.at.min(stream.len())..];
                if signature(rest, constant).is_none() {
                    return Err(Stop::Unfit("a constant does not match"));
                }
                state.take(stream, constant.len())
            }
            Field::Family { number, ipv4, ipv6 } => {
                let bytes = state.take(stream, number.width)?;
                let value = number.read(bytes);
                if value != *ipv4 && value != *ipv6 {
                    return Err(Stop::Unfit("the family is neither IPv4 nor IPv6"));
                }
                state.v6 = value == *ipv6;
                Ok(bytes)
            }
            Field::Ip { side, form, width } => {
                let v6 = form.is_v6(state.v6);
                let size = if v6 { 16 } else { 4 };
                let bytes = state.take(stream, width.unwrap_or(size))?;
                let (address, behind) = bytes.split_at(size);
                if behind.iter().any(|byte| *byte != 0) {
                    return Err(Stop::Unfit("an address is not padded with zeros"));
                }
                let ip = if v6 {
                    IpAddr::from(std::array::from_fn::<u8, 16, _>(|n| address[n]))
                } else {
                    IpAddr::from(std::array::from_fn::<u8, 4, _>(|n| address[n]))
                };
                state.endpoints.set_ip(*side, ip);
                Ok(bytes)
            }
            Field::Port { side, number } => {
                let bytes = state.take(stream, number.width)?;
                let port = u16::try_from(number.read(bytes))
                    .map_err(|_| Stop::Unfit("a port is above 65535"))?;
                state.endpoints.set_port(*side, port);
                Ok(bytes)
            }
            Field::Length {
                number,
                of,
                families,
            } => {
                let bytes = state.take(stream, number.width)?;
                let from = if *of == Of::Rest { state.at } else { 0 };
                let end = from.saturating_add(number.read(bytes) as usize);
                if end < state.at {
                    return Err(Stop::Unfit("the length is below that of the fields"));
                }
                if end > max_len {
                    return Err(Stop::Unfit(
                        "the length is above the layout's longest header",
                    ));
                }
                if let Some([v4, v6]) = families {
                    if end != *v4 && end != *v6 {
                        return Err(Stop::Unfit("the length is neither IPv4's nor IPv6's"));
                    }
                    state.v6 = end == *v6;
                }
                state.end = Some(end);
                Ok(bytes)
            }
            Field::Sum { sum, number, over } => {
                let at = state.at;
                let bytes = state.take(stream, number.width)?;
                state.sum = Some((at, *sum, *over, number.read(bytes)));
                Ok(bytes)
            }
            Field::Value { number, .. } => state.take(stream, number.width),
            Field::Skip { len, .. } => state.take(stream, *len),
            Field::SkipRest => {
                let len = state.end.map_or(0, |end| end - state.at);
                state.take(stream, len)
            }
            Field::Padding(len) => {
                let bytes = state.take(stream, *len)?;
                if bytes.iter().any(|byte| *byte != 0) {
                    return Err(Stop::Unfit("padding is not zero"));
                }
                Ok(bytes)
            }
        }
    }

    /// The size of the field in a header of this family, `SkipRest` aside.
    pub(super) fn size(&self, v6: bool) -> usize {
        match self {
            Field::Constant(bytes) => bytes.len(),
            Field::Ip { form, width, .. } => width.unwrap_or(if form.is_v6(v6) { 16 } else { 4 }),
            Field::Family { number, .. }
            | Field::Port { number, .. }
            | Field::Length { number, .. }
            | Field::Sum { number, .. }
            | Field::Value { number, .. } => number.width,
            Field::Skip { len, .. } | Field::Padding(len) => *len,
            Field::SkipRest => 0,
        }
    }
}

impl IpForm {
    fn is_v6(self, family_is_v6: bool) -> bool {
        match self {
            IpForm::Either => family_is_v6,
            IpForm::V4 => false,
            IpForm::V6 => true,
        }
    }
}

impl Program {
    pub(super) fn parse(&self, stream: &[u8]) -> Result<Parse, Malformed> {
        let mut state = State::default();
        for (index, field) in self.fields.iter().enumerate() {
            match field.step(&mut state, stream, self.max_len) {
                Ok(_) => {}
                Err(Stop::NeedMore) => return Ok(Parse::NeedMore),
                Err(Stop::Unfit(_)) if index < self.signature => return Ok(Parse::NotMine),
                Err(Stop::Unfit(reason)) => return Err(Malformed(reason)),
            }
        }
        let len = state.at;
        if state.end.is_some_and(|end| end != len) {
            return Err(Malformed("the length is above that of the fields"));
        }
        if let Some((at, sum, over, told)) = state.sum {
            if sum.of_header(&stream[..len], at, over) != told {
                return Err(Malformed("the checksum does not match"));
            }
        }
        let truth = state.endpoints.truth()?;
        Ok(Parse::Header(Found {
            start: 0,
            len,
            truth: Some(truth),
        }))
    }

    pub(super) fn describe(&self, header: &[u8]) -> Map<String, Value> {
        let mut says = Map::new();
        let mut state = State::default();
        for field in &self.fields {
            let Ok(bytes) = field.step(&mut state, header, self.max_len) else {
                break;
            };
            match field {
                Field::Value { name, number } => {
                    says.insert(name.clone(), number.read(bytes).into());
                }
                Field::Skip {
                    name: Some(name), ..
                } => {
                    says.insert(name.clone(), hex(bytes).into());
                }
                Field::SkipRest if !bytes.is_empty() => {
                    says.insert("rest".into(), hex(bytes).into());
                }
                _ => {}
            }
        }
        says
    }

    pub(super) fn emit(&self, truth: &Truth) -> Option<Vec<u8>> {
        let v6 = truth.peer.is_ipv6();
        let mut header = Vec::with_capacity(self.max_len.min(256));
        let mut length = None;
        let mut checksum = None;
        for field in &self.fields {
            match field {
                Field::Constant(bytes) => header.extend(bytes),
                Field::Family { number, ipv4, ipv6 } => {
                    header.extend(number.write((if v6 { *ipv6 } else { *ipv4 }).into())?);
                }
                Field::Ip { side, form, width } => {
                    let ip = octets(endpoint(truth, *side).ip(), form.is_v6(v6))?;
                    let padding = width.unwrap_or(ip.len()) - ip.len();
                    header.extend(ip);
                    header.resize(header.len() + padding, 0);
                }
                Field::Port { side, number } => {
                    header.extend(number.write(endpoint(truth, *side).port().into())?);
                }
                Field::Length { number, of, .. } => {
                    length = Some((header.len(), *number, *of));
                    header.resize(header.len() + number.width, 0);
                }
                Field::Sum { sum, number, over } => {
                    checksum = Some((header.len(), *sum, *number, *over));
                    header.resize(header.len() + number.width, 0);
                }
                Field::Value { number, .. } => header.resize(header.len() + number.width, 0),
                Field::Skip { len, .. } | Field::Padding(len) => {
                    header.resize(header.len() + len, 0);
                }
                Field::SkipRest => {}
            }
        }
        if let Some((at, number, of)) = length {
            let behind = at + number.width;
            let from = if of == Of::Rest { behind } else { 0 };
            let bytes = number.write((header.len() - from) as u64)?;
            header[at..behind].copy_from_slice(&bytes);
        }
        if let Some((at, sum, number, over)) = checksum {
            let bytes = number.write(sum.of_header(&header, at, over).into())?;
            header[at..at + 4].copy_from_slice(&bytes);
        }
        Some(header)
    }
}

/// An address in 4 or 16 bytes; IPv4 in 16 is IPv4-mapped, IPv6 has no form in 4.
fn octets(ip: IpAddr, v6: bool) -> Option<Vec<u8>> {
    match (ip, v6) {
        (IpAddr::V4(ip), false) => Some(Ipv4Addr::octets(&ip).to_vec()),
        (IpAddr::V4(ip), true) => Some(ip.to_ipv6_mapped().octets().to_vec()),
        (IpAddr::V6(ip), true) => Some(Ipv6Addr::octets(&ip).to_vec()),
        (IpAddr::V6(_), false) => None,
    }
}
