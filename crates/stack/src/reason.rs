//! Why: the one vocabulary of every decision, with the RFC section behind it.
//!
//! A segment that is sent, withheld or dropped carries one of these. Traces, diagrams, captures
//! and counters all read them; nothing else in the stack explains itself in its own words.

use core::fmt;

/// Defines an enum of reasons: a name, a short text for people, and the source.
macro_rules! reasons {
    ($(#[$meta:meta])* $name:ident { $($(#[doc = $doc:literal])* $variant:ident: $text:literal, $source:literal;)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
        #[repr(u8)]
        #[non_exhaustive]
        pub enum $name {
            $(#[doc = concat!($text, " (", $source, ").")] $(#[doc = $doc])* $variant,)*
        }

        impl $name {
            /// Every reason, in the order of the enum.
            pub const ALL: &'static [$name] = &[$($name::$variant),*];

            /// The reason in a few words, without its source.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $($name::$variant => $text,)* }
            }

            /// The RFC and section that ask for it.
            #[must_use]
            pub const fn source(self) -> &'static str {
                match self { $($name::$variant => $source,)* }
            }

            /// Text and source in one string, for a capture's comment.
            #[must_use]
            pub const fn comment(self) -> &'static str {
                match self { $($name::$variant => concat!($text, " (", $source, ")"),)* }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.comment())
            }
        }
    };
}

