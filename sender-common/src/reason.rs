//! Why a packet was counted where it was: one name for each counter.

/// What kind of counter a [`Reason`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Not for us: passed on, nothing noted.
    Foreign,
    /// For us and right.
    Valid,
    /// For us (or for any group) and wrong: passed on, never counted as a member.
    Malformed,
    /// Comes on top of an outcome: a packet may have none or several.
    Detail,
}

macro_rules! reasons {
    ($($class:ident { $($variant:ident $name:literal $description:literal,)+ })+) => {
        /// The outcome of a packet, or a detail that comes on top of it. Each packet has exactly one outcome, so the sum of
        /// all counters that aren't [`Class::Detail`] is the number of packets seen.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u32)]
        pub enum Reason {
            $($(#[doc = $description] $variant,)+)+
        }

        impl Reason {
            /// All reasons, in the order of their counters.
            pub const ALL: &'static [Reason] = &[$($(Reason::$variant,)+)+];

            /// The counter's name, as metrics and tables show it.
            pub const fn name(self) -> &'static str {
                match self { $($(Reason::$variant => $name,)+)+ }
            }

            /// The reason with this number; [`Reason::NotIp`] for a number that is none.
            #[inline(always)]
            pub const fn from_number(number: u32) -> Self {
                match number { $($(n if n == Reason::$variant as u32 => Reason::$variant,)+)+ _ => Reason::NotIp }
            }

            /// What the counter counts, in one line.
            pub const fn description(self) -> &'static str {
                match self { $($(Reason::$variant => $description,)+)+ }
            }

            /// What kind of counter this is.
            pub const fn class(self) -> Class {
                match self { $($(Reason::$variant => Class::$class,)+)+ }
            }
        }
    };
}

reasons! {
    Foreign {
        NotIp "not_ip" "Neither IPv4 nor IPv6 (ARP, LLDP, …)",
        VlanDepth "vlan_depth" "More than two VLAN tags",
        OtherProtocol "other_protocol" "An IP protocol that isn't counted",
        UdpForeign "udp_foreign" "UDP to a port that isn't ours",
        UdpForeignGroup "udp_foreign_group" "UDP to one of our ports but to an address that isn't ours",
        TcpForeign "tcp_foreign" "TCP, except requests for the front door",
        Icmp6Other "icmp6_other" "ICMPv6 other than multicast listener discovery",
        IgmpOther "igmp_other" "IGMP of a type that isn't counted (DVMRP, PIMv1, …)",
        FragmentFirst "fragment_first" "The first fragment of an IP packet",
        FragmentLater "fragment_later" "A later fragment of an IP packet",
    }
    Valid {
        FrontDoorSyn "front_door_syn" "A TCP SYN for the front door: its distance is noted",
        Report "report" "An RTCP receiver report of a known receiver, or of anybody for an open title",
        ReportUnsolicited "report_unsolicited" "An RTCP receiver report of somebody we don't know, or with an SSRC that isn't the one agreed on",
        SenderReport "sender_report" "An RTCP sender report (a standby box?): no member",
        IgmpQuery "igmp_query" "An IGMP query",
        IgmpV1Report "igmp_v1_report" "An IGMPv1 report",
        IgmpV2Report "igmp_v2_report" "An IGMPv2 report",
        IgmpV2Leave "igmp_v2_leave" "An IGMPv2 leave",
        IgmpV3Report "igmp_v3_report" "An IGMPv3 report",
        MldQuery "mld_query" "An MLD query",
        MldV1Report "mld_v1_report" "An MLDv1 report",
        MldV1Done "mld_v1_done" "An MLDv1 done",
        MldV2Report "mld_v2_report" "An MLDv2 report",
    }
    Malformed {
        EthernetShort "ethernet_short" "The frame ends within its Ethernet or VLAN header",
        IpShort "ip_short" "The frame ends within its IP header or options, or before the end the IP header declares",
        IpHeader "ip_header" "An IP header that contradicts itself: version, header length, total length",
        IpChecksum "ip_checksum" "An IPv4 header checksum that is wrong (checked only for what would be counted)",
        IpExtensions "ip_extensions" "More IPv6 extension headers than are followed",
        UdpShort "udp_short" "A UDP header or datagram that is longer than the IP packet it is in",
        TcpShort "tcp_short" "A TCP header that is longer than the IP packet it is in",
        IgmpShort "igmp_short" "An IGMP message, record or source list that is cut off",
        IgmpChecksum "igmp_checksum" "An IGMP message with a wrong checksum",
        IgmpOffLink "igmp_off_link" "An IGMP message whose TTL isn't 1: it was not made on this link",
        IgmpAddress "igmp_address" "An IGMP message about an address that is no multicast group",
        IgmpRecord "igmp_record" "An IGMPv3 record of an unknown type",
        Icmp6Short "icmp6_short" "An ICMPv6 message, record or source list that is cut off",
        MldChecksum "mld_checksum" "An MLD message with a wrong checksum",
        MldOffLink "mld_off_link" "An MLD message whose hop limit isn't 1 or whose source isn't link-local: it was not made on this link",
        MldAddress "mld_address" "An MLD message about an address that is no multicast group",
        MldRecord "mld_record" "An MLDv2 record of an unknown type",
        RtcpShort "rtcp_short" "Less than an RTCP header and an SSRC (hole punching does this)",
        RtcpVersion "rtcp_version" "An RTCP packet whose version isn't 2: no RTCP at all",
        RtcpType "rtcp_type" "A compound that begins with what is no RTCP packet type",
        RtcpReduced "rtcp_reduced" "RTCP that doesn't begin with a report (reduced size, RFC 5506): no member",
        RtcpPadding "rtcp_padding" "RTCP padding where none may be, or of an impossible length",
        RtcpCount "rtcp_count" "An RTCP packet too short for the count of reports or sources it declares",
        RtcpLength "rtcp_length" "RTCP lengths that don't add up to the datagram",
        RtcpPackets "rtcp_packets" "A compound of more packets than are followed",
    }
    Detail {
        Absorbed "absorbed" "Reports that were swallowed after being counted",
        NewReceiver "new_receiver" "Receivers noted for the first time (or again after they were forgotten)",
        NewReceiverLost "new_receiver_lost" "Receivers that couldn't be noted: the table refused them",
        Bye "bye" "RTCP BYE of the reporter itself",
        ByeOther "bye_other" "RTCP BYE for somebody else than the reporter: ignored",
        RtcpUnknown "rtcp_unknown" "Valid compounds with an RTCP packet of unknown type in them",
        SsrcMismatch "ssrc_mismatch" "Reports of a known receiver's address with another SSRC than agreed on",
        GroupJoin "group_join" "Records that join one of our groups",
        GroupLeave "group_leave" "Records that leave one of our groups",
        GroupPresent "group_present" "Records that answer a query for one of our groups",
        GroupForeign "group_foreign" "Records for groups that aren't ours",
        RecordsExcess "records_excess" "Records beyond the number that is looked at in one report",
        ChecksumUnchecked "checksum_unchecked" "IGMP or MLD messages too long for their checksum to be checked",
        EventLost "event_lost" "Events lost because the ring was full",
        EventHeld "event_held" "Events held back: their source makes too many",
    }
}

impl Reason {
    /// How many reasons there are.
    pub const COUNT: usize = Self::ALL.len();
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_unique_and_numbered_in_order() {
        let names: HashSet<_> = Reason::ALL.iter().map(|reason| reason.name()).collect();
        assert_eq!(names.len(), Reason::COUNT);
        for (index, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, index, "{}", reason.name());
        }
    }
}
