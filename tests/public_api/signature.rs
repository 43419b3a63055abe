//! Signatures as text, from rustdoc's JSON: much as they are written in the source, with the last segments of paths.

use serde_json::Value;

/// The elements of an array that may be missing.
fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn joined(parts: impl Iterator<Item = String>, with: &str) -> String {
    parts.collect::<Vec<_>>().join(with)
}

/// The only entry of an object, as a kind and what is in it.
fn entry(value: &Value) -> (&str, &Value) {
    match value.as_object().and_then(|object| object.iter().next()) {
        Some((kind, inner)) => (kind, inner),
        None => (text(value), &Value::Null),
    }
}

pub(crate) fn ty(value: &Value) -> String {
    let (kind, inner) = entry(value);
    match kind {
        "resolved_path" => path(inner),
        "generic" | "primitive" => text(inner).to_owned(),
        "infer" => "_".to_owned(),
        "tuple" => match inner.as_array().map_or(&[][..], Vec::as_slice) {
            [one] => format!("({},)", ty(one)),
            all => format!("({})", joined(all.iter().map(ty), ", ")),
        },
        "slice" => format!("[{}]", ty(inner)),
        "array" => format!("[{}; {}]", ty(&inner["type"]), text(&inner["len"])),
        "impl_trait" => format!("impl {}", bounds(inner)),
        "dyn_trait" => {
            let traits = list(&inner["traits"]).map(|one| format!("{}{}", binder(one), path(&one["trait"])));
            let lifetime = inner["lifetime"].as_str().map(str::to_owned);
            format!("dyn {}", joined(traits.chain(lifetime), " + "))
        }
        "borrowed_ref" => {
            let lifetime = inner["lifetime"].as_str().map(|name| format!("{name} ")).unwrap_or_default();
            let mutable = if inner["is_mutable"] == true { "mut " } else { "" };
            match ty(&inner["type"]) {
                // Several bounds need parentheses.
                of if of.contains(" + ") && of.starts_with("dyn ") => format!("&{lifetime}{mutable}({of})"),
                of => format!("&{lifetime}{mutable}{of}"),
            }
        }
        "raw_pointer" => {
            format!("*{} {}", if inner["is_mutable"] == true { "mut" } else { "const" }, ty(&inner["type"]))
        }
        "qualified_path" => {
            let (of, name) = (ty(&inner["self_type"]), text(&inner["name"]));
            match path(&inner["trait"]) {
                none if none.is_empty() => format!("{of}::{name}"),
                _ if of == "Self" => format!("Self::{name}"),
                of_trait => format!("<{of} as {of_trait}>::{name}"),
            }
        }
        "function_pointer" => format!("{}fn{}", binder(inner), call(&inner["sig"], false)),
        other => panic!("rustdoc's format has changed: there are types of the kind {other:?}"),
    }
}

/// `for<'a> ` in front of what has parameters of its own.
fn binder(value: &Value) -> String {
    let params: Vec<_> = list(&value["generic_params"]).map(param).collect();
    if params.is_empty() { String::new() } else { format!("for<{}> ", params.join(", ")) }
}

/// A path with its arguments; empty for none.
pub(crate) fn path(value: &Value) -> String {
    let full = value["path"].as_str().or_else(|| value["name"].as_str()).unwrap_or_default();
    // Those of this crate are in full, others as somebody wrote them.
    let name = full.strip_prefix("o7s::").or_else(|| full.rsplit("::").next()).unwrap_or_default();
    format!("{name}{}", args(&value["args"]))
}

fn args(value: &Value) -> String {
    let (kind, inner) = entry(value);
    match kind {
        "angle_bracketed" => {
            let given = list(&inner["args"]).map(|arg| match entry(arg) {
                ("lifetime", name) => text(name).to_owned(),
                ("type", of) => ty(of),
                ("const", value) => text(&value["expr"]).to_owned(),
                (other, _) => other.to_owned(),
            });
            let constraints = list(&inner["constraints"]).map(|constraint| {
                let name = text(&constraint["name"]);
                match entry(&constraint["binding"]) {
                    ("equality", term) => match entry(term) {
                        ("type", of) => format!("{name} = {}", ty(of)),
                        (_, value) => format!("{name} = {}", text(&value["expr"])),
                    },
                    (_, of) => format!("{name}: {}", bounds(of)),
                }
            });
            let all: Vec<_> = given.chain(constraints).collect();
            if all.is_empty() { String::new() } else { format!("<{}>", all.join(", ")) }
        }
        "parenthesized" => {
            let inputs = joined(list(&inner["inputs"]).map(ty), ", ");
            format!("({inputs}){}", output(&inner["output"]))
        }
        _ => String::new(),
    }
}

