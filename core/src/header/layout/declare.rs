//! A declaration from configuration -> fields. Every error names the field's place.

use serde_json::{Map, Value};

use super::binary::{self, Number, Of, Over, Sum};
use super::textual::{self, Radix};
use super::{IpForm, Side, MAX_LENGTH};

/// The longest text header, unless the declaration says otherwise.
const TEXT_MAX_LENGTH: usize = 256;
/// The longest header whose length field may reach beyond the fields, unless the declaration says
/// otherwise.
const OPEN_MAX_LENGTH: usize = 4096;
/// The longest text token, unless the declaration says otherwise.
const TOKEN_MAX: usize = 64;

/// One field's object: its kind, the value under it, its options.
struct Entry<'a> {
    index: usize,
    kind: &'a str,
    value: &'a Value,
    object: &'a Map<String, Value>,
}

impl<'a> Entry<'a> {
    fn new(index: usize, field: &'a Value, kinds: &[&str]) -> Result<Self, String> {
        let allowed = kinds.join(", ");
        let Some(object) = field.as_object() else {
            return Err(format!(
                "layout[{index}]: must be an object with one of: {allowed}"
            ));
        };
        let is_kind = |key: &str| kinds.contains(&key);
        // `ipv4` and `ipv6` are kinds of their own, and options of a family.
        let is_option = |key: &str| key == "ipv4" || key == "ipv6";
        let several = object.keys().filter(|key| is_kind(key)).count() > 1;
        let mut found = object
            .iter()
            .filter(|(key, _)| is_kind(key) && !(several && is_option(key)));
        let (Some((kind, value)), None) = (found.next(), found.next()) else {
            let keys: Vec<&str> = object.keys().map(String::as_str).collect();
            let keys = keys.join(", ");
            return Err(format!(
                "layout[{index}]: has {{{keys}}}; must have exactly one of: {allowed}"
            ));
        };
        Ok(Entry {
            index,
            kind,
            value,
            object,
        })
    }

    fn error(&self, what: impl std::fmt::Display) -> String {
        format!("layout[{}].{}: {what}", self.index, self.kind)
    }

    /// No key beside the kind and these.
    fn only(&self, options: &[&str]) -> Result<(), String> {
        let is_known = |key: &&String| *key == self.kind || options.contains(&key.as_str());
        match self.object.keys().find(|key| !is_known(key)) {
            None => Ok(()),
            Some(key) if options.is_empty() => Err(self.error(format!("{key}: takes no options"))),
            Some(key) => Err(self.error(format!(
                "{key}: is not an option; allowed: {}",
                options.join(", ")
            ))),
        }
    }

    fn text(&self) -> Result<&'a str, String> {
        self.value
            .as_str()
            .ok_or_else(|| self.error(format!("{} must be a text; put it in quotes", self.value)))
    }

    /// The value as one of these words.
    fn word<T: Copy>(&self, words: &[(&str, T)]) -> Result<T, String> {
        self.choose(self.value, words)
    }

    fn choose<T: Copy>(&self, value: &Value, words: &[(&str, T)]) -> Result<T, String> {
        let known = words.iter().find(|(word, _)| value.as_str() == Some(word));
        known.map(|(_, meaning)| *meaning).ok_or_else(|| {
            let allowed: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            self.error(format!(
                "{value} is not known; allowed: {}",
                allowed.join(", ")
            ))
        })
    }

    fn option(&self, key: &str) -> Option<&'a Value> {
        self.object.get(key)
    }

    fn option_text(&self, key: &str) -> Result<Option<&'a str>, String> {
        self.option(key)
            .map(|value| {
                value
                    .as_str()
                    .ok_or_else(|| self.error(format!("{key}: must be a text")))
            })
            .transpose()
    }

    fn option_number(&self, key: &str, max: usize) -> Result<Option<usize>, String> {
        let number = |value: &Value| {
            let number = value
                .as_u64()
                .and_then(|number| usize::try_from(number).ok());
            number
                .filter(|number| *number <= max)
                .ok_or_else(|| self.error(format!("{key}: must be a number from 0 to {max}")))
        };
        self.option(key).map(number).transpose()
    }

    /// A count of bytes.
    fn count(&self) -> Result<usize, String> {
        let count = self
            .value
            .as_u64()
            .and_then(|count| usize::try_from(count).ok());
        count
            .filter(|count| (1..=MAX_LENGTH).contains(count))
            .ok_or_else(|| self.error(format!("{} must be a number of bytes", self.value)))
    }
}

