//! Line diagrams over time, as SVG.

use std::fmt::Write as _;

/// Colours that people with any colour vision can tell apart (Okabe and Ito).
pub(crate) const COLOURS: [&str; 8] =
    ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999933"];

/// The least of 1, 2, 4, 8, 10, 20 and so on that is not less than `value`: quarters of it are short numbers.
pub(crate) fn ceiling(value: f64) -> f64 {
    let power = 10f64.powf(value.max(1e-6).log10().floor());
    [1.0, 2.0, 4.0, 8.0].map(|n| n * power).into_iter().find(|top| *top >= value).unwrap_or(10.0 * power)
}

/// A picture, to which parts are added.
pub(crate) struct Picture(String);

impl Picture {
    /// An empty picture of this size, in pixels.
    pub(crate) fn new(width: f64, height: f64) -> Self {
        Self(format!(
            "<svg xmlns='http://www.w3.org/2000/svg' width='{width}' height='{height}' font-family='sans-serif' \
             font-size='12'>\n<rect width='100%' height='100%' fill='white'/>\n"
        ))
    }

    /// Adds a line of text; `style` is attributes of SVG.
    pub(crate) fn text(&mut self, x: f64, y: f64, style: &str, text: &str) {
        let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let _ = writeln!(self.0, "<text x='{x:.1}' y='{y:.1}' {style}>{text}</text>");
    }

    fn path(&mut self, path: &str, style: &str) {
        let _ = writeln!(self.0, "<path d='{path}' fill='none' {style}/>");
    }

    /// The picture as a file.
    pub(crate) fn finish(self) -> String {
        self.0 + "</svg>\n"
    }
}

/// Place of a diagram in a picture, and the range of its axes.
pub(crate) struct Diagram {
    /// Left edge, pixels.
    pub(crate) left: f64,
    /// Right edge, pixels.
    pub(crate) right: f64,
    /// Upper edge, pixels.
    pub(crate) top: f64,
    /// Height, pixels.
    pub(crate) height: f64,
    /// The end of the time axis, seconds.
    pub(crate) seconds: f64,
    /// The top of the value axis; larger values are drawn there.
    pub(crate) most: f64,
}

impl Diagram {
    fn x(&self, seconds: f64) -> f64 {
        self.left + (self.right - self.left) * (seconds / self.seconds.max(f64::MIN_POSITIVE)).clamp(0.0, 1.0)
    }

    fn y(&self, value: f64) -> f64 {
        self.top + self.height * (1.0 - (value / self.most.max(f64::MIN_POSITIVE)).clamp(0.0, 1.0))
    }

    /// Draws the two axes, without numbers.
    pub(crate) fn axes(&self, picture: &mut Picture) {
        let Self { left, right, top, height, .. } = self;
        picture.path(&format!("M{left} {top} v{height} H{right}"), "stroke='black'");
    }

    /// Draws axes, a grid with numbers, and a title above.
    pub(crate) fn frame(&self, picture: &mut Picture, title: &str) {
        picture.text(self.left, self.top - 8.0, "font-weight='bold'", title);
        let decimals = if self.most < 4.0 { 2 } else { usize::from(self.most < 40.0) };
        for part in 0..=4 {
            let value = self.most * f64::from(part) / 4.0;
            let y = self.y(value);
            picture.path(&format!("M{} {y:.1} H{}", self.left, self.right), "stroke='#ddd'");
            picture.text(self.left - 6.0, y + 4.0, "text-anchor='end'", &format!("{value:.decimals$}"));
        }
        // About ten marks, at round numbers.
        let power = 10f64.powf((self.seconds / 10.0).max(1e-6).log10().floor());
        let steps = [1.0, 2.0, 5.0, 10.0].map(|n| n * power);
        let step = steps.into_iter().find(|step| self.seconds / step <= 10.0).unwrap_or(10.0 * power);
        for n in 0..=(self.seconds / step + 1e-9) as u32 {
            let second = step * f64::from(n);
            let text = format!("{} s", (second * 1e6).round() / 1e6);
            picture.text(self.x(second), self.top + self.height + 16.0, "text-anchor='middle'", &text);
        }
        self.axes(picture);
    }

    /// Draws a line through points, each a time in seconds and a value.
    pub(crate) fn line(&self, picture: &mut Picture, points: impl IntoIterator<Item = (f64, f64)>, colour: &str) {
        let mut text = String::new();
        for (seconds, value) in points {
            let _ = write!(text, "{:.1},{:.1} ", self.x(seconds), self.y(value));
        }
        let style = format!("fill='none' stroke='{colour}' stroke-width='1.2'");
        let _ = writeln!(picture.0, "<polyline points='{}' {style}/>", text.trim_end());
    }

    /// Draws a short mark at the bottom at each of the times, seconds.
    pub(crate) fn marks(&self, picture: &mut Picture, times: impl IntoIterator<Item = f64>, colour: &str) {
        let bottom = self.top + self.height;
        let path = times.into_iter().fold(String::new(), |mut path, seconds| {
            let _ = write!(path, "M{:.1} {bottom} v-10 ", self.x(seconds));
            path
        });
        if !path.is_empty() {
            picture.path(path.trim_end(), &format!("stroke='{colour}' stroke-width='1.5'"));
        }
    }
}