pub(crate) fn bounds(value: &Value) -> String {
    let bound = |bound: &Value| match entry(bound) {
        ("trait_bound", of) => {
            let modifier = if of["modifier"] == "maybe" { "?" } else { "" };
            format!("{}{modifier}{}", binder(of), path(&of["trait"]))
        }
        ("outlives", name) => text(name).to_owned(),
        ("use", names) => {
            let names = list(names).map(|name| name.as_str().unwrap_or_else(|| text(entry(name).1)).to_owned());
            format!("use<{}>", joined(names, ", "))
        }
        (other, _) => panic!("rustdoc's format has changed: there are bounds of the kind {other:?}"),
    };
    joined(list(value).map(bound), " + ")
}

fn output(value: &Value) -> String {
    if value.is_null() { String::new() } else { format!(" -> {}", ty(value)) }
}

fn param(value: &Value) -> String {
    let name = text(&value["name"]);
    match entry(&value["kind"]) {
        ("lifetime", of) => {
            let outlives = joined(list(&of["outlives"]).map(|name| text(name).to_owned()), " + ");
            if outlives.is_empty() { name.to_owned() } else { format!("{name}: {outlives}") }
        }
        ("type", of) => {
            let bounds = bounds(&of["bounds"]);
            let bounds = if bounds.is_empty() { bounds } else { format!(": {bounds}") };
            let default = if of["default"].is_null() { String::new() } else { format!(" = {}", ty(&of["default"])) };
            format!("{name}{bounds}{default}")
        }
        (_, of) => format!("const {name}: {}", ty(&of["type"])),
    }
}

/// Parameters, `<...>`, without those that `impl Trait` stands for.
pub(crate) fn params(generics: &Value) -> String {
    let written = list(&generics["params"]).filter(|value| value["kind"]["type"]["is_synthetic"] != true);
    let written: Vec<_> = written.map(param).collect();
    if written.is_empty() { String::new() } else { format!("<{}>", written.join(", ")) }
}

/// ` where ...`
pub(crate) fn conditions(generics: &Value) -> String {
    let condition = |value: &Value| match entry(value) {
        ("bound_predicate", of) => format!("{}{}: {}", binder(of), ty(&of["type"]), bounds(&of["bounds"])),
        ("lifetime_predicate", of) => {
            let outlives = joined(list(&of["outlives"]).map(|name| text(name).to_owned()), " + ");
            format!("{}: {outlives}", text(&of["lifetime"]))
        }
        (_, of) => format!("{} = {}", ty(&of["lhs"]), ty(&of["rhs"])),
    };
    let all: Vec<_> = list(&generics["where_predicates"]).map(condition).collect();
    if all.is_empty() { String::new() } else { format!(" where {}", all.join(", ")) }
}

/// Arguments and result; arguments with their names, of which that of the object is written short.
fn call(sig: &Value, named: bool) -> String {
    let input = |pair: &Value| {
        let (name, of) = (text(&pair[0]), ty(&pair[1]));
        match (name, of.as_str()) {
            ("self", "Self") => "self".to_owned(),
            ("self", of) if of.starts_with('&') && of.ends_with("Self") => format!("{}self", &of[..of.len() - 4]),
            _ if named => format!("{name}: {of}"),
            _ => of,
        }
    };
    format!("({}){}", joined(list(&sig["inputs"]).map(input), ", "), output(&sig["output"]))
}

pub(crate) fn function(inner: &Value) -> String {
    let header = &inner["header"];
    let word = |name: &str, word: &'static str| if header[name] == true { word } else { "" };
    let words = [word("is_const", "const "), word("is_async", "async "), word("is_unsafe", "unsafe ")].concat();
    let generics = &inner["generics"];
    format!("{words}fn{}{}{}", params(generics), call(&inner["sig"], true), conditions(generics))
}
