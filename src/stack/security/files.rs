//! Reading the files.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use super::error::{Problem, Why};
use super::{SecurityFileError, SecurityWarning};
use crate::crypto::certificate::{Credentials, Date, TrustStore};
use crate::crypto::kex::{KemKey, KemPublicKey};
use crate::crypto::pem::MAX_FILE;
use crate::oap::{KemMode, SecurityConfig, StaticKey};
use crate::types::name::Name;

type Result<T> = std::result::Result<T, SecurityFileError>;

/// What was read from a directory.
pub(in crate::stack) struct Directory {
    pub(super) names: BTreeMap<Name, Sides>,
    /// `None` if there are no certificates of authorities.
    pub(super) store: Option<Arc<TrustStore>>,
    pub(super) warnings: Vec<SecurityWarning>,
}

/// The files of a name.
#[derive(Default)]
pub(super) struct Sides {
    pub(super) server: Option<Side>,
    pub(super) client: Option<Side>,
}

/// The files of a name on one side.
#[derive(Default)]
pub(in crate::stack) struct Side {
    /// The `enc.conf`, and where it is.
    settings: Option<(PathBuf, SecurityConfig)>,
    credentials: Option<Credentials>,
    static_keys: Vec<StaticKey>,
    server_key: Option<KemPublicKey>,
}

/// Where the files of a name are on one side.
#[derive(Clone, Copy)]
pub(in crate::stack) struct Paths<'a> {
    pub(in crate::stack) encryption: Option<&'a Path>,
    pub(in crate::stack) certificate: Option<&'a Path>,
    pub(in crate::stack) key: Option<&'a Path>,
}

impl Directory {
    /// Reads all of it.
    pub(in crate::stack) fn read(path: &Path, unix_nanos: u64) -> Result<Self> {
        let mut read = Self { names: BTreeMap::new(), store: None, warnings: Vec::new() };
        let (mut found, mut store) = (false, TrustStore::new());
        for entry in entries(path)? {
            let is_directory = is_directory(&entry)?;
            let part = entry.file_name().and_then(OsStr::to_str).unwrap_or_default();
            match part {
                "server" | "client" => {
                    for of_name in names(&entry, is_directory)? {
                        let (name, folder) = of_name?;
                        let side = read.side(&folder, &name, part == "server", unix_nanos)?;
                        let sides = read.names.entry(name).or_default();
                        *if part == "server" { &mut sides.server } else { &mut sides.client } = Some(side);
                    }
                }
                "cacert" | "untrusted" => read.certificates(&entry, part == "cacert", &mut store)?,
                _ if is_directory => {
                    read.warnings.push(SecurityWarning::new(&entry, Why::Unknown));
                    continue;
                }
                _ => continue,
            }
            found = true;
        }
        if !found {
            return Err(SecurityFileError::new(path, Problem::Empty));
        }
        read.store = (!store.authorities().is_empty()).then(|| Arc::new(store));
        Ok(read)
    }

    /// The files of a name on one side. What is not there means nothing; what is there has to be good.
    fn side(&mut self, folder: &Path, name: &Name, is_server: bool, unix_nanos: u64) -> Result<Side> {
        let existing = |file: &str| {
            let path = folder.join(file);
            Ok(exists(&path)?.then_some(path))
        };
        let (encryption, certificate, key) = (existing("enc.conf")?, existing("crt.pem")?, existing("key.pem")?);
        match (&certificate, &key) {
            (Some(_), None) => return Err(alone(&folder.join("key.pem"), "crt.pem")),
            (None, Some(_)) => return Err(alone(&folder.join("crt.pem"), "key.pem")),
            _ => {}
        }
        let paths =
            Paths { encryption: encryption.as_deref(), certificate: certificate.as_deref(), key: key.as_deref() };
        let mut side = Side::read(paths, is_server.then_some(name))?;
        let kex = side.settings.as_ref().and_then(|(_, settings)| settings.kex).filter(|kex| kex.is_kem());
        if is_server && kex.is_some() {
            side.static_keys = static_keys(folder)?;
        }
        if let (Some(own), Some(path)) = (&side.credentials, &certificate)
            && own.not_after() < Date::from_unix_nanos(unix_nanos)
        {
            self.warnings.push(SecurityWarning::new(path, Why::Expired(own.not_after())));
        }
        if let Some(mode) = key.as_deref().and_then(exposed) {
            self.warnings.push(SecurityWarning::new(&folder.join("key.pem"), Why::Exposed(mode)));
        }
        let encapsulates = !is_server && side.settings.as_ref().is_some_and(|(_, s)| s.kem_mode == KemMode::Client);
        if let Some(kex) = kex.filter(|_| encapsulates) {
            side.server_key = Some(server_key(folder, kex.is_hybrid())?);
        }
        Ok(side)
    }