const SIDES: [(&str, Side); 2] = [("peer", Side::Peer), ("destination", Side::Destination)];
const PORTS: [(&str, Side); 2] = [
    ("peer_port", Side::Peer),
    ("destination_port", Side::Destination),
];

const NUMBERS: [(&str, Number); 5] = [
    (
        "u8",
        Number {
            width: 1,
            little_endian: false,
        },
    ),
    (
        "u16be",
        Number {
            width: 2,
            little_endian: false,
        },
    ),
    (
        "u16le",
        Number {
            width: 2,
            little_endian: true,
        },
    ),
    (
        "u32be",
        Number {
            width: 4,
            little_endian: false,
        },
    ),
    (
        "u32le",
        Number {
            width: 4,
            little_endian: true,
        },
    ),
];

fn ip_form(kind: &str) -> IpForm {
    match kind {
        "ipv4" => IpForm::V4,
        "ipv6" => IpForm::V6,
        _ => IpForm::Either,
    }
}

/// What every layout needs, whatever its encoding: each endpoint once, of one family.
#[derive(Default)]
struct Census {
    ips: [Option<IpForm>; 2],
    ports: [bool; 2],
}

impl Census {
    fn ip(&mut self, entry: &Entry, side: Side, form: IpForm) -> Result<(), String> {
        match self.ips[side as usize].replace(form) {
            None => Ok(()),
            Some(_) => Err(entry.error("this address is there twice")),
        }
    }

    fn port(&mut self, entry: &Entry, side: Side) -> Result<(), String> {
        match std::mem::replace(&mut self.ports[side as usize], true) {
            false => Ok(()),
            true => Err(entry.error("this port is there twice")),
        }
    }

    fn complete(&self) -> Result<(), String> {
        let absent = SIDES
            .iter()
            .find(|(_, side)| self.ips[*side as usize].is_none())
            .or_else(|| PORTS.iter().find(|(_, side)| !self.ports[*side as usize]));
        match (absent, self.ips) {
            (Some((name, _)), _) => Err(format!("layout: no field holds {name}")),
            (None, [Some(IpForm::V4), Some(IpForm::V6)] | [Some(IpForm::V6), Some(IpForm::V4)]) => {
                Err("layout: peer and destination are of two families".into())
            }
            (None, _) => Ok(()),
        }
    }
}

/// The first run of fields that are `constant`: one past its end.
fn signature_end<T>(
    fields: &[T],
    constant: impl Fn(&T) -> bool,
    what: &str,
) -> Result<usize, String> {
    let Some(first) = fields.iter().position(&constant) else {
        return Err(format!(
            "layout: no {what} tells such a header from a payload"
        ));
    };
    Ok(first
        + fields[first..]
            .iter()
            .take_while(|field| constant(field))
            .count())
}

