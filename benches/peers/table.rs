//! Rows and how they are printed.

/// A limit for a figure of merit.
#[derive(Clone, Copy)]
pub(crate) enum Bound {
    /// For costs.
    AtMost(f64),
    /// For rates.
    AtLeast(f64),
}

impl Bound {
    fn holds(self, score: f64) -> bool {
        match self {
            Self::AtMost(limit) => score <= limit,
            Self::AtLeast(limit) => score >= limit,
        }
    }

    fn text(self) -> String {
        match self {
            Self::AtMost(limit) => format!("<= {}", short(limit)),
            Self::AtLeast(limit) => format!(">= {}", short(limit)),
        }
    }
}

/// One line: ours beside the alternative.
pub(crate) struct Row {
    what: String,
    ours: String,
    other: String,
    ratio: Option<f64>,
    /// What the bounds speak of: the ratio, unless it is set to something absolute.
    score: f64,
    must: Option<Bound>,
    aim: Option<Bound>,
}

impl Row {
    /// A row that says something and demands nothing.
    pub(crate) fn info(what: impl Into<String>, ours: impl Into<String>, other: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            ours: ours.into(),
            other: other.into(),
            ratio: None,
            score: 0.0,
            must: None,
            aim: None,
        }
    }

    /// Ours divided by the alternative's, in the same unit.
    pub(crate) fn ratio(mut self, ours: f64, other: f64) -> Self {
        self.ratio = Some(ours / other);
        self.score = ours / other;
        self
    }

    /// The bounds are for this number, not for the ratio.
    pub(crate) fn absolute(mut self, score: f64) -> Self {
        self.score = score;
        self
    }

    pub(crate) fn must(mut self, bound: Bound) -> Self {
        self.must = Some(bound);
        self
    }

    pub(crate) fn aim(mut self, bound: Bound) -> Self {
        self.aim = Some(bound);
        self
    }

    pub(crate) fn is_missed(&self) -> bool {
        self.must.is_some_and(|b| !b.holds(self.score))
    }

    fn verdict(&self) -> &'static str {
        match (self.must, self.aim) {
            (None, _) => "",
            (Some(_), _) if self.is_missed() => "NOT MET",
            (Some(_), Some(aim)) if aim.holds(self.score) => "met, and the aim",
            _ => "met",
        }
    }

    pub(crate) fn print(&self) {
        let ratio = self.ratio.map(|r| format!("{}x", short(r))).unwrap_or_default();
        let [must, aim] = [self.must, self.aim].map(|b| b.map(Bound::text).unwrap_or_default());
        line([&self.what, &self.ours, &self.other, &ratio, &must, &aim, self.verdict()]);
    }
}

pub(crate) fn print_head() {
    line(["what", "ours", "alternative", "ratio", "must", "aim", ""]);
}

fn line([what, ours, other, ratio, must, aim, verdict]: [&str; 7]) {
    let text = format!("{what:<47} {ours:>14}  {other:<33} {ratio:>7} {must:>9} {aim:>9}  {verdict}");
    println!("{}", text.trim_end());
}

/// Three digits.
fn short(x: f64) -> String {
    match x.abs() {
        a if a >= 100.0 || (a - a.round()).abs() < 1e-9 => format!("{x:.0}"),
        a if a >= 10.0 => format!("{x:.1}"),
        _ => format!("{x:.2}"),
    }
}

/// A duration of so many seconds.
pub(crate) fn time(seconds: f64) -> String {
    match seconds {
        s if s < 1e-6 => format!("{} ns", short(s * 1e9)),
        s if s < 1e-3 => format!("{} us", short(s * 1e6)),
        s => format!("{} ms", short(s * 1e3)),
    }
}

/// So many a second.
pub(crate) fn rate(per_second: f64) -> String {
    match per_second {
        r if r >= 1e6 => format!("{} M/s", short(r / 1e6)),
        r if r >= 1e3 => format!("{} k/s", short(r / 1e3)),
        r => format!("{} /s", short(r)),
    }
}

/// So many bits a second.
pub(crate) fn gigabits(bits_per_second: f64) -> String {
    format!("{} Gb/s", short(bits_per_second / 1e9))
}