    /// Adds the certificates of a directory to the store.
    fn certificates(&mut self, folder: &Path, are_authorities: bool, store: &mut TrustStore) -> Result<()> {
        if !is_directory(folder)? {
            return Err(SecurityFileError::new(folder, Problem::NotDirectory));
        }
        for path in entries(folder)? {
            let file = read(&path)?;
            let added = if are_authorities { store.add_authorities(&file) } else { store.add_intermediates(&file) };
            let left_out = added.map_err(|error| SecurityFileError::new(&path, error))?;
            let warning = |left_out| SecurityWarning::new(&path, Why::LeftOut(left_out));
            self.warnings.extend(left_out.into_iter().map(warning));
        }
        Ok(())
    }
}

impl Side {
    /// Reads the files that are named, all of which must be there. `server` is the name that certificate has to be for.
    pub(in crate::stack) fn read(paths: Paths<'_>, server: Option<&Name>) -> Result<Self> {
        let mut side = Self::default();
        if let Some(path) = paths.encryption {
            let settings = SecurityConfig::from_enc_conf(&read(path)?);
            side.settings = Some((path.to_owned(), settings.map_err(|error| SecurityFileError::new(path, error))?));
        }
        if let (Some(certificate), Some(key)) = (paths.certificate, paths.key) {
            let own = Credentials::from_pem(&read(certificate)?, &read(key)?);
            let own = own.map_err(|error| {
                use crate::crypto::certificate::CredentialsError as E;
                let at = if matches!(error, E::Key(_)) { key } else { certificate };
                SecurityFileError::new(at, error)
            })?;
            let found = own.name().unwrap_or_default();
            if let Some(name) = server.filter(|name| name.as_str() != found) {
                let (found, name) = (found.to_owned(), name.as_str().to_owned());
                return Err(SecurityFileError::new(certificate, Problem::WrongName { found, name }));
            }
            side.credentials = Some(own);
        }
        Ok(side)
    }

    /// These files over the settings of the stack, whose demands they cannot take back. Keys that are the same as `before`
    /// go on remembering what was encapsulated to them.
    pub(in crate::stack) fn over(&self, base: &SecurityConfig, before: &[StaticKey]) -> Result<SecurityConfig> {
        let mut config = base.clone();
        if let Some((path, read)) = &self.settings {
            let wrong = |problem| Err(SecurityFileError::new(path, problem));
            match read.kex {
                None if base.required || base.post_quantum => return wrong(Problem::Off),
                Some(kex) if base.post_quantum && !kex.is_kem() => return wrong(Problem::NotPostQuantum(kex)),
                Some(_) if !read.cipher.is_aead() && !base.allow_unauthenticated => {
                    return wrong(Problem::Unauthenticated(read.cipher));
                }
                _ => {}
            }
            let SecurityConfig { kex, cipher, kdf, digest, kem_mode, .. } = read.clone();
            // A fallback of the stack would be weaker than what the file says.
            config = SecurityConfig { kex, cipher, kdf, digest, kem_mode, fallback: None, ..config };
        }
        if let Some(own) = &self.credentials {
            config.credentials = Some(own.clone());
        }
        if let Some(key) = &self.server_key {
            config.server_key = Some(key.clone());
        }
        if !self.static_keys.is_empty() {
            config.static_keys = self.static_keys.iter().map(|key| remembered(key, before)).collect();
        }
        Ok(config)
    }
}

