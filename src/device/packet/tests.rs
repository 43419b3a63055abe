//! Tests without rights or interfaces; the others are in `tests/veth`.

use super::*;

#[test]
fn numbers_that_are_lengths_are_no_ethertypes() {
    for ethertype in [0, 0x05dc, 0x05ff, 0xffff] {
        let error = PacketSocket::dix("lo", ethertype).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{ethertype:#x}");
        assert!(error.to_string().contains(&format!("{ethertype:#06x}")), "{error}");
    }
}

#[test]
fn errors_name_the_interface_and_what_helps() {
    let denied = explain("eth0", Errno::PERM.into());
    assert_eq!(denied.kind(), io::ErrorKind::PermissionDenied);
    let text = denied.to_string();
    assert!(text.starts_with("eth0: ") && text.contains("CAP_NET_RAW") && text.contains("setcap"), "{text}");
    assert_eq!(explain("eth0", Errno::NODEV.into()).kind(), io::ErrorKind::NotFound);
    assert_eq!(explain("eth0", Errno::AFNOSUPPORT.into()).kind(), io::ErrorKind::Unsupported);
}

#[test]
fn errors_of_sending_say_whether_to_try_again() {
    let of = |errno: Errno| send_error(&errno.into());
    assert!(of(Errno::AGAIN).is_temporary() && of(Errno::NOBUFS).is_temporary());
    assert_eq!(of(Errno::MSGSIZE), SendError::TooLarge);
    assert_eq!([Errno::NETDOWN, Errno::NXIO].map(of), [SendError::InterfaceDown; 2]);
}

#[test]
fn receive_sizes_follow_the_traffic() {
    let mut receiving = Receiving::default();
    let mut cache = BufCache::new(&crate::base::buf::BufPool::new(10));
    receiving.prepare(1500, &mut cache);
    assert_eq!((receiving.want, receiving.buffers.len(), receiving.tails.len()), (FEW, FEW, 0));
    let arrival = Arrival { len: 0, is_cut: false, index: 1, to: 0, tag: None, is_unfinished: false };
    for want in [16, BATCH, BATCH] {
        receiving.arrivals = vec![arrival; receiving.want];
        receiving.adapt();
        assert_eq!(receiving.want, want);
    }
    receiving.arrivals.truncate(1);
    for want in [32, 16, 8, 4, 4] {
        receiving.adapt();
        receiving.prepare(9000, &mut cache);
        assert_eq!((receiving.want, receiving.buffers.len()), (want, want));
        assert!(receiving.tails.len() >= want * (9000 + FRAME_HEADER - BUFFER));
    }
    // An interface like the loopback's takes no more memory than another one.
    receiving.want = BATCH;
    receiving.prepare(65_536, &mut cache);
    assert!(receiving.tails.len() <= TAILS && receiving.want >= FEW);
    receiving.prepare(1500, &mut cache);
    assert_eq!(receiving.tails.capacity(), 0);
}
