//! What was measured, as numbers and as JSON.

use serde::{Deserialize, Serialize};

use crate::row::{Measure, Row};

/// What one run came to. All times are of the measured window.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// Bytes in a row of bulk, requests in others.
    pub(crate) units: u64,
    /// How long the window was.
    pub(crate) seconds: f64,
    /// The median of the round trips, where one connection asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) median_us: Option<f64>,
    /// What one of a hundred round trips exceeds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tail_us: Option<f64>,
    /// CPU seconds of the client, kernel included.
    pub(crate) client_cpu: f64,
    /// CPU seconds of the server, kernel included.
    pub(crate) server_cpu: f64,
}

/// One run, and which it was.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) row: String,
    pub(crate) variant: String,
    pub(crate) round: u32,
    #[serde(flatten)]
    pub(crate) outcome: Outcome,
}

impl Outcome {
    /// A measure in the unit of its row.
    pub(crate) fn value(&self, row: &Row, measure: Measure) -> Option<f64> {
        match measure {
            Measure::Rate => Some(self.units as f64 / self.seconds * row.scale()),
            Measure::Median => self.median_us,
            Measure::Tail => self.tail_us,
        }
    }

    /// CPU seconds per GB in a row of bulk, CPU microseconds per request in others: the client's,
    /// the server's.
    pub(crate) fn cost(&self, row: &Row) -> [f64; 2] {
        let scale = if row.is_bulk() { 1e9 } else { 1e6 };
        [self.client_cpu, self.server_cpu].map(|cpu| cpu / self.units.max(1) as f64 * scale)
    }
}

impl Row {
    /// Units per second into the unit of the rate.
    fn scale(&self) -> f64 {
        if self.is_bulk() { 8.0 / 1e9 } else { 1.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_as_bits_and_requests_as_they_are() {
        let outcome = Outcome {
            units: 5_000_000_000,
            seconds: 2.0,
            median_us: None,
            tail_us: None,
            client_cpu: 1.0,
            server_cpu: 2.0,
        };
        let bulk = Row::named("in").unwrap();
        assert_eq!(outcome.value(bulk, Measure::Rate), Some(20.0));
        assert_eq!(outcome.cost(bulk), [0.2, 0.4]);
        assert_eq!(outcome.value(bulk, Measure::Tail), None);
        let requests = Outcome { units: 1000, ..outcome };
        let row = Row::named("http").unwrap();
        assert_eq!(requests.value(row, Measure::Rate), Some(500.0));
        assert_eq!(requests.cost(row), [1000.0, 2000.0]);
    }

    #[test]
    fn a_record_survives_json() {
        let outcome = Outcome {
            units: 7,
            seconds: 0.5,
            median_us: Some(3.25),
            tail_us: None,
            client_cpu: 0.125,
            server_cpu: 0.25,
        };
        let record = Record { row: "ping".into(), variant: "null".into(), round: 3, outcome };
        let text = serde_json::to_string(&record).unwrap();
        assert!(!text.contains("tail"), "{text}");
        assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record);
    }
}