/// A server's key, with the memory that it had before.
fn remembered(key: &StaticKey, before: &[StaticKey]) -> StaticKey {
    let public = key.key().public_key();
    before.iter().find(|known| known.key().public_key() == public).unwrap_or(key).clone()
}

fn static_keys(folder: &Path) -> Result<Vec<StaticKey>> {
    let mut keys = Vec::new();
    for file in ["kex.key.pem", "kex.key.raw"] {
        let path = folder.join(file);
        if exists(&path)? {
            let bytes = read(&path)?;
            let key = if file.ends_with("pem") { KemKey::from_pem(&bytes) } else { KemKey::from_raw(&bytes) };
            keys.push(StaticKey::new(key.map_err(|error| SecurityFileError::new(&path, error))?));
        }
    }
    Ok(keys)
}

fn server_key(folder: &Path, is_hybrid: bool) -> Result<KemPublicKey> {
    let path = folder.join(if is_hybrid { "kex.srv.pub.raw" } else { "kex.srv.pub.pem" });
    if !exists(&path)? {
        let why = Problem::NoServerKey(folder.join("enc.conf").display().to_string());
        return Err(SecurityFileError::new(&path, why));
    }
    let bytes = read(&path)?;
    let key = if is_hybrid { KemPublicKey::from_raw(&bytes) } else { KemPublicKey::from_pem(&bytes) };
    key.map_err(|error| SecurityFileError::new(&path, error))
}

fn alone(missing: &Path, other: &str) -> SecurityFileError {
    SecurityFileError::new(missing, Problem::Alone(other.to_owned()))
}

/// The directories of names.
fn names(folder: &Path, is_folder: bool) -> Result<impl Iterator<Item = Result<(Name, PathBuf)>>> {
    if !is_folder {
        return Err(SecurityFileError::new(folder, Problem::NotDirectory));
    }
    Ok(entries(folder)?.into_iter().map(|path| {
        // A file here would be one that its author believes to count.
        if !is_directory(&path)? {
            return Err(SecurityFileError::new(&path, Problem::NotDirectory));
        }
        let text = path.file_name().and_then(OsStr::to_str);
        let text = text.ok_or_else(|| SecurityFileError::new(&path, Problem::NotUtf8))?;
        let name = Name::new(text).map_err(|error| SecurityFileError::new(&path, error))?;
        Ok((name, path))
    }))
}

/// What is in a directory, in the order of names, without what is hidden.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let told = |error: io::Error| SecurityFileError::new(folder, error);
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(told)? {
        let entry = entry.map_err(told)?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

fn is_directory(path: &Path) -> Result<bool> {
    Ok(fs::metadata(path).map_err(|error| SecurityFileError::new(path, error))?.is_dir())
}

/// Returns `false` only for what is certain not to be there.
fn exists(path: &Path) -> Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(SecurityFileError::new(path, error)),
    }
}

/// Content of a file, which may be a key and is wiped.
fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>> {
    let told = |error: io::Error| SecurityFileError::new(path, error);
    let about = fs::metadata(path).map_err(told)?;
    // Reading a pipe would wait for ever.
    if !about.is_file() {
        return Err(SecurityFileError::new(path, Problem::NotFile));
    }
    let limit = MAX_FILE as u64 + 1;
    // Allocated once, as copies of a key would be left behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(about.len().min(limit) as usize + 1));
    File::open(path).map_err(told)?.take(limit).read_to_end(&mut bytes).map_err(told)?;
    if bytes.len() > MAX_FILE {
        return Err(SecurityFileError::new(path, Problem::TooLong(MAX_FILE)));
    }
    Ok(bytes)
}

/// The mode of a file that others may read.
#[cfg(unix)]
fn exposed(path: &Path) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = fs::metadata(path).ok()?.permissions().mode() & 0o777;
    (mode & 0o077 != 0).then_some(mode)
}

#[cfg(not(unix))]
fn exposed(_path: &Path) -> Option<u32> {
    None
}