/// Compiles a binary layout.
pub(super) fn binary(fields: &[Value], max: Option<usize>) -> Result<binary::Program, String> {
    use binary::Field;
    const KINDS: [&str; 11] = [
        "bytes", "u8", "u16be", "u16le", "u32be", "u32le", "ip", "ipv4", "ipv6", "skip", "padding",
    ];
    let mut census = Census::default();
    let mut program: Vec<Field> = Vec::new();
    for (index, value) in fields.iter().enumerate() {
        let entry = Entry::new(index, value, &KINDS)?;
        let has = |is: fn(&Field) -> bool| program.iter().any(is);
        let has_length = has(|field| matches!(field, Field::Length { .. }));
        if has(|field| matches!(field, Field::SkipRest)) {
            return Err(entry.error("nothing can follow {skip: rest}"));
        }
        let field = match entry.kind {
            "bytes" => Field::Constant(hex_bytes(&entry)?),
            "ip" | "ipv4" | "ipv6" => {
                let (side, form) = (entry.word(&SIDES)?, ip_form(entry.kind));
                census.ip(&entry, side, form)?;
                let has_family = has(|field| matches!(field, Field::Family { .. }));
                if form == IpForm::Either && !has_family && !has_length {
                    return Err(entry.error(
                        "nothing before it tells the family: add a family or a length, \
                         or use ipv4 or ipv6",
                    ));
                }
                let width = entry.option_number("width", 16)?;
                if width.is_some_and(|width| width != 16) {
                    return Err(entry.error("width: must be 16"));
                }
                entry.only(if form == IpForm::Either {
                    &["width"]
                } else {
                    &[]
                })?;
                Field::Ip { side, form, width }
            }
            "skip" if entry.value.as_str() == Some("rest") => {
                if !has_length {
                    return Err(entry.error("rest: no length stands before it"));
                }
                entry.only(&[])?;
                Field::SkipRest
            }
            "skip" => {
                entry.only(&["name"])?;
                let name = entry.option_text("name")?.map(str::to_owned);
                Field::Skip {
                    len: entry.count()?,
                    name,
                }
            }
            "padding" => {
                entry.only(&[])?;
                Field::Padding(entry.count()?)
            }
            _ => number(&entry, &program, &mut census)?,
        };
        program.push(field);
    }
    census.complete()?;
    let constant = |field: &Field| matches!(field, Field::Constant(_));
    let signature = signature_end(&program, constant, "constant")?;

    let size = |v6: bool| program.iter().map(|field| field.size(v6)).sum::<usize>();
    let sizes = [size(false), size(true)];
    let fixed = sizes[1].max(sizes[0]);
    let is_open = program.iter().any(|field| matches!(field, Field::SkipRest));
    tell_family_by_length(&mut program, sizes, is_open)?;
    let longest = if is_open {
        fixed.max(OPEN_MAX_LENGTH)
    } else {
        fixed
    };
    match max {
        _ if fixed > MAX_LENGTH => Err(format!("layout: is longer than {MAX_LENGTH} bytes")),
        Some(max) if max < fixed => Err(format!(
            "max_length: {max} is below the {fixed} bytes that the fields need"
        )),
        _ => Ok(binary::Program {
            fields: program,
            signature,
            max_len: max.unwrap_or(longest),
        }),
    }
}

/// Without a family, the length that stands before an `ip` field tells it.
fn tell_family_by_length(
    program: &mut [binary::Field],
    sizes: [usize; 2],
    is_open: bool,
) -> Result<(), String> {
    use binary::Field;
    let has = |is: fn(&Field) -> bool| program.iter().any(is);
    let is_told = has(|field| matches!(field, Field::Family { .. }));
    if is_told
        || !has(|field| {
            matches!(
                field,
                Field::Ip {
                    form: IpForm::Either,
                    ..
                }
            )
        })
    {
        return Ok(());
    }
    if is_open || sizes[0] == sizes[1] {
        return Err("layout: the length cannot tell the family here; name the family".into());
    }
    for field in program {
        if let Field::Length { families, .. } = field {
            *families = Some(sizes);
        }
    }
    Ok(())
}

/// The bytes of a `bytes` field.
fn hex_bytes(entry: &Entry) -> Result<Vec<u8>, String> {
    entry.only(&[])?;
    let text = entry.text()?;
    let wrong = || entry.error(format!("{text:?} is not pairs of hexadecimal digits"));
    if text.is_empty() || text.len() % 2 != 0 || !text.bytes().all(|byte| byte.is_ascii_hexdigit())
    {
        return Err(wrong());
    }
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| wrong()))
        .collect()
}

