//! The end of connections: what waits leaves, and their records are made.

use crate::connection::{fact, Connection, State};
use crate::tracker::Id;

use super::{record, Engine, Nanos, Output};

impl Engine {
    /// Takes a connection out of the table: what waits leaves, its record is made.
    pub(super) fn close(&mut self, id: Id, ended: bool, out: &mut impl Output) {
        if self.tracker.get(id).state == State::Vacant {
            return;
        }
        if self.tracker.get(id).is(fact::HOLDING) {
            self.give_up(id, u64::MAX, out);
        }
        self.drop_earlier(id);
        let connection = self.tracker.remove(id);
        let end = ended.then(|| connection.last_seen());
        self.retire(&connection, end);
    }

    /// The end of what is remembered of a connection: its verdict, if it never had one, and its
    /// record.
    pub(super) fn retire(&mut self, connection: &Connection, end: Option<Nanos>) {
        if connection.state.is_undecided() {
            self.stats.decide(connection.state.verdict());
        }
        if !connection.is_closed() {
            self.forget_true_tuple(connection);
        }
        if self.config.records && !self.is_unowned(connection) {
            record::write(&mut self.records, connection, &self.config.codecs, end);
        }
    }

    /// Makes the record of a connection's earlier epoch and forgets it.
    pub(super) fn drop_earlier(&mut self, id: Id) {
        let connection = self.tracker.get_mut(id);
        if !connection.is(fact::EARLIER) {
            return;
        }
        connection.unset(fact::EARLIER);
        let earlier = connection
            .extra
            .as_mut()
            .and_then(|extra| extra.earlier.take());
        if let Some(earlier) = earlier {
            self.retire(&earlier, Some(earlier.last_seen()));
        }
    }
}
