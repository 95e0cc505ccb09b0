//! The text form: a walk over fields that end where the next one begins.

use std::net::IpAddr;

use serde_json::{Map, Value};

use super::{endpoint, Endpoints, IpForm, Side, Stop, Walk};
use crate::header::{hex, signature, text, Found, Malformed, Parse, Truth};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Radix {
    Decimal,
    Hex,
}

#[derive(Clone, Debug)]
pub(super) enum Field {
    /// A literal or the terminator.
    Literal(Vec<u8>),
    Separator(Vec<u8>),
    Family {
        ipv4: Vec<u8>,
        ipv6: Vec<u8>,
    },
    Ip {
        side: Side,
        form: IpForm,
    },
    Port {
        side: Side,
        radix: Radix,
    },
    /// Anything but the bytes of `stop`, which begin the next field.
    Token {
        name: String,
        max: usize,
        stop: Vec<u8>,
        emit: Vec<u8>,
    },
}

impl Field {
    /// Whether the field's own text may hold `byte`, so that no field behind it may begin with it.
    pub(super) fn holds(&self, byte: u8) -> bool {
        match self {
            Field::Separator(set) => set.contains(&byte),
            Field::Ip {
                form: IpForm::V4, ..
            } => byte.is_ascii_digit() || byte == b'.',
            Field::Ip { .. } => text::is_address_byte(byte),
            Field::Port {
                radix: Radix::Decimal,
                ..
            } => byte.is_ascii_digit(),
            Field::Port {
                radix: Radix::Hex, ..
            } => byte.is_ascii_hexdigit(),
            Field::Literal(_) | Field::Family { .. } | Field::Token { .. } => false,
        }
    }

    /// The bytes with which the field can begin; `None` where that is any byte.
    pub(super) fn begins(&self) -> Option<Vec<u8>> {
        match self {
            Field::Literal(literal) => Some(literal[..1].to_vec()),
            Field::Separator(set) => Some(set.clone()),
            Field::Family { ipv4, ipv6 } => Some(vec![ipv4[0], ipv6[0]]),
            Field::Ip { .. } | Field::Port { .. } => {
                Some((0..=255).filter(|b| self.holds(*b)).collect())
            }
            Field::Token { .. } => None,
        }
    }

    /// Whether the field's length is not known before its end is seen.
    pub(super) fn is_open(&self) -> bool {
        matches!(
            self,
            Field::Ip { .. } | Field::Port { .. } | Field::Token { .. }
        )
    }
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
    at: usize,
    /// The family that the header named.
    v6: Option<bool>,
    endpoints: Endpoints,
}

impl State {
    /// The run of bytes that fit, which ends before `seen` does and is at most `max` bytes long.
    fn run<'a>(&mut self, seen: &'a [u8], max: usize, fits: impl Fn(u8) -> bool) -> Walk<&'a [u8]> {
        let rest = &seen[self.at..];
        let len = rest
            .iter()
            .take(max + 1)
            .take_while(|byte| fits(**byte))
            .count();
        if len > max {
            return Err(Stop::Unfit("a field is too long"));
        }
        if len == rest.len() {
            return Err(Stop::NeedMore);
        }
        self.at += len;
        Ok(&rest[..len])
    }
}

