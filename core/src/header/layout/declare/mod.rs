//! A declaration from configuration -> fields. Every error names the field's place.
//!
//! Here is what both encodings share; the fields of each have a file of their own.

mod binary;
mod textual;

use serde_json::{Map, Value};

use super::{IpForm, Side, MAX_LENGTH};

pub(super) use binary::compile as binary;
pub(super) use textual::compile as text;

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
