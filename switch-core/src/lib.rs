//! IEEE 802.1Q bridge logic: ports, filtering database, forwarding.
