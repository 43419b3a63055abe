use alloc::format;
use alloc::string::ToString;

use proptest::prelude::*;

use super::*;

#[test]
fn the_default_is_plain_and_open() {
    let config = SecurityConfig::default();
    assert_eq!((config.kex, config.digest, config.required), (None, None, false));
    assert_eq!(config.certificates, CertificatePolicy::Verify);
    assert_eq!((config.own_cipher(), config.own_kdf()), (None, None));
}

#[test]
fn the_encrypt_option_is_parsed() {
    let all: SecurityConfig = "prime256v1, chacha20-poly1305, sha512".parse().unwrap();
    let expected = SecurityConfig {
        cipher: Cipher::ChaCha20Poly1305,
        kdf: Kdf::Sha512,
        ..SecurityConfig::encrypted(Kex::Prime256v1)
    };
    assert_eq!(all, expected);
    assert!(all.required);
    assert_eq!("X25519".parse(), Ok(SecurityConfig::encrypted(Kex::X25519)));
}

#[test]
fn invalid_encrypt_options_are_refused() {
    let unknown = |text: &str| matches!(text.parse::<SecurityConfig>(), Err(ConfigError(Problem::Algorithm(_))));
    assert!(["", "x25519", "none", "X25519,", "X25519,aes", "X25519,aes-256-gcm,md5"].into_iter().all(unknown));
    assert_eq!("X25519,aes-256-gcm,sha256,".parse::<SecurityConfig>(), Err(Problem::Form.into()));
    let refused = "X25519,aes-256-ctr".parse::<SecurityConfig>().unwrap_err().to_string();
    assert!(refused.starts_with("aes-256-ctr does not authenticate packets: use one of aes-128-gcm"), "{refused}");
}

#[test]
fn a_long_line_is_several() {
    // The reference reads 255 bytes at a time: what is left of a comment is a line of its own.
    let comment = format!("#{}kex=X25519\n", "x".repeat(254));
    assert_eq!(SecurityConfig::from_enc_conf(comment.as_bytes()).unwrap().kex, Some(Kex::X25519));
    let comment = format!("#{}kex=X25519\n", "x".repeat(253));
    assert_eq!(SecurityConfig::from_enc_conf(comment.as_bytes()).unwrap().kex, Some(Kex::Prime256v1));
}

#[test]
fn errors_say_where_and_what() {
    let error = SecurityConfig::from_enc_conf(b"# first\n\ncipher = aes\n").unwrap_err();
    let text =
        "line 3: \"aes\" is not a value of cipher: use one of aes-128-gcm, aes-192-gcm, aes-256-gcm, chacha20-poly1305";
    assert_eq!(error.to_string(), text);
    let error = SecurityConfig::from_enc_conf(b"kex=\xff\n").unwrap_err();
    assert!(matches!(&error.0, Problem::Value { key: "kex", .. }));
    assert_eq!((error.line(), "x".parse::<SecurityConfig>().unwrap_err().line()), (Some(1), None));
}

#[test]
fn white_space_is_as_in_c() {
    assert_eq!(SecurityConfig::from_enc_conf(b"\x0b kex\t=\x0c X25519 \x0b\r\n").unwrap().kex, Some(Kex::X25519));
    assert_eq!(SecurityConfig::from_enc_conf(b" none\t\n").unwrap(), SecurityConfig::default());
}

proptest! {
    #[test]
    fn no_file_panics(text in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = SecurityConfig::from_enc_conf(&text);
    }

    #[test]
    fn no_file_of_nearly_valid_lines_panics(text in "((kex|cipher|kdf|none|kem_mode| |#|=|X25519|aes-256-gcm|\n){0,20})") {
        let _ = SecurityConfig::from_enc_conf(text.as_bytes());
        let _ = text.parse::<SecurityConfig>();
    }
}
