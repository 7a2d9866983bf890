//! What a script says, with the place of everything.

use wire::time::Duration;

use super::Position;
use crate::segment::{Flags, TcpOption};

/// A packet script.
#[derive(Clone, Debug, Default)]
pub struct Script {
    /// The `--name=value` lines at its top, with their places.
    pub options: Vec<(String, String, Position)>,
    /// What happens, in order.
    pub events: Vec<Event>,
}

/// One line of a script.
#[derive(Clone, Debug)]
pub struct Event {
    /// When it happens, or should.
    pub when: When,
    /// When a blocking call should be over, from the same moment as `when` counts.
    pub until: Option<Duration>,
    /// What happens.
    pub action: Action,
    /// Where it stands.
    pub position: Position,
}

/// The time of an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum When {
    /// `*`: at any time.
    Any,
    /// `0.1` or `+0.1`: at one moment.
    At(Moment),
    /// `0.1~0.3` or `+0.1~+0.3`: between two moments.
    Between(Moment, Moment),
}

/// A moment of a script.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Moment {
    /// Since the script began.
    Absolute(Duration),
    /// Since the event before.
    Relative(Duration),
}

/// What happens in an event.
#[derive(Clone, Debug)]
pub enum Action {
    /// `<`: a segment arrives.
    Arrives(Packet),
    /// `>`: a segment is expected from the stack.
    Leaves(Packet),
    /// `< icmp`: an ICMP error arrives.
    Icmp(Icmp),
    /// A system call.
    Call(Call),
    /// `` `...` ``: settings.
    Shell(String),
    /// `%{ ... }%`: assertions about the connection's `TCP_INFO`.
    Code(String),
}

/// A segment as a script writes it. Its numbers count from the script's own initial ones.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Packet {
    /// Which remote end: 0 unless the script says `peer(N)`.
    pub peer: u16,
    /// Source and destination port, when they are not the usual ones: `< 8081 > 8080`.
    pub ports: Option<(u16, u16)>,
    /// What the script says of the IP header's DSCP and ECN.
    pub traffic_class: TrafficClass,
    /// `[ttl N]`: the hop limit.
    pub ttl: Option<u8>,
    /// The flags.
    pub flags: Flags,
    /// The sequence number.
    pub seq: u32,
    /// The payload's length in bytes.
    pub length: u32,
    /// The acknowledgment number, with the ACK flag.
    pub ack: Option<u32>,
    /// The window field; not compared when missing.
    pub window: Option<u16>,
    /// The urgent pointer; not compared when missing.
    pub urgent: Option<u16>,
    /// The options; `None` for `<...>`: anything.
    pub options: Option<Vec<TcpOption>>,
    /// `bad_checksum`: the segment is damaged on its way in.
    pub bad_checksum: bool,
}

/// What a script says of the byte that holds DSCP and ECN.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum TrafficClass {
    /// Nothing: zero on the way in, not compared on the way out.
    #[default]
    Any,
    /// `[ect01]`: either of the two ECN-capable codepoints.
    Capable,
    /// `[noecn]`, `[ect0]`, `[ect1]`, `[ce]`: the ECN field.
    Ecn(u8),
    /// `[tos 0x10]`: the whole byte.
    Byte(u8),
}

/// An ICMP error that quotes a segment of the stack.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Icmp {
    /// Which remote end's connection is quoted.
    pub peer: u16,
    /// The ICMP type.
    pub kind: u8,
    /// The ICMP code.
    pub code: u8,
    /// The next hop's MTU, for `frag_needed`.
    pub mtu: u16,
    /// The quoted segment's sequence number.
    pub seq: u32,
    /// The quoted segment's payload length.
    pub length: u32,
}

/// A system call and what it should return.
#[derive(Clone, PartialEq, Debug)]
pub struct Call {
    /// Its name.
    pub name: String,
    /// What it is given; values that it fills in are compared.
    pub arguments: Vec<Expression>,
    /// The value that it should return.
    pub result: Expression,
    /// The name of the error that it should set.
    pub errno: Option<String>,
}

/// An argument of a system call.
#[derive(Clone, PartialEq, Debug)]
pub enum Expression {
    /// `...`: whatever fits.
    Ellipsis,
    /// A number.
    Integer(i64),
    /// A number with a fraction.
    Fraction(f64),
    /// A constant by its name, or several with `|` between.
    Names(Vec<String>),
    /// `"..."`.
    Text(String),
    /// `[a, b]`.
    List(Vec<Expression>),
    /// `{a, b}`: a buffer and its length.
    Tuple(Vec<Expression>),
    /// `a | b`, when not all of them are names.
    Either(Vec<Expression>),
    /// `{name = value, ...}`.
    Record(Vec<(String, Expression)>),
    /// `htons(8080)`.
    Apply(String, Vec<Expression>),
}
