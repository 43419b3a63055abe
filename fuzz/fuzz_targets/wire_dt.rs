//! Packets of a unicast layer: no input panics, what decodes encodes to the same bytes, and forwarding changes ttl and
//! ecn only.
#![no_main]

use libfuzzer_sys::fuzz_target;
use o7s::wire::dt::{HeaderMut, LayerSizes, Pci};

fuzz_target!(|input: &[u8]| {
    let [addr, eid, queue, packet @ ..] = input else { return };
    let Ok(sizes) = LayerSizes::new(*addr, *eid) else { return };
    let Ok((pci, payload)) = Pci::parse(sizes, packet) else {
        return assert!(packet.len() < sizes.header_len());
    };
    assert!(!pci.to_string().is_empty());
    let mut again = vec![0; sizes.header_len()];
    pci.emit(sizes, &mut again).expect("what was read fits");
    again.extend_from_slice(payload);
    assert_eq!(again, packet);

    let mut header = HeaderMut::new(sizes, &mut again).expect("it is as long as before");
    assert_eq!(header.dst(), pci.dst);
    assert_eq!(header.hop(), pci.ttl.saturating_sub(1));
    header.mark(*queue);
    let expected = Pci { ttl: pci.ttl.saturating_sub(1), ecn: pci.ecn | queue, ..pci };
    assert_eq!(Pci::parse(sizes, &again), Ok((expected, payload)));
});
