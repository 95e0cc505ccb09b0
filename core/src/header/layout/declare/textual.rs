//! The declaration of a text layout.

use serde_json::Value;

use super::{ip_form, signature_end, Census, Entry, PORTS, SIDES};
use crate::header::layout::textual::{Field, Program, Radix};
use crate::header::layout::MAX_LENGTH;

/// The longest text header, unless the declaration says otherwise.
const TEXT_MAX_LENGTH: usize = 256;
/// The longest text token, unless the declaration says otherwise.
const TOKEN_MAX: usize = 64;

/// Compiles a text layout.
pub(in crate::header::layout) fn compile(
    fields: &[Value],
    max: Option<usize>,
) -> Result<Program, String> {
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
    Ok(Program {
        fields: program,
        signature: first,
        max_len: max.unwrap_or(TEXT_MAX_LENGTH),
    })
}

/// A `word` field.
fn word(entry: &Entry) -> Result<Field, String> {
    entry.only(&["ipv4", "ipv6"])?;
    entry.word(&[("family", ())])?;
    let (Some(ipv4), Some(ipv6)) = (entry.option_text("ipv4")?, entry.option_text("ipv6")?) else {
        return Err(entry.error("needs both words: ipv4, ipv6"));
    };
    if ipv4.starts_with(ipv6) || ipv6.starts_with(ipv4) {
        return Err(entry.error("one word is the beginning of the other"));
    }
    let (ipv4, ipv6) = (ipv4.as_bytes().to_vec(), ipv6.as_bytes().to_vec());
    Ok(Field::Family { ipv4, ipv6 })
}

/// Checks that each field's end is seen, and gives tokens the bytes that end them.
fn bound(program: &mut [Field], entries: &[Entry]) -> Result<(), String> {
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