reasons! {
    /// Why a packet was sent.
    Sent {
        ActiveOpen: "active open: asks for a connection", "RFC 9293 3.5";
        SynRetransmitted: "no answer to our SYN yet: it is sent again", "RFC 9293 3.8.1";
        SynAccepted: "answers the SYN: acknowledges theirs and sends ours", "RFC 9293 3.5";
        SynAckRetransmitted: "our SYN-ACK was not acknowledged: it is sent again", "RFC 9293 3.8.1";
        SynRepeated: "the peer's SYN came again: our SYN-ACK is sent again", "RFC 9293 3.10.7.4";
        SynCookie: "SYN queue full: answers with a cookie and keeps nothing", "RFC 4987 3.6";
        SimultaneousOpen: "both sides opened at once: acknowledges their SYN", "RFC 9293 3.5";
        HandshakeAck: "acknowledges their SYN: the connection is open on our side", "RFC 9293 3.5";
        Data: "new data", "RFC 9293 3.8";
        DataPushed: "new data, and the end of what was written", "RFC 9293 3.9.1.2";
        DataAndFin: "the last data and FIN: the program has nothing more to send", "RFC 9293 3.6";
        Fin: "FIN: the program has nothing more to send", "RFC 9293 3.6";
        FinRetransmitted: "our FIN was not acknowledged: it is sent again", "RFC 9293 3.8.1";
        TimeoutRetransmission: "not acknowledged in time: the oldest data is sent again", "RFC 6298 5.4";
        AfterTimeout: "lost with the rest: sent again after the timeout", "RFC 5681 3.1";
        FastRetransmission: "three duplicate ACKs: the missing segment is sent again at once", "RFC 5681 3.2";
        PartialAckRetransmission: "a partial ACK points at the next hole: it is filled", "RFC 6582 3.2";
        SackRetransmission: "what was sent after it arrived: this is lost, and sent again", "RFC 8985 6.2";
        TailLossProbe: "no ACK for two round trips: asks with a segment", "RFC 8985 7.3";
        PmtuRetransmission: "too big for the path: sent again in smaller segments", "RFC 1191 6.4";
        BlackHoleRetransmission: "long segments vanish without a word: sent again in smaller ones", "RFC 4821 7.7";
        PathProbe: "asks with a longer segment whether the path takes it", "RFC 4821 7.3";
        LargerSizeRefuted: "too much is lost since segments are longer: sent again in smaller ones", "RFC 4821 7.8";
        PathProbeAgain: "the path did not take the longer segment: sent again in smaller ones", "RFC 4821 7.6.2";
        DelayedAck: "the delayed ACK's time is up", "RFC 9293 3.8.6.3";
        SecondSegmentAck: "acknowledges every second full segment", "RFC 9293 3.8.6.3";
        QuickAck: "acknowledges at once while the connection starts", "RFC 5681 4.2";
        OutOfOrderAck: "a segment is missing: duplicate ACK", "RFC 5681 4.2";
        CongestionEcho: "a router met congestion: tells the sender at once", "RFC 3168 6.1.3";
        HoleFilledAck: "the missing segment came: acknowledges at once", "RFC 5681 4.2";
        DuplicateAck: "this segment came before: tells the peer where we are", "RFC 9293 3.10.7.4";
        FinAck: "acknowledges their FIN", "RFC 9293 3.6";
        WindowUpdate: "the program read: the window opens again", "RFC 9293 3.8.6.2.2";
        WindowProbe: "the peer's window is zero: asks whether it opened", "RFC 9293 3.8.6.1";
        ProbeAnswer: "answers a window probe: our window is closed", "RFC 9293 3.8.6.1";
        KeepAlive: "idle: asks whether the peer is still there", "RFC 9293 3.8.4";
        ChallengeAck: "challenge ACK: only the true peer can answer this", "RFC 5961 3-5";
        UnacceptableAck: "acknowledges something never sent: tells the peer where we are", "RFC 9293 3.10.7.4";
        PawsAck: "an old duplicate by its timestamp: tells the peer where we are", "RFC 7323 5.3";
        OutOfWindowAck: "outside the window: tells the peer where we are", "RFC 9293 3.10.7.4";
        TimeWaitAck: "TIME-WAIT: their FIN came again, our ACK was lost", "RFC 9293 3.6";
        ResetNobody: "nobody listens here", "RFC 9293 3.10.7.1";
        ResetRefused: "the program decided to refuse the connection", "RFC 9293 3.10.7.2";
        UnreachableRefused: "the program decided to refuse this as unreachable", "RFC 792";
        ResetListen: "an ACK without a connection", "RFC 9293 3.10.7.2";
        ResetHandshake: "the handshake acknowledges something never sent", "RFC 9293 3.5.2";
        ResetHalfOpen: "an old connection's segment in a new handshake", "RFC 9293 3.5.2";
        ResetUnreadData: "closed with unread data: the peer must know it was lost", "RFC 9293 3.6.1";
        ResetLateData: "data for a program that closed", "RFC 9293 3.6.1";
        ResetAborted: "the program aborted the connection", "RFC 9293 3.10.5";
        ResetAddressLost: "somebody else has our address", "RFC 5227 2.4";
        ResetLinger: "linger time of zero: the program asked for a reset", "RFC 9293 3.10.5";
        ResetTimedOut: "gave up: the peer did not answer", "RFC 9293 3.8.3";
        ResetOrphanLimit: "closed by the program and too many of these wait", "RFC 9293 3.6.1";
        EchoReply: "answers an echo request", "RFC 1122 3.2.2.6";
        EchoRequest: "asks whether the host is there", "RFC 792";
        PortUnreachable: "no UDP socket has this port", "RFC 1122 3.2.2.1";
        ProtocolUnreachable: "a protocol that is not spoken here", "RFC 1122 3.2.2.1";
        ParameterProblem: "an IP option makes no sense", "RFC 1122 3.2.2.5";
        ReassemblyTimeExceeded: "the rest of the fragments did not come in time", "RFC 1122 3.3.2";
        TimestampRequest: "asks a host for its time", "RFC 1122 3.2.2.8";
        TimestampReply: "answers a timestamp request", "RFC 1122 3.2.2.8";
        OfProgram: "a packet that the program made itself", "Stack::send_packet";
        Datagram: "a datagram of a program", "RFC 768";
        Fragment: "a further piece of a datagram that is longer than its way takes", "RFC 791 3.2";
        ArpRequest: "asks who has the next hop's address", "RFC 826";
        ArpReply: "answers who has our address", "RFC 826";
        ArpProbe: "asks whether somebody else has our address", "RFC 5227 2.1.1";
        ArpAnnouncement: "says that we have the address", "RFC 5227 2.3";
        Dhcp: "asks a DHCP server for an address, or gives it back", "RFC 2131 3";
        NeighborSolicitation: "asks who has the next hop's address", "RFC 4861 7.2.2";
        NeighborAdvertisement: "answers who has our address", "RFC 4861 7.2.4";
        AddressProbe: "asks whether somebody else has our address", "RFC 4862 5.4.2";
        RouterSolicitation: "asks which routers there are", "RFC 4861 6.3.7";
        MembershipReport: "tells which groups we are in", "RFC 9776 4.2";
        ListenerReport: "tells which groups we are in", "RFC 9777 5.2";
    }
}

