//! The declaration of a binary layout.

use serde_json::Value;

use super::{ip_form, signature_end, Census, Entry, SIDES};
use crate::header::layout::binary::{Field, Number, Of, Over, Program, Sum};
use crate::header::layout::{IpForm, Side, MAX_LENGTH};

/// The longest header whose length field may reach beyond the fields, unless the declaration says
/// otherwise.
const OPEN_MAX_LENGTH: usize = 4096;

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

/// Compiles a binary layout.
pub(in crate::header::layout) fn compile(
    fields: &[Value],
    max: Option<usize>,
) -> Result<Program, String> {
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
        _ => Ok(Program {
            fields: program,
            signature,
            max_len: max.unwrap_or(longest),
        }),
    }
}

/// Without a family, the length that stands before an `ip` field tells it.
fn tell_family_by_length(
    program: &mut [Field],
    sizes: [usize; 2],
    is_open: bool,
) -> Result<(), String> {
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
fn number(entry: &Entry, before: &[Field], census: &mut Census) -> Result<Field, String> {
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
