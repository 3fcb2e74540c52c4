//! Why a frame was dropped: the one list that counters, `show drops` and the documentation are made from.

use std::fmt;

macro_rules! drop_reasons {
    ($($(#[doc = $sentence:literal])+ $variant:ident = $name:literal,)+) => {
        /// Why a frame was dropped. Each has a sentence and a stable name.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
        #[repr(u8)]
        pub enum DropReason { $($(#[doc = $sentence])+ $variant,)+ }

        impl DropReason {
            /// Every reason, in the order of the list.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The stable name, as counters and JSON show it.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// What happened, in a sentence.
            pub const fn sentence(self) -> &'static str {
                match self { $(Self::$variant => concat!($($sentence,)+).trim_ascii(),)+ }
            }
        }
    };
}

drop_reasons! {
    // Reception.
    /// The port's own queue was full: frames came faster than the switch took them.
    RxQueueFull = "rx_queue_full",

    // Layer 2, on every frame.
    /// The frame ends before its Ethernet header or VLAN tag does.
    FrameTooShort = "frame_too_short",
    /// The frame is longer than a buffer of the switch.
    FrameTooLong = "frame_too_long",
    /// The VLAN tag's identifier is 4095, which is reserved.
    BadVlanTag = "bad_vlan_tag",
    /// The port that it came in by doesn't carry its VLAN, or takes only tagged or only untagged frames.
    VlanNotAllowed = "vlan_not_allowed",
    /// The port that its destination is behind doesn't carry its VLAN.
    VlanNotAtPort = "vlan_not_at_port",
    /// Behind the tag or the priority that is taken off stands another tag, by which it would get into that one's VLAN.
    DoubleTagged = "double_tagged",
    /// The source is a group address or all zero.
    BadSourceMac = "bad_source_mac",
    /// The checksum or segmentation that the sender asked for lies outside the frame or makes no sense.
    BadOffload = "bad_offload",
    /// The super-frame is to be cut into more segments than real senders ask for.
    TooManySegments = "too_many_segments",
    /// The ingress port belongs to no network, or the port that it came from or is for is down.
    PortNotForwarding = "port_not_forwarding",
    /// The destination is one of 01:80:C2:00:00:00 to 0F, which no bridge forwards, and no protocol of ours wants it.
    BridgeReserved = "bridge_reserved",
    /// The destination was learned on the port that the frame came from.
    SamePort = "same_port",
    /// The source is the switch's own address: a loop, or a guest that pretends to be the gateway.
    OwnSourceMac = "own_source_mac",
    /// The source MAC address is not one of the guarded port's.
    GuardMac = "guard_mac",
    /// The source address, or the sender's in ARP, is not the guarded port's: neither given nor leased to it.
    GuardAddress = "guard_address",
    /// A guarded port speaks as a DHCP server, or in another client's name.
    GuardDhcp = "guard_dhcp",
    /// A guarded port speaks as an IPv6 router, or hides behind headers that no host sends.
    GuardRa = "guard_ra",
    /// More than the port may send by `rate-in`, or gets by `rate-out`.
    RateExceeded = "rate_exceeded",
    /// More broadcasts, multicasts or frames for unknown stations than `storm` lets the port have flooded.
    Storm = "storm",
    /// Nobody knows where the station is, and the ports of its network are kept apart.
    UnknownStation = "unknown_station",
    /// The port is kept apart from others of its network, and the frame was for these alone.
    PortIsolated = "port_isolated",
    /// The port is closed, because what the switch sent there came back: there is a loop.
    LoopDamped = "loop_damped",
    /// The spanning tree doesn't go by the port, or not yet.
    StpBlocked = "stp_blocked",
    /// The port is shut, because a BPDU came where none may.
    BpduGuard = "bpdu_guard",
    /// A frame to the bridges' address that is no BPDU, or one too old to count.
    BadBpdu = "bad_bpdu",
    /// More BPDUs than bridges send came by the port.
    BpduRate = "bpdu_rate",
    /// The gateway forwarded it into a network none of whose ports is up.
    NoEgressPort = "no_egress_port",
    /// The frame is larger than the MTU of its egress port.
    MtuExceeded = "mtu_exceeded",

    // The gateway, on frames addressed to the switch.
    /// Addressed to the switch's own MAC, but neither IP of a family that the network has an address of, nor ARP.
    NotForGateway = "not_for_gateway",
    /// Addressed to the switch in a VLAN where it has no address, or tagged where it should not be.
    TaggedForGateway = "tagged_for_gateway",
    /// The IP header is cut short, contradicts itself, or its lengths lie.
    BadIpHeader = "bad_ip_header",
    /// More extension headers stand between IPv6's own and the payload than any host sends.
    TooManyExtensions = "too_many_extensions",
    /// The IPv4 header checksum is wrong.
    BadIpChecksum = "bad_ip_checksum",
    /// The TCP, UDP or ICMP header is cut short or contradicts itself.
    BadL4Header = "bad_l4_header",
    /// The UDP length or checksum of a message for the switch itself is wrong.
    BadUdp = "bad_udp",
    /// The ICMP checksum is wrong.
    BadIcmpChecksum = "bad_icmp_checksum",
    /// The IP source cannot be a sender: unspecified, broadcast (the subnet's too), multicast, loopback, or the switch's own.
    BadIpSource = "bad_ip_source",
    /// The IP source is not of the network that the frame came from.
    SourceNotOnLink = "source_not_on_link",
    /// A destination that is never forwarded: broadcast, link-local, loopback or reserved.
    NotRoutable = "not_routable",
    /// A multicast packet, which the gateway does not route.
    MulticastNotRouted = "multicast_not_routed",
    /// No route to the destination.
    NoRoute = "no_route",
    /// The network's mode does not allow traffic to where the packet wants to go.
    RouteProhibited = "route_prohibited",
    /// To an address that no answer to an allowed name has lately given the network's hosts.
    NameNotAllowed = "name_not_allowed",
    /// The time to live, or hop limit, ran out.
    TtlExceeded = "ttl_exceeded",
    /// Larger than the way out and not to be fragmented; the sender was told.
    FragmentationNeeded = "fragmentation_needed",
    /// Nobody says to have the next hop's address.
    NeighbourUnreachable = "neighbour_unreachable",
    /// More frames wait for a next hop's MAC than the queue holds.
    NeighbourQueueFull = "neighbour_queue_full",
    /// No room for another next hop.
    NeighbourTableFull = "neighbour_table_full",
    /// It waited for a next hop's MAC on a network where a reload gave the switch other addresses, or none.
    InterfaceChanged = "interface_changed",
    /// An IP packet for the switch itself, of a protocol or port that nothing serves.
    NoService = "no_service",
    /// From inside, for the host whose address the uplink has, too: nothing that leaves by its card comes back to it.
    HostNotReached = "host_not_reached",
    /// The ARP packet is malformed or makes no sense.
    BadArp = "bad_arp",
    /// An ARP packet that is not about the switch's own address.
    ArpNotForUs = "arp_not_for_us",
    /// An ARP packet gave a known address to another MAC; that counts only if the one known so far no longer answers.
    ArpConflict = "arp_conflict",
    /// A link-local IPv6 source wants to go beyond its link; it was told.
    BeyondScope = "beyond_scope",
    /// A message of neighbour or multicast listener discovery that is malformed, or came from further away than the link.
    BadNdp = "bad_ndp",
    /// A message of neighbour or multicast listener discovery that is not about the switch's own addresses and groups.
    NdpNotForUs = "ndp_not_for_us",
    /// Somebody else says to have one of the switch's own IPv6 addresses.
    NdpConflict = "ndp_conflict",
    /// A router advertisement or redirect, which the switch believes nobody there.
    NdpNotBelieved = "ndp_not_believed",
    /// A destination option or routing header for the switch itself that it does not know; the sender was told where that is due.
    UnknownOption = "unknown_option",
    /// The DHCP message is malformed.
    BadDhcp = "bad_dhcp",
    /// A DHCP message of a kind that a server does not answer, or meant for another server.
    DhcpNotForUs = "dhcp_not_for_us",
    /// A DHCP message that a relay agent passed on for another subnet than the network's.
    DhcpForeignRelay = "dhcp_foreign_relay",
    /// A DHCP message about an unknown address, while as many are being probed as may be at once.
    DhcpBusy = "dhcp_busy",
    /// A message to the DNS forwarder that is no question.
    BadDns = "bad_dns",
    /// More questions came by the port than the DNS forwarder asks on in its name, or as many are being asked as may be.
    DnsBusy = "dns_busy",
    /// A message to the port mapping server that is no request.
    BadPcp = "bad_pcp",
    /// Every address of the DHCP range is taken.
    DhcpRangeFull = "dhcp_range_full",
    /// The port that it came in by holds so many of the DHCP range's addresses that others would find none.
    DhcpShareUsed = "dhcp_share_used",
    /// An answer was due, but the limit on ICMP messages was reached.
    IcmpRateLimited = "icmp_rate_limited",
    /// More answers were due in one burst than it holds.
    ReplyBurstFull = "reply_burst_full",

    // NAT.
    /// From outside, without a flow, mapping or rule that lets it in.
    NatUnsolicited = "nat_unsolicited",
    /// No outside port is left for a new flow.
    NatNoPorts = "nat_no_ports",
    /// The inside host has as many flows or outside ports as it may have, or asks for more too fast.
    NatHostLimit = "nat_host_limit",
    /// The rule spreads flows over servers, and neither a server nor a backup is alive.
    NatNoServer = "nat_no_server",
    /// The outside has no address to translate to.
    NatNoAddress = "nat_no_address",
    /// The flow table is full; existing flows are not touched.
    FlowTableFull = "flow_table_full",
    /// The port that it came in by holds so many connections or outside ports that others would find none.
    NatShareUsed = "nat_share_used",
    /// The first packet of a TCP connection is not a SYN, or that of a DCCP connection no request.
    TcpNoSyn = "tcp_no_syn",
    /// A protocol that NAT does not translate.
    NatProtocolUnsupported = "nat_protocol_unsupported",
    /// An ICMP error about a packet of no known flow.
    IcmpErrorUnmatched = "icmp_error_unmatched",
    /// A later fragment whose first fragment did not come in time.
    FragmentWithoutFirst = "fragment_without_first",
    /// More later fragments of this sender wait for their first fragment than may.
    FragmentQueueFull = "fragment_queue_full",
    /// A fragment that overlaps a header, is longer than a packet can be, or is otherwise unsafe.
    BadFragment = "bad_fragment",

    // Transmission, counted at the egress port.
    /// The egress port's queue is full.
    TxQueueFull = "tx_queue_full",
    /// The guest's receive buffers are too small for the frame.
    TxBufferTooSmall = "tx_buffer_too_small",
    /// The port takes so long for each frame that others would have to wait for it.
    TxTooSlow = "tx_too_slow",
    /// The egress port's link is down.
    TxLinkDown = "tx_link_down",
    /// The operating system refused the frame.
    TxRefused = "tx_refused",
    /// The frame's segmentation cannot be done in software.
    TxUnsegmentable = "tx_unsegmentable",
}

impl DropReason {
    /// How many reasons there are.
    pub const COUNT: usize = Self::ALL.len();
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_sentences_end() {
        let mut names: Vec<_> = DropReason::ALL.iter().map(|r| r.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), DropReason::COUNT);
        for reason in DropReason::ALL {
            assert!(reason.sentence().ends_with('.'), "{reason}");
            assert_eq!(DropReason::ALL[*reason as usize], *reason);
        }
    }
}