#[derive(Clone, Copy)]
enum Role {
    Family,
    Port(Side),
    Length,
    Sum(Sum),
    Value,
}

/// A field of the kinds `u8` to `u32le`.
fn number(
    entry: &Entry,
    before: &[binary::Field],
    census: &mut Census,
) -> Result<binary::Field, String> {
    use binary::Field;
    const ROLES: [(&str, Role); 7] = [
        ("family", Role::Family),
        ("peer_port", Role::Port(Side::Peer)),
        ("destination_port", Role::Port(Side::Destination)),
        ("length", Role::Length),
        ("crc32c", Role::Sum(Sum::Crc32c)),
        ("crc32", Role::Sum(Sum::Crc32)),
        ("value", Role::Value),
    ];
    let format = NUMBERS.iter().find(|(kind, _)| *kind == entry.kind);
    let (_, number) = *format.ok_or_else(|| entry.error("is not a number's kind"))?;
    if entry.value.is_number() {
        entry.only(&[])?;
        let bytes = entry.value.as_u64().and_then(|value| number.write(value));
        let bytes = bytes.ok_or_else(|| entry.error(format!("{} does not fit", entry.value)))?;
        return Ok(Field::Constant(bytes));
    }
    let twice = |is: fn(&Field) -> bool, what: &str| match before.iter().any(is) {
        true => Err(entry.error(format!("{what} is there twice"))),
        false => Ok(()),
    };
    match entry.word(&ROLES)? {
        Role::Family => {
            entry.only(&["ipv4", "ipv6"])?;
            twice(|field| matches!(field, Field::Family { .. }), "the family")?;
            let largest = (u64::MAX >> (64 - 8 * number.width)) as usize;
            let ipv4 = entry.option_number("ipv4", largest)?.unwrap_or(4) as u32;
            let ipv6 = entry.option_number("ipv6", largest)?.unwrap_or(6) as u32;
            if ipv4 == ipv6 {
                return Err(entry.error("ipv4 and ipv6 are the same value"));
            }
            Ok(Field::Family { number, ipv4, ipv6 })
        }
        Role::Port(side) => {
            entry.only(&[])?;
            if number.width < 2 {
                return Err(entry.error("a port needs 16 bits"));
            }
            census.port(entry, side)?;
            Ok(Field::Port { side, number })
        }
        Role::Length => {
            entry.only(&["of"])?;
            twice(|field| matches!(field, Field::Length { .. }), "the length")?;
            let words = [("rest", Of::Rest), ("whole", Of::Whole)];
            let of = entry
                .option("of")
                .map_or(Ok(Of::Rest), |of| entry.choose(of, &words))?;
            Ok(Field::Length {
                number,
                of,
                families: None,
            })
        }
        Role::Sum(sum) => {
            entry.only(&["over"])?;
            twice(|field| matches!(field, Field::Sum { .. }), "a checksum")?;
            if number.width != 4 {
                return Err(entry.error("a checksum needs 32 bits"));
            }
            let words = [("whole", Over::Whole), ("before", Over::Before)];
            let over = entry
                .option("over")
                .map_or(Ok(Over::Whole), |over| entry.choose(over, &words))?;
            Ok(Field::Sum { sum, number, over })
        }
        Role::Value => {
            entry.only(&["name"])?;
            let name = entry.option_text("name")?;
            let name =
                name.ok_or_else(|| entry.error("value: needs a name to be reported under"))?;
            Ok(Field::Value {
                number,
                name: name.to_owned(),
            })
        }
    }
}