reasons! {
    /// Why a received packet, or a part of it, was dropped.
    Dropped {
        ListenSynFin: "a SYN with FIN: nobody who means it sends that", "RFC 9293 3.10.7.2";
        SynUndecided: "the SYN came again while the program decides about it", "Stack::decide_first";
        Undecided: "the program did not decide about the SYN in time", "Config::decision_timeout";
        ByDecision: "the program decided to drop the SYN", "Stack::drop_pending";
        SourceLimit: "its source has too many flows already", "Config::flows_per_source";
        MalformedFrame: "malformed Ethernet frame", "RFC 894";
        UnknownEtherType: "an EtherType that is not spoken here", "RFC 1122 2.3.1";
        NotOurEthernetAddress: "for another station", "RFC 894";
        OtherVlan: "for a VLAN, which this link is not", "IEEE 802.1Q 6.9";
        MalformedArp: "malformed ARP packet", "RFC 826";
        UnknownInterface: "from an interface that this stack does not have", "Stack::handle_frame";
        ArpConflict: "an ARP packet in which somebody else claims our address", "RFC 5227 2.4";
        ArpNotForUs: "an ARP packet about other hosts", "RFC 826";
        MalformedNdp: "a message of neighbour discovery that may not be believed", "RFC 4861 6.1, 7.1";
        MalformedMld: "a message of listener discovery that may not be believed", "RFC 9777 6.2";
        MalformedDhcp: "a message to a DHCP client that makes no sense", "RFC 2131 4.3";
        MalformedIgmp: "a message about groups that may not be believed", "RFC 9776 9.1";
        OldSourceQuery: "a question of an older version, which knows no sources, about a group that is heard from named ones", "RFC 9776 7.2.1";
        IgmpIgnored: "an IGMP message that needs no answer", "RFC 9776 5";
        NotInGroup: "for a group that nobody here joined", "RFC 1112 7.2";
        SourceFiltered: "for a group that nobody here hears from this source", "RFC 9776 3.1";
        NdpConflict: "somebody else says that it has our address", "RFC 4862 5.4.4";
        NdpTentative: "about an address that is not ours yet", "RFC 4862 5.4.3";
        NdpNotForUs: "neighbour discovery about other hosts", "RFC 4861 7.2.5";
        MalformedIp: "malformed IP header", "RFC 1122 3.2.1";
        IpChecksum: "wrong IP header checksum", "RFC 1122 3.2.1.2";
        NotOurAddress: "for an address that is not ours", "RFC 1122 3.2.1.3";
        ForbiddenSource: "a source address that no host can have", "RFC 1122 3.2.1.3";
        LinkGroup: "for us alone, but sent to everybody on the link", "RFC 1122 3.3.6";
        MalformedIpOption: "an IP option makes no sense", "RFC 1122 3.2.1.8";
        SourceRoute: "source-routed", "RFC 1122 3.2.1.8";
        RedirectIgnored: "a redirect, which is not to be followed here", "RFC 1122 3.2.2.2";
        RedirectImplausible: "a redirect from another than the gateway, or to nobody near", "RFC 1122 3.2.2.2";
        MalformedExtension: "an extension header makes no sense", "RFC 8200 4";
        NoNextHeader: "nothing follows the headers", "RFC 8200 4.7";
        FragmentOverlap: "a fragment overlaps with another: the datagram is given up", "RFC 5722 4";
        FragmentCondemned: "a fragment of a datagram that was given up", "RFC 5722 4";
        FragmentDuplicate: "a fragment that came before", "RFC 8200 4.5";
        FragmentTiny: "a first fragment without the whole transport header", "RFC 1858 3";
        FragmentMalformed: "a fragment that no datagram can have", "RFC 8200 4.5";
        FragmentEcn: "marked fragments beside some that cannot be marked", "RFC 3168 5.3";
        FragmentTimeout: "the rest of the fragments did not come in time", "RFC 1122 3.3.2";
        FragmentLimit: "no room for more fragments of this datagram", "Config::reassembly_per_source";
        FragmentEvicted: "an unfinished datagram made room for another", "Config::reassembly_memory";
        UnknownProtocol: "a protocol that is not spoken here", "RFC 1122 3.2.2.1";
        IpVersionUnsupported: "an IP version that is not spoken here", "RFC 1122 3.2.1.1";
        MalformedIcmp: "malformed ICMP message", "RFC 792";
        IcmpChecksum: "wrong ICMP checksum", "RFC 792";
        IcmpUnsolicited: "an ICMP error about nothing that we sent", "RFC 5927 4";
        IcmpIgnored: "an ICMP message that needs no answer", "RFC 1122 3.2.2";
        IcmpRateLimited: "too many ICMP answers: this one is withheld", "RFC 1812 4.3.2.8";
        EchoIgnored: "echo requests are to be ignored", "Config::echo";
        EchoRefused: "echo requests are to be refused", "Config::echo";
        PacketQueueFull: "too many packets wait to be handed over", "Config::packet_limit";
        MalformedUdp: "malformed UDP header", "RFC 768";
        UdpChecksum: "wrong UDP checksum", "RFC 1122 4.1.3.4";
        UdpNobody: "no UDP socket has this port", "RFC 1122 4.1.3.1";
        UdpFlowLimit: "there are too many UDP flows already", "Config::udp_flow_limit";
        UdpFlowMemory: "what UDP flows have not read takes too much memory", "Config::udp_flow_memory";
        UdpBacklogFull: "too many UDP flows wait to be taken", "Stack::udp_take_flows";
        UdpFlowUntaken: "nobody took the UDP flow while it was not idle", "Stack::udp_take_flows";
        UdpQueueFull: "the UDP socket's receive queue is full", "RFC 8085 3.1";
        PingNobody: "an echo reply that nobody asked for", "RFC 792";
        MalformedTcp: "malformed TCP header", "RFC 9293 3.1";
        TcpChecksum: "wrong TCP checksum", "RFC 9293 3.1";
        TcpToGroup: "TCP to a broadcast or multicast address", "RFC 9293 3.9.2.3";
        NobodyReset: "a reset for nobody", "RFC 9293 3.10.7.1";
        ListenReset: "a reset for a listener", "RFC 9293 3.10.7.2";
        ListenNothing: "neither SYN, ACK nor RST for a listener", "RFC 9293 3.10.7.2";
        AcceptQueueFullSyn: "the accept queue is full: the SYN is dropped", "Linux tcp_conn_request";
        AcceptQueueFullAck: "the accept queue is full: the handshake's ACK is dropped", "Linux tcp_check_req";
        AcceptDeferred: "the listener waits for data: the handshake's ACK is dropped", "Linux tcp_check_req";
        SynQueueFull: "the SYN queue is full and cookies are off", "RFC 4987 3";
        BadCookie: "not a cookie that we gave", "RFC 4987 3.6";
        SynSentUnacceptableAck: "acknowledges something that our SYN did not send", "RFC 9293 3.10.7.3";
        SynSentReset: "a reset that does not acknowledge our SYN", "RFC 9293 3.10.7.3";
        SynSentNothing: "neither SYN nor RST while we wait for a SYN", "RFC 9293 3.10.7.3";
        OutOfWindow: "outside the receive window", "RFC 9293 3.10.7.4";
        OldDuplicate: "everything in it came before", "RFC 9293 3.10.7.4";
        Paws: "an old duplicate by its timestamp", "RFC 7323 5.3";
        NoTimestamp: "the timestamp that was agreed on is missing", "RFC 7323 3.2";
        BlindReset: "a reset that does not hit the window's edge", "RFC 5961 3.2";
        BlindSyn: "a SYN inside a connection", "RFC 5961 4.2";
        BlindAck: "acknowledges something far too old", "RFC 5961 5.2";
        AckOfUnsent: "acknowledges something never sent", "RFC 9293 3.10.7.4";
        NoAck: "no ACK flag after the handshake", "RFC 9293 3.10.7.4";
        ChallengeLimited: "the challenge budget of this connection is spent", "RFC 5961 7";
        ReassemblyFull: "no room for out-of-order data", "RFC 9293 3.10.7.4";
        ReceiveBufferFull: "the program does not read: no room", "RFC 9293 3.8.6";
        AfterFin: "data after the peer's FIN", "RFC 9293 3.10.7.4";
        ReadShutdown: "the program reads no more", "RFC 9293 3.6.1";
        TimeWaitReset: "a reset in TIME-WAIT is ignored", "RFC 1337";
        TimeWaitOld: "an old segment in TIME-WAIT", "RFC 9293 3.10.7.4";
        MemoryLimit: "the stack's memory budget is spent", "Config::memory_limit";
        PingQueueFull: "the ping socket's receive queue is full", "RFC 792";
        ReplyQueueFull: "too many answers wait for the link", "Config::reply_limit";
        NoRoute: "no route back to the sender", "RFC 1122 3.3.1";
        NeighborUnresolved: "the neighbour does not answer", "RFC 1122 2.3.2.2";
        LoopbackFull: "the loopback queue is full", "Config::loopback_limit";
        HandoverFull: "it belongs to another shard, which has no room for it", "Config::handover_limit";
    }
}

