//! Suricata's usual events, corrected where they lie: bytes in, bytes out, no JSON values made.
//!
//! Parts, and how they meet:
//!
//! * `line`: what of one event decides, found in its text; or that it is for somebody else.
//! * `moment`: EVE's times.
//! * [`known`]: answers about connections that were given before, put into the events of a block.
//!
//! The general way, in Python, decides all that this one leaves, and gives it its answers. Whatever
//! is in doubt is left: a member spelt otherwise, a space, a number that is no plain one. So an
//! attacker who writes into events chooses the slower way at most.

mod changes;
pub mod flows;
pub mod known;
mod line;
mod moment;
