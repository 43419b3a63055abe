//! tshark, and files for it.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use o7s::capture::DISSECTOR;

use crate::Shown;
use crate::pdml;

/// A file, until it is dropped.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str, bytes: &[u8]) -> Self {
        let path = std::env::temp_dir().join(format!("o7s-dissect-{}-{name}", std::process::id()));
        std::fs::write(&path, bytes).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// tshark with the dissector.
pub(crate) struct Tshark {
    script: Scratch,
}

impl Tshark {
    /// `None`, and a line that says so, if it is not installed.
    pub(crate) fn find() -> Option<Self> {
        let found = Command::new("tshark").arg("--version").output().is_ok_and(|output| output.status.success());
        if !found {
            // Past the capture of the test harness.
            let _ = writeln!(std::io::stderr().lock(), "skipped: there is no tshark on this host");
            return None;
        }
        let thread = std::thread::current();
        let name = format!("{}.lua", thread.name().unwrap_or("test").replace("::", "-"));
        Some(Self { script: Scratch::new(&name, DISSECTOR.as_bytes()) })
    }

    /// What tshark shows of each packet of a file; an error or a malformed packet fails the test.
    pub(crate) fn read(&self, file: &Path, options: &[&str]) -> Vec<Shown> {
        let script = format!("lua_script:{}", self.script.path().display());
        let mut command = Command::new("tshark");
        command.args(["-n", "-X", &script, "-T", "pdml", "-r"]).arg(file).args(options);
        let output = command.output().unwrap();
        let (text, told) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{}: {told}", file.display());
        for bad in ["_ws.malformed", "_ws.lua.error", "Lua Error", "Malformed Packet"] {
            assert!(!text.contains(bad) && !told.contains(bad), "{}: {bad}; {told}", file.display());
        }
        pdml::packets(&text)
    }
}
