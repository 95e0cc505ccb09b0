//! Times as Suricata writes them: `2026-01-01T00:00:00.000000+0000`.

const LENGTH: usize = 31;

/// Nanoseconds since 1970 in UTC of `text`, if it has just this form and is a time.
pub fn parse(text: &[u8]) -> Option<i64> {
    if text.len() != LENGTH {
        return None;
    }
    for (at, mark) in [
        (4, b'-'),
        (7, b'-'),
        (10, b'T'),
        (13, b':'),
        (16, b':'),
        (19, b'.'),
    ] {
        if text[at] != mark {
            return None;
        }
    }
    let number = |from: usize, to: usize| {
        text[from..to].iter().try_fold(0i64, |sum, digit| {
            digit
                .is_ascii_digit()
                .then(|| sum * 10 + i64::from(digit - b'0'))
        })
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let (micros, east) = (number(20, 26)?, number(27, 29)? * 60 + number(29, 31)?);
    let sign = match text[26] {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    // What is left for others to judge: other centuries, days that only some months have.
    let plain = (1970..2100).contains(&year)
        && (1..=12).contains(&month)
        && (1..=days_in(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60
        && number(27, 29)? < 24
        && number(29, 31)? < 60;
    if !plain {
        return None;
    }
    let seconds = ((days(year, month, day) * 24 + hour) * 60 + minute - sign * east) * 60 + second;
    Some((seconds * 1_000_000 + micros) * 1000)
}

fn is_leap(year: i64) -> bool {
    // From 1970 to 2099 every fourth one.
    year % 4 == 0
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 => 28 + i64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970.
fn days(year: i64, month: i64, day: i64) -> i64 {
    const BEFORE: [i64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    let leaps = (year - 1969) / 4 + i64::from(is_leap(year) && month > 2);
    (year - 1970) * 365 + leaps + BEFORE[month as usize - 1] + day - 1
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn times() {
        for (text, expected) in [
            ("1970-01-01T00:00:00.000000+0000", Some(0)),
            (
                "2026-01-01T00:00:00.000001+0000",
                Some(1_767_225_600_000_001_000),
            ),
            (
                "2024-02-29T23:59:59.999999-0130",
                Some(1_709_256_599_999_999_000),
            ),
            (
                "2024-03-01T00:00:00.000000+0000",
                Some(1_709_251_200_000_000_000),
            ),
            ("2025-02-29T00:00:00.000000+0000", None),
            ("2026-13-01T00:00:00.000000+0000", None),
            ("2026-01-01T24:00:00.000000+0000", None),
            ("2026-01-01T00:00:60.000000+0000", None),
            ("2026-01-01T00:00:00.000000+0060", None),
            ("2026-01-01T00:00:00.00000x+0000", None),
            ("2026-01-01T00:00:00.000000Z", None),
            ("2026-01-01 00:00:00.000000+0000", None),
            ("", None),
        ] {
            assert_eq!(parse(text.as_bytes()), expected, "{text}");
        }
    }
}
