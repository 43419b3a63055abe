//! The sources of log records: target, and whether strangers can cause them, so that they are limited.

use crate::base::journal::Place;

macro_rules! places {
    ($($(#[$what:meta])* $place:ident => $target:literal $limited:literal,)*) => {
        #[derive(Clone, Copy)]
        enum Number {
            /// `base` has one of its own.
            _Foreign,
            $($place,)*
        }

        #[expect(non_upper_case_globals, reason = "they are written like variants, of which each room knows some")]
        impl Place {
            $($(#[$what])* pub const $place: Self = Self::new(Number::$place as usize, $target, $limited);)*
        }
    };
}

places! {
    /// The life of the stack.
    Stack => "o7s::stack" false,
    /// Layers that are joined and left, and names that are registered in them.
    Layer => "o7s::layer" false,
    /// Listeners.
    Bind => "o7s::irm" true,
    /// Requests that came and were refused.
    Refused => "o7s::irm" true,
    /// Requests that came a second time.
    Repeated => "o7s::irm" true,
    /// Flows that came to be.
    Opened => "o7s::flow" true,
    /// Flows that ended.
    Closed => "o7s::flow" true,
    /// Allocations that failed.
    Failed => "o7s::flow" true,
    /// An allocation until it has a flow.
    Asking => "o7s::flow" true,
    /// Packets: the operator asks for each of them.
    Datagram => "o7s::udp" false,
    /// Sockets that are opened.
    Socket => "o7s::udp" true,
    /// Datagrams that are none of the layer.
    Malformed => "o7s::udp" true,
    /// Datagrams that could not be sent.
    Unsent => "o7s::udp" true,
    /// Frames: the operator asks for each of them.
    Frame => "o7s::eth" false,
    /// Frames that are none of the layer.
    BadFrame => "o7s::eth" true,
    /// Frames that could not be sent.
    FrameUnsent => "o7s::eth" true,
    /// What becomes of an interface.
    Interface => "o7s::eth" true,
    /// Neighbours that come and go.
    Neighbour => "o7s::unicast" true,
    /// The identity of a member.
    Identity => "o7s::unicast" true,
    /// The forwarding table.
    Routes => "o7s::routing" true,
    /// Names that are looked for.
    Lookup => "o7s::directory" true,
    /// Members of broadcast layers.
    Broadcast => "o7s::broadcast" true,
    /// Members that come to be.
    Enroll => "o7s::enroll" true,
}
