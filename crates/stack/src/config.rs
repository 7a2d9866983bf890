//! Every limit and every default, each with its reason.

use alloc::boxed::Box;
use core::ops::RangeInclusive;
use wire::time::Duration;

use crate::error::Error;
use crate::ip::PolicyTable;
use crate::packets::{Echo, OtherProtocols};
use crate::tcp::MtuProbing;
use crate::tcp::congestion::{Controller, Cubic};
use crate::tcp::ecn::EcnMode;

/// The limits and defaults of one stack.
///
/// A peer that looks at the wire should take us for a careful Linux; where a default differs, its
/// comment says why.
#[derive(Clone, Debug)]
pub struct Config {
    /// What a new TCP socket starts with; each socket can change its own.
    pub tcp: TcpOptions,
    /// Offer and accept window scaling (RFC 7323 2). On, as everywhere.
    pub window_scaling: bool,
    /// Offer and accept timestamps (RFC 7323 3). On: they give RTT samples and PAWS.
    pub timestamps: bool,
    /// Offer and accept selective acknowledgments (RFC 2018). On: without them every lost segment
    /// but the first of a window costs a round trip.
    pub sack: bool,
    /// Ephemeral ports (RFC 6056). 32768-60999, as Linux has it.
    pub ephemeral_ports: RangeInclusive<u16>,
    /// How long a TIME-WAIT lasts: 2 MSL. 60 s, as Linux has it; RFC 9293 3.6.1 says 4 minutes,
    /// written for a network where a packet could live for two.
    pub time_wait: Duration,
    /// How many TIME-WAIT entries are kept; the oldest goes first. 65,536 of 32 bytes: 2 MiB.
    pub time_wait_limit: usize,
    /// How many SYN-RECEIVED entries one listener keeps (its SYN queue), whatever its backlog.
    /// 4096 of 64 bytes; beyond it SYN cookies take over.
    pub syn_queue_limit: usize,
    /// How long a SYN waits for the decision of a program that decides first. 75 s: longer than a
    /// client's SYNs go on in most systems, so that a far end that is silent looks silent.
    pub decision_timeout: Duration,
    /// How many flows to any address one source may have, of TCP (those that a program decides, or
    /// decided, about) and of UDP each; what would begin a further one is dropped. 16,384: no host
    /// needs more at a time, and one alone cannot fill the tables.
    pub flows_per_source: u32,
    /// How many UDP flows to any address there may be; a datagram that would begin a further one is
    /// dropped. 65,536 of some 400 bytes, and what they have not read.
    pub udp_flow_limit: usize,
    /// How many bytes all UDP flows to any address may pin that were not read; further datagrams are
    /// dropped. 64 MiB: one flow alone is bounded by `udp_receive_buffer`, and there are many.
    pub udp_flow_memory: usize,
    /// Answer with SYN cookies when a listener's SYN queue is full (RFC 4987 3.6). On: a flood
    /// must not keep real clients out.
    pub syn_cookies: bool,
    /// The largest backlog of a listener, or of who takes UDP flows; larger ones are cut to it. 4096, as Linux's `somaxconn`.
    pub backlog_limit: usize,
    /// How often an unanswered SYN is sent again. 6: about 2 minutes (RFC 9293 3.8.3 asks for 3).
    pub syn_retries: u8,
    /// How often an unanswered SYN-ACK is sent again. 5: about 1 minute, as Linux has it.
    pub syn_ack_retries: u8,
    /// How often data is sent again before the connection is given up (R2 of RFC 9293 3.8.3).
    /// 15: about 15 minutes at the minimum timeout.
    pub data_retries: u8,
    /// The same for a connection that the program has closed already: nobody waits. 8.
    pub orphan_retries: u8,
    /// How long a closed connection waits in FIN-WAIT-2 for the peer's FIN. 60 s, as Linux has it:
    /// without a bound, a peer that never closes is a leak.
    pub fin_wait_2: Duration,
    /// How many TCP connections may exist. 1,048,576.
    pub connection_limit: usize,
    /// How many answers without a socket (RST, ICMP, SYN cookies) may wait for the link. 1024:
    /// they are answers to hostile traffic more often than not.
    pub reply_limit: usize,
    /// How many frames may be on their way from the stack to itself. 4096.
    pub loopback_limit: usize,
    /// How many frames that came to another shard may wait for their owner, on their way and with
    /// it, and more are lost as on a full link. 256: some turns of a driver; 16 MiB at the most.
    pub handover_limit: usize,
    /// How many bytes the buffers of all TCP connections pin together, at most: unread, out of order,
    /// not acknowledged. Beyond it data is dropped (the peer sends it again), `write` has to wait and
    /// new connections are refused. 512 MiB: what 85 connections fill at their largest, or some
    /// ten thousand at the size that they begin with.
    pub memory_limit: usize,
    /// From so many bytes on memory is short: buffers stop growing and nothing is kept behind a hole,
    /// so that the rest serves what is in order. 384 MiB, three quarters.
    pub memory_pressure: usize,
    /// How many out-of-order bytes a connection keeps, besides its receive buffer's limit. Both
    /// bound the memory that a peer can pin. 6 MiB, the largest receive window.
    pub out_of_order_limit: usize,
    /// How many neighbours' hardware addresses are kept, in all; the one that was not used for the
    /// longest time goes first. 1024, as Linux's `gc_thresh3`.
    pub neighbor_limit: usize,
    /// How long the hardware address that a neighbour of IPv4 gave is trusted. A minute, of which RFC 1122 2.3.2.1
    /// says "on the order of"; of IPv6 routers say it.
    pub arp_timeout: Duration,
    /// How often IPv6 asks on an Ethernet link whether somebody else has an address, a second apart,
    /// before it is used (RFC 4862 5.1, DupAddrDetectTransmits). 1; with 0 it is used at once.
    pub duplicate_address_probes: u8,
    /// How long, at most, an interface that configures itself waits at random before its first message, and
    /// before the first about an address that a router advertised to all (RFC 4862 5.4.2). 1 s (RFC 4861 10,
    /// MAX_RTR_SOLICITATION_DELAY): hosts that were switched on together do not speak together. Addresses
    /// that the program gives are asked for at once.
    pub solicitation_delay: Duration,
    /// How often it is asked whether somebody else has an address of IPv4 that a DHCP server gave,
    /// before it is used. 3 (RFC 5227 1.1, PROBE_NUM), which takes four to seven seconds; with 0 it is
    /// used at once.
    pub dhcp_probes: u8,
    /// Give up an address of IPv4 that the program gave when somebody else goes on claiming it (RFC 5227 2.4
    /// (b)), instead of defending it for ever ((c)). Off: else who forges two packets takes it away. An
    /// address from a DHCP server is always given up, for another.
    pub give_up_addresses: bool,
    /// The secret that addresses make themselves with (RFC 7217 5). `None` derives one from the
    /// stack's seed, so that a host with another seed has other addresses; whoever wants the same
    /// ones each time keeps 16 random bytes.
    pub stable_secret: Option<[u8; 16]>,
    /// Make a temporary address beside the stable one of each prefix that routers advertise, and begin
    /// conversations from it (RFC 8981). Off, as Linux's `use_tempaddr`: who serves wants to be known.
    pub temporary_addresses: bool,
    /// Begin conversations from the stable address where there is a temporary one, too (RFC 6724 5, rule 7).
    /// Off: who has temporary addresses made wants them used. On, as Linux's `use_tempaddr` of 1, a program
    /// binds the temporary one where it wants that.
    pub prefer_public_addresses: bool,
    /// Which addresses go together, and which destinations come first (RFC 6724 2.1). The RFC's own table.
    pub address_policy: PolicyTable,
    /// How long a temporary address is used for something new, at most, less up to two fifths of that. A
    /// day (RFC 8981 3.8, TEMP_PREFERRED_LIFETIME).
    pub temporary_preferred: Duration,
    /// How long it lives, at most. Two days (TEMP_VALID_LIFETIME).
    pub temporary_valid: Duration,
    /// Find out what the ways to destinations take (RFC 1191, RFC 8201). On; off, where messages of ICMP are forged,
    /// say, none is believed that says "too big", and what goes through a router is no longer than 576 bytes, or
    /// 1280 over IPv6, but where [`Stack::set_path_mtu`](crate::Stack::set_path_mtu) says otherwise.
    pub path_mtu_discovery: bool,
    /// Of how many destinations it is kept that their way takes less than the link; the one that was
    /// learnt first goes first. 1024, as many as neighbours: without an entry a way is found out anew.
    pub path_mtu_limit: usize,
    /// How long that is kept. 10 minutes (RFC 1191 6.3, RFC 8201 4).
    pub path_mtu_expiry: Duration,
    /// Follow redirects of the router that packets go to (RFC 1122 3.2.2.2, RFC 4861 8). On, as on a Linux
    /// that is no router. Anybody on the link can forge one: off where strangers are.
    pub accept_redirects: bool,
    /// Of how many destinations the first hop that a redirect told of is kept; the one that was learnt
    /// first goes first. 1024, as many as neighbours.
    pub redirect_limit: usize,
    /// How long that is kept. 10 minutes, as what is known of paths: then the router is asked again.
    pub redirect_expiry: Duration,
    /// How long after a search for what the path takes ([`TcpOptions::mtu_probing`]) it begins anew.
    /// 10 minutes (RFC 4821 7.3; Linux's `tcp_probe_interval`).
    pub mtu_probe_interval: Duration,
    /// How many bytes wait, in all, for the rest of their fragments. 4 MiB, as Linux's
    /// `ipfrag_high_thresh`; beyond it the oldest datagram goes.
    pub reassembly_memory: usize,
    /// The same for the fragments of one source, so that a noisy one does not drive out the others.
    /// 512 KiB: some seven datagrams of the largest size at once.
    pub reassembly_per_source: usize,
    /// How many fragments one datagram may have. 2048: the largest over the smallest link that
    /// IPv4 knows (65,515 bytes in pieces of 48) has 1365.
    pub fragments_per_datagram: usize,
    /// How long an IPv4 datagram waits for its fragments. 30 s, as Linux has it; RFC 1122 3.3.2
    /// says 60 to 120, written when a packet could be under way for as long.
    pub reassembly_time_v4: Duration,
    /// The same for IPv6. 60 s, of which RFC 8200 4.5 leaves no choice.
    pub reassembly_time_v6: Duration,
    /// What becomes of ICMP echo requests. Answered: RFC 1122 3.2.2.6 demands it of a host.
    pub echo: Echo,
    /// What becomes of packets of protocols that are not spoken here. Refused, as RFC 1122 3.2.2.1
    /// says.
    pub other_protocols: OtherProtocols,
    /// How many packets may wait to be handed over, and how many of the program's own for the link.
    /// 256: some turns of a driver.
    pub packet_limit: usize,
    /// ICMP errors per second that the stack sends in all, with a burst of a tenth more. 1000, as
    /// Linux's `icmp_msgs_per_sec` (RFC 1812 4.3.2.8 asks for a limit).
    pub icmp_errors_per_second: u32,
    /// How many groups one UDP socket may be in. 20, Linux's `igmp_max_memberships`: each is looked
    /// through for every datagram to a group.
    pub groups_per_socket: usize,
    /// How many sources a UDP socket may name for one group, to hear it from them or not to. 64, Linux's
    /// `mld_max_msf`: the smallest link of IPv6 carries a report of them.
    pub sources_per_group: usize,
    /// Whether groups of 232.0.0.0/8 and ff3x::/32 are heard from named sources alone (RFC 4607): routers that know
    /// such groups pass nothing to who joins one from everybody (RFC 9776 4.2.13, RFC 9777 5.2.13), so that this
    /// is refused. On; Linux takes it, and leaves the program to wait.
    pub source_specific_groups: bool,
    /// Whether the word about our groups is said as queriers of older versions say it, while there are
    /// some (RFC 9776 7.2.1, RFC 9777 8.2.1). They are followed; a network of source-specific groups
    /// alone may not want that, because older versions know no sources.
    pub follow_older_queriers: bool,
    /// The receive buffer of a TCP socket that set none. From 128 KiB, Linux's `tcp_rmem`, so that
    /// the first round trips of slow start fit, to its 6 MiB: 480 Mbit/s over 100 ms.
    pub receive_buffer: BufferRange,
    /// The send buffer of a TCP socket that set none. From 64 KiB, one super-segment (what Linux's
    /// 16 KiB of `tcp_wmem` come to with the first window), to its 4 MiB.
    pub send_buffer: BufferRange,
    /// What such a send buffer may grow to however short the path is; beyond that, to eight times what
    /// the path carries in its least round trip. 512 KiB, half of the second-level cache of a core; the
    /// other half is for the program's own buffer. What waits longer has left the cache when it is sent,
    /// and over a device of this host more waiting moves nothing.
    pub send_buffer_short_path: usize,
    /// Datagrams' bytes a UDP socket queues for its reader. 208 KiB, Linux's `rmem_default`.
    pub udp_receive_buffer: usize,
    /// Datagrams' bytes a UDP socket queues for the link. 208 KiB, Linux's `wmem_default`.
    pub udp_send_buffer: usize,
    /// How many trace events wait to be fetched before new ones are dropped and counted. 65,536.
    pub trace_limit: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            tcp: TcpOptions::default(),
            window_scaling: true,
            timestamps: true,
            sack: true,
            ephemeral_ports: 32_768..=60_999,
            time_wait: Duration::from_secs(60),
            time_wait_limit: 65_536,
            syn_queue_limit: 4096,
            decision_timeout: Duration::from_secs(75),
            flows_per_source: 16_384,
            udp_flow_limit: 65_536,
            udp_flow_memory: 64 << 20,
            syn_cookies: true,
            backlog_limit: 4096,
            syn_retries: 6,
            syn_ack_retries: 5,
            data_retries: 15,
            orphan_retries: 8,
            fin_wait_2: Duration::from_secs(60),
            connection_limit: 1 << 20,
            reply_limit: 1024,
            loopback_limit: 4096,
            handover_limit: 256,
            memory_limit: 512 << 20,
            memory_pressure: 384 << 20,
            out_of_order_limit: 6 << 20,
            neighbor_limit: 1024,
            arp_timeout: Duration::from_secs(60),
            path_mtu_discovery: true,
            path_mtu_limit: 1024,
            path_mtu_expiry: Duration::from_secs(600),
            accept_redirects: true,
            redirect_limit: 1024,
            redirect_expiry: Duration::from_secs(600),
            mtu_probe_interval: Duration::from_secs(600),
            duplicate_address_probes: 1,
            solicitation_delay: Duration::from_secs(1),
            dhcp_probes: 3,
            give_up_addresses: false,
            stable_secret: None,
            temporary_addresses: false,
            prefer_public_addresses: false,
            address_policy: PolicyTable::default(),
            temporary_preferred: Duration::from_secs(24 * 3600),
            temporary_valid: Duration::from_secs(48 * 3600),
            reassembly_memory: 4 << 20,
            reassembly_per_source: 512 << 10,
            fragments_per_datagram: 2048,
            reassembly_time_v4: Duration::from_secs(30),
            reassembly_time_v6: Duration::from_secs(60),
            echo: Echo::Answer,
            other_protocols: OtherProtocols::Refuse,
            packet_limit: 256,
            icmp_errors_per_second: 1000,
            groups_per_socket: 20,
            sources_per_group: 64,
            source_specific_groups: true,
            follow_older_queriers: true,
            receive_buffer: BufferRange { initial: 128 << 10, max: 6 << 20 },
            send_buffer: BufferRange { initial: 64 << 10, max: 4 << 20 },
            send_buffer_short_path: 512 << 10,
            udp_receive_buffer: 208 << 10,
            udp_send_buffer: 208 << 10,
            trace_limit: 65_536,
        }
    }
}