reasons! {
    /// Why something that could have been sent was held back.
    Withheld {
        Nagle: "a small segment waits for the ACK of what is in flight", "RFC 9293 3.7.4";
        Corked: "the program keeps small segments back", "tcp(7) TCP_CORK";
        SillyWindow: "the peer's window has room for a silly segment only", "RFC 9293 3.8.6.2.1";
        PeerWindow: "the peer's window is full", "RFC 9293 3.8.6";
        Pacing: "the rate lets the next segment out later", "RFC 9002 7.7";
        CongestionWindow: "the congestion window is full", "RFC 5681 3.1";
        AckDelayed: "the ACK waits for data to ride on, or 40 ms", "RFC 9293 3.8.6.3";
        SillyWindowUpdate: "the window opened too little to speak of", "RFC 9293 3.8.6.2.2";
        MemoryShort: "the stack's memory is short: the program has to wait", "Config::memory_pressure";
        NeighborPending: "waits for the next hop's hardware address", "RFC 1122 2.3.2.2";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_says_what_and_where_from() {
        assert_eq!(
            Sent::HandshakeAck.comment(),
            "acknowledges their SYN: the connection is open on our side (RFC 9293 3.5)"
        );
        for reason in Sent::ALL {
            assert!(!reason.text().is_empty() && !reason.source().is_empty());
        }
    }
}
