//! Who shows a certificate, and what becomes of the flow if it is not good: over UDP, both ways, with ECDSA and RSA.
//!
//! Of a reference nothing can be demanded: it verifies what it is shown, and takes who shows nothing. That it has verified
//! a certificate follows from the rows in which it refuses one. Encapsulation to a static key, and ML-DSA, need a reference
//! whose OpenSSL has ML-KEM and ML-DSA.

use std::fmt;
use std::io;
use std::time::Duration;

use o7s::certificate::CertificateError;
use o7s::{AllocError, Code, Kex, SecurityError};

use crate::authorities::{AUTHORITY, Authorities, Kind, OTHER, STRANGER, Shows};
use crate::net::{Family, Host, Net, wait_for};
use crate::nodes::VERBOSE;
use crate::reference::{Daemon, PORT, resolver_name};
use crate::wire::Tap;
use crate::{
    BOTH_WAYS, Bench, Combination, Load, PING_LIMIT, PING_SIZE, PINGS, Run, SERIAL, SETTLE, Verdict, Who, judge_pings,
    ping_replies, repeat, say,
};

/// The tool, and the name that is called.
const NAME: &str = "oping";
/// The name in the client's certificate.
const CLIENT: &str = "alice";

type Encryption = Option<(&'static str, &'static str)>;

const ENCRYPTED: Encryption = Some(("prime256v1", "aes-256-gcm"));
const STRONGER: Encryption = Some(("secp384r1", "aes-256-gcm"));

/// What has to become of a row.
#[derive(Clone)]
enum Outcome {
    /// A flow, each end of which knows who the other is, if that says so.
    Flow,
    /// Ours refuses, for this reason.
    OursRefuses(SecurityError),
    /// The reference refuses, with this code, and this in its log.
    ReferenceRefuses(Code, &'static str),
}

/// One row of the table. Of pairs, the first is the client's.
#[derive(Clone)]
struct Row {
    what: &'static str,
    way: (Who, Who),
    shows: (Shows, Shows),
    encrypt: (Encryption, Encryption),
    /// Ours refuses whoever shows no certificate.
    requires: bool,
    outcome: Outcome,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, way: (client, server), outcome, .. } = self;
        write!(f, "{client} client -> {server} server | {what} | ")?;
        match outcome {
            Outcome::Flow => f.write_str("a flow"),
            Outcome::OursRefuses(_) => f.write_str("o7s refuses"),
            Outcome::ReferenceRefuses(..) => f.write_str("the reference refuses"),
        }
    }
}

/// The rows in which everything is in order.
fn good_rows() -> Vec<Row> {
    let who = [
        ("server authentication", (Shows::Nothing, Shows::Good), ENCRYPTED),
        ("client authentication", (Shows::Good, Shows::Nothing), ENCRYPTED),
        ("mutual authentication", (Shows::Good, Shows::Good), ENCRYPTED),
        ("mutual authentication, intermediates", (Shows::Chained, Shows::Chained), ENCRYPTED),
        ("mutual authentication, not encrypted", (Shows::Good, Shows::Good), None),
    ];
    let rows = who.into_iter().flat_map(|(what, shows, encrypt)| {
        BOTH_WAYS.map(|way| {
            let peer = if way.0 == Who::Ours { shows.1 } else { shows.0 };
            // Who requires it of everybody encrypts as well.
            let requires = peer != Shows::Nothing && encrypt.is_some();
            Row { what, way, shows, encrypt: (encrypt, encrypt), requires, outcome: Outcome::Flow }
        })
    });
    rows.collect()
}

