//! Keys and certificates for tests and small installations, in the directories that the reference reads.
//!
//! ```text
//! DIR/authority.key.pem                     the authority's private key: keep it away from where the others go
//! DIR/cacert/authority.pem                  its certificate, for all ends
//! DIR/server/NAME/{enc.conf,crt.pem,key.pem}   for who accepts flows to NAME
//! DIR/client/NAME/{enc.conf,crt.pem,key.pem}   for who asks for flows to NAME
//! ```

use std::error::Error;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use clap::{Parser, Subcommand};
use o7s::{Cipher, Kex};
use p256::SecretKey;
use p256::ecdsa::{DerSignature, SigningKey};
use p256::pkcs8::{DecodePrivateKey, EncodePrivateKey, LineEnding};
use x509_cert::builder::profile::BuilderProfile;
use x509_cert::builder::{Builder, CertificateBuilder};
use x509_cert::der::{DecodePem, EncodePem};
use x509_cert::ext::pkix::{AuthorityKeyIdentifier, BasicConstraints, KeyUsage, KeyUsages, SubjectKeyIdentifier};
use x509_cert::ext::{Extension, ToExtension};
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::{SubjectPublicKeyInfo, SubjectPublicKeyInfoRef};
use x509_cert::time::{Time, Validity};
use x509_cert::{Certificate, TbsCertificate};

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

/// Makes keys and certificates (ECDSA P-256) in the directories that the reference reads.
///
/// What exists is never overwritten.
#[derive(Parser)]
#[command(after_help = "\
Examples:
  okey -d security authority
  okey -d security server oping
  okey -d security client oping --as alice
  oping --listen --udp4 127.0.0.1 --security security --require-auth
  oping --udp4 127.0.0.1 --host oping=127.0.0.1 --security security --require-auth

Clients need client/NAME and cacert alone, servers server/NAME and cacert; authority.key.pem belongs on neither.")]
struct Options {
    /// Where the files are
    #[arg(short, long, value_name = "DIR", default_value = "security")]
    directory: PathBuf,

    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// An authority, whose certificate all ends need
    Authority {
        /// Its name, which peers see as issuer
        #[arg(long, default_value = "authority")]
        name: String,
        /// How long its certificate is valid
        #[arg(long, value_name = "DAYS", default_value_t = 3650)]
        days: u32,
    },
    /// Key, certificate and settings of who accepts flows to a name
    Server {
        /// The name
        name: String,
        #[command(flatten)]
        settings: Settings,
    },
    /// Key, certificate and settings of who asks for flows to a name
    Client {
        /// The destination
        name: String,
        /// The client's own name, in its certificate
        #[arg(long = "as", value_name = "NAME", default_value = "client")]
        own: String,
        #[command(flatten)]
        settings: Settings,
    },
}

#[derive(clap::Args)]
struct Settings {
    /// How long the certificate is valid
    #[arg(long, value_name = "DAYS", default_value_t = 365)]
    days: u32,
    /// Key exchange: of a client its own, of a server the weakest that it takes
    #[arg(long, default_value = "X25519")]
    kex: Kex,
    /// Cipher: the weakest that is taken
    #[arg(long, default_value = "aes-256-gcm")]
    cipher: Cipher,
}

fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("okey: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    let directory = &options.directory;
    match &options.what {
        What::Authority { name, days } => authority(directory, name, *days),
        What::Server { name, settings } => end(directory, "server", name, name, settings),
        What::Client { name, own, settings } => end(directory, "client", name, own, settings),
    }
}

fn authority(directory: &Path, name: &str, days: u32) -> Result<()> {
    let key = generate()?;
    let subject = subject(name)?;
    let profile = Profile { issuer: subject.clone(), subject, is_authority: true };
    let certificate = issue(profile, &SubjectPublicKeyInfo::from_key(&key.public_key())?, days, &key)?;
    write_secret(&directory.join("authority.key.pem"), &key)?;
    write(&directory.join("cacert").join("authority.pem"), certificate.to_pem(LineEnding::LF)?.as_bytes())
}

/// One end of flows to a name: `own` is in its certificate.
fn end(directory: &Path, side: &str, name: &str, own: &str, settings: &Settings) -> Result<()> {
    let subject = subject(own)?;
    // It becomes a directory.
    subject_text(name)?;
    let read = |path: PathBuf| {
        fs::read_to_string(&path).map_err(|e| format!("{}: {e}; make an authority first", path.display()))
    };
    let authority_key = SecretKey::from_pkcs8_pem(&read(directory.join("authority.key.pem"))?)?;
    let authority = Certificate::from_pem(read(directory.join("cacert").join("authority.pem"))?)?;
    let key = generate()?;
    let issuer = authority.tbs_certificate().subject().clone();
    let profile = Profile { issuer, subject, is_authority: false };
    let certificate =
        issue(profile, &SubjectPublicKeyInfo::from_key(&key.public_key())?, settings.days, &authority_key)?;
    let folder = directory.join(side).join(name);
    write_secret(&folder.join("key.pem"), &key)?;
    write(&folder.join("crt.pem"), certificate.to_pem(LineEnding::LF)?.as_bytes())?;
    let text = format!("kex={}\ncipher={}\nkdf=sha256\ndigest=sha256\n", settings.kex, settings.cipher);
    write(&folder.join("enc.conf"), text.as_bytes())
}

