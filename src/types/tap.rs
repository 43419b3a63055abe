//! The trait through which the packets of flows are seen in the clear.

/// A packet of a flow, as the flow's machines see it: decrypted, with the FRCT header if the flow has one.
#[derive(Clone, Copy, Debug)]
pub struct FlowPacket<'a> {
    /// Number of the flow in its stack.
    pub flow: u64,
    /// It begins with an FRCT header.
    pub frct: bool,
    /// The flow retransmits.
    pub reliable: bool,
    /// It is encrypted on its way.
    pub encrypted: bool,
    /// It leaves; otherwise it has come.
    pub sent: bool,
    /// It could not be opened: these are the bytes that came.
    pub sealed: bool,
    /// Its bytes.
    pub bytes: &'a [u8],
    /// Reason for which it is dropped, if it is.
    pub dropped: Option<&'static str>,
}

/// A reader of flows' packets in the clear: a capture that was asked for it.
///
/// It is called with the flow's lock held. So it copies what it wants and returns: it takes no lock under which anything
/// else is called, and calls nobody.
pub trait FlowTap: Send + Sync {
    /// This packet leaves, or has come.
    fn packet(&self, packet: &FlowPacket<'_>);
}