/// The rows in which one certificate is not good, or is not there; the other end's is good. Two are missing: a reference
/// demands no certificate, and ours serves no name with the certificate of another.
fn bad_rows() -> Vec<Row> {
    use Shows::{Forged, Good, Nothing, OtherName, Strange};
    let [calling, serving] = BOTH_WAYS;
    let refuses = |peer, shown| Outcome::OursRefuses(reason(peer, shown));
    let auth = Outcome::ReferenceRefuses(Code::AUTH, "Failed to authenticate client");
    // It has one code for all that a response lacks.
    let crypt = Outcome::ReferenceRefuses(Code::CRYPT, "Failed to authenticate server");
    let rows = [
        ("the server shows none", calling, (Good, Nothing), refuses(NAME, Nothing)),
        ("the server's is by a stranger", calling, (Good, Strange), refuses(NAME, Strange)),
        ("the server's is by a namesake", calling, (Good, Forged), refuses(NAME, Forged)),
        ("the server's is for another name", calling, (Good, OtherName), refuses(NAME, OtherName)),
        ("the client's is by a stranger", calling, (Strange, Good), auth.clone()),
        ("the client's is by a namesake", calling, (Forged, Good), auth),
        ("the client shows none", serving, (Nothing, Good), refuses(CLIENT, Nothing)),
        ("the client's is by a stranger", serving, (Strange, Good), refuses(CLIENT, Strange)),
        ("the client's is by a namesake", serving, (Forged, Good), refuses(CLIENT, Forged)),
        ("the server's is by a stranger", serving, (Good, Strange), crypt.clone()),
        ("the server's is by a namesake", serving, (Good, Forged), crypt),
    ];
    let row = |(what, way, shows, outcome)| Row {
        what,
        way,
        shows,
        encrypt: (ENCRYPTED, ENCRYPTED),
        requires: true,
        outcome,
    };
    rows.map(row).to_vec()
}

/// Why ours refuses a peer with this name.
fn reason(peer: &str, shown: Shows) -> SecurityError {
    let (subject, by) = (format!("CN={peer}").into(), |issuer| format!("CN={issuer}").into());
    let error = match shown {
        Shows::Strange => CertificateError::UnknownIssuer { subject, issuer: by(STRANGER) },
        Shows::Forged => CertificateError::Forged { subject, issuer: by(AUTHORITY) },
        Shows::OtherName => CertificateError::WrongName { expected: peer.into(), found: OTHER.into() },
        Shows::Nothing | Shows::Good | Shows::Chained => return SecurityError::PeerUnauthenticated,
    };
    SecurityError::Peer(Box::new(error))
}

/// The rows in which all certificates are good, and the server demands more of the encryption than the client offers.
fn weak_rows() -> Vec<Row> {
    let [calling, serving] = BOTH_WAYS;
    let weaker = SecurityError::KexTooWeak { peer: Kex::Prime256v1, own: Kex::Secp384r1 };
    let refuses = |log| Outcome::ReferenceRefuses(Code::CRYPT, log);
    let rows = [
        ("the client does not encrypt", calling, (None, ENCRYPTED), refuses("KEX requested without info")),
        ("the client's group is weaker", calling, (ENCRYPTED, STRONGER), refuses("Client KEX prime256v1 too weak")),
        ("the client does not encrypt", serving, (None, ENCRYPTED), Outcome::OursRefuses(SecurityError::Plain)),
        ("the client's group is weaker", serving, (ENCRYPTED, STRONGER), Outcome::OursRefuses(weaker)),
    ];
    let shows = (Shows::Good, Shows::Good);
    rows.map(|(what, way, encrypt, outcome)| Row { what, way, shows, encrypt, requires: false, outcome }).to_vec()
}

/// Starts the server of a row, runs its client and collects what can be seen.
fn exchange(bench: &Bench, net: &Net, authorities: &Authorities, row: &Row) -> Result<Run, Verdict> {
    let (far, security) = (net.far.at(Family::V4), bench.install.security.to_string_lossy());
    authorities.furnish(&net.near, ("client", NAME), CLIENT, row.shows.0)?;
    authorities.furnish(&net.far, ("server", NAME), NAME, row.shows.1)?;
    let tap = Tap::start(&net.far, PORT)?;
    let count = PINGS.to_string();
    let program = bench.example(NAME);
    let mut ours = vec![&*program, "--security", &security, "-v"];
    ours.extend(row.requires.then_some("--require-auth"));
    let options = ["-n", NAME, "-c", &count, "-i", "50ms", "-q", "raw"];

    let (server, server_daemon) = match row.way.1 {
        Who::Reference => {
            let daemon = Daemon::start(&net.far, &bench.install)?;
            daemon.name(NAME, "server", row.encrypt.1)?;
            (daemon.serve(NAME, "bin/oping", &["-l"])?, Some(daemon))
        }
        Who::Ours => {
            write_settings(&net.far, "server", row.encrypt.1)?;
            let at = far.to_string();
            let service = net.far.spawn(&[&ours[..], &["--listen", "--udp4", &at]].concat())?;
            wait_for(Duration::from_secs(5), || service.output().contains("Serving").then_some(()))
                .ok_or_else(|| Verdict::Strike(format!("the server did not start: {}", service.output())))?;
            (service, None)
        }
    };
    let (client, client_daemon) = match row.way.0 {
        Who::Reference => {
            let daemon = Daemon::start(&net.near, &bench.install)?;
            net.near.resolve(&resolver_name(NAME), far)?;
            daemon.name(NAME, "client", row.encrypt.0)?;
            (daemon.run(PING_LIMIT, "bin/oping", &options, false)?, Some(daemon))
        }
        Who::Ours => {
            write_settings(&net.near, "client", row.encrypt.0)?;
            let (at, host) = (net.near.at(Family::V4).to_string(), format!("{NAME}={far}"));
            let argv = [&ours[..], &options[..], &["--udp4", &at, "--host", &host]].concat();
            (net.near.run(PING_LIMIT, &argv)?, None)
        }
    };
    std::thread::sleep(SETTLE);
    if std::env::var_os(VERBOSE).is_some() {
        say(&tap.output());
    }
    let daemon_log = [server_daemon, client_daemon].iter().flatten().map(Daemon::log).collect();
    Ok(Run { client, seen: tap.seen(PING_SIZE), server_output: server.output(), daemon_log })
}

