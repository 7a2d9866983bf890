//! How scripts are judged: what packetdrill's command line says, and what is our own.

use std::collections::BTreeMap;

use crate::world::host::Family;

/// How scripts are judged.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// `-D NAME=VALUE`: what a word of a script stands for, and what `#ifdef` asks about.
    pub definitions: BTreeMap<String, String>,
    /// `--name=value` of packetdrill; these win over the same lines at the top of a script.
    pub flags: Vec<(String, String)>,
    /// The family that a script runs over when neither it nor `flags` [says](super::families) one.
    /// Over IPv6 the MTU has 20 bytes more, so that segments have the same sizes.
    pub family: Family,
    /// Lets pass what careful stacks do differently: see [`Options::relaxed`].
    pub relaxed: bool,
    /// Stricter than packetdrill: see [`Options::strict`].
    pub strict: bool,
    /// Keep a log of what happens.
    pub log: bool,
}

impl Options {
    /// Ignores the window that we offer, PSH and the order of options; more pure ACKs than a script
    /// expects are fine, and so are ACKs that come up to 200 ms late or two in one.
    #[must_use]
    pub fn relaxed() -> Self {
        Self { relaxed: true, ..Self::default() }
    }

    /// For scripts of our own: a time may be wrong by the tolerance and not by a share of the wait,
    /// a segment that left before the last event and that no line expects is a failure, and a
    /// segment is one segment, never several together.
    #[must_use]
    pub fn strict() -> Self {
        Self { strict: true, ..Self::default() }
    }
}