/// Compiles a text layout.
pub(super) fn text(fields: &[Value], max: Option<usize>) -> Result<textual::Program, String> {
    use textual::Field;
    const KINDS: [&str; 10] = [
        "literal",
        "separator",
        "terminator",
        "word",
        "decimal",
        "hex",
        "ip",
        "ipv4",
        "ipv6",
        "text",
    ];
    let mut census = Census::default();
    let mut program: Vec<Field> = Vec::new();
    let mut literals: Vec<bool> = Vec::new();
    let mut entries = Vec::new();
    for (index, value) in fields.iter().enumerate() {
        let entry = Entry::new(index, value, &KINDS)?;
        if entry.kind == "terminator" && index + 1 != fields.len() {
            return Err(entry.error("must be the last field"));
        }
        let field = match entry.kind {
            "literal" | "terminator" | "separator" => {
                entry.only(&[])?;
                let text = entry.text()?.as_bytes().to_vec();
                if text.is_empty() {
                    return Err(entry.error("must not be empty"));
                }
                if entry.kind == "separator" {
                    Field::Separator(text)
                } else {
                    Field::Literal(text)
                }
            }
            "word" => word(&entry)?,
            "decimal" | "hex" => {
                entry.only(&[])?;
                let side = entry.word(&PORTS)?;
                census.port(&entry, side)?;
                let radix = if entry.kind == "hex" {
                    Radix::Hex
                } else {
                    Radix::Decimal
                };
                Field::Port { side, radix }
            }
            "text" => {
                entry.only(&["max", "emit"])?;
                let name = entry.text()?.to_owned();
                let max = entry.option_number("max", MAX_LENGTH)?.unwrap_or(TOKEN_MAX);
                let emit = entry
                    .option_text("emit")?
                    .unwrap_or("-")
                    .as_bytes()
                    .to_vec();
                Field::Token {
                    name,
                    max,
                    stop: Vec::new(),
                    emit,
                }
            }
            _ => {
                entry.only(&[])?;
                let (side, form) = (entry.word(&SIDES)?, ip_form(entry.kind));
                census.ip(&entry, side, form)?;
                Field::Ip { side, form }
            }
        };
        literals.push(entry.kind == "literal" || entry.kind == "word");
        program.push(field);
        entries.push(entry);
    }
    if entries.last().map(|entry| entry.kind) != Some("terminator") {
        return Err("layout: the last field must be a terminator".into());
    }
    census.complete()?;
    bound(&mut program, &entries)?;

    let first = signature_end(&literals, |literal| *literal, "literal")?;
    Ok(textual::Program {
        fields: program,
        signature: first,
        max_len: max.unwrap_or(TEXT_MAX_LENGTH),
    })
}

/// A `word` field.
fn word(entry: &Entry) -> Result<textual::Field, String> {
    entry.only(&["ipv4", "ipv6"])?;
    entry.word(&[("family", ())])?;
    let (Some(ipv4), Some(ipv6)) = (entry.option_text("ipv4")?, entry.option_text("ipv6")?) else {
        return Err(entry.error("needs both words: ipv4, ipv6"));
    };
    if ipv4.starts_with(ipv6) || ipv6.starts_with(ipv4) {
        return Err(entry.error("one word is the beginning of the other"));
    }
    let (ipv4, ipv6) = (ipv4.as_bytes().to_vec(), ipv6.as_bytes().to_vec());
    Ok(textual::Field::Family { ipv4, ipv6 })
}

/// Checks that each field's end is seen, and gives tokens the bytes that end them.
fn bound(program: &mut [textual::Field], entries: &[Entry]) -> Result<(), String> {
    use textual::Field;
    for index in 0..program.len() - 1 {
        let next = program[index + 1].clone();
        let entry = &entries[index];
        if program[index].is_open() && !matches!(next, Field::Literal(_) | Field::Separator(_)) {
            return Err(entry.error("a literal, a separator or the terminator must follow"));
        }
        let begins = next.begins();
        if let Some(byte) = begins
            .iter()
            .flatten()
            .find(|byte| program[index].holds(**byte))
        {
            let byte = char::from(*byte);
            return Err(entry.error(format!("{byte:?} behind it could be part of it")));
        }
        if let Field::Token {
            max, stop, emit, ..
        } = &mut program[index]
        {
            *stop = begins.unwrap_or_default();
            if emit.len() > *max || emit.iter().any(|byte| stop.contains(byte)) {
                return Err(entry.error("emit: would not be read back"));
            }
        }
    }
    Ok(())
}