/// What a reference is told with the name.
fn write_settings(host: &Host, role: &str, encrypt: Encryption) -> io::Result<()> {
    let Some((kex, cipher)) = encrypt else { return Ok(()) };
    host.write_private(&format!("{role}/{NAME}/enc.conf"), &format!("kex={kex}\ncipher={cipher}\nkdf=sha256\n"))
}

/// Whether what was seen is what the row has to come to, and whose fault it is if not.
fn judge(run: &Run, row: &Row) -> Result<Verdict, Verdict> {
    match &row.outcome {
        Outcome::Flow => judge_good(run, row),
        Outcome::OursRefuses(reason) => judge_ours(run, row, reason),
        Outcome::ReferenceRefuses(code, log) => judge_reference(run, row, (*code, log)),
    }
}

/// Has `text` in what somebody said.
fn said(output: &str, text: &str) -> Result<(), Verdict> {
    if output.contains(text) { Ok(()) } else { Err(Verdict::Strike(format!("nobody said: {text}"))) }
}

fn judge_good(run: &Run, row: &Row) -> Result<Verdict, Verdict> {
    let (way, shows) = (row.way, row.shows);
    if run.daemon_log.contains("Failed to authenticate") {
        return Err(Verdict::Strike("the reference has refused what is good".to_owned()));
    }
    let pings = Combination {
        client: way.0,
        server: way.1,
        load: Load::Ping("raw"),
        encrypt: row.encrypt.0,
        family: Family::V4,
    };
    let verdict = judge_pings(run, pings, "raw")?;
    let shown = (shows.0 != Shows::Nothing, shows.1 != Shows::Nothing);
    let seen = (run.seen.certificate_there, run.seen.certificate_back);
    if seen != shown {
        return Err(Verdict::Strike(format!("certificates on the wire: {seen:?}, to be shown: {shown:?}")));
    }
    if way.0 == Who::Ours {
        let claimed = if row.encrypt.0.is_some() { "" } else { " (claimed)" };
        let peer = if shown.1 {
            format!("authenticated as {NAME}, by CN={AUTHORITY}{claimed}")
        } else {
            "not authenticated".to_owned()
        };
        said(&run.client.output, &format!("peer: reference, {peer}.\n"))?;
    } else {
        // It is confirmed by what comes after a first packet of the server, which there is not yet.
        let peer = if shown.0 { format!(" of {CLIENT}, by CN={AUTHORITY} (claimed)") } else { String::new() };
        said(&run.server_output, &format!("New flow 1{peer}.\n"))?;
    }
    Ok(verdict)
}

/// Of a reply that comes before a reference has noted its own request: that is dropped, and its program waits in vain.
const OVERTAKEN: &str = "from wrong source";

/// Where somebody refuses, nothing may pass.
fn judge_silence(run: &Run, row: &Row, refuser_asked: bool) -> Result<(), Verdict> {
    let seen = &run.seen;
    let blame = |ours: bool, what: String| if ours { Verdict::Strike(what) } else { Verdict::Reference(what) };
    if seen.flow_requests == 0 {
        let what = format!("no flow request was sent ({})", run.client.ending());
        return Err(blame(row.way.0 == Who::Ours, what));
    }
    if seen.flow_accepts == 0 && seen.flow_refusal.is_none() {
        return Err(blame(row.way.1 == Who::Ours, format!("no reply to a flow request ({})", run.client.ending())));
    }
    if refuser_asked != (seen.flow_accepts > 0) || refuser_asked == seen.flow_refusal.is_some() {
        return Err(Verdict::Strike(format!("not refused by whom it should be: {seen:?}")));
    }
    let replies = ping_replies(&run.client.output);
    if seen.there + seen.back + replies > 0 || run.client.success() {
        return Err(Verdict::Strike(format!(
            "a flow all the same: {replies} replies, {}, {seen:?}",
            run.client.ending()
        )));
    }
    if row.way.0 == Who::Reference && run.client.status.is_none() && run.daemon_log.contains(OVERTAKEN) {
        return Err(Verdict::Reference("the reply overtook its own note of the request".to_owned()));
    }
    Ok(())
}

