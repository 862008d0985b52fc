//! Why a packet was admitted or dropped.

/// Defines [`Reason`] and [`Counters`] from one list, so that a reason cannot be without its
/// counter, its name or its explanation.
macro_rules! reasons {
    (
        admitted { $($(#[doc = $admit_doc:literal])+ $admit:ident = $admit_number:literal, $admit_field:ident, $admit_name:literal;)+ }
        dropped { $($(#[doc = $drop_doc:literal])+ $drop:ident = $drop_number:literal, $drop_field:ident, $drop_name:literal;)+ }
        reserved $reserved:literal
    ) => {
        /// Why a packet on port 123 was admitted or dropped.
        ///
        /// The numbers are a contract: they are counters' places, events' contents and metrics'
        /// labels. New reasons are appended; the number of a retired one is never used again.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u32)]
        pub enum Reason {
            $($(#[doc = $admit_doc])+ $admit = $admit_number,)+
            $($(#[doc = $drop_doc])+ $drop = $drop_number,)+
        }

        impl Reason {
            /// Every reason, admitting ones first, each group by its number.
            pub const ALL: &[Self] = &[$(Self::$admit,)+ $(Self::$drop,)+];

            /// The reason's name in tables, metrics and documents.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$admit => $admit_name,)+
                    $(Self::$drop => $drop_name,)+
                }
            }

            /// The reason of this number, if there is one.
            pub const fn from_number(number: u32) -> Option<Self> {
                match number {
                    $($admit_number => Some(Self::$admit),)+
                    $($drop_number => Some(Self::$drop),)+
                    _ => None,
                }
            }

            /// One sentence on what the reason means.
            pub const fn explanation(self) -> &'static str {
                match self {
                    $(Self::$admit => concat!($($admit_doc),+).trim_ascii(),)+
                    $(Self::$drop => concat!($($drop_doc),+).trim_ascii(),)+
                }
            }

            /// Whether a packet with this reason is let through when the guard enforces.
            #[inline(always)]
            pub const fn admits(self) -> bool {
                matches!(self, $(Self::$admit)|+)
            }
        }

        /// Packets counted by reason: the value of the `COUNTERS` map.
        ///
        /// A per-CPU value of 64 counters in host byte order, of which those without a reason yet
        /// are reserved. The field of a reason stands at the reason's number.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(C)]
        #[expect(missing_docs, reason = "each field is the count of the reason it is named for")]
        pub struct Counters {
            $(pub $admit_field: u64,)+
            $(pub $drop_field: u64,)+
            pub reserved: [u64; $reserved],
        }

        impl Default for Counters {
            fn default() -> Self {
                Self { $($admit_field: 0,)+ $($drop_field: 0,)+ reserved: [0; $reserved] }
            }
        }

        impl Counters {
            /// How many counters the value has, the reserved ones included.
            pub const SLOTS: usize = 64;

            /// Packets counted for `reason`.
            pub const fn get(&self, reason: Reason) -> u64 {
                match reason {
                    $(Reason::$admit => self.$admit_field,)+
                    $(Reason::$drop => self.$drop_field,)+
                }
            }

            /// Sets the count of `reason`.
            pub const fn set(&mut self, reason: Reason, packets: u64) {
                match reason {
                    $(Reason::$admit => self.$admit_field = packets,)+
                    $(Reason::$drop => self.$drop_field = packets,)+
                }
            }

            /// Adds what another CPU counted.
            pub fn add(&mut self, other: &Self) {
                $(self.$admit_field = self.$admit_field.wrapping_add(other.$admit_field);)+
                $(self.$drop_field = self.$drop_field.wrapping_add(other.$drop_field);)+
            }
        }

        const _: () = {
            $(assert!(core::mem::offset_of!(Counters, $admit_field) == 8 * $admit_number);)+
            $(assert!(core::mem::offset_of!(Counters, $drop_field) == 8 * $drop_number);)+
            assert!(size_of::<Counters>() == 8 * Counters::SLOTS);
        };
    };
}

reasons! {
    admitted {
        /// A reply from an address granted `server`.
        Server = 0, server, "server";
        /// A symmetric packet from an address granted `peer`.
        Peer = 1, peer, "peer";
        /// A broadcast or multicast packet from an address granted `broadcast`.
        Broadcast = 2, broadcast, "broadcast";
        /// A request from an address granted `client`.
        Client = 3, client, "client";
        /// A control message (mode 6) from an address granted `control`.
        Control = 4, control, "control";
        /// A reply from an address granted `server`, in the seconds before requests are tracked.
        WarmUp = 5, warm_up, "warm-up";
    }
    dropped {
        /// A UDP header that is cut off, or an IP header that lies about its own size or version.
        Malformed = 6, malformed, "malformed";
        /// A UDP length that disagrees with the IP length, which may be 0, or a payload too short for its mode.
        Length = 7, length, "length";
        /// NTP version 0, 6 or 7.
        Version = 8, version, "version";
        /// A mode that nothing may have on these ports or in this version.
        Mode = 9, mode, "mode";
        /// Private mode 7, monlist's, which no time service needs.
        Private = 10, private, "private";
        /// Nobody granted this source anything.
        Unlisted = 11, unlisted, "unlisted";
        /// The source is granted something, but not the role this packet needs.
        Role = 12, role, "role";
        /// A reply to no request that this host sent.
        Unsolicited = 13, unsolicited, "unsolicited";
        /// A reply whose origin timestamp is that of no open request.
        Origin = 14, origin, "origin";
        /// A reply with an origin timestamp of zero.
        ZeroOrigin = 15, zero_origin, "zero-origin";
        /// A reply longer than the request it answers.
        Oversize = 16, oversize, "oversize";
        /// The first fragment of a datagram on port 123, or one that hides its ports.
        Fragment = 17, fragment, "fragment";
        /// More tags, extension headers or packets in packets than the guard reads, a chain of them that is cut off, or NTP in a packet behind a routing header.
        HeaderChain = 18, header_chain, "header-chain";
        /// A request beyond the rate that clients are allowed.
        Rate = 19, rate, "rate";
        /// Several datagrams in one buffer of the network stack, of which the guard sees the first.
        Coalesced = 20, coalesced, "coalesced";
        /// A reply to a request that was sent too long ago.
        Late = 21, late, "late";
    }
    reserved 42
}

impl core::fmt::Display for Reason {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(self.name())
    }
}

/// What the judge says of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Not the guard's business: passed untouched and uncounted.
    Foreign,
    /// NTP's: admitted or dropped, and counted, for this reason.
    Judged(Reason),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_numbered_without_gaps() {
        for (number, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, number);
            assert_eq!(Reason::from_number(number as u32), Some(*reason));
        }
    }

    #[test]
    fn each_reason_has_a_counter_of_its_own() {
        let counters = Counters {
            zero_origin: 7,
            ..Counters::default()
        };
        for reason in Reason::ALL {
            let expected = if *reason == Reason::ZeroOrigin { 7 } else { 0 };
            assert_eq!(counters.get(*reason), expected, "{reason}");
        }
    }

    #[test]
    fn explanations_are_sentences() {
        for reason in Reason::ALL {
            let text = reason.explanation();
            assert!(
                text.ends_with('.') && !text.starts_with(' '),
                "{reason}: {text:?}"
            );
        }
    }
}
