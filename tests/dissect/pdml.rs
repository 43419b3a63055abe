//! The fields in what tshark prints with `-T pdml`.

use crate::Shown;

/// Fields that only Wireshark can have: in which frame something was.
const FRAMES: [&str; 2] = ["o7s.flow.request_frame", "o7s.flow.reply_frame"];

/// The fields of the dissector in each packet.
pub(crate) fn packets(text: &str) -> Vec<Shown> {
    let mut packets = Vec::new();
    for line in text.lines().map(str::trim_start) {
        if line.starts_with("<packet>") {
            packets.push(Shown::new());
        }
        let Some(name) = line.starts_with("<field ").then(|| attribute(line, "name")).flatten() else { continue };
        if !name.starts_with("o7s.") || FRAMES.contains(&name) {
            continue;
        }
        let value = value(line).unwrap_or_else(|| panic!("no value: {line}"));
        packets.last_mut().unwrap().entry(name.to_owned()).or_default().push(value);
    }
    packets
}

fn attribute<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let start = line.find(&format!(" {name}=\""))? + name.len() + 3;
    line[start..].split('"').next()
}

/// A value as our decoder prints it: bytes without colons, characters that XML cannot have as they are.
fn value(line: &str) -> Option<String> {
    let shown = attribute(line, "show")?;
    let is_bytes = shown.contains(':') && shown.split(':').all(|byte| byte.len() == 2);
    if is_bytes {
        // Long ones are cut there, and whole in the other attribute.
        return Some(attribute(line, "value")?.to_owned());
    }
    let mut text = shown.to_owned();
    for (code, character) in [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&")] {
        text = text.replace(code, character);
    }
    Some(text)
}
