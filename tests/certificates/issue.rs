//! An issuer of certificates, also of such as no other issuer would make: every byte of them is chosen here.

use o7s::base::rng::Rng;
use o7s::crypto::sign::{PrivateKey, Signer};
use o7s::crypto::suite::Digest;

/// When the tests take place: 2026-09-21, in the middle of what is valid unless said otherwise.
pub(crate) const NOW: u64 = 1_790_000_000;
pub(crate) const DAY: u64 = 86_400;

pub(crate) fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let len = content.len();
    let header = match len {
        0..0x80 => vec![tag, len as u8],
        0x80..0x100 => vec![tag, 0x81, len as u8],
        0x100..0x1_0000 => vec![tag, 0x82, (len >> 8) as u8, len as u8],
        _ => vec![tag, 0x83, (len >> 16) as u8, (len >> 8) as u8, len as u8],
    };
    [&header[..], content].concat()
}

pub(crate) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    tlv(0x30, &parts.concat())
}

/// Types of strings.
pub(crate) const UTF8: u8 = 0x0c;
pub(crate) const PRINTABLE: u8 = 0x13;
pub(crate) const TELETEX: u8 = 0x14;
pub(crate) const BMP: u8 = 0x1e;

/// An attribute of a subject: 2.5.4.x.
pub(crate) fn attribute(x: u8, string: u8, value: &[u8]) -> Vec<u8> {
    sequence(&[&tlv(6, &[0x55, 4, x]), &tlv(string, value)])
}

/// A name of relative names with one attribute each.
pub(crate) fn subject(attributes: &[Vec<u8>]) -> Vec<u8> {
    let relative: Vec<_> = attributes.iter().map(|attribute| tlv(0x31, attribute)).collect();
    tlv(0x30, &relative.concat())
}

/// A subject that is a common name alone.
pub(crate) fn cn(name: &str) -> Vec<u8> {
    subject(&[attribute(3, UTF8, name.as_bytes())])
}

/// GeneralizedTime of seconds since 1970.
fn time(unix: u64) -> Vec<u8> {
    let text = o7s::crypto::certificate::Date::from_unix(unix).to_string();
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    // Until 2049 the year has two digits.
    if (1950..2050).contains(&digits[..4].parse::<u32>().unwrap()) {
        tlv(0x17, format!("{}Z", &digits[2..]).as_bytes())
    } else {
        tlv(0x18, format!("{digits}Z").as_bytes())
    }
}

/// A P-256 key, the same for the same number.
pub(crate) fn key(number: u8) -> PrivateKey {
    let private = sequence(&[&tlv(2, &[1]), &tlv(4, &[number; 32])]);
    let algorithm = b"\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
    PrivateKey::from_pkcs8(&sequence(&[&tlv(2, &[0]), algorithm, &tlv(4, &private)])).unwrap()
}

/// What a certificate is to say.
#[derive(Clone)]
pub(crate) struct Wanted {
    pub(crate) version: Vec<u8>,
    pub(crate) serial: Vec<u8>,
    pub(crate) subject: Vec<u8>,
    pub(crate) spki: Vec<u8>,
    pub(crate) not_before: u64,
    pub(crate) not_after: u64,
    /// Identifier, whether it is critical, value.
    pub(crate) extensions: Vec<(Vec<u8>, bool, Vec<u8>)>,
    /// AlgorithmIdentifier of the signature.
    pub(crate) algorithm: Vec<u8>,
    pub(crate) digest: Option<Digest>,
}

/// Identifiers of extensions, 2.5.29.x.
pub(crate) const BASIC_CONSTRAINTS: u8 = 19;
pub(crate) const KEY_USAGE: u8 = 15;
pub(crate) const EXTENDED_KEY_USAGE: u8 = 37;
pub(crate) const NAME_CONSTRAINTS: u8 = 30;
pub(crate) const ALTERNATIVE_NAME: u8 = 17;
/// Key usages, as the BIT STRINGs that are their values.
pub(crate) const DIGITAL_SIGNATURE: &[u8] = &[3, 2, 7, 0x80];
pub(crate) const KEY_AGREEMENT: &[u8] = &[3, 2, 3, 0x08];
pub(crate) const CERT_SIGN: &[u8] = &[3, 2, 2, 0x04];
pub(crate) const CRL_SIGN: &[u8] = &[3, 2, 1, 0x02];

