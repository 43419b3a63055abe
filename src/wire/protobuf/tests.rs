use alloc::string::String;
use alloc::vec;

use super::*;

messages! {
    struct Inner {
        number: Option<u32> = optional uint32 1,
        other: Option<u32> = optional uint32 2,
    }
    struct Sample {
        number: Option<i32> = optional int32 1,
        list: Vec<i32> = repeated int32 2,
        inner: Option<Inner> = optional message 3,
        parts: Vec<Vec<u8>> = repeated bytes 4,
        text: Option<String> = optional string 5,
        inners: Vec<Inner> = repeated message 6,
        wide: Option<u64> = optional uint64 16,
    }
}

fn inner(number: u32) -> Inner {
    Inner { number: Some(number), other: None }
}

#[test]
fn fields_are_encoded_in_the_order_of_their_declaration() {
    let sample = Sample {
        number: Some(-1),
        list: vec![1, 2],
        inner: Some(inner(150)),
        parts: vec![b"ab".to_vec(), Vec::new()],
        text: Some("x".into()),
        inners: vec![inner(0), inner(1)],
        wide: Some(1),
    };
    let mut bytes = vec![0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    bytes.extend([0x10, 1, 0x10, 2]);
    bytes.extend([0x1a, 3, 0x08, 0x96, 0x01]);
    bytes.extend([0x22, 2, b'a', b'b', 0x22, 0]);
    bytes.extend([0x2a, 1, b'x']);
    bytes.extend([0x32, 2, 0x08, 0, 0x32, 2, 0x08, 1]);
    bytes.extend([0x80, 0x01, 1]);
    assert_eq!(encode("sample", 100, &sample).as_ref(), Ok(&bytes));
    let too_long = WireError::Length { field: "sample", value: bytes.len() };
    assert_eq!(encode("sample", bytes.len() - 1, &sample), Err(too_long));

    let read: Sample = decode("sample", bytes.len(), &bytes).unwrap();
    assert_eq!(
        (read.number, read.list, read.parts, read.wide),
        (sample.number, sample.list, sample.parts, sample.wide)
    );
    assert_eq!(read.text.as_deref(), Some("x"));
    assert_eq!(read.inner.and_then(|inner| inner.number), Some(150));
    assert_eq!(read.inners.iter().map(|inner| inner.number).collect::<Vec<_>>(), [Some(0), Some(1)]);
    assert_eq!(encode("sample", 0, &Sample::default()), Ok(Vec::new()));
}

#[test]
fn what_others_may_write_is_read() {
    // A packed list, then one number more; of two numbers the last counts, and two messages are one.
    let bytes = [0x12, 2, 1, 2, 0x10, 3, 0x08, 1, 0x08, 2, 0x1a, 2, 0x08, 7, 0x1a, 2, 0x10, 8];
    let read: Sample = decode("sample", 100, &bytes).unwrap();
    assert_eq!((read.list, read.number), (vec![1, 2, 3], Some(2)));
    assert_eq!(read.inner.map(|inner| (inner.number, inner.other)), Some((Some(7), Some(8))));
    // Fields that nobody knows, of each kind.
    let unknown = [0x48, 5, 0x49, 1, 2, 3, 4, 5, 6, 7, 8, 0x4a, 1, 0, 0x4d, 1, 2, 3, 4, 0x08, 9];
    assert_eq!(decode::<Sample>("sample", 100, &unknown).unwrap().number, Some(9));
}

#[test]
fn malformed_fields_are_refused() {
    let malformed = Err(WireError::Malformed { message: "sample" });
    for bytes in [
        // Cut off, in the key, the number, and the data.
        &[0x80][..],
        &[0x08],
        &[0x22, 2, 1],
        // A number where data should be, data where a number should be, and bytes that are no text.
        &[0x20, 1],
        &[0x0a, 1, 1],
        &[0x2a, 1, 0xff],
        // A message that is longer than its field, and a field of number 0.
        &[0x1a, 1, 0x08, 1],
        &[0x00, 1],
    ] {
        assert_eq!(decode::<Sample>("sample", 100, bytes).map(|_| ()), malformed, "{bytes:x?}");
    }
    assert_eq!(
        decode::<Sample>("sample", 1, &[0x08, 1]).map(|_| ()),
        Err(WireError::Length { field: "sample", value: 2 })
    );
}