/// The refusal of the server, on the wire.
fn refused_with(run: &Run, code: Code) -> Result<(), Verdict> {
    let told = run.seen.flow_refusal.as_deref();
    if told == Some(&*code.to_response().to_string()) {
        return Ok(());
    }
    Err(Verdict::Strike(format!("refused with {told:?}, not {}", code.to_response())))
}

/// The program of a reference, client or server, prints the code that it is given.
fn told_reference(run: &Run, row: &Row, code: Code) -> Result<(), Verdict> {
    let number = code.to_response();
    if row.way.0 == Who::Reference {
        said(&run.client.output, &format!("Failed to allocate flow: {number}."))
    } else {
        said(&run.server_output, &format!("Failed to accept flow: {number}"))
    }
}

fn judge_ours(run: &Run, row: &Row, reason: &SecurityError) -> Result<Verdict, Verdict> {
    let asked = row.way.0 == Who::Ours;
    judge_silence(run, row, asked)?;
    let (told, error) = (reason.to_string(), AllocError::Security(reason.clone()));
    if asked {
        said(&run.client.output, &error.to_string())?;
        return Ok(Verdict::Ok(told));
    }
    refused_with(run, error.code())?;
    told_reference(run, row, error.code())?;
    said(&run.server_output, &format!("refused: {told}"))?;
    if run.server_output.contains("New flow") {
        return Err(Verdict::Strike("the server's program has a flow".to_owned()));
    }
    Ok(Verdict::Ok(format!("{told} ({})", error.code())))
}

fn judge_reference(run: &Run, row: &Row, (code, log): (Code, &str)) -> Result<Verdict, Verdict> {
    let asked = row.way.0 == Who::Reference;
    judge_silence(run, row, asked)?;
    if !asked {
        refused_with(run, code)?;
        said(&run.client.output, &format!("the other end refused the flow to \"{NAME}\": {code}"))?;
    }
    told_reference(run, row, code)?;
    said(&run.daemon_log, log)?;
    Ok(Verdict::Ok(format!("{log} ({code})")))
}

fn attempt(bench: &Bench, authorities: &Authorities, row: &Row) -> (Verdict, String) {
    let net = Net::start(&bench.view).expect("two hosts can be made");
    let verdict = exchange(bench, &net, authorities, row).and_then(|run| judge(&run, row));
    if std::env::var_os(VERBOSE).is_some() {
        say(&net.logs());
    }
    (verdict.unwrap_or_else(|failed| failed), net.logs())
}

/// Runs rows one after the other, with keys of each of the kinds, and fails at the end, when the table is complete.
fn run_all(rows: &[Row], kinds: &[Kind]) {
    let _alone = SERIAL.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let Some(bench) = Bench::set_up() else { return };
    let mut failed = Vec::new();
    for authorities in kinds.iter().map(|kind| Authorities::new(*kind)) {
        for row in rows {
            let told = format!("{} | {row}", authorities.kind());
            if !repeat(&told, || attempt(&bench, &authorities, row)) {
                failed.push(told);
            }
        }
    }
    let all = rows.len() * kinds.len();
    assert!(failed.is_empty(), "{} of {all} rows failed:\n{}", failed.len(), failed.join("\n"));
}

#[test]
fn authenticated_flows() {
    run_all(&good_rows(), &[Kind::Ecdsa, Kind::Rsa]);
    say(
        "interop: certificates | skipped: ML-DSA, and encapsulation both ways: they need a reference with ML-DSA and ML-KEM",
    );
}

#[test]
fn flows_refused_for_certificates() {
    run_all(&bad_rows(), &[Kind::Ecdsa, Kind::Rsa]);
}

#[test]
fn flows_refused_for_weak_encryption() {
    run_all(&weak_rows(), &[Kind::Ecdsa]);
}
