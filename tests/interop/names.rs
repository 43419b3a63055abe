//! Names that move between a reference and a node of ours, and what a reference makes of what it does not know.

use std::thread;
use std::time::{Duration, Instant};

use crate::heals::{Scene, row, row_tapped, secs};
use crate::nodes::{LAYER, Node, SOON, Setup, Shape, strike};
use crate::{Verdict, Who, ping_replies};

const NAME: &str = "mover";
/// In this time a name is found where it has moved: that of one allocation, and a little.
const FOUND: Duration = Duration::from_secs(5);
/// How long it is looked for, all the same.
const PATIENCE: Duration = Duration::from_secs(12);
/// After which a stopped name is asked for.
const MOMENT: Duration = Duration::from_millis(200);

/// Serves the name, or stops doing so.
fn serve(scene: &mut Scene<'_, '_>, at: usize, on: bool) -> Result<(), Verdict> {
    match (&scene.nodes[at], on) {
        (Node::Ours(member), true) => {
            strike(member.tell(&format!("serve {NAME}")))?;
        }
        (Node::Ours(member), false) => {
            strike(member.tell(&format!("stop {NAME}")))?;
        }
        (Node::Reference(daemon), true) => {
            let server = daemon.serve_in(&[NAME], LAYER, "bin/oping", &["-l"])?;
            scene.clients.push((at, server));
        }
        (Node::Reference(daemon), false) => {
            daemon.irm(&["name", "unregister", NAME, "layer", LAYER])?;
            for (_, server) in scene.clients.extract_if(.., |(of, _)| *of == at) {
                scene.lan.hosts[at].end(&server)?;
            }
        }
    }
    Ok(())
}

/// Whether a ping to the name is answered, and how long that takes to find out.
fn ask(scene: &Scene<'_, '_>, by: usize) -> Result<(bool, Duration), Verdict> {
    let began = Instant::now();
    let answered = match &scene.nodes[by] {
        Node::Ours(member) => member.tell(&format!("ping {NAME} raw 1")).is_ok_and(|told| told.starts_with('1')),
        Node::Reference(daemon) => {
            let options = ["-n", NAME, "-c", "3", "-i", "50ms", "-q", "raw"];
            ping_replies(&daemon.run(FOUND, "bin/oping", &options, false)?.output) > 0
        }
    };
    Ok((answered, began.elapsed()))
}

/// How long it takes until the name is found, if it is.
fn found(scene: &Scene<'_, '_>, by: usize) -> Result<Option<Duration>, Verdict> {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        if ask(scene, by)?.0 {
            return Ok(Some(began.elapsed()));
        }
        thread::sleep(MOMENT);
    }
    Ok(None)
}

/// As [`found`], where nothing keeps it from being found.
fn found_at_first(scene: &Scene<'_, '_>, by: usize) -> Result<(), Verdict> {
    found(scene, by)?.map(drop).ok_or_else(|| Verdict::Strike("not found to begin with".into()))
}

/// Moves the name from `a` to `b` and back, and stops it, while `by` asks for it. Only one of ours has to be in time: a
/// reference keeps what was stored until it expires, and asks there.
fn moves(scene: &mut Scene<'_, '_>, (a, b): (usize, usize), by: usize) -> Result<String, Verdict> {
    for node in scene.nodes.iter() {
        if let Node::Reference(daemon) = node {
            daemon.one_more_name(NAME, "server", None)?;
        }
    }
    let own = matches!(scene.nodes[by], Node::Ours(_));
    let kind = |scene: &Scene<'_, '_>, at: usize| match &scene.nodes[at] {
        Node::Ours(_) => Who::Ours,
        Node::Reference(_) => Who::Reference,
    };
    serve(scene, a, true)?;
    found_at_first(scene, by)?;
    let mut told = Vec::new();
    for (from, to) in [(a, b), (b, a)] {
        serve(scene, from, false)?;
        serve(scene, to, true)?;
        let took = found(scene, by)?;
        let after = took
            .map_or_else(|| format!("not found in {}", secs(PATIENCE)), |took| format!("found after {}", secs(took)));
        let what = format!("{} to {}: {after}", kind(scene, from), kind(scene, to));
        if own && took.is_none_or(|took| took > FOUND) {
            return Err(Verdict::Strike(format!("{what} (must: {})", secs(FOUND))));
        }
        told.push(what);
    }
    // It is at `a` now.
    for last in [a, b] {
        if last == b {
            serve(scene, b, true)?;
            let _ = found(scene, by)?;
        }
        serve(scene, last, false)?;
        thread::sleep(MOMENT);
        let (answered, took) = ask(scene, by)?;
        let what = format!("stopped at {}", kind(scene, last));
        if answered {
            return Err(Verdict::Strike(format!("{what}: answered all the same")));
        }
        told.push(format!("{what}: no longer found, said after {}", secs(took)));
    }
    Ok(told.join("; "))
}

#[test]
fn a_name_that_moves_is_found_by_o7s() {
    let nodes = &[Who::Ours, Who::Reference, Who::Ours];
    let setup = Setup { nodes, shape: Shape::Line, options: &SOON };
    row("a name moves, o7s asks", setup, |scene| moves(scene, (1, 0), 2));
}

#[test]
fn a_name_that_moves_is_found_by_a_reference() {
    let nodes = &[Who::Reference, Who::Ours, Who::Reference];
    let setup = Setup { nodes, shape: Shape::Line, options: &SOON };
    row("a name moves, a reference asks", setup, |scene| moves(scene, (2, 1), 0));
}

/// What ours adds to messages of the directory is a field that a reference does not know: it skips it, and answers.
#[test]
fn extended_directory_messages_to_a_reference() {
    for nodes in [&[Who::Ours, Who::Reference], &[Who::Reference, Who::Ours]] {
        let setup = Setup { nodes, shape: Shape::Line, options: &SOON };
        row_tapped("field 20 of the directory", setup, |scene| {
            let way = if nodes[0] == Who::Ours { '>' } else { '<' };
            let seen = scene.tap.as_ref().map(|tap| tap.directory(way)).unwrap_or_default();
            let told = format!(
                "{} messages of ours with it, {} of them requests; {} of these answered, as are {} of {} without it",
                seen.extended, seen.asked_extended, seen.answered_extended, seen.answered_plain, seen.asked_plain
            );
            match seen.answered_extended {
                0 if seen.asked_extended == 0 => {
                    Err(Verdict::Reference(format!("it was known before it was asked: {told}")))
                }
                0 => Err(Verdict::Strike(told)),
                _ => Ok(told),
            }
        });
    }
}
