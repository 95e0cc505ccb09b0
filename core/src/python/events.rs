//! Corrected events for Python: blocks of lines.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::events::known::{Answer, Known};

/// See the stub.
#[pyclass]
pub struct KnownEvents(Known);

#[pymethods]
impl KnownEvents {
    #[new]
    fn new() -> Self {
        Self(Known::default())
    }

    fn __len__(&self) -> usize {
        self.0.len()
    }

    fn clear(&mut self) {
        self.0.clear();
    }

    fn allow(&mut self, kind: &str) {
        self.0.allow(kind.as_bytes());
    }

    #[expect(
        clippy::too_many_arguments,
        clippy::type_complexity,
        reason = "one answer, flat as Python has it"
    )]
    fn learn(
        &mut self,
        line: &[u8],
        since: i64,
        until: i64,
        ends: Option<(Vec<u8>, Vec<u8>, Vec<u8>, Vec<u8>)>,
        community_id: Option<Vec<u8>>,
        member: Vec<u8>,
        token: usize,
    ) -> bool {
        let answer = Answer {
            moments: (since, until),
            ends: ends.map(|(a, b, c, d)| [a, b, c, d]),
            community_id,
            member,
            token,
        };
        self.0.learn(line, answer)
    }

    #[pyo3(signature = (data, at, file=None, offset=0))]
    fn correct<'py>(
        &mut self,
        py: Python<'py>,
        data: &[u8],
        at: usize,
        file: Option<&[u8]>,
        offset: u64,
    ) -> (Bound<'py, PyBytes>, usize, u64) {
        let mut out = Vec::with_capacity(data.len().saturating_sub(at) * 2);
        let place = file.map(|file| (file, offset));
        let at = at.min(data.len());
        let (at, lines) = self.0.correct(data, at, place, &mut out);
        (PyBytes::new(py, &out), at, lines)
    }

    #[expect(clippy::type_complexity, reason = "one flat tuple for Python")]
    fn take<'py>(
        &mut self,
        py: Python<'py>,
    ) -> PyResult<(
        u64,
        u64,
        u64,
        Bound<'py, PyDict>,
        Vec<(Option<usize>, usize, usize)>,
    )> {
        let counts = &mut self.0.counts;
        let types = PyDict::new(py);
        for (kind, count) in &mut counts.types {
            if *count > 0 {
                types.set_item(String::from_utf8_lossy(kind), std::mem::take(count))?;
            }
        }
        let alerts = std::mem::take(&mut counts.alerts)
            .into_iter()
            .map(|(token, span)| (token, span.start, span.end))
            .collect();
        Ok((
            std::mem::take(&mut counts.exact),
            std::mem::take(&mut counts.time),
            std::mem::take(&mut counts.other),
            types,
            alerts,
        ))
    }
}