impl Config {
    /// The part of each of `count` shards in the limits of a host.
    ///
    /// What the whole host may use is divided evenly, rounded up: memory, connections, TIME-WAITs,
    /// SYN queues, UDP flows, answers, fragments, ICMP errors per second. So no shard needs to ask another, and one may
    /// reach its part while others have room. What bounds one connection, one listener's backlog,
    /// or what each shard needs for itself (neighbours, the trace, handovers) stays as it is.
    #[must_use]
    pub fn divided(mut self, count: u16) -> Self {
        let count = usize::from(count.max(1));
        for limit in [
            &mut self.memory_limit,
            &mut self.memory_pressure,
            &mut self.connection_limit,
            &mut self.time_wait_limit,
            &mut self.syn_queue_limit,
            &mut self.udp_flow_limit,
            &mut self.udp_flow_memory,
            &mut self.reply_limit,
            &mut self.loopback_limit,
            &mut self.reassembly_memory,
        ] {
            *limit = limit.div_ceil(count);
        }
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.icmp_errors_per_second = self.icmp_errors_per_second.div_ceil(count);
        self
    }
}

/// How large a buffer is that sizes itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BufferRange {
    /// Where it begins, in bytes. It never shrinks below.
    pub initial: usize,
    /// The largest it gets, in bytes.
    pub max: usize,
}