fn generate() -> Result<SecretKey> {
    let mut bytes = [0; 32];
    loop {
        getrandom::fill(&mut bytes)?;
        // Nearly every number is a key.
        if let Ok(key) = SecretKey::from_slice(&bytes) {
            return Ok(key);
        }
    }
}

/// Whether every implementation reads a name alike.
fn subject_text(name: &str) -> Result<&str> {
    let odd = |c: char| c.is_control() || c == ',' || c == '/';
    if name.is_empty() || name.len() > 127 || name.starts_with('.') || name.contains(odd) {
        let rule = "1 to 127 bytes, no control characters, commas or slashes, no dot in front";
        return Err(format!("{name:?} cannot be in a certificate: {rule}").into());
    }
    Ok(name)
}

/// A subject that is a common name alone.
fn subject(name: &str) -> Result<Name> {
    let name = subject_text(name)?.as_bytes();
    let hex: String = name.iter().map(|byte| format!("{byte:02x}")).collect();
    // The value as DER, a UTF8String, so that nothing in it is special.
    Ok(Name::from_str(&format!("CN=#0c{:02x}{hex}", name.len()))?)
}

fn issue(
    profile: Profile,
    key: &SubjectPublicKeyInfo<x509_cert::der::Any, x509_cert::der::asn1::BitString>,
    days: u32,
    issuer: &SecretKey,
) -> Result<Certificate> {
    const HOUR: Duration = Duration::from_secs(3600);
    let now = Time::now()?.to_unix_duration();
    // Clocks differ.
    let validity = Validity::new(at(now.saturating_sub(HOUR))?, at(now + HOUR * 24 * days)?);
    let mut serial = [0; 16];
    getrandom::fill(&mut serial)?;
    serial[0] = serial[0] & 0x7f | 0x40;
    let builder = CertificateBuilder::new(profile, SerialNumber::new(&serial)?, validity, key.clone())?;
    Ok(builder.build::<_, DerSignature>(&SigningKey::from(issuer))?)
}

fn at(unix: Duration) -> Result<Time> {
    Ok(Time::GeneralTime(x509_cert::der::asn1::GeneralizedTime::from_unix_duration(unix)?))
}

/// What is in our certificates.
struct Profile {
    issuer: Name,
    subject: Name,
    is_authority: bool,
}

impl BuilderProfile for Profile {
    fn get_issuer(&self, _: &Name) -> Name {
        self.issuer.clone()
    }

    fn get_subject(&self) -> Name {
        self.subject.clone()
    }

    fn build_extensions(
        &self,
        key: SubjectPublicKeyInfoRef<'_>,
        issuer_key: SubjectPublicKeyInfoRef<'_>,
        tbs: &TbsCertificate,
    ) -> x509_cert::builder::Result<Vec<Extension>> {
        let usage = if self.is_authority { KeyUsages::KeyCertSign } else { KeyUsages::DigitalSignature };
        let issuer = SubjectKeyIdentifier::try_from(issuer_key)?;
        let mut all = Vec::new();
        let subject = tbs.subject();
        let constraints = BasicConstraints { ca: self.is_authority, path_len_constraint: None };
        all.push(constraints.to_extension(subject, &all)?);
        all.push(KeyUsage(usage.into()).to_extension(subject, &all)?);
        all.push(SubjectKeyIdentifier::try_from(key)?.to_extension(subject, &all)?);
        let authority = AuthorityKeyIdentifier { key_identifier: Some(issuer.0), ..Default::default() };
        all.push(authority.to_extension(subject, &all)?);
        Ok(all)
    }
}

fn write_secret(path: &Path, key: &SecretKey) -> Result<()> {
    let text = key.to_pkcs8_pem(LineEnding::LF)?;
    write_with(path, text.as_bytes(), 0o600)
}

fn write(path: &Path, content: &[u8]) -> Result<()> {
    write_with(path, content, 0o644)
}

/// A new file, which nobody else could read at any moment if its mode says so.
fn write_with(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    let told = |e: std::io::Error| match e.kind() {
        ErrorKind::AlreadyExists => {
            format!("{} exists already: remove it first, if it is to be another", path.display())
        }
        _ => format!("{}: {e}", path.display()),
    };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(told)?;
    }
    let mut file = create(path, mode).map_err(told)?;
    file.write_all(content).map_err(told)?;
    println!("{}", path.display());
    Ok(())
}

#[cfg(unix)]
fn create(path: &Path, mode: u32) -> std::io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    OpenOptions::new().write(true).create_new(true).mode(mode).open(path)
}

#[cfg(not(unix))]
fn create(path: &Path, _mode: u32) -> std::io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}
