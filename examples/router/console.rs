//! Lines from standard input. They are an offer to whoever sits there; a router goes on whatever becomes of its console.

use std::io::{BufRead, BufReader, ErrorKind, Read};

/// A line that is longer counts as several.
const LONGEST_LINE: u64 = 1024;

/// Has each line answered until `answer` says that this was the last one: `true`. `false` if nobody asks any more.
pub(crate) fn serve(answer: impl FnMut(&str) -> bool) -> bool {
    let Ok(input) = terminal::input() else { return false };
    serve_from(BufReader::new(input), answer)
}

fn serve_from(mut input: impl BufRead, mut answer: impl FnMut(&str) -> bool) -> bool {
    let mut line = Vec::new();
    loop {
        line.clear();
        match input.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line) {
            Ok(0) => return false,
            // Not everything that is typed, or comes out of a serial line, is text.
            Ok(_) if answer(String::from_utf8_lossy(&line).trim()) => return true,
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::WouldBlock => std::thread::park_timeout(terminal::PAUSE),
            // The terminal has gone away.
            Err(_) => return false,
        }
    }
}

/// A program in the background that reads from its terminal is stopped, all of it, so it waits until it is in the
/// foreground.
#[cfg(unix)]
mod terminal {
    use std::fs::File;
    use std::io::{self, Read};
    use std::os::fd::AsFd as _;
    use std::time::Duration;

    use rustix::event::{PollFd, PollFlags, poll};
    use rustix::process::getpgrp;
    use rustix::termios::tcgetpgrp;

    pub(super) const PAUSE: Duration = Duration::from_millis(500);

    pub(super) fn input() -> io::Result<impl Read> {
        Ok(Polite(File::from(io::stdin().as_fd().try_clone_to_owned()?)))
    }

    /// Reads when there is something to read and it may.
    struct Polite(File);

    impl Read for Polite {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            loop {
                match poll(&mut [PollFd::new(&self.0, PollFlags::IN)], None) {
                    Err(rustix::io::Errno::INTR) => continue,
                    Err(e) => return Err(e.into()),
                    Ok(_) => {}
                }
                // An error says that it is no terminal, or not the one by which this program is controlled.
                if tcgetpgrp(&self.0).is_ok_and(|foreground| foreground != getpgrp()) {
                    std::thread::park_timeout(PAUSE);
                    continue;
                }
                return self.0.read(buf);
            }
        }
    }
}

#[cfg(not(unix))]
mod terminal {
    use std::io::{self, Read};
    use std::time::Duration;

    pub(super) const PAUSE: Duration = Duration::from_millis(500);

    pub(super) fn input() -> io::Result<impl Read> {
        Ok(io::stdin())
    }
}
