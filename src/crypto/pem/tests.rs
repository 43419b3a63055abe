use alloc::string::String;
use alloc::vec;

use super::*;

const ONE: &str = "-----BEGIN A-----\nAQID\n-----END A-----\n";

/// Label, content and line.
type Content = (Box<str>, Vec<u8>, usize);

fn contents(file: &str) -> Result<Vec<Content>, PemError> {
    let found = blocks(file.as_bytes())?;
    Ok(found.into_iter().map(|block| (block.label, block.content.to_vec(), block.line)).collect())
}

#[test]
fn all_blocks_are_read_whatever_is_around_them() {
    let one = |line| ("A".into(), vec![1, 2, 3], line);
    assert_eq!(contents(""), Ok(vec![]));
    assert_eq!(contents("a text\n\n"), Ok(vec![]));
    assert_eq!(contents(ONE), Ok(vec![one(1)]));
    assert_eq!(contents(&(String::from("\u{feff}") + ONE)), Ok(vec![one(1)]));
    assert_eq!(contents(&ONE.replace('\n', "\r\n")), Ok(vec![one(1)]));
    assert_eq!(contents(ONE.trim_end()), Ok(vec![one(1)]));
    let two = alloc::format!("subject: ä\n{ONE}between\n{}end", ONE.replace('A', "B C").replace("B CQID", "AQ\n  ID"));
    assert_eq!(contents(&two), Ok(vec![one(2), ("B C".into(), vec![1, 2, 3], 6)]));
}

#[test]
fn what_is_cut_short_or_damaged_is_told() {
    let label = || "A".into();
    for (file, error) in [
        ("\n-----BEGIN A-----\nAQID\n", PemError::Unfinished { line: 2, label: label() }),
        ("-----BEGIN A-----\nAQID\n-----END B-----", PemError::Unfinished { line: 1, label: label() }),
        (
            "-----BEGIN A-----\nAQID\n-----BEGIN A-----\nAQID\n-----END A-----",
            PemError::Unfinished { line: 1, label: label() },
        ),
        ("-----BEGIN A-----\nAQI\n-----END A-----", PemError::Encoding { line: 1, label: label() }),
        ("-----BEGIN A-----\nAQ=D\n-----END A-----", PemError::Encoding { line: 1, label: label() }),
        ("-----BEGIN A-----\nProc: 4\n\nAQID\n-----END A-----", PemError::Encoding { line: 1, label: label() }),
        ("AQID\n-----END A-----", PemError::End { line: 2 }),
        ("a\nb\0c\n", PemError::NotText { line: 2 }),
    ] {
        assert_eq!(contents(file), Err(error), "{file:?}");
    }
    assert_eq!(blocks(&[0x30, 0x82, 0xff]).unwrap_err(), PemError::NotText { line: 1 });
    assert_eq!(blocks(&vec![b'a'; MAX_FILE + 1]).unwrap_err(), PemError::TooLarge { len: MAX_FILE + 1 });
}

#[test]
fn no_content_is_printed() {
    let found = blocks(ONE.as_bytes()).unwrap();
    assert_eq!(alloc::format!("{:?}", found[0]), "Block(A, line 1, ..)");
}