/// What a program can set on a TCP socket, by the names of `setsockopt`.
///
/// A listener's options are inherited by the connections that it accepts.
#[derive(Clone, Debug)]
pub struct TcpOptions {
    /// `TCP_NODELAY`: do not hold small segments back (Nagle's algorithm off).
    pub nodelay: bool,
    /// `TCP_CORK`: hold every segment back that is not full, until it is taken off.
    pub cork: bool,
    /// `SO_KEEPALIVE` and its three numbers; `None` (the default, RFC 9293 3.8.4) is off.
    pub keepalive: Option<KeepAlive>,
    /// `SO_LINGER`: `None` closes in the background; zero sends RST and throws unsent data away;
    /// another time is for the socket layer, whose `close` waits that long for `DRAINED`.
    pub linger: Option<Duration>,
    /// `SO_SNDBUF`: how many bytes `write` takes before it says `WouldBlock`. `None`, the default,
    /// lets it follow the congestion window and the path, within [`Config::send_buffer`].
    pub send_buffer: Option<usize>,
    /// `SO_RCVBUF`: how many unread bytes the peer may send, in all. `None`, the default, lets it
    /// grow with what the program reads in a round trip, within [`Config::receive_buffer`]. What a
    /// socket has before its handshake decides the window scale.
    pub receive_buffer: Option<usize>,
    /// `TCP_USER_TIMEOUT` (RFC 5482): give up when sent data stays unacknowledged for this long.
    /// `None` counts retries instead.
    pub user_timeout: Option<Duration>,
    /// Give up connecting as soon as a router says that there is no way, whatever its reason, as Linux and most others
    /// do (RFC 5461 4.1). Off: such an error may pass, so RFC 9293 3.9.2.2 wants to be told of it only when the time
    /// is over. An open connection never ends by one.
    pub soft_errors_end_connect: bool,
    /// `TCP_SYNCNT`: how often the SYN of an active open is sent again before it is given up. `None` takes
    /// [`Config::syn_retries`].
    pub syn_retries: Option<u8>,
    /// `TCP_LINGER2`: how long a connection that its program closed waits for the peer's FIN. `None`
    /// takes [`Config::fin_wait_2`].
    pub fin_wait_2: Option<Duration>,
    /// `TCP_DEFER_ACCEPT`: a listener does not open a connection before its peer sends data, or this
    /// long has passed. The time counts in timeouts of the SYN-ACK, which is sent again at the end only, as
    /// Linux has it. `None`, the default, opens it with the handshake's last ACK.
    pub defer_accept: Option<Duration>,
    /// `TCP_WINDOW_CLAMP`: never offer the peer a larger window than this, in bytes, whatever the receive
    /// buffer holds. `None` is no limit; zero is refused.
    pub window_clamp: Option<u32>,
    /// `TCP_NOTSENT_LOWAT`: `write` takes no more while this many bytes wait to be sent for the first time,
    /// whatever the send buffer holds, so that what is written last is not old when it leaves. `None`,
    /// the default, is no limit; zero is refused.
    pub notsent_lowat: Option<u32>,
    /// `IP_TTL`, `IPV6_UNICAST_HOPS`. `None`, the default, is 64 (RFC 1122 3.2.1.7), or over IPv6 what
    /// routers advertise (RFC 4861 6.3.4).
    pub ttl: Option<u8>,
    /// `IP_TOS`: the DSCP, 0. The two bits of ECN belong to the stack, as on Linux.
    pub traffic_class: u8,
    /// `TCP_MAXSEG`: the largest segment to send and to ask for; `None` takes the link's MTU.
    pub max_segment: Option<u16>,
    /// Whether to find out what the path takes where no router says it (RFC 4821), as
    /// `net.ipv4.tcp_mtu_probing` numbers it. When long segments vanish again and again: so a path whose
    /// ICMP is filtered is no dead end, and who has no such path pays nothing. Linux has it off.
    pub mtu_probing: MtuProbing,
    /// The packet to fall to then, and to begin with where it is always searched for, in bytes. 1024 (RFC
    /// 4821 7.2), and over IPv6 1280, which every link takes. What vanishes even so is halved.
    pub mtu_probe_base: u16,
    /// Explicit congestion notification (RFC 3168). Agrees when the peer asks, and does not ask, as
    /// Linux has it: there are still paths that drop a SYN with the question.
    pub ecn: EcnMode,
    /// The retransmission timeout's limits (RFC 6298).
    pub rto: RtoLimits,
    /// Spread segments over the round trip also under a controller that asks for no rate. Off, as on
    /// a Linux without the `fq` queue: a timer for every few segments costs more than bursts do where
    /// the link is fast.
    pub pacing: bool,
    /// `SO_MAX_PACING_RATE`: never send faster than this, in bytes a second. `None` is no limit;
    /// zero is refused.
    pub max_pacing_rate: Option<u64>,
    /// How long an ACK may wait for data to ride on (RFC 9293 3.8.6.3). 40 ms.
    pub delayed_ack: Duration,
    /// `IPV6_V6ONLY` (RFC 3493 5.3): a listener on `[::]` takes connections over IPv6 alone, and there
    /// is no way to `::ffff:10.0.0.1`. Off, as on Linux: `[::]` is for both families, and shows IPv4 as
    /// addresses like that one.
    pub only_v6: bool,
    /// `TCP_CONGESTION`: makes the congestion controller of a new connection from its segment
    /// size. [`Cubic::boxed`], what most of the Internet uses (RFC 9438);
    /// [`by_name`](crate::tcp::congestion::by_name) finds the others.
    pub congestion: ControllerFactory,
}