impl Wanted {
    fn new(subject: Vec<u8>, key: &dyn Signer) -> Self {
        Self {
            version: vec![0xa0, 3, 2, 1, 2],
            serial: vec![2, 1, 1],
            subject,
            spki: key.public_key().spki().to_vec(),
            not_before: NOW - 100 * DAY,
            not_after: NOW + 100 * DAY,
            extensions: Vec::new(),
            algorithm: b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02".to_vec(),
            digest: Some(Digest::Sha256),
        }
    }

    /// A program's certificate.
    pub(crate) fn leaf(name: &str, key: &dyn Signer) -> Self {
        Self::new(cn(name), key).extension(KEY_USAGE, true, DIGITAL_SIGNATURE)
    }

    /// An authority's, or an intermediate's.
    pub(crate) fn authority(name: &str, key: &dyn Signer) -> Self {
        Self::new(cn(name), key)
            .extension(BASIC_CONSTRAINTS, true, &[0x30, 3, 1, 1, 0xff])
            .extension(KEY_USAGE, true, CERT_SIGN)
    }

    pub(crate) fn subject(mut self, subject: Vec<u8>) -> Self {
        self.subject = subject;
        self
    }

    pub(crate) fn validity(mut self, not_before: u64, not_after: u64) -> Self {
        (self.not_before, self.not_after) = (not_before, not_after);
        self
    }

    /// Adds the extension 2.5.29.x, or replaces it.
    pub(crate) fn extension(mut self, x: u8, critical: bool, value: &[u8]) -> Self {
        let id = vec![0x55, 0x1d, x];
        self.extensions.retain(|(other, _, _)| *other != id);
        self.extensions.push((id, critical, value.to_vec()));
        self
    }

    pub(crate) fn without(mut self, x: u8) -> Self {
        self.extensions.retain(|(id, _, _)| *id != [0x55, 0x1d, x]);
        self
    }

    /// The certificate, signed by the owner of `key`, whose subject is `issuer`.
    pub(crate) fn issue(self, issuer: &[u8], key: &dyn Signer) -> Vec<u8> {
        let validity = sequence(&[&time(self.not_before), &time(self.not_after)]);
        let extensions = self.extensions.iter().map(|(id, critical, value)| {
            let critical: &[u8] = if *critical { &[1, 1, 0xff] } else { &[] };
            sequence(&[&tlv(6, id), critical, &tlv(4, value)])
        });
        let extensions = extensions.collect::<Vec<_>>().concat();
        let extensions = if extensions.is_empty() { Vec::new() } else { tlv(0xa3, &tlv(0x30, &extensions)) };
        let tbs = [&self.version, &self.serial, &self.algorithm, issuer, &validity, &self.subject, &self.spki];
        let tbs = tlv(0x30, &[&tbs.map(<[u8]>::to_vec).concat()[..], &extensions].concat());
        let signature = key.sign(&tbs, self.digest, &mut Rng::from_seed([3; 32])).unwrap();
        sequence(&[&tbs, &self.algorithm, &tlv(3, &[&[0], &signature[..]].concat())])
    }

    /// The certificate, signed with its own key.
    pub(crate) fn issue_to_itself(self, key: &dyn Signer) -> Vec<u8> {
        let issuer = self.subject.clone();
        self.issue(&issuer, key)
    }
}

/// A certificate as a block of PEM.
pub(crate) fn pem(der: &[u8]) -> String {
    block("CERTIFICATE", der)
}

/// A block of PEM.
pub(crate) fn block(label: &str, der: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for (n, group) in der.chunks(3).enumerate() {
        if n > 0 && n % 16 == 0 {
            text.push('\n');
        }
        let all = (0..3).fold(0u32, |all, i| all << 8 | u32::from(group.get(i).copied().unwrap_or(0)));
        for i in 0..4 {
            let digit = DIGITS[(all >> (18 - 6 * i)) as usize & 63];
            text.push(if i <= group.len() { char::from(digit) } else { '=' });
        }
    }
    format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
}