impl Field {
    /// Reads one field. Returns its bytes.
    fn step<'a>(&self, state: &mut State, seen: &'a [u8]) -> Walk<&'a [u8]> {
        let rest = &seen[state.at..];
        match self {
            Field::Literal(literal) => match signature(rest, literal) {
                None => Err(Stop::Unfit("a literal does not match")),
                Some(false) => Err(Stop::NeedMore),
                Some(true) => {
                    state.at += literal.len();
                    Ok(&rest[..literal.len()])
                }
            },
            Field::Separator(_) => {
                let bytes = state.run(seen, usize::MAX - 1, |byte| self.holds(byte))?;
                if bytes.is_empty() {
                    return Err(Stop::Unfit("a separator is absent"));
                }
                Ok(bytes)
            }
            Field::Family { ipv4, ipv6 } => {
                let fits = [signature(rest, ipv4), signature(rest, ipv6)];
                let (v6, word) = match fits {
                    [Some(true), _] => (false, ipv4),
                    [_, Some(true)] => (true, ipv6),
                    [None, None] => return Err(Stop::Unfit("the family is neither IPv4 nor IPv6")),
                    _ => return Err(Stop::NeedMore),
                };
                state.v6 = Some(v6);
                state.at += word.len();
                Ok(&rest[..word.len()])
            }
            Field::Ip { side, form } => {
                let bytes = state.run(seen, text::MAX_IP, |byte| self.holds(byte))?;
                let ip = match form {
                    IpForm::V4 => text::ipv4(bytes).map(IpAddr::V4),
                    IpForm::V6 => text::ipv6(bytes).map(IpAddr::V6),
                    IpForm::Either => text::ip(bytes),
                };
                let ip = ip.ok_or(Stop::Unfit("an address is not canonical text"))?;
                if state.v6.is_some_and(|v6| v6 != ip.is_ipv6()) {
                    return Err(Stop::Unfit("an address is not of the header's family"));
                }
                state.endpoints.set_ip(*side, ip);
                Ok(bytes)
            }
            Field::Port { side, radix } => {
                let bytes = state.run(seen, 5, |byte| self.holds(byte))?;
                let port = match radix {
                    Radix::Decimal => text::decimal(bytes),
                    Radix::Hex => text::hexadecimal(bytes),
                };
                let port = port.ok_or(Stop::Unfit("a port is not a canonical number"))?;
                state.endpoints.set_port(*side, port);
                Ok(bytes)
            }
            Field::Token { max, stop, .. } => state.run(seen, *max, |byte| !stop.contains(&byte)),
        }
    }
}

impl Program {
    pub(super) fn parse(&self, stream: &[u8]) -> Result<Parse, Malformed> {
        let seen = &stream[..stream.len().min(self.max_len)];
        let mut state = State::default();
        for (index, field) in self.fields.iter().enumerate() {
            let reason = match field.step(&mut state, seen) {
                Ok(_) => continue,
                Err(Stop::NeedMore) if seen.len() < self.max_len => return Ok(Parse::NeedMore),
                Err(Stop::NeedMore) => "there is no terminator within the longest header",
                Err(Stop::Unfit(reason)) => reason,
            };
            return if index < self.signature {
                Ok(Parse::NotMine)
            } else {
                Err(Malformed(reason))
            };
        }
        let truth = state.endpoints.truth()?;
        Ok(Parse::Header(Found {
            start: 0,
            len: state.at,
            truth: Some(truth),
        }))
    }

    pub(super) fn describe(&self, header: &[u8]) -> Map<String, Value> {
        let mut says = Map::new();
        let mut state = State::default();
        for field in &self.fields {
            let Ok(bytes) = field.step(&mut state, header) else {
                break;
            };
            if let Field::Token { name, .. } = field {
                let value = match std::str::from_utf8(bytes) {
                    Ok(text) => text.into(),
                    Err(_) => serde_json::json!({ "hex": hex(bytes) }),
                };
                says.insert(name.clone(), value);
            }
        }
        says
    }

    pub(super) fn emit(&self, truth: &Truth) -> Option<Vec<u8>> {
        let mut header = Vec::with_capacity(self.max_len.min(256));
        for field in &self.fields {
            match field {
                Field::Literal(literal) => header.extend(literal),
                Field::Separator(set) => header.push(set[0]),
                Field::Family { ipv4, ipv6 } => {
                    header.extend(if truth.peer.is_ipv6() { ipv6 } else { ipv4 });
                }
                Field::Ip { side, form } => {
                    let text = match (endpoint(truth, *side).ip(), form) {
                        (IpAddr::V4(ip), IpForm::V6) => ip.to_ipv6_mapped().to_string(),
                        (IpAddr::V6(_), IpForm::V4) => return None,
                        (ip, _) => ip.to_string(),
                    };
                    header.extend(text.into_bytes());
                }
                Field::Port { side, radix } => {
                    let port = endpoint(truth, *side).port();
                    let text = match radix {
                        Radix::Decimal => port.to_string(),
                        Radix::Hex => format!("{port:x}"),
                    };
                    header.extend(text.into_bytes());
                }
                Field::Token { emit, .. } => header.extend(emit),
            }
        }
        Some(header)
    }
}