/// The TTL and hop limit of what is sent where neither a program nor a router says another (RFC 1122
/// 3.2.1.7, IANA "IP TIME TO LIVE PARAMETER").
pub const DEFAULT_TTL: u8 = 64;

/// Makes a congestion controller for a connection with the given segment size in bytes.
pub type ControllerFactory = fn(mss: u32) -> Box<dyn Controller>;

impl Default for TcpOptions {
    fn default() -> Self {
        Self {
            nodelay: false,
            cork: false,
            keepalive: None,
            linger: None,
            send_buffer: None,
            receive_buffer: None,
            user_timeout: None,
            soft_errors_end_connect: false,
            syn_retries: None,
            fin_wait_2: None,
            defer_accept: None,
            window_clamp: None,
            notsent_lowat: None,
            ttl: None,
            traffic_class: 0,
            max_segment: None,
            mtu_probing: MtuProbing::default(),
            mtu_probe_base: 1024,
            ecn: EcnMode::default(),
            rto: RtoLimits::default(),
            pacing: false,
            max_pacing_rate: None,
            delayed_ack: Duration::from_millis(40),
            only_v6: false,
            congestion: Cubic::boxed,
        }
    }
}

impl TcpOptions {
    /// Whether nobody could tell the two apart.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let Self {
            nodelay,
            cork,
            keepalive,
            linger,
            send_buffer,
            receive_buffer,
            user_timeout,
            soft_errors_end_connect,
            syn_retries,
            fin_wait_2,
            defer_accept,
            window_clamp,
            notsent_lowat,
            ttl,
            traffic_class,
            max_segment,
            mtu_probing,
            mtu_probe_base,
            ecn,
            rto,
            pacing,
            max_pacing_rate,
            delayed_ack,
            only_v6,
            congestion,
        } = other;
        self.nodelay == *nodelay
            && self.cork == *cork
            && self.keepalive == *keepalive
            && self.linger == *linger
            && self.send_buffer == *send_buffer
            && self.receive_buffer == *receive_buffer
            && self.user_timeout == *user_timeout
            && self.soft_errors_end_connect == *soft_errors_end_connect
            && self.syn_retries == *syn_retries
            && self.fin_wait_2 == *fin_wait_2
            && self.defer_accept == *defer_accept
            && self.window_clamp == *window_clamp
            && self.notsent_lowat == *notsent_lowat
            && self.ttl == *ttl
            && self.traffic_class == *traffic_class
            && self.max_segment == *max_segment
            && self.mtu_probing == *mtu_probing
            && self.mtu_probe_base == *mtu_probe_base
            && self.ecn == *ecn
            && self.rto == *rto
            && self.pacing == *pacing
            && self.max_pacing_rate == *max_pacing_rate
            && self.delayed_ack == *delayed_ack
            && self.only_v6 == *only_v6
            && core::ptr::fn_addr_eq(self.congestion, *congestion)
    }

    /// How many timeouts of the SYN-ACK pass before a connection is opened whose peer sends no data.
    pub(crate) fn deferrals(&self) -> u8 {
        let Some(time) = self.defer_accept.filter(|time| !time.is_zero()) else { return 0 };
        let (mut count, mut wait) = (1_u8, self.rto.initial);
        let mut passed = wait;
        while passed < time && count < u8::MAX {
            count += 1;
            wait = wait.saturating_mul(2).min(self.rto.max);
            passed = passed.saturating_add(wait);
        }
        count
    }

    /// What `size` bytes of receive buffer let a window be.
    pub(crate) fn clamped(&self, size: usize) -> usize {
        self.window_clamp.map_or(size, |clamp| size.min(clamp as usize))
    }

    /// # Errors
    /// [`Error::InvalidInput`] for what can only be a mistake, as `setsockopt` has it: times of zero
    /// that a timer would be set to, a packet that no router passes, a rate that nothing leaves at.
    pub(crate) fn validate(&self) -> Result<(), Error> {
        let Self { ttl, max_segment, max_pacing_rate, rto, keepalive, .. } = self;
        let keepalive = keepalive.as_ref();
        let wrong = *ttl == Some(0)
            || *max_segment == Some(0)
            || *max_pacing_rate == Some(0)
            || self.window_clamp == Some(0)
            || self.notsent_lowat == Some(0)
            || rto.initial.is_zero()
            || rto.max.is_zero()
            || rto.min > rto.max
            || keepalive.is_some_and(|times| times.idle.is_zero() || times.interval.is_zero());
        if wrong { Err(Error::InvalidInput) } else { Ok(()) }
    }
}

/// What a program can set on a UDP socket before it is bound.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct UdpOptions {
    /// `SO_REUSEADDR`: others may have the address and port that set it too. Each of them hears what
    /// goes to a group that it joined and to everybody; what goes to one host goes to the one of them
    /// that was bound last. The address can then be a group's, and the socket hears nothing else.
    pub shared: bool,
    /// `IPV6_V6ONLY` (RFC 3493 5.3): a socket on `[::]` hears and speaks IPv6 alone. Off, as on Linux:
    /// `[::]` is for both families, and 10.0.0.1 is shown as, and can be called, `::ffff:10.0.0.1`.
    pub only_v6: bool,
}

/// `IP_MTU_DISCOVER`: what becomes of a datagram that is longer than the path takes (RFC 1191, RFC 8201).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum MtuDiscovery {
    /// It is sent in fragments, and routers may cut it further (`IP_PMTUDISC_DONT`).
    #[default]
    Dont,
    /// It is sent in fragments; what fits the path as far as is known, routers must not cut
    /// (`IP_PMTUDISC_WANT`).
    Want,
    /// It is refused with [`Error::MessageTooBig`], and routers must not cut what is sent
    /// (`IP_PMTUDISC_DO`).
    Do,
    /// The same, but only the link counts, whatever was heard of the path: for programs that search for
    /// what it takes themselves (RFC 8899 4.2, `IP_PMTUDISC_PROBE`).
    Probe,
    /// The same, and routers may cut it (`IP_PMTUDISC_INTERFACE`).
    Interface,
    /// What is longer than the link takes is sent in fragments, whatever was heard of the path, and routers
    /// may cut it: nobody who forges ICMP makes a name server send fragments (`IP_PMTUDISC_OMIT`).
    Omit,
}

/// The limits of the retransmission timeout (RFC 6298).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RtoLimits {
    /// Before the first RTT sample. 1 s (RFC 6298 2.1).
    pub initial: Duration,
    /// Never less. 200 ms as Linux has it, not the 1 s of RFC 6298 2.4, which is a SHOULD written
    /// for clocks that ticked every half second.
    pub min: Duration,
    /// Never more, however often it backed off. 120 s (RFC 6298 2.5 allows any from 60 s).
    pub max: Duration,
}

impl Default for RtoLimits {
    fn default() -> Self {
        Self {
            initial: Duration::from_secs(1),
            min: Duration::from_millis(200),
            max: Duration::from_secs(120),
        }
    }
}

/// When an idle connection is asked for a sign of life (RFC 9293 3.8.4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeepAlive {
    /// `TCP_KEEPIDLE`: idle time before the first probe. 2 hours (RFC 9293 3.8.4).
    pub idle: Duration,
    /// `TCP_KEEPINTVL`: time between probes. 75 s.
    pub interval: Duration,
    /// `TCP_KEEPCNT`: unanswered probes after which the connection is dead. 9.
    pub probes: u8,
}

impl Default for KeepAlive {
    fn default() -> Self {
        Self { idle: Duration::from_secs(7200), interval: Duration::from_secs(75), probes: 9 }
    }
}
